"""The labels of a date: what came, when, and who sent it."""

import pyarrow as pa
import pyarrow.compute as pc

from mlops_project.prediction_log.layout import ID, LABEL_SCHEMA, WITNESS_SCHEMA
from mlops_project.prediction_log.scan import Files, Span


def read_labels(files: Files, day: str, span: Span, *, whole: bool, witnesses: bool = False) -> pa.Table:
    """Return the labels of predictions in a span of a date, with the columns of ``LABEL_SCHEMA``.

    Parameters
    ----------
    whole
        Whether to read all labels of the date: the span is all that is wanted of it, so ids need not be compared.
    witnesses
        Whether to read the columns of ``WITNESS_SCHEMA`` as well; empty texts where a file does not have them.
    """
    schema = pa.schema([*LABEL_SCHEMA, *WITNESS_SCHEMA]) if witnesses else LABEL_SCHEMA
    row_groups = files.label_row_groups(day)
    low, high = f"{span.start // 1000:012x}", f"{span.end // 1000 + 1:012x}"  # ids begin with the time
    if not whole:
        row_groups = [row_group for row_group in row_groups if row_group.last >= low and row_group.first < high]
    batches = []
    for _, _, batch in files.read(row_groups, schema.names):
        if not whole:
            ids = batch.column(ID)
            batch = batch.filter(pc.and_(pc.greater_equal(ids, low), pc.less(ids, high)))  # noqa: PLW2901 - the rest of it
        known = [name for name in schema.names if name in batch.schema.names]
        columns = {name: batch.column(name) if name in known else pa.array([""] * batch.num_rows) for name in schema.names}
        batches.append(pa.RecordBatch.from_pydict(columns).cast(schema))
    return pa.Table.from_batches(batches, schema)
