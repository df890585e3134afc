import gzip
import json
import resource
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_project.contract import Reading
from mlops_project.errors import ConfigError, DataError
from mlops_project.scoring import units, workers
from mlops_project.scoring.batch import Options, score_table
from mlops_project.scoring.outputs import MANIFEST_FILE
from tests.unit.scoring.scored import read, write

pytestmark = pytest.mark.usefixtures("small_units")


@pytest.mark.parametrize("source", ["in.csv", "in.csv.gz", "in.parquet"])
@pytest.mark.parametrize("target", ["out.csv", "out.csv.gz", "out.parquet", "out"])
def test_every_row_is_scored_once_in_order(tiny_bundle, tmp_path, frame, source, target):
    done = score_table(write(frame, tmp_path / source), str(tmp_path / target), tiny_bundle, Options())
    scored = read(tmp_path / target)
    assert scored["id"].tolist() == frame["id"].tolist()
    np.testing.assert_array_equal(scored["x"], frame["x"])
    np.testing.assert_allclose(scored["probability yes"], frame["x"], atol=1e-12)
    assert scored["predicted y"].tolist() == ["yes" if x > 0.5 else "no" for x in frame["x"]]
    assert set(scored["model version"]) == {tiny_bundle.version}
    assert done.outcome.counts == scored["predicted y"].value_counts().to_dict()
    assert (done.outcome.rows, done.outcome.scored, done.outcome.bad_rows) == (95, 95, 0)
    assert {file.name for file in tmp_path.iterdir()} == {"model", source, target}  # nothing is left over


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_bytes_are_the_same_whatever_the_number_of_processes(tiny_bundle, tmp_path, frame, ending):
    place = write(frame, tmp_path / f"in{ending}")
    for processes in (1, 2):
        score_table(place, str(tmp_path / f"{processes}{ending}"), tiny_bundle, Options(processes=processes))
    assert (tmp_path / f"1{ending}").read_bytes() == (tmp_path / f"2{ending}").read_bytes()


def test_empty_row_groups_are_passed_over(tiny_bundle, tmp_path, frame):
    rows = pa.Table.from_pandas(frame, preserve_index=False)
    with pq.ParquetWriter(tmp_path / "in.parquet", rows.schema) as writer:
        for part in (rows[:0], rows[:60], rows[:0], rows[60:], rows[:0]):
            writer.write_table(part)
    score_table(str(tmp_path / "in.parquet"), str(tmp_path / "out.parquet"), tiny_bundle, Options())
    assert read(tmp_path / "out.parquet")["id"].tolist() == frame["id"].tolist()


def test_row_group_of_any_length_is_read_in_pieces(tiny_bundle, tmp_path, frame):
    frame.to_parquet(tmp_path / "in.parquet", index=False)
    score_table(str(tmp_path / "in.parquet"), str(tmp_path / "out"), tiny_bundle, Options())
    manifest = json.loads((tmp_path / "out" / MANIFEST_FILE).read_bytes())
    assert [part["rows"] for part in manifest["parts"]] == [19, 19, 19, 19, 19]
    assert read(tmp_path / "out")["id"].tolist() == frame["id"].tolist()


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("named", ["folder", "folder/*{}"])
def test_files_of_a_folder_follow_in_the_order_of_their_names(tiny_bundle, tmp_path, frame, ending, named):
    folder = tmp_path / "folder"
    (folder / "ünder").mkdir(parents=True)
    write(frame[50:], folder / f"b b{ending}")
    write(frame[:50], folder / f"a{ending}")
    (folder / "_SUCCESS").touch()
    score_table(str(tmp_path / named.format(ending)), str(tmp_path / "größe.csv"), tiny_bundle, Options())
    assert read(tmp_path / "größe.csv")["id"].tolist() == frame["id"].tolist()


