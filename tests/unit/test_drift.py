"""``mlops drift``: a table against another one."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from mlops_project.cli import main


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Path:
    """A year's rows, another year's like them, and one in which people are older and one city is gone."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(0)

    def draw(n_rows: int, age: float, cities: list[str]) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "age": rng.normal(age, 10, n_rows).round(1),
                "income": rng.gamma(3, 900, n_rows).round(2),
                "city": rng.choice(cities, n_rows),
                "y": rng.integers(0, 2, n_rows),
                "member": np.arange(n_rows) % 3 == 0,
            }
        )

    draw(1200, 40, ["Recife", "Natal", "Olinda"]).to_csv(folder / "before.csv", index=False)
    draw(600, 40, ["Recife", "Natal", "Olinda"]).to_csv(folder / "alike.csv", index=False)
    draw(600, 52, ["Recife", "Natal"]).to_parquet(folder / "moved.parquet")
    draw(600, 40, ["Recife"]).drop(columns="age").to_csv(folder / "narrow.csv", index=False)
    draw(600, 40, ["Recife"]).rename(columns=lambda name: f"{name}_2").to_csv(folder / "other.csv", index=False)
    draw(5, 40, ["Recife"]).to_csv(folder / "few.csv", index=False)
    return folder


@pytest.fixture
def drift(tables, monkeypatch) -> Callable[..., Result]:
    monkeypatch.chdir(tables)
    return lambda *arguments: CliRunner().invoke(main, ["drift", *arguments])


def test_table_that_is_alike_is_quiet_and_exits_0(drift):
    done = drift("alike.csv", "--reference", "before.csv", "--target", "y")
    assert done.exit_code == 0, done.output
    assert "quiet" in done.stdout.splitlines()[-1]
    assert "age" in done.stdout
    assert " y " not in done.stdout


def test_table_that_moved_names_what_moved_and_exits_3(drift, tmp_path):
    page = tmp_path / "page.html"
    done = drift("moved.parquet", "--reference", "before.csv", "--drop", "y", "--report", str(page))
    assert done.exit_code == 3, done.output
    assert "moved.parquet against before.csv" in page.read_text()
    found = json.loads(drift("moved.parquet", "--reference", "before.csv", "--drop", "y", "--json").stdout)
    assert {item["name"] for item in found["features"] if item["drifted"]} == {"age", "city"}


FAULTS = {
    "infinite": ("income", lambda frame: frame.income.where(frame.index % 100 > 0, np.inf), "6 (is not finite"),
    "words": ("age", lambda frame: frame.age.astype(str).where(frame.index != 3, "forty"), "1 (expected a number"),
    "texts": ("age", lambda _: "old", "600 (expected a number"),
    "numbers": ("city", lambda frame: frame.city.map(len), "100.0% with values that the model does not"),
    "nulls": ("city", lambda frame: frame.city.where(frame.index % 10 > 0), "10.0% missing"),
    "gaps": ("y", lambda frame: frame.y.where(frame.index % 10 > 0), "10.0% missing"),
    "maybe": ("member", lambda _: "maybe", "600 (expected true or false"),
    "halves": ("y", lambda frame: frame.y + 0.5, "600 (expected a whole number"),
}


@pytest.mark.parametrize(("fault", "ending"), [*((fault, "parquet") for fault in FAULTS), ("infinite", "csv")])
def test_faulty_column_is_named_and_the_others_are_judged(drift, fault, ending, tmp_path):
    name, change, words = FAULTS[fault]
    frame, file = pd.read_csv("alike.csv"), tmp_path / f"faulty.{ending}"
    frame[name] = change(frame)
    frame.to_csv(file, index=False) if ending == "csv" else frame.to_parquet(file)
    done = drift(str(file), "--reference", "before.csv", "--json")
    assert done.exit_code == 3, done.output
    found = {item["name"]: item for item in json.loads(done.stdout)["features"]}
    assert words in "; ".join(found[name]["quality"])
    assert [item["name"] for item in found.values() if item["quality"]] == [name]
    assert not any(item["drifted"] for item in found.values() if item["name"] != name)
    assert set(found) == {"age", "income", "city", "y", "member"}


