"""Files that are read whole (spreadsheets, JSON lines, Arrow) are scored like CSV files of the same rows."""

import gzip
import json

import pandas as pd
import pyarrow as pa
import pytest

from mlops_project.errors import ConfigError, DataError
from mlops_project.scoring import snapshot, whole_files
from mlops_project.scoring.batch import Options, score_table
from tests.unit.scoring.scored import read

pytestmark = [pytest.mark.usefixtures("small_units")]


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setattr(snapshot, "CHUNK_ROWS", 20)
    monkeypatch.setattr(whole_files, "CHUNK_ROWS", 20)
    return Options(staging=tmp_path / "staging")


def write(frame: pd.DataFrame, file) -> str:
    file.parent.mkdir(exist_ok=True, parents=True)
    if file.suffix == ".xlsx":
        frame.to_excel(file, index=False)
    elif file.suffix in (".feather", ".arrow"):
        table = pa.Table.from_pandas(frame, preserve_index=False)
        with pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table, max_chunksize=30)
    else:
        lines = "".join(json.dumps(row) + "\n" for row in frame.astype(object).where(frame.notna(), None).to_dict("records"))
        file.write_bytes(gzip.compress(lines.encode()) if file.suffix == ".gz" else lines.encode())
    return str(file)


@pytest.mark.parametrize("name", ["in.xlsx", "in.jsonl", "in.ndjson.gz", "in.feather", "in.arrow"])
def test_rows_are_scored_as_those_of_a_csv_file(tiny_bundle, frame, tmp_path, options, name):
    rows = frame.assign(city=["Recife", None, "Natal", "ção", "x"] * 19, n=[1, None, 3, 4, 5] * 19)
    rows.to_csv(tmp_path / "in.csv", index=False)
    score_table(str(tmp_path / "in.csv"), str(tmp_path / "plain.parquet"), tiny_bundle, options)
    done = score_table(write(rows, tmp_path / name), str(tmp_path / "out.parquet"), tiny_bundle, options)
    assert done.outcome.scored == 95
    assert done.outcome.input == str(tmp_path / name)
    found, plain = read(tmp_path / "out.parquet"), read(tmp_path / "plain.parquet")
    answers = [column for column in plain if column not in rows]
    pd.testing.assert_frame_equal(found[["id", *answers]], plain[["id", *answers]])
    assert found["city"].isna().tolist() == rows["city"].isna().tolist()
    assert not list((tmp_path / "staging").iterdir())


@pytest.mark.parametrize("ending", ["xlsx", "jsonl", "feather"])
def test_bad_rows_of_a_folder_are_named_by_their_file_and_row(tiny_bundle, frame, tmp_path, options, ending):
    write(frame[:30], tmp_path / "in" / "day=1" / f"a.{ending}")
    broken = frame[30:60].assign(x=frame["x"].astype(object))
    broken.loc[34, "x"] = "text"
    write(broken if ending != "feather" else broken.astype({"x": str}), tmp_path / "in" / "day=2" / f"b.{ending}")
    done = score_table(str(tmp_path / "in"), str(tmp_path / "out.csv"), tiny_bundle, options)
    assert (done.outcome.scored, done.outcome.bad_rows) == (59, 1)
    bad = pd.read_csv(tmp_path / "out.csv.bad-rows.csv")
    assert bad[["file", "row"]].to_numpy().tolist() == [[str(tmp_path / "in" / "day=2" / f"b.{ending}"), 5]]
    assert read(tmp_path / "out.csv")["day"].tolist() == [1] * 30 + [2] * 29


def test_keys_that_come_late_in_json_lines_are_columns(tiny_bundle, tmp_path, options):
    lines = [{"x": 0.5} for _ in range(25)] + [{"x": 0.25, "note": {"a": 1}}] + [{"note": "no x"}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = score_table(str(tmp_path / "in.jsonl"), str(tmp_path / "out.parquet"), tiny_bundle, options)
    assert (done.outcome.scored, done.outcome.bad_rows) == (26, 1)
    assert read(tmp_path / "out.parquet")["note"].fillna("").tolist()[-2:] == ["", '{"a": 1}']


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.jsonl", b"", "in.jsonl: the file is empty"),
        ("in.jsonl", b'{"x": 1}\n{"x": \n', "in.jsonl: line 2 is not valid JSON"),
        ("in.feather", b"ARROW1 no", "in.feather: cannot be read"),
        ("in.xlsx", b"no spreadsheet", "in.xlsx"),
    ],
)
def test_damaged_file_is_named_and_nothing_is_left(tiny_bundle, tmp_path, options, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        score_table(str(tmp_path / name), str(tmp_path / "out.csv"), tiny_bundle, options)
    assert not (tmp_path / "out.csv").exists()
    assert not list((tmp_path / "staging").iterdir())


def test_files_with_other_columns_and_of_two_kinds_are_refused(tiny_bundle, frame, tmp_path, options):
    write(frame, tmp_path / "in" / "a.feather")
    write(frame.assign(more=1), tmp_path / "in" / "b.feather")
    with pytest.raises(DataError, match=r"files of a folder: .*b\.feather and .*a\.feather differ in their columns: more"):
        score_table(str(tmp_path / "in"), str(tmp_path / "out.csv"), tiny_bundle, options)
    (tmp_path / "in" / "c.xlsx").touch()
    with pytest.raises(DataError, match=r"Arrow and spreadsheet files are there; name one kind, such as .*/\*\.xlsx"):
        score_table(str(tmp_path / "in"), str(tmp_path / "out.csv"), tiny_bundle, options)


def test_standard_input_and_output_are_refused(tiny_bundle, tmp_path, options, frame):
    with pytest.raises(DataError, match="-: rows are read from files, not from standard input"):
        score_table("-", str(tmp_path / "out.csv"), tiny_bundle, options)
    with pytest.raises(ConfigError, match="-: results go to a file, not to standard output"):
        score_table(write(frame, tmp_path / "in.jsonl"), "-", tiny_bundle, options)


def test_interrupted_run_scores_the_rows_that_it_had_read(tiny_bundle, frame, tmp_path, options):
    place = write(frame, tmp_path / "in.jsonl")

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_table(place, str(tmp_path / "out.parquet"), tiny_bundle, options, stop)
    done = score_table(place, str(tmp_path / "out.parquet"), tiny_bundle, options)
    assert done.read_at
    assert read(tmp_path / "out.parquet")["id"].tolist() == frame["id"].tolist()
