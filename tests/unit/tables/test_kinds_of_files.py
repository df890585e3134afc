"""Files that are no text: spreadsheets, Feather; and JSON lines, plain and packed."""

import gzip

import openpyxl
import pandas as pd
import pytest

from mlops_project.errors import DataError
from mlops_project.tables.files import Reading, read_files
from mlops_project.tables.layout import LayoutSettings

HEADER = ["age", "city", "pay", "since", "ok"]
ROWS = [
    [20 + row, "Rome" if row % 2 else "Lima", row / 4 if row % 7 else None, pd.Timestamp(2026, 1, 1 + row), row % 2 == 0]
    for row in range(25)
]


@pytest.fixture
def book(tmp_path):
    """Write sheets of rows and return a function that reads them."""

    def read(*sheets: list[list], adopt: bool = False, **settings) -> tuple[pd.DataFrame, str]:
        workbook = openpyxl.Workbook()
        workbook.remove(workbook.active)
        for number, rows in enumerate(sheets, 1):
            sheet = workbook.create_sheet(f"Part {number}")
            for row in rows:
                sheet.append(row)
        workbook.save(tmp_path / "t.xlsx")
        read_back, notes = read_files(str(tmp_path / "t.xlsx"), {}, reading=Reading(LayoutSettings(**settings), adopt=adopt))
        return read_back, "\n".join(notes)

    return read


def test_sheet_keeps_numbers_dates_gaps_and_booleans(book):
    read_back, said = book([HEADER, *ROWS])
    assert [str(kind) for kind in read_back.dtypes] == ["Int64", "string", "Float64", "datetime64[us]", "boolean"]
    assert read_back["pay"].isna().sum() == 4
    assert read_back.loc[3].tolist() == ROWS[3]
    assert said == ""


def test_title_total_and_types_of_a_sheet_are_found_as_in_text(book):
    total = ["Total", None, sum(row[2] or 0 for row in ROWS), None, None]
    read_back, said = book([["People"], [], HEADER, ["int", "category", "float", "date", "bool"], *ROWS, total])
    assert (list(read_back), len(read_back)) == (HEADER, 25)
    assert "data.skip_rows: [1, 2, 4]" in said
    assert "holds the sums of pay; 1 row left out (data.skip_footer: 1)" in said
    with pytest.raises(DataError, match=r"looks like data.*data\.header: false"):
        book(ROWS)
    assert list(book(ROWS, adopt=True)[0]) == [f"column_{number}" for number in range(1, 6)]


def test_merged_header_and_table_that_begins_further_inside(book):
    grouped = [[None, "person", None, "work", None, None], [None, *HEADER], *([None, *row] for row in ROWS)]
    assert list(book(grouped, header=(1, 2))[0]) == ["person age", "person city", "work pay", "work since", "work ok"]


def test_sheet_is_chosen_by_name_number_or_said_to_be_the_first(book):
    sheets = [], [HEADER, *ROWS], [["a", "b"], [1, 2]]
    read_back, said = book(*sheets)
    assert len(read_back) == 25
    assert "2 sheets with values; 'Part 2' was read, not 'Part 3' (data.sheet: Part 2)" in said
    assert list(book(*sheets, sheet="Part 3")[0]) == ["a", "b"]
    assert list(book(*sheets, sheet=3)[0]) == ["a", "b"]
    for sheet, message in (
        ("Part 9", "there is no sheet 'Part 9'"),
        (4, "no sheet number 4; there are 3"),
        (1, "'Part 1' is empty"),
    ):
        with pytest.raises(DataError, match=message):
            book(*sheets, sheet=sheet)


def test_empty_workbook_and_twice_named_columns_are_refused(book):
    with pytest.raises(DataError, match="every sheet is empty"):
        book([], [])
    with pytest.raises(DataError, match="column names stand twice in the header: a"):
        book([["a", "a"], [1, 2]])


def test_feather_is_read_like_parquet(tmp_path):
    frame = pd.DataFrame({"n": pd.array([1, None, 3], dtype="Int64"), "text": ["x", None, "z"]})
    for name in ("1.feather", "2.feather"):
        frame.to_feather(tmp_path / name)
    read_back, _ = read_files(str(tmp_path / "1.feather"), {})
    assert read_back["n"].tolist() == [1, pd.NA, 3]
    assert len(read_files(str(tmp_path), {})[0]) == 6


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_json_lines_keep_types_and_gaps(tmp_path, ending):
    first = b'{"a": 1, "b": 1.5, "c": "x", "d": true}\n\n'
    text = first + b'{"a": null, "c": "", "e": 12345678901234567890}\n{"a": 3, "b": 2, "c": "01"}\n'
    (tmp_path / f"t.jsonl{ending}").write_bytes(gzip.compress(text) if ending else text)
    read_back, notes = read_files(str(tmp_path / f"t.jsonl{ending}"), {})
    assert [str(kind) for kind in read_back.dtypes] == ["Int64", "Float64", "string", "boolean", "string"]
    assert read_back["c"].tolist() == ["x", pd.NA, "01"]
    assert read_back["e"].iloc[1] == "12345678901234567890"
    assert notes == []
