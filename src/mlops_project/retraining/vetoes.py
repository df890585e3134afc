"""Vetoes before a retraining: what its labels, rows and table show that must not be learned, each in one sentence.

A person who knows better overrules a veto by its code, with a reason that is recorded (``mlops retrain --overrule``), or for
good in the configuration (``checks.accept``).
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import pandas as pd

from mlops_project.bundle import Bundle
from mlops_project.config import Config
from mlops_project.errors import ContractError, MLOpsError
from mlops_project.findings import Finding, accept
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.held_out import HeldOut
from mlops_project.monitoring.results import Evaluation
from mlops_project.proof import load_runtime
from mlops_project.retraining import changed_labels, contradictions, label_checks, row_checks
from mlops_project.retraining.evidence import Evidence
from mlops_project.retraining.labelled import Labelled
from mlops_project.retraining.table_checks import find_changed_table

if TYPE_CHECKING:
    from mlops_project.data_prep import Split, Table

TOLD = 2  # vetoes that are told in full


class VetoError(MLOpsError):
    """A retraining does not begin.

    Attributes
    ----------
    findings
        Why, the gravest first.
    """

    code = "veto"

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__(say_vetoes(findings))
        self.findings = findings


def say_vetoes(findings: tuple[Finding, ...]) -> str:
    """Return vetoes as text, a sentence for each."""
    said = [f"{finding.sentence} [{finding.code}]" for finding in findings[:TOLD]]
    more = ", ".join(finding.code for finding in findings[TOLD:])
    return ". ".join([*said, f"Also: {more}"] if more else said)


def find_vetoes(
    config: Config,
    champion: Bundle,
    version: str,
    labelled: Labelled,
    n_learned: int,
    table: "Table",
    split: "Split",
    *,
    newest: Evaluation | None,
    overruled: Mapping[str, str],
) -> tuple[Finding, ...]:
    """Return everything that speaks against a retraining, the gravest first; what was overruled is marked as accepted.

    Parameters
    ----------
    config
        For ``checks.accept``, and limits of loading the champion.
    champion, version
        What answers now, and its number.
    labelled, n_learned
        The labelled predictions, and how many of them, the oldest, are to be learned from.
    table, split
        The table and its two sides.
    newest
        The last evaluation of the champion.
    overruled
        Code → reason.
    """
    found = [
        *row_checks.find_faulty_data(newest),
        *find_changed_table(champion, table, split.growth, version),
    ]
    evidence = _gather(config, champion, version, labelled, n_learned, split)
    if evidence is not None:
        found += look(evidence)
    return accept(found, {**config.checks.accept, **overruled})


def _gather(
    config: Config, champion: Bundle, version: str, labelled: Labelled, n_learned: int, split: "Split"
) -> Evidence | None:
    """Let the champion answer both sorts of rows; None if it cannot, which the gate will tell."""
    contract, rows, names = champion.contract, labelled.rows, [*champion.contract.names]
    try:
        runtime = load_runtime(champion, config.proof)
        ours = HeldOut.predict(runtime, rows.features[names], encode_target(rows.target, contract))
        known, new = split.part_known(held_out=True)
        training, more = split.part_known(held_out=False)
        held_out = HeldOut.predict(runtime, known[0][names], encode_target(known[1], contract))
        features, target = pd.concat([new[0], more[0]]), pd.concat([new[1], more[1]])
        written = HeldOut.predict(runtime, features[names], encode_target(target, contract)) if len(target) else None
        truth = encode_target(training[1], contract)
    except (ContractError, KeyError, ValueError):
        return None
    return Evidence(
        rows,
        n_learned,
        ours,
        held_out,
        training[0][names],
        truth,
        contract,
        version,
        coverage=labelled.coverage,
        answers=labelled.answers,
        new_rows=written,
    )


def look(evidence: Evidence) -> Iterator[Finding]:
    """Yield what is wrong, in the order of severity; what a graver finding explains is not looked for."""
    lacking = [*label_checks.find_lacking_classes(evidence)]
    yield from row_checks.find_far_values(evidence)
    yield from row_checks.find_near_copies(evidence)
    yield from row_checks.find_repeats(evidence)
    yield from lacking
    if any(finding.code == "labels-of-one-class" for finding in lacking):
        return
    yield from label_checks.find_selective_labels(evidence)
    yield from label_checks.find_echo(evidence)
    yield from changed_labels.find_changed_labels(evidence)
    yield from contradictions.find_bad_growth(evidence)
    alone = [*contradictions.find_bad_witnesses(evidence), *contradictions.find_bad_regions(evidence)]
    yield from alone
    if not alone:
        yield from contradictions.find_noise(evidence)
