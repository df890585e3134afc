"""What a training leaves behind, and how it is told: on the terminal, with what to do next, and as JSON."""

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from mlops_project.bundle import Bundle
from mlops_project.command import echo, echo_wrapped
from mlops_project.config import Config
from mlops_project.findings import Finding, format_finding
from mlops_project.notebook import write_table

if TYPE_CHECKING:
    from mlops_project.modeling.evaluation import Evaluation
    from mlops_project.modeling.gate import Decision
    from mlops_project.tracking.runs import LoggedRun

EXAMPLE_REQUEST = "serving_input_example.json"  # MLflow writes it beside its model
EVERY_HOST = ("0.0.0.0", "::")  # noqa: S104 - to be recognised
NOT_GOOD_ENOUGH = ("not_better_than_dummy", "below_minimum", "barred")  # verdicts without a champion's part


@dataclass(frozen=True)
class Training:
    """What a training run leaves behind.

    Attributes
    ----------
    bundle
        The exported model.
    evaluation
        How good it is.
    warnings
        What the data made the trainer assume.
    run
        The MLflow run; None if nothing was logged.
    not_logged
        Why not, in words; None if it was.
    decision
        What the gate said; None if it was not asked.
    """

    bundle: Bundle
    evaluation: "Evaluation"
    warnings: tuple[str, ...]
    run: "LoggedRun | None" = None
    not_logged: str | None = None
    decision: "Decision | None" = None

    @property
    def metrics(self) -> dict[str, float]:
        """Metric → value on the held-out rows."""
        return self.bundle.metadata.metrics

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found in the table and the model, the gravest first."""
        return self.bundle.metadata.findings

    def _repr_html_(self) -> str:
        """Return how good the model is, what was found and what happened, for notebooks."""
        shown = self.evaluation._repr_html_()
        if self.findings:
            rows = [(found.severity, found.code, f"{found.seen}; {found.why}; {found.cure}") for found in self.findings]
            shown += write_table("findings", ("severity", "code", "what, why, cure"), rows)
        facts = [*(("warning", note) for note in self.warnings), *_list_facts(self)]
        return shown + write_table("", ("", ""), facts)


def _list_facts(result: Training) -> Iterator[tuple[str, str]]:
    """Yield where the model is and what happened to it, each with its name."""
    yield "model", str(result.bundle.path)
    yield "report", f"{result.bundle.path / 'report.html'} (for a browser)"
    if result.run is not None:
        yield "run", f"{result.run.run_id} in {result.run.uri}, version {result.run.model_version} of {result.run.model_name}"
    if result.not_logged is not None:
        yield "not logged", result.not_logged
    if result.decision is not None:
        said = "passed" if result.decision.verdict == "rollout" else "promoted" if result.decision.promote else "not promoted"
        yield "gate", f"{said}: {result.decision.reason}"


def print_outcome(result: Training, config: Config) -> None:
    """Print how good the model is, what was found and what happened."""
    from mlops_project.modeling.evaluation import format_summary

    basis, *lines = format_summary(result.evaluation).split("\n")
    echo_wrapped(basis)
    echo(*lines, "")
    echo_wrapped(*_describe(result, config))


def _describe(result: Training, config: Config) -> Iterator[str]:
    """Yield what was found and what happened, one line each."""
    metadata = result.bundle.metadata
    if metadata.choice is not None:
        yield f"estimator: auto chose {metadata.estimator}: {metadata.choice.reason}"
    for finding in metadata.findings:
        yield from format_finding(finding)
    contract, truth = result.bundle.contract, result.evaluation.scored.truth
    if contract.task == "binary":
        from mlops_project.tables.positive import describe_positive, explain_positive

        (other, label), (_, name), chosen = contract.classes, contract.class_names, config.positive_class is None
        why = explain_positive(label, other, config.data.class_names)
        yield describe_positive(label, float(truth.mean()), name=name, of="the held-out rows", chosen=chosen, why=why)
        yield from _describe_decision(result)
    if metadata.uncertainty is not None:
        from mlops_project.modeling.conformal import describe_uncertainty

        yield f"uncertainty: {describe_uncertainty(metadata.uncertainty, contract)}"
    for note in result.warnings:
        yield f"warning: {note}"
    yield from (f"{name}: {text}" for name, text in _list_facts(result))


def _describe_decision(result: Training) -> Iterator[str]:
    """Yield from which probability on the model says yes, and what that changes; nothing where its own rule decides."""
    contract, choice = result.bundle.contract, result.bundle.metadata.threshold_choice
    if contract.rule is None:
        return
    decision, name = contract.rule, contract.class_names[1]
    yield f"threshold: {name!r} from probability {decision.threshold:.4g} on ({decision.describe()})"
    if choice is not None:
        from mlops_project.modeling.report import describe_choice

        yield describe_choice(decision, choice, result.evaluation.metrics)


def find_next(result: Training, config: Config) -> Iterator[tuple[str, str]]:
    """Yield commands to go on with, and what each is for."""
    from mlops_project.promote import write_overrule

    decision, run = result.decision, result.run
    if run is not None and decision is not None and decision.verdict == "unapproved":
        yield config.command(f"approve {run.model_version}"), "for a second person: approve it"
        yield config.command("promote", f"--version {run.model_version}"), "then make it champion"
        return
    if run is not None and decision is not None and not decision.promote and decision.verdict not in ("identical", "rollout"):
        if decision.verdict == "not_better_than_dummy" and config.model.estimator != "auto":
            yield config.command("train", "--set model.estimator=auto"), "compare several estimators, and keep the best"
        elif decision.verdict in NOT_GOOD_ENOUGH:
            yield config.command("train"), "train again, once you have followed the gate's advice above"
        else:
            yield config.command("models"), "compare this version with the champion"
        yield write_overrule(config, run.model_version), "make it champion all the same"
        return
    if run is not None and decision is None:
        yield config.command("promote"), "make it champion, if the gate agrees"
    address = f"http://{'127.0.0.1' if config.serving.host in EVERY_HOST else config.serving.host}:{config.serving.port}"
    yield config.command("serve"), f"answer requests; try it at {address}/docs"
    if EXAMPLE_REQUEST in result.bundle.metadata.files:
        example = shlex.quote(os.path.relpath(result.bundle.path / EXAMPLE_REQUEST))
        yield f"curl {address}/invocations -H content-type:application/json -d @{example}", "ask it, from another terminal"
    yield config.command("up"), "serve it with MLflow, the monitor and the application beside it"


def as_plain(result: Training) -> dict[str, Any]:
    """Return a training's result as plain values, for JSON."""
    metadata = result.bundle.metadata
    return {
        "model_dir": str(result.bundle.path),
        "digest": result.bundle.digest,
        "metrics": metadata.metrics,
        "metric_intervals": metadata.metric_intervals,
        "estimator": metadata.estimator,
        "choice": msgspec.to_builtins(metadata.choice),
        "threshold": metadata.contract.threshold,
        "uncertainty": msgspec.to_builtins(metadata.uncertainty),
        "baselines": msgspec.to_builtins(metadata.baselines),
        "warnings": list(result.warnings),
        "findings": msgspec.to_builtins(metadata.findings),
        "run_id": result.run.run_id if result.run else None,
        "model_version": result.run.model_version if result.run else None,
        "not_logged": result.not_logged,
        "promoted": result.decision.promote if result.decision else None,
        "reason": result.decision.reason if result.decision else None,
    }