@pytest.mark.parametrize(("keep", "names"), [(None, ["id", "x"]), (("id", "id"), ["id"]), ((), [])])
@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
def test_chosen_columns_are_kept(tiny_bundle, tmp_path, frame, keep, names, source):
    score_table(write(frame, tmp_path / source), str(tmp_path / "out.csv"), tiny_bundle, Options(keep=keep))
    assert list(read(tmp_path / "out.csv"))[: len(names) + 1] == [*names, "predicted y"]


def test_column_to_keep_that_is_not_there_is_named(tiny_bundle, tmp_path, frame):
    with pytest.raises(ConfigError, match="no column 'idd' there; did you mean 'id'"):
        score_table(write(frame, tmp_path / "in.csv"), str(tmp_path / "out.csv"), tiny_bundle, Options(keep=("idd",)))


def test_results_can_be_scored_again(tiny_bundle, tmp_path, frame):
    score_table(write(frame, tmp_path / "in.csv"), str(tmp_path / "1.csv"), tiny_bundle, Options())
    score_table(str(tmp_path / "1.csv"), str(tmp_path / "2.csv"), tiny_bundle, Options())
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_parquet_keeps_types_and_csv_its_texts(tiny_bundle, tmp_path):
    frame = pd.DataFrame({"n": pd.array([1, None], "Int64"), "day": pd.to_datetime(["2026-01-01", None]), "x": [0.1, 0.9]})
    score_table(write(frame, tmp_path / "in.parquet"), str(tmp_path / "out.parquet"), tiny_bundle, Options())
    before, after = (pq.read_schema(tmp_path / name) for name in ("in.parquet", "out.parquet"))
    assert [after.field(name).type for name in frame] == [before.field(name).type for name in frame]
    (tmp_path / "in.csv").write_text("code,x\n007,0.10\n0042,9e-1\n")
    score_table(str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), tiny_bundle, Options())
    assert [line.split(",")[:2] for line in (tmp_path / "out.csv").read_text().splitlines()[1:]] == [
        ['"007"', '"0.10"'],
        ['"0042"', '"9e-1"'],
    ]


@pytest.mark.parametrize("form", [{"sep": ";", "decimal": ","}, {"sep": "\t"}, {"encoding": "utf-16"}, {"encoding": "cp1252"}])
def test_csv_is_read_as_it_is_written(tiny_bundle, tmp_path, frame, form):
    frame["note"] = "Größe"
    frame.to_csv(tmp_path / "in.csv", index=False, **form)
    score_table(str(tmp_path / "in.csv"), str(tmp_path / "out.parquet"), tiny_bundle, Options())
    scored = read(tmp_path / "out.parquet")
    np.testing.assert_array_equal(scored["x"], frame["x"])
    assert scored["note"].tolist() == frame["note"].tolist()


@pytest.mark.parametrize(
    ("reading", "separator", "cells", "numbers"),
    [
        (Reading(missing=("-999",)), ",", ["0.25", "-999", "-999.0", " 0.5 "], [0.25, None, None, 0.5]),
        (Reading(missing=("none yet",)), ",", ["0.25", "none yet", "?", "0.5"], [0.25, None, None, 0.5]),
        (Reading(is_written=True, percent=True), ",", ["25%", "", "5%", "50%"], [0.25, None, 0.05, 0.5]),
        (Reading(is_written=True, decimal=",", thousands="."), ";", ["0,25", "", "0,05", "0,5"], [0.25, None, 0.05, 0.5]),
        (Reading(), ";", ["0,25", "NA", "0,05", "0,5"], [0.25, None, 0.05, 0.5]),
    ],
)
def test_values_are_read_by_the_rules_of_the_contract(tiny_bundle, tmp_path, reading, separator, cells, numbers):
    (feature,) = tiny_bundle.contract.features
    contract = msgspec.structs.replace(
        tiny_bundle.contract, features=(msgspec.structs.replace(feature, reading=reading, nullable=True),)
    )
    bundle = replace(tiny_bundle, metadata=msgspec.structs.replace(tiny_bundle.metadata, contract=contract))
    rows = "".join(f"{row}{separator}{cell}\n" for row, cell in enumerate(cells))
    (tmp_path / "in.csv").write_text(f"id{separator}x\n{rows}")
    score_table(str(tmp_path / "in.csv"), str(tmp_path / "out.parquet"), bundle, Options())
    left_out = tmp_path / "out.parquet.bad-rows.csv"  # this model has no answer where the number is missing
    gaps = pd.read_csv(left_out)["row"].tolist() if left_out.exists() else []
    assert gaps == [row for row, number in enumerate(numbers, 1) if number is None]
    assert read(tmp_path / "out.parquet")["probability yes"].tolist() == [number for number in numbers if number is not None]


