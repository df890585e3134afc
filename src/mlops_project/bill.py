"""Bill: what a model consists of, as CycloneDX 1.6 with a model card. ``mlops bill``."""

import uuid
from pathlib import Path
from typing import Any

import click
import msgspec

from mlops_project.bundle import METADATA_FILE, Bundle, load_bundle
from mlops_project.command import WorkflowCommand, config_options, echo
from mlops_project.config import Config
from mlops_project.errors import ConfigError, explain_os
from mlops_project.sections.card import read_card

SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"  # the schema's own name
NAMESPACE = uuid.UUID("9e0f2a34-6b0c-5f5e-9f6f-0c2f6d1c7a51")  # of serial numbers: the same bundle has the same one
TASKS = {"binary": "classification", "multiclass": "classification", "regression": "regression"}


def build_bill(bundle: Bundle) -> dict[str, Any]:
    """Return a bundle's bill of materials, with its model card, as plain values."""
    metadata = bundle.metadata
    model = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{bundle.digest[:12]}",
        "name": metadata.name,
        "version": bundle.version,
        "description": f"{metadata.estimator}, predicts {metadata.contract.target}",
        "hashes": [{"alg": "SHA-256", "content": bundle.digest}],
        "properties": [{"name": f"mlops_project:{name}", "value": value} for name, value in _list_properties(bundle)],
        "components": [
            {"type": "file", "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}
            for name, digest in {METADATA_FILE: bundle.digest, **metadata.files}.items()
        ],
        "modelCard": _build_card(bundle),
        **_build_owner(bundle),
    }
    libraries = [_build_library(name, version) for name, version in sorted(metadata.libraries.items())]
    references = [item["bom-ref"] for item in libraries]
    return {
        "$schema": SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, bundle.digest)}",
        "version": 1,
        "metadata": {"timestamp": metadata.created_at, "component": model},
        "components": libraries,
        "dependencies": [{"ref": model["bom-ref"], "dependsOn": references}],
    }


def _list_properties(bundle: Bundle) -> list[tuple[str, str]]:
    metadata = bundle.metadata
    given = {
        "engine": metadata.engine,
        "config_digest": metadata.config_digest,
        "git_commit": metadata.git_commit or "",
        "train_rows": str(metadata.train_rows),
        "test_rows": str(metadata.test_rows),
    }
    return [(name, value) for name, value in given.items() if value]


def _build_library(name: str, version: str) -> dict[str, Any]:
    if name == "python":
        return {"type": "platform", "bom-ref": f"platform:{name}@{version}", "name": name, "version": version}
    address = f"pkg:pypi/{name.lower().replace('_', '-')}@{version}"
    return {"type": "library", "bom-ref": address, "name": name, "version": version, "purl": address}


def _build_card(bundle: Bundle) -> dict[str, Any]:
    metadata, contract = bundle.metadata, bundle.metadata.contract
    dataset = {
        "type": "dataset",
        "name": metadata.data_source,
        "contents": {"properties": [{"name": "sha256", "value": metadata.data_digest}]},
    }
    outputs = [*contract.class_names] or [contract.target]
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": TASKS[contract.task],
            "modelArchitecture": metadata.estimator,
            "datasets": [dataset],
            "inputs": [{"format": f"{feature.name}: {feature.type}"} for feature in contract.features],
            "outputs": [{"format": name} for name in outputs],
        },
        "quantitativeAnalysis": {"performanceMetrics": [_build_metric(bundle, name) for name in metadata.metrics]},
        "considerations": _build_considerations(bundle),
    }


def _build_considerations(bundle: Bundle) -> dict[str, Any]:
    card, findings = read_card(bundle.metadata.config), bundle.metadata.findings
    limits = [f"out of scope: {card.out_of_scope}"] if card.out_of_scope else []
    limits += [f"{item.code}: {item.seen}" for item in findings if not item.accepted]
    return {"technicalLimitations": limits, **({"useCases": [card.intended_use]} if card.intended_use else {})}


def _build_owner(bundle: Bundle) -> dict[str, Any]:
    card = read_card(bundle.metadata.config)
    supplier = {"name": card.owner} if card.owner else {}
    contact = {"contact": [{"name": card.contact}]} if card.contact else {}
    return {
        **({"supplier": supplier | contact} if supplier or contact else {}),
        **({"licenses": [{"license": {"name": card.licence}}]} if card.licence else {}),
    }


def _build_metric(bundle: Bundle, name: str) -> dict[str, Any]:
    metric: dict[str, Any] = {"type": name, "value": f"{bundle.metadata.metrics[name]:.6g}", "slice": "held-out rows"}
    bounds = bundle.metadata.metric_intervals.get(name)
    if bounds is not None:
        low, high = (f"{bound:.6g}" for bound in bounds)
        metric["confidenceInterval"] = {"lowerBound": low, "upperBound": high}
    return metric


@click.command(
    cls=WorkflowCommand,
    name="bill",
    examples=("mlops bill churn.yaml", "mlops bill --model artifacts/churn -o churn.cdx.json"),
)
@config_options
@click.option("--model", type=click.Path(path_type=Path), metavar="DIR", help="Bundle; default the exported model.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Default: the terminal.")
def command(config: Config, model: Path | None, output: Path | None) -> None:
    """List what a model consists of, as CycloneDX 1.6: files, data, libraries, and a model card with its metrics."""
    bundle = load_bundle(model or config.model_dir, trust=config.trust_policy)
    text = msgspec.json.format(msgspec.json.encode(build_bill(bundle)), indent=2)
    if output is None:
        click.echo(text.decode())
        return
    try:
        output.write_bytes(text + b"\n")
    except OSError as error:
        raise ConfigError(f"{output}: cannot be written: {explain_os(error)}") from error
    echo(f"{output}: {bundle.metadata.name} version {bundle.version}, {len(bundle.metadata.files) + 1} files")


if __name__ == "__main__":
    command()
