"""The pipeline by itself: ``in_process.py MODEL.joblib ROWS.parquet SECONDS`` prints its labels and its rows per second."""

import json
import statistics
import sys
import time
import warnings

import joblib
import pandas as pd

if __name__ == "__main__":
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    pipeline = joblib.load(sys.argv[1])
    rows = pd.read_parquet(sys.argv[2])
    X = rows.to_numpy() if all(dtype.kind == "f" for dtype in rows.dtypes) else rows
    answer = {"labels": pipeline.predict(X).tolist(), "n_calls": 0}
    times = []
    end = time.perf_counter() + float(sys.argv[3])
    while time.perf_counter() < end:
        start = time.perf_counter()
        pipeline.predict_proba(X)
        times.append(time.perf_counter() - start)
    if times:
        answer |= {"n_calls": len(times), "rows_per_second": len(rows) / statistics.median(times)}
    print(json.dumps(answer))
