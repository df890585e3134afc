"""Judging a table before a model is made of it: what would make the model's figures promise too much."""

from collections.abc import Iterator
from dataclasses import replace

from mlops_project.config import Config
from mlops_project.errors import DataError
from mlops_project.findings import Finding, accept
from mlops_project.tables.checks import joined
from mlops_project.tables.classes import find_rare_classes
from mlops_project.tables.computed_leaks import find_computed
from mlops_project.tables.copies import find_contradictions
from mlops_project.tables.entities import find_repeated
from mlops_project.tables.hidden_leaks import find_hidden, find_row_order
from mlops_project.tables.leaks import find_functions, find_too_good
from mlops_project.tables.odd_columns import find_few_rows, find_odd_columns
from mlops_project.tables.order import find_time_order
from mlops_project.tables.sample import take_sample
from mlops_project.tables.table import Table

HARMLESS = ("identifier", "nearly-constant", "categories-cut")  # a column with such a finding may be a leak as well


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
    judged = [*_find(table, config)]
    sorted_by = {column for finding in judged if finding.code == "leak-row-order" for column in finding.columns}
    known = [finding for finding in table.findings if finding.code != "identifier" or sorted_by.isdisjoint(finding.columns)]
    found = accept([*known, *judged], config.checks.accept)  # numbers of rows that tell the class are named as that alone
    blocking = [finding for finding in found if finding.blocks]
    if refuse and blocking:
        problems = joined(f"{finding.sentence} [{finding.code}]" for finding in blocking)
        raise DataError(f"{table.source}: no model can be trusted that is trained on this table\n{problems}")
    return replace(table, findings=found)


def _find(table: Table, config: Config) -> Iterator[Finding]:
    sample = take_sample(table)
    named = frozenset(column for finding in table.findings if finding.code not in HARMLESS for column in finding.columns)
    yield from find_rare_classes(table, config.test_size)
    yield from find_few_rows(table, config.test_size)
    yield from find_odd_columns(sample, named)
    contradiction = find_contradictions(table)
    if contradiction is not None:
        yield contradiction
    if table.times is None and table.groups is None and (drifting := find_time_order(sample)) is not None:
        yield drifting
    repeated = find_repeated(sample) if table.groups is None else None
    is_repeated = repeated is not None or table.groups is not None
    if repeated is not None:
        yield repeated
        named |= frozenset(repeated.columns)
    leaks = [*find_row_order(sample), *find_computed(table, sample, named)]
    leaks += find_functions(sample, named | {column for finding in leaks for column in finding.columns})
    yield from leaks
    named |= {column for finding in leaks for column in finding.columns}
    hidden = list(find_hidden(table, sample, named, is_repeated=is_repeated))
    yield from hidden
    named |= {column for finding in hidden for column in finding.columns}
    too_good = find_too_good(sample, named, is_repeated=is_repeated)
    if too_good is not None:
        yield too_good
