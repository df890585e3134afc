"""Packed files that `mlops score` reads: nothing of them is left out without a word."""

import bz2
import gzip
import zipfile

import pandas as pd
import pytest

from mlops_project.errors import DataError
from mlops_project.scoring.batch import Options, score_table

ROWS = "id,x\n" + "".join(f"{row},0.{row:03}\n" for row in range(400))


def pack(file, **members: str) -> str:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("_", "."), text)
    return str(file)


def test_only_table_of_an_archive_is_scored(tiny_bundle, tmp_path):
    place = pack(tmp_path / "in.zip", readme_md="see a.csv", a_csv=ROWS)
    score_table(place, str(tmp_path / "out.parquet"), tiny_bundle, Options())
    assert pd.read_parquet(tmp_path / "out.parquet")["id"].tolist() == [str(row) for row in range(400)]


def test_second_table_of_an_archive_is_not_ignored(tiny_bundle, tmp_path):
    place = pack(tmp_path / "in.csv.zip", a_csv=ROWS, b_csv=ROWS)
    with pytest.raises(DataError, match=r"in\.csv\.zip: the archive holds 2 tables \(a\.csv, b\.csv\)"):
        score_table(place, str(tmp_path / "out.csv"), tiny_bundle, Options())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("in.csv.bz2", bz2.compress(ROWS.encode()) + b"rest"),
        ("in.csv.gz", gzip.compress(ROWS.encode())[:60] + b"\0" * 60),
        ("in.csv.zip", b"PK\x03\x04" + b"\0" * 99),
    ],
    ids=["bzip2", "gzip", "zip"],
)
def test_damaged_file_is_an_error_that_names_it(tiny_bundle, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"{name}: .*damaged"):
        score_table(str(tmp_path / name), str(tmp_path / "out.csv"), tiny_bundle, Options())
