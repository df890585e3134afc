"""Everything that training finds: in the table, by its split, and by the model on rows that it has and has not seen."""

from dataclasses import dataclass, replace

import pandas as pd

from mlops_project.comparison import Candidate, Choice
from mlops_project.config import Config
from mlops_project.contract import Contract
from mlops_project.decision import ThresholdChoice
from mlops_project.findings import Finding, accept, accept_all, summarise
from mlops_project.modeling.baselines import Rival, add_baselines, judge_baselines
from mlops_project.modeling.decisions import judge_threshold
from mlops_project.modeling.evaluation import Evaluation, evaluate
from mlops_project.modeling.groups import measure_groups
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.importance import Importance, judge_importance
from mlops_project.modeling.metrics import Scored
from mlops_project.modeling.model_checks import check_model, pick_groups
from mlops_project.modeling.overfitting import answer_learned, find_overfitting
from mlops_project.modeling.random_split import compare_with_random_split
from mlops_project.modeling.side_work import SideWork
from mlops_project.runtime import Runtime
from mlops_project.tables.copies import describe_copies
from mlops_project.tables.sides import compare_sides, find_constant_in_training
from mlops_project.tables.splits import Split
from mlops_project.tables.table import Table

EDGE_ERRORS = 3.0  # standard errors by which the last value of a parameter must be better than the one before


@dataclass(frozen=True)
class SeenSplit:
    """What the rows to learn from show, before they are given back.

    Attributes
    ----------
    findings
        About the table and its split.
    learned
        Some of the rows that the model learned from, answered; None if it cannot answer them.
    """

    findings: tuple[Finding, ...]
    learned: Scored | None


def judge_split(
    table: Table, split: Split, runtime: Runtime, held_out: HeldOut, config: Config, side: SideWork, *, is_ours: bool
) -> SeenSplit:
    """Return what was found in the table and by its split, and answers to rows that were learned from.

    Parameters
    ----------
    runtime
        The exported model.
    side
        Notes what is left out.
    is_ours
        Whether this project split the rows; else somebody handed over two sides.
    """
    found = list(table.findings)
    if config.data.time or config.data.group or not is_ours:
        targets, by_time = (split.train_target, split.test_target), config.data.group is None
        found += compare_sides(split.train_features, split.test_features, targets, by_time=by_time)
    constant = find_constant_in_training(split.train_features, split.test_features)
    found += [] if constant is None else [constant]
    if split.copies is not None:
        compared = compare_with_random_split(runtime, split, held_out, runtime.contract, config)
        found.append(describe_copies(split.copies, split.test_target.index.to_numpy(), compared))
    learned = side.attempt(
        "answers to rows that were learned from were",
        lambda: answer_learned(runtime, split, runtime.contract, config.random_state),
        without="so nothing says whether the model learned them by heart",
    )
    return SeenSplit(summarise(accept(found, config.checks.accept)), learned)


def evaluate_held_out(
    held_out: HeldOut, rivals: list[Rival], contract: Contract, config: Config, asides: pd.DataFrame | None = None
) -> Evaluation:
    """Measure the model on the held-out rows, beside trivial ones, and in the groups of ``checks.groups``.

    Parameters
    ----------
    asides
        Columns of the table that the model does not see.
    """
    slices = held_out.features[[*config.evaluation.slices]] if config.evaluation.slices else None
    evaluation = evaluate(held_out.predictions, held_out.truth, contract, config, slices, held_out.weights)
    columns = pick_groups(config, held_out.features, _take(asides, held_out))
    groups = [one for name, column in columns.items() for one in measure_groups(evaluation.scored, column, name)]
    return add_baselines(replace(evaluation, groups=tuple(groups)), rivals, contract, config)


def _take(asides: pd.DataFrame | None, held_out: HeldOut) -> pd.DataFrame | None:
    """Return the held-out rows of columns that the model does not see."""
    return None if asides is None else asides.reindex(held_out.features.index)


def judge_model(
    seen: SeenSplit,
    table: Table,
    held_out: HeldOut,
    evaluation: Evaluation,
    importance: Importance | None,
    contract: Contract,
    chosen: Config,
    threshold: ThresholdChoice | None,
    choice: Choice | None = None,
) -> tuple[Finding, ...]:
    """Return everything that was found, with the reasons for which some of it is accepted.

    Parameters
    ----------
    chosen
        The configuration that was trained.
    threshold
        How the contract's threshold was chosen, if it was.
    choice
        How the estimator was chosen, if it was.
    """
    overfitting = None if seen.learned is None else find_overfitting(seen.learned, evaluation.scored)
    unstable = None if importance is None else judge_importance(importance)
    found = (
        *seen.findings,
        *judge_baselines(evaluation, contract, chosen),
        *judge_threshold(threshold, contract),
        *([] if overfitting is None else [overfitting]),
        *check_model(evaluation.scored, held_out.features, contract, chosen, _take(table.asides, held_out)),
        *([] if unstable is None else [unstable]),
        *judge_search(chosen),
        *([] if choice is None else judge_choice(choice)),
    )
    return accept_all(found, chosen.checks.accept)


def judge_search(chosen: Config) -> tuple[Finding, ...]:
    """Return the finding about parameters that a search left at an end of their range, as the configuration notes it."""
    at_end = {name: value for name, value in chosen.search.edges.items() if chosen.model.params.get(name) == value}
    if not at_end:
        return ()
    shown = ", ".join(f"{name} {value:g}" for name, value in at_end.items())
    seen = f"the search that found the parameters left {shown} at an end of the range that it looked at"
    return (_at_edge(seen, "give it more room in search.space, and mlops tune again"),)


def judge_choice(choice: Choice) -> tuple[Finding, ...]:
    """Return the finding about ``estimator: auto`` whose choice is the last of an estimator's models, and better than the next.

    Of its few models the best one often is the first or the last; beyond chance it says that more of the same may help.
    """
    best = choice.candidates[choice.chosen]
    if best.behind[0] > 0:  # a simpler model that is as good
        return ()
    alike = [one for one in choice.candidates if one.estimator == best.estimator and one.loss is not None]
    for name, value in best.params.items():
        others = [one for one in alike if _differs_in(one, best, name)]
        values = [one.params[name] for one in others]
        if not others or not (value < min(values) or value > max(values)):
            continue
        nearest = min(others, key=lambda one: abs(one.params[name] - value))
        gap, error = nearest.behind
        if gap > EDGE_ERRORS * error:
            seen = f"estimator auto chose {best.estimator} with {name} {value:g}, the last of its values that it tries, and "
            seen += f"better than {nearest.params[name]:g} beyond chance"
            return (_at_edge(seen, f"mlops tune, which tries more values of {name}"),)
    return ()


def _differs_in(one: Candidate, best: Candidate, name: str) -> bool:
    mine, theirs = best.params[name], one.params.get(name)
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in (mine, theirs)) and mine != theirs


def _at_edge(seen: str, cure: str) -> Finding:
    return Finding(
        code="search-at-edge",
        seen=seen,
        why="what is better still may lie beyond: the search has not seen where it gets worse again",
        cure=cure,
        severity="note",
    )
