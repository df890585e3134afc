"""Labelled predictions that are no rows of this model: answered by versions with other columns, or labelled in two ways."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlops_project.contract import Contract
from mlops_project.prediction_log.layout import LABEL_DISPUTED, VERSION


def leave_out_foreign(table: pa.Table, contract: Contract) -> tuple[pa.Table, list[str]]:
    """Leave out rows of versions with other columns, and labels about which two sources disagree; return what was, in words.

    Parameters
    ----------
    table
        Typed view of the log with ``mlops.label``. If no version has the contract's columns, nothing is left out for that.
    contract
        Of the model that answers now.
    """
    notes: list[str] = []
    foreign: Mapping[str, str] = {}
    if VERSION in table.column_names:
        versions = np.asarray(table[VERSION].to_pylist(), object)
        foreign = {
            version: why for version in dict.fromkeys(versions) if (why := _find_other(table, versions == version, contract))
        }
        for version, why in foreign.items():
            count = int((versions == version).sum())
            notes.append(f"{count:,} rows of version {version} are left out: it has another schema ({why})")
        if 0 < len(foreign) < len(set(versions)):
            table = table.filter(pa.array(~np.isin(versions, [*foreign])))
            table = _mend_types(table, contract)
    if LABEL_DISPUTED in table.column_names:
        disputed = pc.fill_null(table[LABEL_DISPUTED], False)
        count = pc.sum(disputed).as_py() or 0
        if count:
            notes.append(f"{count:,} rows are left out because two sources say different labels")
            table = table.filter(pc.invert(disputed))
    return table, notes


def _find_other(table: pa.Table, rows: npt.NDArray[np.bool_], contract: Contract) -> str:
    """Return what the schema of a version's rows has otherwise than the contract; empty if nothing."""
    part = table.filter(pa.array(rows))
    for feature in contract.features:
        if feature.name not in part.column_names or feature.is_text:
            continue
        column = part[feature.name]
        if column.null_count == len(column) and feature.type != "datetime":
            return f"no column {feature.name!r}"
        if pa.types.is_string(column.type) and not _is_number(column):
            return f"texts in {feature.name!r}"
    return ""


def _is_number(column: pa.ChunkedArray) -> bool:
    try:
        column.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def _mend_types(table: pa.Table, contract: Contract) -> pa.Table:
    """Turn numbers back that became texts beside rows of another schema."""
    for feature in contract.features:
        if not feature.is_text and feature.name in table.column_names and pa.types.is_string(table[feature.name].type):
            place = table.column_names.index(feature.name)
            table = table.set_column(place, feature.name, table[feature.name].cast(pa.float64()))
    return table
