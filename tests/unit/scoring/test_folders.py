"""Folders of very many files, of which one is not like the others: nothing half-written is taken for whole."""

import os
import shutil

import pandas as pd
import pytest

from mlops_project.errors import DataError
from mlops_project.scoring.batch import Options, score_table
from tests.unit.scoring.scored import read, write

FILES = 1_000


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    pd.DataFrame({"id": [1, 2, 3], "x": [0.1, 0.5, 0.9]}).to_parquet(folder / "0000.parquet", index=False)
    for number in range(1, FILES):
        (folder / f"{number:04}.parquet").hardlink_to(folder / "0000.parquet")
    return folder


@pytest.fixture
def folder(many, tmp_path):
    """The files, of which number 20 may be replaced."""
    shutil.copytree(many, tmp_path / "in", copy_function=os.link)
    (tmp_path / "in" / "0020.parquet").unlink()
    return tmp_path / "in"


def spoil(file, many, how: str) -> None:
    whole = (many / "0000.parquet").read_bytes()
    frame = pd.read_parquet(many / "0000.parquet")
    if how == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif how == "empty":
        file.touch()
    elif how == "damaged":
        file.write_bytes(whole[:4] + bytes(200) + whole[204:])
    elif how == "renamed":
        frame.rename(columns={"x": "y"}).to_parquet(file)
    elif how == "id as text":
        frame.astype({"id": str}).to_parquet(file)
    else:
        frame.assign(x=["a", "b", "c"]).to_parquet(file)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", r"0020\.parquet: cannot be read: it is no Parquet file, or is cut off"),
        ("empty", r"0020\.parquet: cannot be read: it is no Parquet file, or is cut off"),
        ("damaged", r"0020\.parquet: cannot be read"),
        (
            "renamed",
            r"0020\.parquet: lacks 'x', has 'y' as well, unlike .*0000\.parquet; files of a folder need the same columns",
        ),
        ("id as text", r"column 'id' is \w+ in .*0020\.parquet, int64 in .*0000\.parquet; leave it out with --keep"),
    ],
)
def test_file_that_cannot_be_read_or_has_other_columns_is_named_and_nothing_is_written(
    tiny_bundle, folder, many, tmp_path, how, message
):
    spoil(folder / "0020.parquet", many, how)
    (tmp_path / "out.csv").write_text("before")
    with pytest.raises(DataError, match=message):
        score_table(str(folder), str(tmp_path / "out.csv"), tiny_bundle, Options())
    assert (tmp_path / "out.csv").read_text() == "before"


def test_column_whose_values_become_texts_half_way_gives_bad_rows(tiny_bundle, folder, many, tmp_path):
    spoil(folder / "0020.parquet", many, "x as text")
    done = score_table(str(folder / "00[0-3]?.parquet"), str(tmp_path / "out.csv"), tiny_bundle, Options(keep=("id",)))
    assert (done.outcome.scored, done.outcome.bad_rows) == (3 * 39, 3)
    bad = pd.read_csv(tmp_path / "out.csv.bad-rows.csv")
    assert set(bad["file"].str[-12:]) == {"0020.parquet"}
    assert bad["row"].tolist() == [1, 2, 3]


# --- columns in the names of folders, as Hive, Spark and pandas write them ---

DAYS = {"day=2026-11-01": "2026-11-01", "day=S%C3%A3o%2FP": "São/P", "day=__HIVE_DEFAULT_PARTITION__": None}


def spread(frame: pd.DataFrame, root, ending: str) -> None:
    """Write the same rows into one folder per day."""
    for name in DAYS:
        (root / name).mkdir(parents=True)
        write(frame, root / name / f"part{ending}")


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz"])
@pytest.mark.parametrize("out", ["out.parquet", "out.csv"])
def test_columns_in_folder_names_are_kept(tiny_bundle, frame, tmp_path, ending, out):
    spread(frame, tmp_path / "in", ending)
    score_table(str(tmp_path / "in"), str(tmp_path / out), tiny_bundle, Options(keep=("day", "id")))
    found = read(tmp_path / out)
    assert list(found.columns[:2]) == ["day", "id"]
    days = found["day"].astype(object).where(found["day"].notna(), None)
    assert days.tolist() == [DAYS[name] for name in sorted(DAYS) for _ in range(len(frame))]


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
@pytest.mark.parametrize("engine_place", ["in", "in/*/*"])
def test_column_of_the_model_in_folder_names_is_read_as_its_type(tiny_bundle, tmp_path, ending, engine_place):
    for value in ("0.25", "7.5e-1", "wrong"):
        (tmp_path / "in" / f"x={value}").mkdir(parents=True)
        write(pd.DataFrame({"id": ["1", "2"]}), tmp_path / "in" / f"x={value}" / f"a{ending}")
    place = str(tmp_path / engine_place) + (ending if "*" in engine_place else "")
    done = score_table(place, str(tmp_path / "out.parquet"), tiny_bundle, Options())
    assert (done.outcome.scored, done.outcome.bad_rows) == (4, 2)
    assert pd.read_parquet(tmp_path / "out.parquet")["probability yes"].tolist() == [0.25, 0.25, 0.75, 0.75]


def test_column_of_the_file_wins_over_its_folder(tiny_bundle, frame, tmp_path):
    (tmp_path / "x=0.1").mkdir()
    write(frame, tmp_path / "x=0.1" / "a.parquet")
    score_table(str(tmp_path / "x=0.1" / "a.parquet"), str(tmp_path / "out.parquet"), tiny_bundle, Options())
    assert pd.read_parquet(tmp_path / "out.parquet")["probability yes"].tolist() == frame["x"].tolist()


def test_folders_with_other_names_are_refused(tiny_bundle, frame, tmp_path):
    for name in ("day=1", "month=1"):
        (tmp_path / "in" / name).mkdir(parents=True)
        write(frame, tmp_path / "in" / name / "a.csv")
    with pytest.raises(DataError, match=r"month=1/a\.csv: lacks 'day', has 'month' as well, unlike .*day=1/a\.csv"):
        score_table(str(tmp_path / "in"), str(tmp_path / "out.csv"), tiny_bundle, Options())
