"""Files as people have them: separators, encodings, decimal commas, archives, folders, partitions."""

import bz2
import gzip
import lzma
import pickle
import zipfile

import fsspec
import pandas as pd
import pytest

from mlops_project.errors import DataError
from mlops_project.tables.files import read_files


def read(path, **options):
    return read_files(str(path), {}, **options)


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.5, None], "c": ["x", "y", "ção"]})


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_csv_separator_is_found(tmp_path, frame, separator):
    frame.to_csv(tmp_path / "t.csv", sep=separator, index=False)
    read_back, notes = read(tmp_path / "t.csv")
    assert read_back["a"].tolist() == [1, 2, 3]
    assert read_back["c"].tolist() == ["x", "y", "ção"]
    assert notes == []


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(("first", "separator"), [("sep=;\n", ";"), ('"sep=,"\r\n', ","), ("sep=\t\n", "\t"), ("sep=^\n", "^")])
def test_line_that_names_the_separator_is_not_the_header(tmp_path, encoding, first, separator):
    (tmp_path / "t.csv").write_text(first + "a,b\n01,2\n".replace(",", separator), encoding=encoding, newline="")
    read_back, _ = read(tmp_path / "t.csv")
    assert read_back.to_dict("list") == {"a": ["01"], "b": [2]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_csv_in_unicode_is_read(tmp_path, frame, encoding):
    frame.to_csv(tmp_path / "t.csv", index=False, encoding=encoding)
    read_back, notes = read(tmp_path / "t.csv")
    assert list(read_back.columns) == ["a", "b", "c"]
    assert read_back["c"].iloc[2] == "ção"
    assert notes == []


def test_csv_in_a_windows_encoding_is_read_and_noted(tmp_path, frame):
    frame.to_csv(tmp_path / "t.csv", index=False, encoding="cp1252")
    read_back, (note,) = read(tmp_path / "t.csv")
    assert read_back["c"].iloc[2] == "ção"
    assert "not UTF-8; read as cp1252" in note


def test_wrong_byte_far_behind_the_sample_does_not_end_the_reading(tmp_path):
    lines = b"a,c\n" + b"1,plain text here\n" * 6000 + "2,ção\n".encode("cp1252")
    (tmp_path / "t.csv").write_bytes(lines)
    read_back, (note,) = read(tmp_path / "t.csv")
    assert read_back["c"].iloc[-1] == "ção"
    assert "cp1252" in note


def test_decimal_commas_and_thousands_points_are_numbers(tmp_path):
    (tmp_path / "t.csv").write_text("a;b\n1.234,5;x\n2.345,25;y\n0,5;z\n")
    assert read(tmp_path / "t.csv")[0]["a"].tolist() == [1234.5, 2345.25, 0.5]


def test_dotted_dates_beside_decimal_commas_stay_text(tmp_path):
    (tmp_path / "t.csv").write_text("a;day\n1,5;01.02.2026\n2,5;03.02.2026\n")
    read_back, _ = read(tmp_path / "t.csv")
    assert read_back["a"].tolist() == [1.5, 2.5]
    assert read_back["day"].tolist() == ["01.02.2026", "03.02.2026"]


def test_comma_separated_decimal_points_are_left_alone(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1.5,2.25\n3.5,4.125\n")
    assert read(tmp_path / "t.csv")[0]["b"].tolist() == [2.25, 4.125]


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".xz", ".zip"])
def test_packed_csv_is_unpacked(tmp_path, frame, ending):
    frame.to_csv(tmp_path / f"t.csv{ending}", index=False)
    assert read(tmp_path / f"t.csv{ending}")[0]["a"].tolist() == [1, 2, 3]


def test_codes_with_leading_zeros_stay_text(tmp_path):
    (tmp_path / "t.csv").write_text("zip,n\n01234,1\n99999,2\n00001,3\n")
    read_back, _ = read(tmp_path / "t.csv")
    assert read_back["zip"].tolist() == ["01234", "99999", "00001"]


def test_columns_asked_for_as_text_keep_their_digits(tmp_path):
    (tmp_path / "t.csv").write_text("code,n\n1.10,1\n1.1,2\n")
    assert read(tmp_path / "t.csv", texts=["code"])[0]["code"].tolist() == ["1.10", "1.1"]


