"""The folders, file names and columns of the Parquet log; those who write it and those who read it import them from here.

``log/model=<name>/date=<day>/<segment>-v<version>.parquet`` holds the predictions of a segment, ``labels/date=<day>/…`` the
labels of that day's predictions, ``rollouts/date=<day>/…`` one row for each of its requests that took part in a roll-out,
``ingested/`` says which segments have been read. Names are percent-encoded, days are UTC.
"""

from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa

LOG, LABELS, MARKERS, ROLLOUTS = "log", "labels", "ingested", "rollouts"
DAY_US = 86_400_000_000

ID, ROW, TIME, VERSION, ROLE = "mlops.id", "mlops.row", "mlops.time", "mlops.version", "mlops.role"
PREDICTION, PROBABILITY = "mlops.prediction", "mlops.probability"
RECOMPUTED, THRESHOLD = "mlops.recomputed", "mlops.threshold"
LABEL, LABEL_TIME = "mlops.label", "mlops.label_time"
LABEL_SOURCE, LABEL_BATCH, LABEL_DISPUTED = "mlops.label_source", "mlops.label_batch", "mlops.label_disputed"
LABEL_FIRST = "mlops.label_first"  # the label that came first, if several did
# What is known of a label, by the names of the join: who sent it and with which delivery, and whether it was another before.
WITNESSES = {"source": LABEL_SOURCE, "batch": LABEL_BATCH, "disputed": LABEL_DISPUTED, "told_first": LABEL_FIRST}
INSTANT = pa.timestamp("us", "UTC")
KEY_SCHEMA = pa.schema([(ID, pa.string()), (ROW, pa.int32()), (TIME, INSTANT), (VERSION, pa.string()), (ROLE, pa.string())])
LABEL_SCHEMA = pa.schema([(ID, pa.string()), (ROW, pa.int32()), (LABEL, pa.string()), (LABEL_TIME, INSTANT)])
# Who sent a label, and with which delivery; files of earlier releases do not have these columns.
WITNESS_SCHEMA = pa.schema([(LABEL_SOURCE, pa.string()), (LABEL_BATCH, pa.string())])
# A request of a roll-out: who answered it, in which step, by which key's digest, how long the model took, and which challenger
# could not answer it.
ROLLOUT, STEP, UNIT, MICROSECONDS, FAILED = "rollout", "step", "unit", "microseconds", "failed"
DRAW_SCHEMA = pa.schema(
    [
        (ID, pa.string()),
        (TIME, INSTANT),
        (VERSION, pa.string()),
        (ROLLOUT, pa.string()),
        (STEP, pa.int32()),
        (UNIT, pa.string()),
        (MICROSECONDS, pa.int64()),
        (FAILED, pa.string()),
    ]
)


def model_folder(model: str) -> str:
    """Return the folder of a model's predictions."""
    return f"{LOG}/model={quote(model, safe='')}"


def find_models(names: list[str]) -> list[str]:
    """Return the models among the names in ``LOG``."""
    return [unquote(name.removeprefix("model=")) for name in names if name.startswith("model=")]


def day_folder(day: int) -> str:
    """Return the name of a day's folder, given in days since 1970."""
    return f"date={np.datetime64(int(day), 'D')}"


def find_day(name: str) -> int | None:
    """Return when a day's folder begins, in microseconds since 1970; None if the name is not that of a day's folder."""
    try:
        return int(np.datetime64(name.removeprefix("date="), "us").astype(np.int64))
    except ValueError:
        return None


def rows_file(model: str, day: int, segment: str, version: str) -> str:
    """Return the path of the file with a segment's predictions of one day, below ``monitoring_dir``.

    Parameters
    ----------
    model
        The model's name.
    day
        In days since 1970, UTC.
    segment
        The segment's name without its ending.
    version
        The version that answered.
    """
    return f"{model_folder(model)}/{day_folder(day)}/{segment}-v{quote(version, safe='')}.parquet"


def find_version(name: str) -> str:
    """Return the version that answered, from the name of a file with predictions."""
    return unquote(name.removesuffix(".parquet").rpartition("-v")[2])


def find_segment(name: str) -> str:
    """Return the segment, without its ending, that a file with predictions was made from."""
    return name.rpartition("/")[2].removesuffix(".parquet").rpartition("-v")[0]


def labels_file(day: int, segment: str) -> str:
    """Return the file of a segment's labels for predictions of one day, in days since 1970."""
    return f"{LABELS}/{day_folder(day)}/{segment}.parquet"


def draws_file(day: int, segment: str) -> str:
    """Return the file of a segment's requests of one day, in days since 1970, that took part in a roll-out."""
    return f"{ROLLOUTS}/{day_folder(day)}/{segment}.parquet"
