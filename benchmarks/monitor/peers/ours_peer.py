"""Ours, as ``mlops monitor`` evaluates a window, with its defaults; only the log is left out."""

from typing import Any

import numpy as np
import pandas as pd
from line import serve, time_each

from mlops_project.bundle import REFERENCE_FILE, load_bundle
from mlops_project.modeling.metrics import score_rows
from mlops_project.monitoring.domain import CURRENT_ROWS
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.estimate import Estimator
from mlops_project.monitoring.performance import compute_performance
from mlops_project.reference.profile import Profiler, load_reference
from mlops_project.runtime import Predictions
from mlops_project.sections import GatesConfig, MonitoringConfig

SETTINGS = MonitoringConfig()
SEED = 42


class Watch:
    """A bundle under watch."""

    def __init__(self, job: dict[str, Any]) -> None:
        bundle = load_bundle(job["bundle"])
        profile = load_reference(bundle)
        assert profile is not None
        self.profile, self.contract, self.scores = profile, bundle.contract, job["scores"]
        self.prediction, self.target = job["prediction"], job["target"]
        self.classes = [str(label) for label in bundle.contract.classes]
        self.reference = self.take(pd.read_parquet(bundle.path / REFERENCE_FILE))

    def take(self, rows: pd.DataFrame) -> dict[str, np.ndarray]:
        """Return the features as columns."""
        return {name: rows[name].to_numpy() for name in self.contract.names}

    def predictions(self, rows: pd.DataFrame) -> Predictions:
        """Return what the model said."""
        scores = rows[[self.scores[label] for label in self.classes]].to_numpy()
        return Predictions(self.index(rows[self.prediction]), scores)

    def index(self, labels: "pd.Series[str]") -> np.ndarray:
        """Return labels as indices."""
        return labels.map({label: index for index, label in enumerate(self.classes)}).to_numpy(np.int64)

    def find_drift(self, rows: pd.DataFrame, *, domain: bool = True) -> dict[str, bool]:
        """Look for drift."""
        profiler = Profiler(self.profile)
        profiler.add(self.take(rows), self.predictions(rows))
        samples = {}
        if domain:
            sample = self.take(rows.sample(min(CURRENT_ROWS, len(rows)), random_state=SEED))
            samples = {"sample": sample, "reference_sample": self.reference}
        drift = compute_drift(self.profile, profiler, SETTINGS, **samples, seed=SEED)
        return {
            "data": drift.drifted,
            "prediction": drift.prediction_drifted,
            "either": drift.drifted or drift.prediction_drifted,
            "domain": drift.domain is not None and drift.domain.drifted,
            "feature": any(feature.drifted for feature in drift.features),
        }

    def find_loss(self, rows: pd.DataFrame) -> dict[str, bool]:
        """Look for a loss of performance, with labels and without."""
        assert self.profile.performance is not None
        predictions = self.predictions(rows)
        estimator = Estimator(self.profile.performance, self.contract, seed=SEED)
        estimator.add(self.take(rows), predictions)
        newest = slice(max(0, len(rows) - SETTINGS.label_rows), len(rows))
        labelled = score_rows(
            predictions.take(newest.start, newest.stop), self.index(rows[self.target].iloc[newest]), self.contract
        )
        found = compute_performance(
            self.profile.performance, self.contract, SETTINGS, GatesConfig(), labelled=labelled, estimate=estimator, seed=SEED
        )
        return {"loss": found.lost, "estimated": found.estimated_lost}


def answer(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Judge each window by itself."""
    watch = Watch(job)
    judge = watch.find_drift if job["kind"] == "drift" else watch.find_loss
    if job.get("timed"):
        rows = pd.read_parquet(job["windows"][0])
        return time_each(ours=lambda: watch.find_drift(rows), ours_without_domain=lambda: watch.find_drift(rows, domain=False))
    return [judge(pd.read_parquet(file)) for file in job["windows"]]


if __name__ == "__main__":
    serve(answer)
