import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_project.errors import DataError
from mlops_project.scoring.batch import Options, score_table
from mlops_project.scoring.formulas import neutralise
from mlops_project.scoring.parts import neutralise_column


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+A1",
        "-A1",
        "@SUM(A1)",
        " =1",
        "\t1",
        "\r=1",
        "\n=1",
        "＝1",
        "＋1",
        "－1",
        "＠x",
        "=",
        "-",
        "+1+1",
        "-1-1",
        "-2e",
    ],
)
def test_what_a_spreadsheet_would_calculate_gets_an_apostrophe(text):
    assert neutralise(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "abc", "1", "-1", "+1.5", "-2e-3", "-.5", "-1,5", "a=b", "a-b", "'=1", "São Paulo"])
def test_other_texts_and_numbers_stay(text):
    assert neutralise(text) == text


def test_blanks_are_the_same_for_both_ways_of_finding_formulas():
    signs = [chr(code) for code in range(0x3001) if not 0xD800 <= code <= 0xDFFF]
    texts = [f"{sign}=1" for sign in signs]
    assert neutralise_column(pa.chunked_array([texts])).to_pylist() == [neutralise(text) for text in texts]
    blank = [sign for sign in signs if sign.isspace()]
    assert all(neutralise(f"{sign}=1").startswith("'") for sign in blank)


@pytest.mark.parametrize("kind", [pa.string(), pa.dictionary(pa.int32(), pa.string()), pa.binary(), pa.string_view()])
def test_formula_is_neutralised_whatever_type_of_text_holds_it(tiny_bundle, tmp_path, kind):
    table = pa.table({"note": pa.array(["=1+1"]).cast(kind), "x": [0.5]})
    pq.write_table(table, tmp_path / "in.parquet")
    score_table(str(tmp_path / "in.parquet"), str(tmp_path / "out.csv"), tiny_bundle, Options())
    assert pd.read_csv(tmp_path / "out.csv")["note"].tolist() == ["'=1+1"]


def test_bytes_that_are_no_text_have_no_place_in_csv(tiny_bundle, tmp_path):
    pq.write_table(pa.table({"note": [b"\xff"], "x": [0.5]}), tmp_path / "in.parquet")
    with pytest.raises(DataError, match="column 'note' holds bytes that are no text; leave it out with --keep"):
        score_table(str(tmp_path / "in.parquet"), str(tmp_path / "out.csv"), tiny_bundle, Options())
