"""Tables from Parquet and Arrow files, whose columns have types of their own."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset

from mlops_project.errors import DataError


def read_dataset(system: Any, files: list[str], shown: str, *, arrow: bool, head: int | None = None) -> pd.DataFrame:
    """Read Parquet or Arrow files column by column into separate blocks, so that no second copy of the whole table exists.

    Parameters
    ----------
    system, files
        The fsspec file system and paths there.
    shown
        What names them in messages.
    arrow
        Whether they are Arrow files (Feather).
    head
        Read only so many rows.

    Raises
    ------
    DataError
        If their columns differ.
    """
    form: Any = pyarrow.dataset.ParquetFileFormat(pre_buffer=False)  # buffers would hold the whole file beside the table
    if arrow:
        form = pyarrow.dataset.IpcFileFormat()
    dataset = pyarrow.dataset.dataset(files, filesystem=system, format=form, partitioning="hive")
    if len(files) > 1:
        schema = _unify_schemas(dataset, files, shown)
        dataset = pyarrow.dataset.dataset(files, schema=schema, filesystem=system, format=form, partitioning="hive")
    return to_frame(dataset.to_table(batch_readahead=2) if head is None else dataset.head(head))


def to_frame(table: pa.Table) -> pd.DataFrame:
    """Return a table, which is used up, as a frame."""
    integers = [field.name for field in table.schema if pa.types.is_integer(field.type) and table.column(field.name).null_count]
    frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True)
    pa.default_memory_pool().release_unused()
    for name in integers:  # whole numbers with gaps arrive as floats
        frame[name] = frame[name].astype("Int64")
    return frame if frame.index.names == [None] else frame.reset_index()


def _unify_schemas(dataset: pyarrow.dataset.Dataset, files: list[str], shown: str) -> pa.Schema:
    """Return types that hold every file's values (an integer column may be a float elsewhere); refuse different columns."""
    schemas = [fragment.physical_schema for fragment in dataset.get_fragments()]
    for file, schema in zip(files[1:], schemas[1:], strict=True):
        check_same_columns(schemas[0].names, schema.names, files[0], file, shown)
    partitions = [field for field in dataset.schema if field.name not in schemas[0].names]
    return pa.unify_schemas([*schemas, pa.schema(partitions)], promote_options="permissive")


def check_same_columns(first: Iterable[str], other: Iterable[str], first_file: str, file: str, shown: str) -> None:
    """Raise ``DataError`` if two files of one table have different columns."""
    different = sorted({str(name) for name in first} ^ {str(name) for name in other})
    if different:
        raise DataError(
            f"{shown}: {file} and {first_file} differ in their columns: {', '.join(different[:10])}; "
            "files of one table need the same"
        )
