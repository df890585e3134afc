"""Rows that do not fit the model: all of them beside the output, none in it, or the run ends."""

import numpy as np
import pandas as pd
import pytest

from mlops_project.errors import DataError
from mlops_project.scoring import inputs
from mlops_project.scoring.batch import Options, score_table
from mlops_project.wire.rows import RowReader
from tests.unit.scoring.scored import read, write

pytestmark = pytest.mark.usefixtures("small_units")


@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_rows_that_do_not_fit_go_to_a_side_file(tiny_bundle, tmp_path, frame, rng, source, share):
    wrong = rng.random(len(frame)) < share
    wrong[7] = True
    frame["x"] = [
        ("", "no number")[row % 2] if bad else str(x) for row, (x, bad) in enumerate(zip(frame["x"], wrong, strict=True))
    ]
    done = score_table(write(frame, tmp_path / source), str(tmp_path / "out.csv"), tiny_bundle, Options())
    assert read(tmp_path / "out.csv")["id"].tolist() == frame["id"][~wrong].tolist()
    left_out = pd.read_csv(tmp_path / "out.csv.bad-rows.csv")
    assert left_out["row"].tolist() == (np.flatnonzero(wrong) + 1).tolist()
    assert set(left_out["file"]) == {str(tmp_path / source)}
    assert set(left_out["reason"]) <= {
        "column 'x': expected a number, got text",
        "column 'x': a value is missing, and the model knows no missing ones here",
    }
    assert (done.outcome.scored, done.outcome.bad_rows) == ((~wrong).sum(), wrong.sum())


def test_rows_that_do_not_fit_are_found_together_however_many(tiny_bundle, tmp_path, rng, monkeypatch):
    wrong = rng.random(2000) < 0.06
    cells = np.where(wrong, np.where(rng.random(2000) < 0.5, "no number", ""), rng.random(2000).astype(str))
    pd.DataFrame({"x": cells}).to_parquet(tmp_path / "in.parquet")
    monkeypatch.setattr(inputs, "UNIT_ROWS", 2000)
    calls, read = [], RowReader.read_columns
    monkeypatch.setattr(RowReader, "read_columns", lambda *given: calls.append(len(given)) or read(*given))
    score_table(str(tmp_path / "in.parquet"), str(tmp_path / "out.csv"), tiny_bundle, Options())
    assert pd.read_csv(tmp_path / "out.csv.bad-rows.csv")["row"].tolist() == (np.flatnonzero(wrong) + 1).tolist()
    assert len(calls) == 2  # all bad rows, then the others


def test_row_with_too_few_or_too_many_fields_is_left_out(tiny_bundle, tmp_path):
    (tmp_path / "in.csv").write_text("id,x\n1,0.1\n2\n3,0.3,3\n4,0.4\n")
    score_table(str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), tiny_bundle, Options())
    assert read(tmp_path / "out.csv")["id"].tolist() == ["1", "4"]
    left_out = pd.read_csv(tmp_path / "out.csv.bad-rows.csv")
    assert left_out[["row", "reason"]].to_numpy().tolist() == [
        [2, "has 1 fields, the first line has 2"],
        [3, "has 3 fields, the first line has 2"],
    ]


def test_side_file_of_an_earlier_run_is_removed(tiny_bundle, tmp_path, frame):
    (tmp_path / "in.csv").write_text("x\n0.1\nno\n")
    score_table(str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), tiny_bundle, Options())
    score_table(write(frame, tmp_path / "in.csv"), str(tmp_path / "out.csv"), tiny_bundle, Options())
    assert not (tmp_path / "out.csv.bad-rows.csv").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_bad_row_stops_the_run_if_it_is_to(tiny_bundle, tmp_path, frame, processes):
    frame["x"] = frame["x"].astype(str)
    frame.loc[[44, 81], "x"] = "no"
    place, options = write(frame, tmp_path / "in.parquet"), Options(on_bad_rows="stop", processes=processes)
    for _ in range(3 - processes):  # once more here: the part is there then, without the rest of its rows
        with pytest.raises(DataError, match=r"in\.parquet: row 45: column 'x': expected a number, got text"):
            score_table(place, str(tmp_path / "out.csv"), tiny_bundle, options)
        assert not (tmp_path / "out.csv").exists()


def test_table_of_which_no_row_fits_is_an_error(tiny_bundle, tmp_path):
    (tmp_path / "in.csv").write_text("x\nno\nno\n")
    with pytest.raises(DataError, match="none of its 2 rows fits the model; the first: column 'x': expected a number"):
        score_table(str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), tiny_bundle, Options())
