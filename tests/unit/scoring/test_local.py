import codecs
import io
import itertools
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ContractError, DataError
from mlops_project.scoring import files
from mlops_project.scoring.files import TableFile
from mlops_project.scoring.local import Summary, check_file, score_file
from mlops_project.uncertainty import Checked, Reach, Sets, Uncertainty
from tests.unit.scoring.uploads import as_csv, as_parquet, open_csv


def score(stream, runtime, **form) -> tuple[pd.DataFrame, bytes]:
    target = io.BytesIO()
    file = TableFile(stream, runtime.contract)
    score_file(file, runtime, target)
    raw = target.getvalue()
    return pd.read_csv(io.BytesIO(raw), **form) if file.kind == "csv" else pd.read_parquet(io.BytesIO(raw)), raw


def problems(text: str, contract: Contract) -> list[str]:
    return [str(item) for item in check_file(open_csv(text, contract), contract).problems]


@pytest.mark.parametrize("write", [as_csv, as_parquet])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_every_row_is_scored_in_order_whatever_the_chunks(runtime, rng, monkeypatch, write, chunk):
    monkeypatch.setattr(files, "CHUNK_ROWS", chunk)
    frame = pd.DataFrame({"id": [f"00{row}" for row in range(50)], "x": rng.random(50)})
    scored, _ = score(write(frame), runtime)
    np.testing.assert_allclose(scored["probability yes"], frame["x"], atol=1e-12)
    assert scored["predicted y"].tolist() == ["yes" if x > 0.5 else "no" for x in frame["x"]]
    assert [str(value).zfill(4)[-2:] for value in scored["id"]] == [name[-2:] for name in frame["id"]]


def test_codes_keep_their_leading_zeros_in_the_result(runtime):
    _, raw = score(as_csv(pd.DataFrame({"plot": ["007", "0042"], "x": [0.1, 0.9]})), runtime)
    assert b'"007"' in raw
    assert b'"0042"' in raw


def test_formulas_in_texts_names_and_classes_are_neutralised_in_csv(tiny_model, tiny_contract):
    from mlops_project.runtime import Runtime

    runtime = Runtime(tiny_model, replace(tiny_contract, class_names=("=no()", "+yes")))
    frame = pd.DataFrame({"=cmd|' /C calc'!A0": ["=1+1", "@SUM(A1)"], "note": ["-2", "\t=x"], "x": [0.1, 0.9]})
    _, raw = score(as_csv(frame), runtime)
    cells = pd.read_csv(io.BytesIO(raw), dtype=str)
    assert cells.columns[0] == "'=cmd|' /C calc'!A0"
    assert cells.iloc[:, 0].tolist() == ["'=1+1", "'@SUM(A1)"]
    assert cells["note"].tolist() == ["-2", "'\t=x"]
    assert cells["predicted y"].tolist() == ["'=no()", "'+yes"]


def test_parquet_is_left_as_it_is(runtime):
    scored, _ = score(as_parquet(pd.DataFrame({"note": ["=1+1"], "x": [0.1]})), runtime)
    assert scored["note"].tolist() == ["=1+1"]


def test_parquet_keeps_the_types_of_other_columns(runtime):
    frame = pd.DataFrame({"n": pd.array([1, None, 3], "Int64"), "on": [True, False, True], "x": [0.1, 0.2, 0.9]})
    scored, _ = score(as_parquet(frame), runtime)
    assert scored["n"].tolist()[0] == 1
    assert scored["n"].isna().tolist() == [False, True, False]
    assert scored["on"].dtype == bool


def test_summary_counts_what_was_predicted(runtime):
    target = io.BytesIO()
    file = TableFile(as_csv(pd.DataFrame({"x": [0.1, 0.2, 0.9]})), runtime.contract)
    summary = score_file(file, runtime, target)
    assert summary.counts.tolist() == [2, 1]
    assert summary.histogram.sum() == summary.rows == 3
    assert summary.sample["predicted y"].tolist() == ["no", "no", "yes"]


def test_progress_ends_at_the_last_row(runtime, monkeypatch):
    monkeypatch.setattr(files, "CHUNK_ROWS", 2)
    seen: list[int] = []
    score_file(TableFile(as_csv(pd.DataFrame({"x": [0.1] * 5})), runtime.contract), runtime, io.BytesIO(), seen.append)
    assert seen == [2, 4, 5]