def test_number_that_turns_to_text_late_in_the_file_is_text_everywhere(tmp_path):
    (tmp_path / "t.csv").write_text("a\n" + "1\n" * 300_000 + "x\n")
    column = read(tmp_path / "t.csv")[0]["a"]
    assert column.iloc[0] == "1"
    assert column.iloc[-1] == "x"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "the file is empty"),
        ("t.csv", b"  \n \n", "the file is empty"),
        ("t.csv", b"PAR1....", "this is not text, it is a Parquet file; give it the ending .parquet"),
        ("t.csv", b"PK\x03\x04....", "an Excel file or a zip archive; give it the ending .xlsx or .zip"),
        ("t.csv", b"\xd0\xcf\x11\xe0....", "an old Excel file; give it the ending .xls"),
        ("t.csv", gzip.compress(b"a,b\n1,2\n"), "packed with gzip; add .gz to its name"),
        ("t.csv", bz2.compress(b"a,b\n1,2\n"), "packed with bzip2; add .bz2 to its name"),
        ("t.csv", lzma.compress(b"a,b\n1,2\n"), "packed with xz; add .xz to its name"),
        ("t.csv", pickle.dumps({"a": list(range(9))}), "a pickle; loading one runs code"),
        ("t.csv", b"%PDF-1.4\n%\xe2\xe3", "a PDF; export the table as CSV"),
        ("t.csv", b"SQLite format 3\0", "name it as sqlite:///FILE, and with data.query what to read"),
        ("t.csv", b"\n<!DOCTYPE html><html>404</html>", "a web page and no table, perhaps an error or a login"),
        ("t.csv", b'[{"a": 1, "y": "no"}]', "this is JSON; write a line for each row"),
        ("t.csv.gz", b"a,b\n1,2\n", "it is not packed; take .gz out of its name"),
        ("t.csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:30], "the packed file is cut off; copy it again"),
        ("t", b"a,b\n1,2\n", "it has no ending; add that of what it is, such as .csv"),
        ("t.json", b"[]", r"write it as JSON lines \(\.jsonl\)"),
        ("t.pkl", pickle.dumps([1]), "loading a pickle runs code, so none is read"),
        ("t.yaml", b"a: 1", "this is a configuration, and the table's file is expected"),
        ("t.csv", b"a,a\n1,2\n", "column names stand twice in the header: a; rename them"),
        ("t.csv", b"a,b\n1,2,3\n4,5,6\n", r"more fields than the header has names \('a,b'\); mend the header"),
        ("t.csv", b"# exported\na,b\n1,2\n", r"more fields than the header has names \('# exported'\)"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", r"t\.csv: cannot be read: line 3 has 3 fields instead of 2; mend it, or put"),
        ("t.csv", b"a,b\n1,2\n\0\0\n", "zero bytes in it: binary data, or a rare encoding; save it as CSV in UTF-8"),
        ("t.csv", "a,b\n1,2\n".encode("utf-32"), "zero bytes in it"),
        ("t.csv", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "zero bytes in it"),
        ("t.xlsx", b"PK\x03\x04", "cannot be read as a spreadsheet"),
        ("t.docx", b"PK\x03\x04", "known endings: .csv"),
        ("t.jsonl", b'{"a": 1}\n{"a": }\n', "line 2 is not valid JSON"),
        ("t.jsonl", b"[1, 2]\n", "line 1 holds list values; expected an object per line"),
        ("t.jsonl", b"[\n{}]\n", "is it one JSON document over several lines"),
        ("t.jsonl", b"\n", "the file is empty"),
        ("t.feather", b"not arrow", "it is no Arrow file, or is cut off"),
        ("t.csv.zip", b"PK\x03\x04", "damaged or cut off"),
        ("t.parquet", b"not parquet", "it is no Parquet file, or is cut off"),
    ],
)
def test_unreadable_file_is_named_with_the_cure(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)


def test_broken_archive_is_named(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n")[:10])
    with pytest.raises(DataError, match=r"t\.csv\.gz: cannot be read"):
        read(tmp_path / "t.csv.gz")
    with zipfile.ZipFile(tmp_path / "t.csv.zip", "w") as archive:
        archive.writestr("one.csv", "a\n1\n")
    assert read(tmp_path / "t.csv.zip")[0]["a"].tolist() == [1]


def test_single_column_is_noted(tmp_path):
    (tmp_path / "t.csv").write_text("a:b\n1:2\n3:4\n")
    assert "single column; known separators" in read(tmp_path / "t.csv")[1][0]


def test_parquet_keeps_types_and_whole_numbers_with_gaps(tmp_path):
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None, 3], dtype="Int64"),
            "f": [0.5, None, 1.5],
            "flag": [True, False, True],
            "day": pd.to_datetime(["2026-01-01", None, "2026-01-03"]),
            "text": ["x", None, "z"],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    read_back, _ = read(tmp_path / "t.parquet")
    assert read_back["n"].dtype == "Int64"
    assert read_back["flag"].dtype == bool
    assert read_back["day"].dtype.kind == "M"
    assert read_back.isna().sum().tolist() == [1, 1, 0, 1, 1]


def test_folder_and_glob_read_every_file_and_skip_marks_and_hidden_ones(tmp_path, frame):
    for name in ("1.parquet", "2.parquet"):
        frame.to_parquet(tmp_path / name)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / ".hidden.parquet").write_bytes(b"x")
    (tmp_path / "notes.md").touch()
    assert len(read(tmp_path)[0]) == 6
    assert len(read(tmp_path / "*.parquet")[0]) == 6
    assert len(read(tmp_path / "2*.parquet")[0]) == 3