def test_formulas_are_neutralised_in_csv(tiny_bundle, tmp_path):
    frame = pd.DataFrame({"=cmd|' /C calc'!A0": ["=1+1", "@SUM(A1)"], "note": ["-2", "fine"], "x": [0.1, 0.9]})
    score_table(write(frame, tmp_path / "in.csv"), str(tmp_path / "out.csv"), tiny_bundle, Options())
    cells = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert cells.columns[0] == "'=cmd|' /C calc'!A0"
    assert cells.iloc[:, 0].tolist() == ["'=1+1", "'@SUM(A1)"]
    assert cells["note"].tolist() == ["-2", "fine"]


# --- inputs that cannot be scored ---


def test_column_that_is_missing_is_named_before_anything_is_scored(tiny_bundle, tmp_path, frame):
    write(frame, tmp_path / "a.csv")
    with pytest.raises(DataError, match="1 of the model's 1 columns are missing: 'x'"):
        score_table(write(frame[["id"]], tmp_path / "b.csv"), str(tmp_path / "out.csv"), tiny_bundle, Options())
    with pytest.raises(DataError, match=r"b\.csv: lacks 'x', unlike .*a\.csv"):
        score_table(str(tmp_path / "[ab].csv"), str(tmp_path / "out.parquet"), tiny_bundle, Options())


@pytest.mark.parametrize(
    ("separator", "columns", "message"),
    [
        (",", ["x", "id"], r"b\.csv: its columns are those of .*a\.csv in another order: 'x', 'id'; write both in one"),
        (";", ["id", "x"], r"b\.csv: its header is one column, 'id;x', unlike .*a\.csv; write both in one layout"),
    ],
)
def test_files_that_are_written_in_different_ways_are_told_apart(tiny_bundle, tmp_path, frame, separator, columns, message):
    write(frame, tmp_path / "a.csv")
    frame[columns].to_csv(tmp_path / "b.csv", sep=separator, index=False)
    with pytest.raises(DataError, match=message):
        score_table(str(tmp_path / "[ab].csv"), str(tmp_path / "out.parquet"), tiny_bundle, Options())


