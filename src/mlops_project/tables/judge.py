"""Judging a table before a model is made of it: what would make the model's figures promise too much."""

from collections.abc import Iterator
from dataclasses import replace

from mlops_project.config import Config
from mlops_project.errors import DataError
from mlops_project.findings import Finding, accept
from mlops_project.tables.checks import joined
from mlops_project.tables.classes import find_rare_classes
from mlops_project.tables.entities import find_repeated
from mlops_project.tables.leaks import find_functions, find_too_good
from mlops_project.tables.order import find_time_order
from mlops_project.tables.sample import take_sample
from mlops_project.tables.table import Table


def judge_table(table: Table, config: Config, *, refuse: bool = True) -> Table:
    """Return the table with what was found in its rows.

    Parameters
    ----------
    refuse
        Whether an error among the findings, unless it is accepted, stops the training.

    Raises
    ------
    DataError
        With every error, and how to accept it.
    """
    found = accept([*table.findings, *_find(table, config)], config.checks.accept)
    blocking = [finding for finding in found if finding.blocks]
    if refuse and blocking:
        problems = joined(f"{finding.sentence} [{finding.code}]" for finding in blocking)
        raise DataError(f"{table.source}: no model can be trusted that is trained on this table\n{problems}")
    return replace(table, findings=found)


def _find(table: Table, config: Config) -> Iterator[Finding]:
    sample = take_sample(table)
    named = frozenset(column for finding in table.findings for column in finding.columns)
    yield from find_rare_classes(table, config.test_size)
    if table.times is None and table.groups is None and (drifting := find_time_order(sample)) is not None:
        yield drifting
    repeated = find_repeated(sample) if table.groups is None else None
    if repeated is not None:
        yield repeated
        named |= frozenset(repeated.columns)
    leaks = list(find_functions(sample, named))
    yield from leaks
    named |= {column for finding in leaks for column in finding.columns}
    too_good = find_too_good(sample, named)
    if too_good is not None:
        yield too_good