def test_other_columns_of_a_faulty_file_drift_as_ever(drift, tmp_path):
    frame = pd.read_parquet("moved.parquet")
    frame.assign(income=frame.income.where(frame.index > 9, -np.inf)).to_parquet(tmp_path / "both.parquet")
    done = drift(str(tmp_path / "both.parquet"), "--reference", "before.csv", "--drop", "y")
    assert done.exit_code == 3
    assert "faulty: income: values that cannot be read: 10" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("drift: 600 rows")
    assert "age (Jensen" in done.stdout


def test_column_of_the_reference_that_cannot_be_compared_is_named_and_left_out(drift, tmp_path):
    frame = pd.read_csv("before.csv")
    frame.assign(income=frame.income.where(frame.index > 0, np.inf)).to_csv(tmp_path / "before.csv", index=False)
    done = drift("alike.csv", "--reference", str(tmp_path / "before.csv"))
    assert done.exit_code == 0, done.output
    assert "not compared: in before.csv column 'income' has 1 infinite values" in done.stderr
    assert "income" not in done.stdout


def test_columns_that_only_one_table_has_are_named_and_the_others_judged(drift, tmp_path):
    frame = pd.read_csv("alike.csv").rename(columns={"age": "AGE"}).assign(empty=None)
    frame[frame.columns[::-1]].to_csv(tmp_path / "alike.csv", index=False)
    done = drift(str(tmp_path / "alike.csv"), "--reference", "before.csv")
    assert done.exit_code == 0, done.output
    assert "not compared: column 'age' is not in" in done.stderr
    assert "; is it 'AGE' there?" in done.stderr
    assert "no change of 4 features beyond chance" in done.stdout
    done = drift("alike.csv", "--reference", str(tmp_path / "alike.csv"))
    assert "not compared: in alike.csv column 'empty' has no values" in done.stderr


def test_each_change_is_a_plain_sentence(drift):
    said = drift("moved.parquet", "--reference", "before.csv", "--drop", "y").stdout
    assert "changed: age: half of the values are over 5" in said
    assert re.search(r"before over (39|40)\.", said)
    assert "changed: city: Olinda is 0.0% of the rows instead of 3" in said
    assert "the model" not in said


def test_segment_is_named_only_where_the_others_hardly_changed(drift, tmp_path):
    frame = pd.read_csv("alike.csv")
    everywhere = frame.assign(income=frame.income * 1000)
    everywhere.to_csv(tmp_path / "unit.csv", index=False)
    said = drift(str(tmp_path / "unit.csv"), "--reference", "before.csv").stdout
    assert "changed: income: its values go from" in said
    assert "not elsewhere" not in said
    there = frame.assign(income=frame.income.where(frame.city != "Natal", frame.income + 9000))
    there.to_csv(tmp_path / "there.csv", index=False)
    assert "changed: where city = Natal (" in drift(str(tmp_path / "there.csv"), "--reference", "before.csv").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("alike.csv", "--reference", "before.csv", "--model", "artifacts"), "--reference and --model exclude each other"),
        (("alike.csv", "--drop", "y"), "--drop and --target go with --reference"),
        (("alike.csv",), "artifacts/model: no such directory; `mlops train CONFIG.yaml` writes a model there"),
        (("alike.csv", "--reference", "before.csv", "--drop", "z"), "'z'"),
        (("other.csv", "--reference", "before.csv"), "other.csv: does not fit before.csv, they have no column in common\n"),
        (("few.csv", "--reference", "before.csv"), "few.csv: 5 rows are too few to compare"),
        (("none.csv", "--reference", "before.csv"), "none.csv"),
        (("alike.csv", "--reference", "few.csv"), "too few for a reference"),
    ],
)
def test_what_cannot_be_compared_is_said_with_the_cure(drift, arguments, message):
    done = drift(*arguments)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert "unexpected" not in done.stderr
