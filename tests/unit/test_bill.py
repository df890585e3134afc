import json
from dataclasses import replace

import msgspec
import pytest
from click.testing import CliRunner
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation import make_schemabased_validator

from mlops_project.bill import build_bill
from mlops_project.bundle import MODEL_FILE, publish, stage
from mlops_project.cli import main
from mlops_project.findings import Finding

VALIDATOR = make_schemabased_validator(OutputFormat.JSON, SchemaVersion.V1_6)


def check(bill: dict) -> None:
    problem = VALIDATOR.validate_str(msgspec.json.encode(bill).decode())
    assert problem is None, problem


@pytest.fixture
def told(tmp_path, tiny_metadata, tiny_model):
    """A bundle that says everything that a bill takes."""
    found = Finding(code="imbalanced-target", seen="3 of 100 rows", why="w", cure="c", severity="warning")
    metadata = msgspec.structs.replace(
        tiny_metadata,
        metrics={"roc_auc": 0.91234567},
        metric_intervals={"roc_auc": (0.9, 0.93)},
        libraries={"python": "3.11.7", "scikit-learn": "1.9.1"},
        findings=(found,),
        git_commit="a" * 40,
    )
    target = tmp_path / "told"
    with stage(target) as folder:
        (folder / MODEL_FILE).write_bytes(tiny_model)
        return publish(folder, target, metadata)


def test_bill_is_valid_and_says_what_the_model_is_and_how_good(told):
    bill = build_bill(told)
    check(bill)
    model = bill["metadata"]["component"]
    assert (model["name"], model["version"]) == ("tiny", told.digest[:12])
    assert {item["name"]: item["hashes"][0]["content"] for item in model["components"]} == {
        "metadata.json": told.digest,
        **told.metadata.files,
    }
    card = model["modelCard"]
    assert card["modelParameters"]["task"] == "classification"
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {
            "type": "roc_auc",
            "value": "0.912346",
            "slice": "held-out rows",
            "confidenceInterval": {"lowerBound": "0.9", "upperBound": "0.93"},
        }
    ]
    assert card["considerations"]["technicalLimitations"] == ["imbalanced-target: 3 of 100 rows"]
    assert [item["bom-ref"] for item in bill["components"]] == ["platform:python@3.11.7", "pkg:pypi/scikit-learn@1.9.1"]


def test_bill_says_what_the_owner_says(tmp_path, told):
    card = {"intended_use": "to call people", "out_of_scope": "prices", "owner": "analytics", "contact": "a@example.com"}
    config = told.metadata.config | {"card": card | {"licence": "Apache-2.0"}}
    changed = replace(told, metadata=msgspec.structs.replace(told.metadata, config=config))
    bill = build_bill(changed)
    check(bill)
    model = bill["metadata"]["component"]
    assert model["supplier"] == {"name": "analytics", "contact": [{"name": "a@example.com"}]}
    assert model["licenses"] == [{"license": {"name": "Apache-2.0"}}]
    assert model["modelCard"]["considerations"]["useCases"] == ["to call people"]
    assert model["modelCard"]["considerations"]["technicalLimitations"][0] == "out of scope: prices"


def test_bill_of_a_bundle_that_says_little_is_valid_and_always_the_same(tiny_bundle):
    bill = build_bill(tiny_bundle)
    check(bill)
    assert build_bill(tiny_bundle) == bill


def test_command_prints_a_bill_and_writes_it(told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    printed = CliRunner().invoke(main, ["bill", "--model", str(told.path)])
    assert printed.exit_code == 0, printed.output
    written = CliRunner().invoke(main, ["bill", "--model", str(told.path), "-o", "bill.json"])
    assert "tiny version" in written.output
    assert json.loads((tmp_path / "bill.json").read_text()) == json.loads(printed.output)
    refused = CliRunner().invoke(main, ["bill", "--model", str(told.path), "-o", "nowhere/bill.json"])
    assert (refused.exit_code, "cannot be written" in refused.stderr) == (2, True)