def test_columns_of_earlier_results_are_replaced(runtime):
    scored, _ = score(as_csv(pd.DataFrame({"predicted y": ["old"], "x": [0.9]})), runtime)
    assert scored.columns.tolist() == ["x", "predicted y", "probability no", "probability yes"]
    assert scored["predicted y"].tolist() == ["yes"]


def test_every_problem_is_found_with_its_row(wide_contract):
    rows = ["0.5,1,true,Recife,2026-01-01", "abc,1.5,maybe,Natal,2026-01-02", "0.1,2,no,Natal,yesterday", "q,3,,Natal,"]
    assert problems("\n".join(["x,n,on,city,when", *rows]), wide_contract) == [
        "column 'x': rows 2, 4: expected a number, got text",
        "column 'n': row 2: expected a whole number",
        "column 'on': row 2: expected true or false, got text",
        "column 'when': row 3: expected a date such as 2026-11-23T10:00:00, got other text",
    ]


def test_rows_are_counted_over_chunks(wide_contract, monkeypatch):
    monkeypatch.setattr(files, "CHUNK_ROWS", 10)
    body = "".join(f"{'bad' if row % 10 == 3 else 0.5},1,true,Recife,2026-01-01\n" for row in range(1, 61))
    check = check_file(open_csv("x,n,on,city,when\n" + body, wide_contract), wide_contract)
    assert check.rows == 60
    assert [(item.rows, item.count) for item in check.problems] == [((3, 13, 23, 33, 43), 6)]


def test_missing_column_names_the_one_that_was_probably_meant(wide_contract):
    found = problems("x,n,on,ciity,when\n0.5,1,true,Recife,2026-01-01\n", wide_contract)
    assert found == ["column 'city': is missing; is it the one you call 'ciity'?"]


def test_words_for_gaps_and_for_yes_and_no_mean_what_they_mean_in_training(wide_contract):
    gaps = {"x", "on", "when"}
    features = tuple(replace(feature, nullable=feature.name in gaps) for feature in wide_contract.features)
    text = "x,n,on,city,when\n?,1,Yes,Recife,2026-01-01\nn/a,2, no ,Natal,\n0.5,3,-,Natal,2026-01-01\n"
    assert problems(text, replace(wide_contract, features=features)) == []


@pytest.mark.parametrize("name", ["x", "n", "on", "city", "when"])
@pytest.mark.parametrize("write", [as_csv, as_parquet])
@pytest.mark.parametrize("rows", [[0, 1, 2], [1]], ids=["emptied", "one gap"])
def test_gap_where_training_had_none_is_a_problem(wide_contract, name, write, rows):
    contract = replace(wide_contract, features=tuple(replace(item, nullable=False) for item in wide_contract.features))
    columns = {
        "x": [0.1, 0.2, 0.3],
        "n": [1, 2, 3],
        "on": [True, False, True],
        "city": ["Recife"] * 3,
        "when": ["2026-01-01"] * 3,
    }
    frame = pd.DataFrame(columns).astype(object)
    frame.loc[rows, name] = None
    found = check_file(TableFile(write(frame), contract), contract).problems
    assert [(item.column, item.count) for item in found] == [(name, len(rows))]


def test_values_that_training_did_not_show_are_counted_not_refused(wide_contract):
    text = "x,n,on,city,when\n2,1,1,Olinda,2026-01-01\n-1,2,0,Natal,2026-01-01\n0.5,99,1,Natal,2150-01-01\n"
    check = check_file(open_csv(text, wide_contract), wide_contract)
    assert check.problems == []
    assert check.outside == {"x": 2, "n": 1, "when": 1, "city": 1}


def test_decimal_commas_and_semicolons_are_understood(runtime):
    scored, _ = score(io.BytesIO(b"id;x\na;0,25\nb;0,75\n"), runtime, sep=";", decimal=",")
    assert scored["probability yes"].tolist() == [0.25, 0.75]