def test_type_that_changes_from_file_to_file_is_refused(tiny_bundle, tmp_path, frame):
    folder = tmp_path / "in"
    folder.mkdir()
    write(frame, folder / "a.parquet")
    write(frame.assign(id=range(len(frame))), folder / "b.parquet")
    with pytest.raises(DataError, match=r"column 'id' is int64 in .*b\.parquet, .*string in .*a\.parquet"):
        score_table(str(folder), str(tmp_path / "out.parquet"), tiny_bundle, Options())
    score_table(str(folder), str(tmp_path / "out.parquet"), tiny_bundle, Options(keep=("x",)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", b"", "the file is empty"),
        ("in.parquet", b"PAR1 or not", "it is no Parquet file, or is cut off"),
        ("in.csv.gz", gzip.compress(b"x\n0.1\n" * 1000, mtime=0)[:40], "the packed file is cut off; copy it again"),
        ("in.csv", b"x,y\n0.1,gr\xfcn\n" + b"0.2,\x81\n" * 20, "is not text|cannot be read|charmap"),
        ("in.xlsx", b"PK\x03\x04", "cannot be read as a spreadsheet"),
        ("in.csv", b"id x\n1  2\n2  3\n3  4\n4  5\n", "only plain CSV with one line of names"),
    ],
)
def test_file_that_cannot_be_read_is_named(tiny_bundle, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        score_table(str(tmp_path / name), str(tmp_path / "out.csv"), tiny_bundle, Options())
    assert name in str(caught.value)
    assert not (tmp_path / "out.csv").exists()


def test_file_that_is_not_there_is_named_with_one_that_is(tiny_bundle, tmp_path):
    (tmp_path / "data.csv").touch()
    with pytest.raises(DataError, match=r"no such file: .*date\.csv; did you mean 'data\.csv'"):
        score_table(str(tmp_path / "date.csv"), str(tmp_path / "out.csv"), tiny_bundle, Options())


@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
@pytest.mark.parametrize("target", ["out.csv", "out.parquet", "out"])
def test_table_without_rows_gives_one_without_rows(tiny_bundle, tmp_path, frame, source, target):
    done = score_table(write(frame[:0], tmp_path / source), str(tmp_path / target), tiny_bundle, Options())
    assert done.outcome.rows == 0
    if target != "out":
        assert list(read(tmp_path / target))[:3] == ["id", "x", "predicted y"]


# --- places that are not written ---


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("in/a.csv", "in/a.csv", "is what is read"),
        ("in", "in/out.csv", "lies in the folder that is read"),
        ("in/*.csv", "in/out.csv", "would be read by the next run"),
        ("in/a.csv", "in", "holds what is read"),
        ("in/a.csv", "other", "holds files that `mlops score` did not write"),
        ("in/a.csv", "out.xlsx", "cannot tell how to write it"),
        ("in/a.csv", "other/keep.txt/out.csv", "cannot be written: Not a directory"),
    ],
)
def test_place_that_would_lose_something_is_refused(tiny_bundle, tmp_path, frame, source, target, message):
    for folder in ("in", "other"):
        (tmp_path / folder).mkdir()
    write(frame, tmp_path / "in" / "a.csv")
    (tmp_path / "other" / "keep.txt").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match=message):
        score_table(str(tmp_path / source), str(tmp_path / target), tiny_bundle, Options())
    assert sorted(tmp_path.rglob("*")) == before


def test_output_of_an_earlier_run_is_replaced_whole(tiny_bundle, tmp_path, frame):
    place = write(frame, tmp_path / "in.parquet")
    score_table(place, str(tmp_path / "out"), tiny_bundle, Options())
    first = {file.name for file in (tmp_path / "out").iterdir()}
    write(frame[:25], tmp_path / "in.parquet")
    score_table(place, str(tmp_path / "out"), tiny_bundle, Options())
    assert read(tmp_path / "out")["id"].tolist() == frame["id"][:25].tolist()
    assert {file.name for file in (tmp_path / "out").iterdir()} & first == {MANIFEST_FILE}


