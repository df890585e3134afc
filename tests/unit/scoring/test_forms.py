"""Files to score are read by the layout of the training file, as far as they are of that kind, and as they are otherwise."""

import io
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.errors import DataError
from mlops_project.scoring.files import TableFile, read_frames
from mlops_project.scoring.forms import read_settings
from mlops_project.scoring.local import check_file
from mlops_project.tables.layout import LayoutSettings

CONTRACT = Contract((Feature("age", "integer"), Feature("pay", "float"), Feature("city", "string")), "y", "regression")
UNNAMED = Contract((Feature("column_1", "integer"), Feature("column_3", "float")), "column_2", "regression")
FRAME = pd.DataFrame({"age": range(20, 60), "pay": [row / 4 + 1000 for row in range(40)], "city": ["Rome", "Łódź"] * 20})


def read(text: str | bytes, contract: Contract = CONTRACT, **settings) -> pd.DataFrame:
    stream = io.BytesIO(text.encode() if isinstance(text, str) else text)
    return pd.concat(list(TableFile(stream, contract, LayoutSettings(**settings)).read_chunks()), ignore_index=True)


def same(frame: pd.DataFrame, expected: pd.DataFrame = FRAME) -> None:
    pd.testing.assert_frame_equal(frame, expected, check_dtype=False)


def test_settings_of_a_bundle_are_read_and_older_bundles_have_none():
    assert read_settings({}) == LayoutSettings()
    assert read_settings({"data": {"source": "t.csv"}}) == LayoutSettings()
    saved = {"data": {"header": [1, 2], "names": [], "separator": ";", "skip_footer": 1, "sheet": None}}
    assert read_settings(saved) == LayoutSettings(header=(1, 2), separator=";", skip_footer=1)


def test_file_laid_out_like_the_training_file_is_read_like_it():
    text = FRAME.to_csv(index=False, sep=";", decimal=",")
    same(read(f"Report;;\n;;\n{text}Total;;x\n", skip_rows=2, skip_footer=1))
    same(read(text.replace("\n", "\nint;float;str\n", 1), skip_rows=(2,)))
    same(read(FRAME.to_csv(index=False, sep="~").encode("cp1250"), separator="~", encoding="cp1250"))
    same(read(FRAME.assign(city="a").to_string(index=False), separator="fixed"), FRAME.assign(city="a"))
    same(read("\n".join(f'"{line}"' for line in text.splitlines())))
    both = "person;;home\nage;pay;city\n" + text.split("\n", 1)[1]
    joined = Contract((Feature("person age", "integer"), Feature("person pay", "float")), "y", "regression")
    assert list(read(both, joined, header=(1, 2))) == ["person age", "person pay", "home city"]


def test_file_without_the_oddities_of_the_training_file_is_read_as_it_is():
    plain = FRAME.to_csv(index=False)
    settings = {"skip_rows": 2, "skip_footer": 1, "separator": ";", "decimal": ",", "thousands": ".", "encoding": "cp1250"}
    same(read(plain, **settings))
    same(read(plain, skip_rows=(2,)))
    same(read(plain, header=(1, 2)))
    same(read(plain, skip_rows=99))
    same(read(plain, header=False, names=("age", "pay", "city")))
    same(read(FRAME.to_csv(index=False, sep=";"), **settings))  # decimal points, although training had commas


def test_titles_that_training_did_not_have_are_skipped():
    same(read("Report,,\n" + FRAME.to_csv(index=False)))


def test_last_row_is_left_out_only_if_it_is_no_data():
    text = FRAME.to_csv(index=False)
    for footer in ("Gesamt,,\n", ",5.5,\n", "Source: me\n", "1,x,y\n"):
        same(read(text + footer, skip_footer=1))
    file = TableFile(io.BytesIO((text + "Total,,\n").encode()), CONTRACT, LayoutSettings(skip_footer=1))
    assert check_file(file, CONTRACT).left_out == ("Total,,\n",)
    same(read(text, skip_footer=3))


def test_file_without_names_is_read_by_the_number_of_its_columns():
    text = FRAME.to_csv(index=False, header=False)
    same(read(text, header=False, names=("age", "pay", "city")))
    assert read("1,2,3.5\n4,5,6.5\n", UNNAMED, header=False)["column_3"].tolist() == [3.5, 6.5]
    many = "".join(f"{row},{row * 7 % 5},{row * 3 % 7}.5\n" for row in range(30))
    assert len(read(many, UNNAMED, header=False)) == 30
    with pytest.raises(DataError, match=r"the rows have 2 fields and no names; .* whose 3 columns are known by their number"):
        read("1,3.5\n4,6.5\n", UNNAMED, header=False)
    assert read("column_3,column_1\n3.5,1\n", UNNAMED, header=False)["column_1"].tolist() == [1]
    with pytest.raises(DataError, match=r"data\.names has 3 names, and the rows have 2 fields"):
        read("1,2\n3,4\n", header=False, names=("age", "pay", "city"))


def test_member_of_the_training_archive_is_read_where_there_is_one(tmp_path: Path):
    for members, expected in ((("a.csv", "b.csv"), 40), (("other.csv",), 40)):
        with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
            for member in members:
                archive.writestr(member, "x\n1\n" if member == "a.csv" else FRAME.to_csv(index=False))
        assert sum(map(len, read_frames(tmp_path / "t.zip", CONTRACT, LayoutSettings(member="b.csv")))) == expected


def test_local_file_of_any_kind_is_read(tmp_path: Path):
    writers = {
        "t.csv": FRAME.to_csv,
        "t.csv.gz": FRAME.to_csv,
        "t.parquet": FRAME.to_parquet,
        "t.feather": FRAME.to_feather,
        "t.xlsx": FRAME.to_excel,
    }
    for name, write in writers.items():
        write(tmp_path / name, **({} if name.endswith(("feather", "parquet")) else {"index": False}))
    FRAME.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    for name in (*writers, "t.jsonl"):
        frame = pd.concat(list(read_frames(tmp_path / name, CONTRACT, LayoutSettings())))
        same(frame)
        assert not any(isinstance(kind, pd.api.extensions.ExtensionDtype) and kind.na_value is pd.NA for kind in frame.dtypes)
