"""Watch a Parquet file of any size in one pass: ``one_pass.py BUNDLE FILE``; prints the seconds it took, imports aside."""

import json
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mlops_project.bundle import load_bundle
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.profile import Profiler, load_reference
from mlops_project.runtime import Predictions
from mlops_project.sections import MonitoringConfig

BATCH_ROWS = 65_536


def main() -> None:
    """Read, count, compare."""
    start = time.perf_counter()
    bundle = load_bundle(sys.argv[1])
    reference = load_reference(bundle)
    assert reference is not None
    classes = [str(label) for label in bundle.contract.classes]
    profiler = Profiler(reference)
    columns = [*bundle.contract.names, "prediction", *(f"score.{label}" for label in classes)]
    with pq.ParquetFile(sys.argv[2]) as file:
        for batch in file.iter_batches(BATCH_ROWS, columns=columns):
            scores = np.column_stack([batch.column(f"score.{label}").to_numpy() for label in classes])
            labels = pc.index_in(batch.column("prediction"), pa.array(classes)).to_numpy()
            values = {name: batch.column(name).to_numpy() for name in bundle.contract.names}
            profiler.add(values, Predictions(labels.astype(np.int64), scores))
    drift = compute_drift(reference, profiler, MonitoringConfig(), seed=42)
    print(json.dumps({"seconds": time.perf_counter() - start, "rows": drift.rows, "drifted": drift.drifted}))


if __name__ == "__main__":
    main()