def test_full_disk_leaves_the_output_of_before_and_the_finished_parts(tiny_bundle, tmp_path, frame):
    place, target = write(frame, tmp_path / "in.parquet"), tmp_path / "out.csv"
    target.write_text("before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))  # as a full disk: the parts fit, the whole does not
    try:
        with pytest.raises(ConfigError, match="cannot be written: File too large; what was there before still is"):
            score_table(place, str(target), tiny_bundle, Options())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_text() == "before"
    assert score_table(place, str(target), tiny_bundle, Options()).is_resumed
    assert read(target)["id"].tolist() == frame["id"].tolist()


# --- runs that were interrupted ---


class _InterruptedError(Exception):
    pass


def interrupt(place: str, target: Path, bundle, options: Options) -> None:
    """Score, but stop after some parts."""

    def stop(state) -> None:
        if state.rows > 50:
            raise _InterruptedError

    with pytest.raises(_InterruptedError):
        score_table(place, str(target), bundle, options, stop)


def test_interrupted_run_goes_on_from_its_parts(tiny_bundle, tmp_path, frame):
    place = write(frame, tmp_path / "in.parquet")
    interrupt(place, tmp_path / "out.csv", tiny_bundle, Options())
    assert len(list((tmp_path / ".out.csv.parts" / "parts").iterdir())) == 4  # of 15 rows
    seen: list[int] = []
    done = score_table(place, str(tmp_path / "out.csv"), tiny_bundle, Options(), lambda state: seen.append(state.new_rows))
    assert done.is_resumed
    assert seen[-1] == 95 - 60
    score_table(place, str(tmp_path / "whole.csv"), tiny_bundle, Options())
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize("change", ["input", "version", "keep"])
def test_run_with_another_input_model_or_setting_begins_anew(tiny_bundle, tmp_path, frame, change):
    place, options = write(frame, tmp_path / "in.parquet"), Options()
    interrupt(place, tmp_path / "out.csv", tiny_bundle, options)
    if change == "input":
        write(frame.assign(x=1 - frame["x"]), tmp_path / "in.parquet")
    else:
        options = replace(options, **{"version": {"version": "2"}, "keep": {"keep": ("id",)}}[change])
    done = score_table(place, str(tmp_path / "out.csv"), tiny_bundle, options)
    assert (done.is_restarted, done.is_resumed) == (True, False)
    score_table(place, str(tmp_path / "whole.csv"), tiny_bundle, options)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_part_that_is_damaged_is_made_again(tiny_bundle, tmp_path, frame):
    place = write(frame, tmp_path / "in.parquet")
    interrupt(place, tmp_path / "out.csv", tiny_bundle, Options())
    first = min((tmp_path / ".out.csv.parts" / "parts").iterdir())
    first.write_bytes(first.read_bytes()[:-10])
    score_table(place, str(tmp_path / "out.csv"), tiny_bundle, Options())
    assert read(tmp_path / "out.csv")["id"].tolist() == frame["id"].tolist()


def test_second_run_for_the_same_output_is_refused(tiny_bundle, tmp_path, frame):
    place = write(frame, tmp_path / "in.parquet")

    def again(_) -> None:
        score_table(place, str(tmp_path / "out.csv"), tiny_bundle, Options())

    with pytest.raises(ConfigError, match="another run of `mlops score` writes it now"):
        score_table(place, str(tmp_path / "out.csv"), tiny_bundle, Options(), again)


def test_wide_table_is_read_in_batches_of_fewer_rows():
    assert units.limit_rows(30) == units.BATCH_ROWS
    assert units.limit_rows(40_000) * 40_000 <= units.BATCH_VALUES


def test_processes_are_not_started_for_few_units(tiny_bundle, tmp_path, frame, monkeypatch):
    monkeypatch.delattr(workers, "_score_together")  # it would fail
    place = write(frame[:30], tmp_path / "in.parquet")
    score_table(place, str(tmp_path / "out.csv"), tiny_bundle, Options(processes=8))


def test_lists_of_values_are_bad_rows_and_cannot_be_kept_in_csv(tiny_bundle, tmp_path):
    table = pa.table({"tags": [["a"], ["b"]], "x": [0.1, 0.9]})
    pq.write_table(table, tmp_path / "in.parquet")
    with pytest.raises((DataError, ConfigError), match=r"'tags'.*--keep"):
        score_table(str(tmp_path / "in.parquet"), str(tmp_path / "out.csv"), tiny_bundle, Options())
    score_table(str(tmp_path / "in.parquet"), str(tmp_path / "out.parquet"), tiny_bundle, Options())
    assert read(tmp_path / "out.parquet")["predicted y"].tolist() == ["no", "yes"]
