"""Evidently with its defaults: DataDriftPreset, and ClassificationPreset where there are labels.

Two thirds of a preset's time go into pictures. So the preset runs on the first window of each job only; of the others the same
library's tests are asked, with its own choice of test and threshold, and on the first window both must say the same.
"""

from typing import Any

import pandas as pd
from evidently import BinaryClassification, DataDefinition, Dataset, MulticlassClassification, Report
from evidently.legacy.calculations.stattests.registry import get_stattest
from evidently.legacy.core import ColumnType
from evidently.presets import ClassificationPreset, DataDriftPreset
from line import serve, time_each


def define(job: dict, kind: str) -> DataDefinition:
    """Say which column is what."""
    if kind == "drift":
        return DataDefinition(numerical_columns=job["numeric"], categorical_columns=job["categories"])
    roles = {"target": job["target"], "prediction_labels": job["prediction"]}
    labels, scores = list(job["scores"]), list(job["scores"].values())
    if len(labels) == 2:
        role = BinaryClassification(prediction_probas=scores[1], pos_label=labels[1], **roles)
    else:
        role = MulticlassClassification(prediction_probas=None, **roles)  # it would want the columns named as the classes
    return DataDefinition(classification=[role])


def read(file: str, job: dict, kind: str) -> Dataset:
    """Read a table."""
    columns = [*job["numeric"], *job["categories"]]
    if kind == "loss":
        columns = [job["target"], job["prediction"], *job["scores"].values()]
    return Dataset.from_pandas(pd.read_parquet(file, columns=columns), define(job, kind))


def judge(current: Dataset, reference: Dataset, kind: str) -> dict[str, bool]:
    """Run the preset with its tests; return what alarms it raises."""
    preset = DataDriftPreset() if kind == "drift" else ClassificationPreset()
    tests = Report([preset], include_tests=True).run(current, reference).dict()["tests"]
    failed = {test["id"] for test in tests if test["status"].value == "FAIL"}
    if kind == "drift":
        return {"dataset": "lt" in failed, "column": "drift" in failed}
    return {"loss": bool(failed)}


def ask_tests(current: Dataset, reference: Dataset, job: dict) -> dict[str, bool]:
    """Ask the tests that the preset would run; a dataset drifts if half of its columns do."""
    kinds = dict.fromkeys(job["numeric"], ColumnType.Numerical) | dict.fromkeys(job["categories"], ColumnType.Categorical)
    drifted = []
    for name, kind in kinds.items():
        new, old = current.as_dataframe()[name].dropna(), reference.as_dataframe()[name].dropna()  # as the preset does
        test = get_stattest(old, new, kind, None)
        drifted.append(bool(len(new) and test(old, new, kind, None).drifted))
    return {"dataset": sum(drifted) >= len(drifted) / 2, "column": any(drifted)}


def answer(job: dict) -> list[dict[str, Any]]:
    """Judge each window by itself."""
    kind, reference = job["kind"], read(job["reference"], job, job["kind"])
    windows = [read(file, job, kind) for file in job["windows"]]
    if job.get("timed"):
        return time_each(evidently=lambda: judge(windows[0], reference, kind))
    if kind == "loss":
        return [judge(current, reference, kind) for current in windows]
    answers = [ask_tests(current, reference, job) for current in windows]
    if not windows[0].as_dataframe()[[*job["numeric"], *job["categories"]]].isna().all().any():  # the preset refuses that
        assert answers[0] == judge(windows[0], reference, kind), "the preset says something else than its tests"
    return answers


if __name__ == "__main__":
    serve(answer)
