"""Whether the table is the one that the champion was made from, or that one and more rows."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mlops_project.bundle import Bundle
from mlops_project.findings import Finding
from mlops_project.tables.known_rows import Growth

if TYPE_CHECKING:
    from mlops_project.data_prep import Table

NAMED = 3
OF_OTHER_SPLIT = "what version {} has learned may be held out today, where that version would look better than it is"


def find_changed_table(bundle: Bundle, table: "Table", growth: Growth | None, version: str) -> Iterator[Finding]:
    """Yield why the table's rows cannot be trusted to be on the same side as when the champion was made.

    A table may grow. Rows that are gone or say something else now are a veto.

    Parameters
    ----------
    growth
        The table beside the champion's; None if the champion does not say which rows it was made from.
    """
    digest = bundle.metadata.table_digest or bundle.metadata.data_digest
    if growth is None and digest and digest != table.digest:
        yield Finding(
            code="table-changed",
            seen=f"{table.source} is not the table that version {version} was made from (sha256 {table.digest[:8]}…, it was "
            f"{digest[:8]}…), and version {version} does not say which rows it knows (it is of an earlier release, "
            "export.row_digests is false, or the table is too large)",
            why=OF_OTHER_SPLIT.format(version),
            cure="train on the new table first (mlops train), or put the old one back",
            severity="error",
        )
    elif growth is not None and growth.resplit:
        yield Finding(
            code="split-changed",
            seen=f"the split goes {growth.resplit} when version {version} was made",
            why=OF_OTHER_SPLIT.format(version),
            cure="train with the new split first (mlops train), or put the setting back",
            severity="error",
        )
    elif growth is not None and not growth.is_kept:
        yield Finding(
            code="table-changed",
            columns=growth.lost,
            seen=_describe(table.source, growth, version),
            why="a table may grow, but who changes or removes old rows chooses what a model is judged by",
            cure="find out who changed them and put them back, or train on the table as it is (mlops train); where old rows "
            "leave the table by rule, accept that for good under checks.accept",
            severity="error",
        )


def _describe(source: str, growth: Growth, version: str) -> str:
    if growth.lost:
        named = ", ".join(map(repr, growth.lost[:NAMED]))
        return f"{source} has no usable column {named} any more, which version {version} learned from"
    whole, relabelled = len(growth.known.digests), len(growth.relabelled)
    parts = []
    if relabelled:
        rows = ", ".join(f"{row + 1:,}" for row in growth.relabelled[:NAMED])
        more = f" and {relabelled - NAMED:,} more" if relabelled > NAMED else ""
        parts.append(f"{relabelled:,} have another label now (rows {rows}{more})")
    if growth.gone > relabelled:
        parts.append(f"{growth.gone - relabelled:,} are gone or have other values")
    return f"of the {whole:,} rows of {source} that version {version} was made from, {' and '.join(parts)}"


def describe_growth(table: "Table", growth: Growth | None) -> Iterator[str]:
    """Yield what the table has that it did not have when the champion was made: rows, and columns that are left out."""
    if growth is not None and growth.is_comparable and growth.is_new.any():
        yield f"the table has {int(growth.is_new.sum()):,} new rows"
    if table.unused:
        named = ", ".join(map(repr, table.unused[:NAMED])) + (", …" if len(table.unused) > NAMED else "")
        yield f"column {named} of the table is left out: no labelled prediction has it; mlops train learns from it"