@pytest.mark.parametrize("chunk", [1, 1000])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
@pytest.mark.parametrize(
    ("separator", "decimal", "first"), [(",", ".", ""), (";", ",", ""), (";", ",", "sep=;\n"), ("\t", ",", ""), ("|", ".", "")]
)
def test_csv_comes_back_in_its_own_dialect(runtime, monkeypatch, chunk, encoding, separator, decimal, first):
    monkeypatch.setattr(files, "CHUNK_ROWS", chunk)
    text = first + "cidade,x,nota\nSão Paulo,0.25,3.5\nBrasília,0.75,-1\n".replace(",", separator).replace(".", decimal)
    _, raw = score(io.BytesIO(text.encode(encoding)), runtime, encoding=encoding, sep=separator, skiprows=int(bool(first)))
    assert raw.startswith(codecs.BOM_UTF8) is (encoding == "utf-8-sig")
    lines = raw.decode(encoding).replace('"', "").splitlines()
    assert lines[:-3] == first.splitlines()
    cells = [line.split(separator) for line in lines[-3:]]
    assert cells[0] == ["cidade", "x", "nota", "predicted y", "probability no", "probability yes"]
    numbers = (("0.25", "3.5", "0.75", "0.25"), ("0.75", "-1", "0.25", "0.75"))
    for row, city, answer, (x, note, no, yes) in zip(cells[1:], ("São Paulo", "Brasília"), ("no", "yes"), numbers, strict=True):
        shown = (value.replace(".", decimal) for value in (x, note, no, yes))
        assert row == [city, *itertools.islice(shown, 2), answer, *shown]


def test_result_is_scored_again_as_the_file_was(runtime):
    _, raw = score(
        io.BytesIO("sep=;\nid;x\né;1.000,25\nb;0,75\n".encode("cp1252")), runtime, encoding="cp1252", sep=";", skiprows=1
    )
    again, _ = score(io.BytesIO(raw), runtime, encoding="cp1252", sep=";", decimal=",", skiprows=1)
    assert again["x"].tolist() == [1000.25, 0.75]


def test_class_that_the_files_encoding_cannot_write_makes_it_utf8(tiny_model, tiny_contract):
    from mlops_project.runtime import Runtime

    runtime = Runtime(tiny_model, replace(tiny_contract, class_names=("ne", "да")))
    scored, raw = score(io.BytesIO("id;x\né;0,75\n".encode("cp1252")), runtime, sep=";", decimal=",")
    assert raw.startswith(codecs.BOM_UTF8)
    assert scored["predicted y"].tolist() == ["да"]
    assert scored["id"].tolist() == ["é"]


@pytest.mark.parametrize("first", [b"sep=;\r\n", b"\xef\xbb\xbfSEP=;\n", b'"sep=;"\n', b"sep=;;\n"])
def test_line_that_names_the_separator_is_not_the_header(runtime, first):
    scored, raw = score(io.BytesIO(first + b"id;x\na;0,25\nb;0,75\n"), runtime, sep=";", decimal=",", skiprows=1)
    assert raw.removeprefix(codecs.BOM_UTF8).startswith(b"sep=;\n")
    assert scored["id"].tolist() == ["a", "b"]
    assert scored["probability yes"].tolist() == [0.25, 0.75]


def test_row_numbers_do_not_count_the_line_that_names_the_separator(tiny_contract):
    assert problems("sep=,\nid,x\na,0.1\nb,bad\n", tiny_contract)[0].startswith("column 'x': row 2")


@pytest.mark.parametrize("mark", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0"], ids=["xlsx, ods", "xls"])
def test_spreadsheet_is_told_from_other_files(tiny_contract, mark):
    with pytest.raises(files.SpreadsheetError):
        TableFile(io.BytesIO(mark + bytes(100)), tiny_contract)


def test_byte_order_mark_and_blanks_around_names_do_no_harm(runtime):
    scored, _ = score(io.BytesIO("\ufeff x ,id\n0.25,a\n".encode()), runtime)
    assert scored["probability yes"].tolist() == [0.25]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "the file is empty"),
        (b"  \n ", "the file is empty"),
        (b"PK\x03\x04rest", "Excel"),
        (b"\x00\x01\x02\x03" * 100, "neither text nor Parquet"),
        (b"PAR1broken", "cannot be read as parquet"),
        (b"x,x\n1,2\n", "stand twice in the header: x"),
        (b'x,y\n1,2\n3,4,5\n', "line 3"),
        (b"x\n1,2\n1,2\n", "more fields than the header"),
        (b'x,y\n"1,2\n', "a quotation mark of row 1 has no second one; mend this row"),
    ],
)  # fmt: skip
def test_malformed_file_gets_a_clear_message(tiny_contract, raw, message):
    with pytest.raises(DataError, match=message):
        check_file(TableFile(io.BytesIO(raw), tiny_contract), tiny_contract)


