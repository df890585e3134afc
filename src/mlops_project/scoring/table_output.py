"""From parts to a table of a SQL database."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow.parquet import ParquetFile

from mlops_project.scoring.stores import Note
from mlops_project.tables.sql_output import open_table

BATCH_ROWS = 1 << 14
REFUSED = (
    "the table cannot be written; what was there before still is, and the same command goes on from the parts that are loaded"
)


def fill_table(
    url: str,
    name: str,
    run: str,
    parts: Path,
    notes: Sequence[Note],
    schema: pa.Schema,
    bad_rows: Sequence[tuple[str, int, str]],
) -> None:
    """Load the parts that are not loaded yet, then show all of them in one step.

    Parameters
    ----------
    url, name
        SQLAlchemy URL, and the table.
    run
        What tells this run from others.
    parts
        Folder of the parts.
    bad_rows
        File, row and reason of what was left out.

    Raises
    ------
    ConfigError
        If the database refuses, or another table is there.
    """
    with open_table(url, name, schema, run, REFUSED) as table:
        loaded = table.open()
        for note in notes:
            if note.part not in loaded and note.scored:
                with ParquetFile(parts / note.part) as part:
                    table.add_part(note.part, part.iter_batches(BATCH_ROWS))
        table.finish(sum(note.scored for note in notes), bad_rows)


def check_table(url: str, name: str, schema: pa.Schema) -> None:
    """See before the first row is scored that the table can be written.

    Raises
    ------
    ConfigError
        If it cannot.
    """
    with open_table(url, name, schema, "", "the table cannot be written") as table:
        table.check()
