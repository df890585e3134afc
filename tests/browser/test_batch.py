import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import load_bundle
from mlops_project.runtime import Runtime


def upload(page, name: str, content: bytes) -> None:
    page.page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(
        {"name": name, "mimeType": "text/csv", "buffer": content}
    )
    page.page.wait_for_timeout(500)
    page.settle()


def reference(folder) -> pd.DataFrame:
    bundle = load_bundle(folder / "artifacts/model")
    return pd.read_parquet(bundle.path / "reference.parquet").drop(columns=bundle.contract.target)


def download(page, name: str) -> bytes:
    with page.page.expect_download() as started:
        page.page.get_by_role("button", name=name).click()
    return Path(started.value.path()).read_bytes()


def test_upload_is_checked_scored_and_downloaded(visit, default_application, default_folder):
    page = visit(default_application, "batch")
    rows = reference(default_folder).assign(patient=[f"00{row}" for row in range(len(reference(default_folder)))])
    rows.loc[0, "patient"] = "=HYPERLINK(A1)"
    upload(page, "cases.csv", rows.to_csv(index=False).encode())
    page.page.get_by_text(f"{len(rows)} rows, nothing wrong.").wait_for()
    page.press(f"Score {len(rows)} rows")
    page.page.get_by_text("rows scored in").wait_for()
    result = pd.read_csv(io.BytesIO(download(page, "Download the result")), dtype={"patient": str})
    bundle = load_bundle(default_folder / "artifacts/model")
    expected = Runtime.load(bundle).predict({name: rows[name].to_numpy() for name in bundle.contract.names})
    np.testing.assert_allclose(result["probability benign"], expected.probabilities[:, 1], atol=1e-12)
    assert result["patient"].tolist()[:2] == ["'=HYPERLINK(A1)", "001"]


def test_problems_are_listed_and_nothing_is_scored(visit, default_application, default_folder):
    page = visit(default_application, "batch")
    rows = reference(default_folder).astype(object)
    rows.loc[2, "mean area"] = "big"
    upload(page, "bad.csv", rows.rename(columns={"mean radius": "radius"}).to_csv(index=False).encode())
    page.page.get_by_text("2 problems must be mended").wait_for()
    assert page.page.get_by_role("button", name="Score").count() == 0


def test_rows_that_do_not_fit_are_left_out_and_come_back_with_reasons(visit, default_application, default_folder):
    page = visit(default_application, "batch")
    rows = reference(default_folder).head(40).astype(object)
    rows.loc[[2, 7], "mean area"] = "big"
    upload(page, "some.csv", rows.to_csv(index=False).encode())
    page.press("Score the 38 rows that fit, list the other 2")
    page.page.get_by_text("For a person to decide:").wait_for()
    left = pd.read_csv(io.BytesIO(download(page, "Download the rows left out, with reasons")))
    assert left["row of the file"].tolist() == [3, 8]
    assert left["why it was left out"].str.contains("mean area").all()
    result = pd.read_csv(io.BytesIO(download(page, "Download the result")))
    assert len(result) == 38
    assert {"possible benign", "abstain"} <= set(result)


def test_file_that_is_no_table_gets_a_sentence(visit, default_application):
    page = visit(default_application, "batch")
    upload(page, "photo.csv", bytes(range(256)) * 40)
    page.page.get_by_text("This file cannot be read").wait_for()


def test_parquet_comes_back_as_parquet(visit, mixed_application, mixed_folder):
    page = visit(mixed_application, "batch")
    bundle = load_bundle(mixed_folder / "artifacts/served/iris/champion")
    rows = pd.read_parquet(bundle.path / "reference.parquet")
    stream = io.BytesIO()
    rows.to_parquet(stream)
    upload(page, "iris.parquet", stream.getvalue())
    page.press(f"Score {len(rows)} rows")
    result = pd.read_parquet(io.BytesIO(download(page, "Download the result")))
    assert len(result) == len(rows)
    assert {f"predicted {bundle.contract.target}", *(f"probability {name}" for name in bundle.contract.class_names)} <= set(
        result
    )


def as_xlsx() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "locale", "words"),
    [
        ("cases.xlsx", as_xlsx(), "en-US", "Save the sheet as CSV"),
        ("cases.ods", as_xlsx(), "pt-BR", "Salve a planilha como CSV"),
        ("cases.xls", b"\xd0\xcf\x11\xe0" + bytes(600), "en-US", "Save the sheet as CSV"),
    ],
    ids=["xlsx", "ods", "xls"],
)
def test_spreadsheet_gets_a_sentence(visit, default_application, name, content, locale, words):
    page = visit(default_application, "batch", locale=locale)
    upload(page, name, content)
    page.page.get_by_text(words).wait_for()


def test_excels_line_with_the_separator_and_decimal_commas_are_read(visit, default_application, default_folder):
    page = visit(default_application, "batch")
    rows = reference(default_folder)
    upload(page, "cases.csv", b"sep=;\r\n" + rows.to_csv(index=False, sep=";", decimal=",").encode())
    page.page.get_by_text(f"{len(rows)} rows, nothing wrong.").wait_for()


def test_column_that_was_emptied_is_a_problem(visit, default_application, default_folder):
    page = visit(default_application, "batch")
    upload(page, "cases.csv", reference(default_folder).assign(**{"mean area": None}).to_csv(index=False).encode())
    page.page.get_by_test_id("stAlert").filter(has_text="must be mended").wait_for()
    cell = page.page.get_by_role("gridcell", name="mean area", exact=True, include_hidden=True)  # tables are pictures
    cell.wait_for(state="attached")
    assert page.page.get_by_role("button", name="Score").count() == 0
