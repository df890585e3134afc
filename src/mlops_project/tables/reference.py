"""A table as a reference for others: typed, with a contract of its own, and no target."""

from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd

from mlops_project.config import Config
from mlops_project.contract import Contract, FeatureType, Reading
from mlops_project.errors import ConfigError, DataError, suggest
from mlops_project.tables import checks
from mlops_project.tables.describe import describe_column
from mlops_project.tables.locations import hide_credentials
from mlops_project.tables.sources import RawTable, build_options, read_source
from mlops_project.tables.types import convert_column


class ReferenceTable(NamedTuple):
    """A typed table and what its columns hold.

    Attributes
    ----------
    contract
        Types by all rows, ranges and categories by the rows that were set aside for it. It predicts nothing.
    rows
        The other rows, one typed column per feature.
    left_out
        What is wrong with columns that cannot be compared, a sentence each.
    """

    contract: Contract
    rows: pd.DataFrame
    left_out: tuple[str, ...] = ()


def read_reference_table(source: str, dropped: tuple[str, ...], config: Config, range_share: float) -> ReferenceTable:
    """Read a table and describe its columns.

    Parameters
    ----------
    source
        CSV or Parquet file, folder, glob or fsspec URL.
    dropped
        Columns to leave out.
    config
        ``data.types``, ``data.missing`` and the like hold for this table as well.
    range_share
        Share of the rows, drawn at random, that tell ranges and categories.

    Raises
    ------
    DataError
        If it cannot be read, or holds no column that can be compared.
    ConfigError
        If it lacks a column of ``dropped``.
    """
    data = msgspec.structs.replace(config.data, source=source, query=None)
    return build_reference_table(read_source(data, [config.root]), dropped, config, range_share)


def build_reference_table(raw: RawTable, dropped: tuple[str, ...], config: Config, range_share: float) -> ReferenceTable:
    """Describe the columns of a table that was read; see ``read_reference_table``.

    Raises
    ------
    DataError
        If it holds no column that can be compared.
    ConfigError
        If it lacks a column of ``dropped``.
    """
    data, source = config.data, raw.source
    names = [str(name) for name in raw.frame.columns]
    absent = [name for name in dropped if name not in names]
    if absent:
        raise ConfigError(f"{hide_credentials(source)}: no column {absent[0]!r} to leave out{suggest(absent[0], names)}")
    types: dict[str, FeatureType] = {}
    columns: dict[str, pd.Series[Any]] = {}
    problems: list[str] = []
    options = build_options(data, raw)
    readings: dict[str, Reading | None] = {}
    for name in (name for name in names if name not in dropped):
        try:
            typed = convert_column(raw.frame[name], data.type_of(name), data.max_categories, options)
            types[name], columns[name], readings[name] = typed.type, typed.values, typed.reading
        except DataError as error:
            problems.append(str(error))
    for name in [name for name, values in columns.items() if not values.notna().any()]:
        problems.append(f"column {name!r} has no values")
        columns.pop(name)
        types.pop(name)
    for finding in checks.find_infinite(columns):
        problems.append(finding.seen)
        columns.pop(finding.columns[0])
        types.pop(finding.columns[0])
    if not columns:
        found = checks.joined(problems or ["no column is left to compare"])
        raise DataError(f"{raw.source}: cannot be a reference; mend the columns or leave them out with --drop\n{found}")
    frame = pd.DataFrame(columns, copy=False)
    order = np.random.default_rng(config.random_state).permutation(len(frame))
    border = round(len(frame) * range_share)
    ranges = frame.iloc[order[:border]]
    features = tuple(
        msgspec.structs.replace(describe_column(name, kind, True, ranges[name]), reading=readings[name])
        for name, kind in types.items()
    )
    rows = frame.iloc[np.sort(order[border:])].reset_index(drop=True)
    return ReferenceTable(Contract(features, "", "regression"), rows, tuple(problems))