def test_file_with_a_header_only_has_no_row(tiny_contract):
    assert problems("x\n", tiny_contract) == ["there is no row"]


def test_row_without_an_answer_is_named(tiny_model):
    from mlops_project.runtime import Runtime

    contract = Contract((Feature("x", "float", nullable=True),), "y", "binary", ("no", "yes"), ("no", "yes"))
    runtime = Runtime(tiny_model, contract)
    with pytest.raises(ContractError, match="from row 1 on: row 2: no value in x"):
        score(as_csv(pd.DataFrame({"id": ["a", "b"], "x": [0.1, None]})), runtime)


def test_memory_does_not_grow_with_the_rows(runtime, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHUNK_ROWS", 20_000)
    peaks = []
    for n_rows in (40_000, 400_000):
        source, target = tmp_path / "in.csv", tmp_path / "out.csv"
        source.write_text("x\n" + "".join(f"0.{row % 1000:03d}\n" for row in range(n_rows)))
        tracemalloc.start()
        with source.open("rb") as reading, target.open("wb") as writing:
            assert score_file(TableFile(reading, runtime.contract), runtime, writing).rows == n_rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.3 * peaks[0]


def leave_out(stream, runtime) -> tuple[pd.DataFrame, pd.DataFrame, Summary]:
    target, side = io.BytesIO(), io.BytesIO()
    summary = score_file(TableFile(stream, runtime.contract), runtime, target, bad_rows=side)
    read = pd.read_parquet if target.getvalue()[:4] == b"PAR1" else pd.read_csv
    return read(io.BytesIO(target.getvalue())), read(io.BytesIO(side.getvalue())), summary


@pytest.mark.parametrize("chunk", [2, 1000])
def test_rows_that_do_not_fit_are_written_apart_with_number_and_reason(runtime, monkeypatch, chunk):
    monkeypatch.setattr(files, "CHUNK_ROWS", chunk)
    frame = pd.DataFrame({"id": list("abcdef"), "x": ["0.1", "much", "0.9", "0.8", "inf", "0.2"]})
    check = check_file(TableFile(as_csv(frame), runtime.contract), runtime.contract)
    assert (check.rows, check.bad) == (6, 2)
    scored, left, summary = leave_out(as_csv(frame), runtime)
    assert scored["id"].tolist() == ["a", "c", "d", "f"]
    assert scored["predicted y"].tolist() == ["no", "yes", "yes", "no"]
    assert left["id"].tolist() == ["b", "e"]
    assert left["row of the file"].tolist() == [2, 5]
    assert left["why it was left out"].tolist()[0] == "column 'x': expected a number, got text"
    assert (summary.rows, summary.bad, summary.counts.sum()) == (4, 2, 4)


def test_rows_left_out_of_parquet_are_parquet(runtime):
    scored, left, _ = leave_out(as_parquet(pd.DataFrame({"id": ["a", "b"], "x": [0.1, np.inf]})), runtime)
    assert scored["id"].tolist() == ["a"]
    assert left["id"].tolist() == ["b"]


def test_result_says_how_sure_the_model_is(runtime):
    sets = Sets(least=(0.4, 0.3), rows=(50, 50))
    known = Uncertainty(
        coverage=0.9,
        rows=100,
        sets=sets,
        reach=Reach(columns=(0,), low=(0.0,), high=(1.0,), most=0.5),
        checked=Checked(coverage=0.9, low=0.8, high=1.0, size=1.1, abstained=0.0),
    )
    target = io.BytesIO()
    file = TableFile(as_csv(pd.DataFrame({"x": [0.1, 0.55, 0.9]})), runtime.contract)
    summary = score_file(file, runtime, target, uncertainty=known)
    scored = pd.read_csv(io.BytesIO(target.getvalue()))
    assert scored["possible no"].tolist() == [True, True, False]
    assert scored["possible yes"].tolist() == [False, True, True]
    assert scored["abstain"].tolist() == [False, True, False]
    assert summary.abstained == 1
