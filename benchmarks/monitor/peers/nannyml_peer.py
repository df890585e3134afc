"""NannyML with its defaults: univariate drift and reconstruction error, and realised ROC AUC where there are labels.

Its thresholds come from chunks of the reference. They are as large as the windows (as the middle one, if windows differ) if
the reference holds ten of them, else its default: a tenth of the reference, which can only make larger windows quieter. A
window is one chunk in any case.
"""

from typing import Any

import nannyml as nml
import pandas as pd
from line import serve, time_each
from nannyml.chunk import SizeBasedChunker

CHUNKS = 10


def build(job: dict, chunk_rows: int | None) -> dict[str, Any]:
    """Return the calculators by the name of their alarm."""
    if job["kind"] == "drift":
        names = [*job["numeric"], *job["categories"]]
        return {
            "univariate": nml.UnivariateDriftCalculator(column_names=names, chunk_size=chunk_rows),
            "reconstruction": nml.DataReconstructionDriftCalculator(column_names=names, chunk_size=chunk_rows),
        }
    scores, binary = job["scores"], len(job["scores"]) == 2
    roles = {"y_true": job["target"], "y_pred": job["prediction"], "chunk_size": chunk_rows, "metrics": ["roc_auc"]}
    kind = "classification_binary" if binary else "classification_multiclass"
    proba = list(scores.values())[1] if binary else scores
    return {"loss": nml.PerformanceCalculator(problem_type=kind, y_pred_proba=proba, **roles)}


def read(file: str, job: dict) -> pd.DataFrame:
    """Read a table; of two classes the second counts as positive."""
    frame = pd.read_parquet(file)
    if job["kind"] == "loss" and len(job["scores"]) == 2:
        for name in (job["target"], job["prediction"]):
            frame[name] = (frame[name] == list(job["scores"])[1]).astype(int)
    return frame


def calculate(calculator: Any, windows: list[pd.DataFrame]) -> list[bool]:
    """Return the alarm of each of some windows of one size."""
    calculator.chunker = SizeBasedChunker(chunk_size=len(windows[0]))
    found = calculator.calculate(pd.concat(windows, ignore_index=True)).filter(period="analysis").to_df()
    columns = [column for column in found.columns if column[-1] == "alert"]
    return [bool(alarm) for alarm in found[columns].any(axis=1)]


def answer(job: dict) -> list[dict[str, Any]]:
    """Judge all windows as chunks of one table."""
    reference = read(job["reference"], job)
    windows = [read(file, job) for file in job["windows"]]
    rows = sorted(map(len, windows))[len(windows) // 2]
    calculators = build(job, rows if len(reference) >= CHUNKS * rows else None)
    for calculator in calculators.values():
        calculator.fit(reference)
    if job.get("timed"):
        return time_each(nannyml=lambda: [calculate(calculator, windows[:1]) for calculator in calculators.values()])
    groups = [windows] if len(set(map(len, windows))) == 1 else [[window] for window in windows]
    alarms = {
        name: [alarm for group in groups for alarm in calculate(calculator, group)] for name, calculator in calculators.items()
    }
    return [{name: alarms[name][index] for name in alarms} for index in range(len(windows))]


if __name__ == "__main__":
    serve(answer)