def test_hive_partitions_become_a_column(tmp_path, frame):
    for year in (2025, 2026):
        folder = tmp_path / f"year={year}"
        folder.mkdir()
        frame.to_parquet(folder / "part.parquet")
    read_back, _ = read(tmp_path)
    assert sorted(read_back["year"].astype(int).unique()) == [2025, 2026]


def test_hive_partitions_of_csv_files_become_a_column_too(tmp_path, frame):
    for year in (2025, 2026):
        folder = tmp_path / "country=ção" / f"year={year}"
        folder.mkdir(parents=True)
        frame.to_csv(folder / "part.csv", index=False)
    read_back, _ = read(tmp_path)
    assert read_back["year"].tolist() == ["2025"] * 3 + ["2026"] * 3
    assert set(read_back["country"]) == {"ção"}


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_folder_names_are_decoded_and_may_say_that_there_is_no_value(tmp_path, frame, ending):
    for name in ("city=S%C3%A3o%20Paulo%2FSP", "city=__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / name).mkdir()
        file = tmp_path / name / f"part.{ending}"
        if ending == "csv":
            frame.to_csv(file, index=False)
        elif ending == "jsonl":
            frame.to_json(file, orient="records", lines=True)
        else:
            frame.to_parquet(file)
    read_back, _ = read(tmp_path)
    assert read_back["city"].isna().sum() == 3
    assert set(read_back["city"].dropna()) == {"São Paulo/SP"}


def test_line_ends_inside_quotes_belong_to_the_name_and_the_value(tmp_path):
    (tmp_path / "t.csv").write_text('"a\nb",zip\n"x\ny",01234\nz,00001\n')
    read_back, _ = read(tmp_path / "t.csv")
    assert read_back["a\nb"].tolist() == ["x\ny", "z"]
    assert read_back["zip"].tolist() == ["01234", "00001"]


def test_integers_in_one_file_and_floats_in_another_become_floats(tmp_path):
    pd.DataFrame({"a": [1, 2]}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"a": [0.5, 1.5]}).to_parquet(tmp_path / "2.parquet")
    assert read(tmp_path)[0]["a"].tolist() == [1.0, 2.0, 0.5, 1.5]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_files_with_different_columns_are_refused(tmp_path, frame, ending):
    write = {"csv": lambda table, file: table.to_csv(file, index=False), "parquet": lambda table, file: table.to_parquet(file)}
    write[ending](frame, tmp_path / f"1.{ending}")
    write[ending](frame.rename(columns={"c": "d"}), tmp_path / f"2.{ending}")
    with pytest.raises(DataError, match="differ in their columns: c, d"):
        read(tmp_path)


def test_mixed_folder_and_empty_folder_are_refused(tmp_path, frame):
    with pytest.raises(DataError, match="no table files there"):
        read(tmp_path)
    frame.to_csv(tmp_path / "1.csv", index=False)
    frame.to_parquet(tmp_path / "2.parquet")
    with pytest.raises(DataError, match="CSV and Parquet files are there"):
        read(tmp_path)


def test_any_fsspec_address_works(frame):
    with fsspec.open("memory://folder/t.parquet", "wb") as file:
        frame.to_parquet(file)
    assert read_files("memory://folder/t.parquet", {})[0]["a"].tolist() == [1, 2, 3]
    assert read_files("memory://folder", {})[0]["a"].tolist() == [1, 2, 3]
    with pytest.raises(DataError, match=r"no such file: memory://folder/u\."):
        read_files("memory://folder/u.csv", {})


def test_address_without_a_driver_says_what_is_missing():
    with pytest.raises(DataError, match=r"nosuch://bucket/t\.csv"):
        read_files("nosuch://user:hunter2@bucket/t.csv", {})
    with pytest.raises(DataError) as caught:
        read_files("nosuch://user:hunter2@bucket/t.csv", {})
    assert "hunter2" not in str(caught.value)


def test_words_for_a_missing_value_stay_texts_among_texts_and_are_gaps_among_numbers(tmp_path):
    late = "".join(f"{row},{row},DE\n" for row in range(20_000))  # columns that turn out to be texts after the sample
    (tmp_path / "t.csv").write_text(f"number,late,country\n1,2,NA\nNA,NA,None\n,,\n{late}3,x,NA\n")
    frame, _ = read(tmp_path / "t.csv")
    assert frame["number"].dtype == "Int64"
    assert frame["number"].isna().sum() == 2
    assert frame["country"].fillna("-").tolist()[:4] == ["NA", "None", "-", "DE"]
    assert frame["late"].fillna("-").tolist()[:4] == ["2", "NA", "-", "0"]
