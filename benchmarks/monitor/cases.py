"""Cases: a model trained as users train one, its held-out rows as reference, and windows for it to be watched in."""

import json
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.monitor.faults import FAULTS, Aim
from benchmarks.monitor.places import BUILD
from benchmarks.monitor.population import Population
from benchmarks.monitor.tables import TABLES, TARGET
from mlops_project.config import Config
from mlops_project.data_prep import load_table, split_table
from mlops_project.modeling.evaluation import encode_target
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.importance import compute_importance
from mlops_project.runtime import Runtime
from mlops_project.train import train
from mlops_project.utils import load_config

TRAIN_ROWS = 4_000
PREDICTION = "prediction"
SCORE = "score."
CONFIG = """\
test_size: {test_size}
data: {{source: table.parquet, target: {target}}}
model: {{name: bench, estimator: hist_gradient_boosting, params: {{max_iter: 40}}}}
evaluation: {{bootstrap_rounds: 0}}
tracking: {{enabled: false}}
paths: {{exported_model_dir: {bundle}}}
"""
POPULATIONS = {name: Population(load) for name, load in TABLES.items()}


@dataclass(frozen=True)
class Case:
    """A trained model and what it was judged on."""

    table: str
    reference_rows: int
    number: int
    aim: Aim

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return BUILD / "cases" / f"{self.table}-{self.reference_rows}-{self.number}"

    def describe(self) -> dict[str, Any]:
        """Return what contestants must know to begin."""
        population = POPULATIONS[self.table]
        return {
            "reference": str(self.folder / "reference.parquet"),
            "bundle": str(self.folder / "bundle"),
            "numeric": population.numeric,
            "categories": population.categories,
            "target": TARGET,
            "prediction": PREDICTION,
            "scores": {label: SCORE + label for label in sorted(population.table[TARGET].unique())},
        }

    @contextmanager
    def windows(self, n_rows: int, count: int, fault: str | None = None) -> Iterator[list[str]]:
        """Write so many windows, one after the other, the same ones each time; remove them afterwards."""
        population, runtime = POPULATIONS[self.table], Runtime.load(self.folder / "bundle")
        with tempfile.TemporaryDirectory(prefix="windows-", dir=BUILD) as folder:
            files = []
            for index in range(count):
                seed = (*self._seed, n_rows, index)
                rows = population.draw(n_rows, 1, *seed)
                changed = FAULTS[fault](rows, population, self.aim, np.random.default_rng((2, *seed))) if fault else rows
                if changed is not None:
                    files.append(f"{folder}/{index}.parquet")
                    add_predictions(changed, runtime).to_parquet(files[-1], compression=None)
            yield files

    @property
    def _seed(self) -> tuple[int, ...]:
        return zlib.crc32(self.table.encode()), self.reference_rows, self.number

    @classmethod
    def build(cls, table: str, reference_rows: int, number: int, *, keep: bool) -> "Case":
        """Train the model, or take the one that is there."""
        case = cls(table, reference_rows, number, Aim("", "", None))
        done = case.folder / "case.json"
        if not (keep and done.exists()):
            shutil.rmtree(case.folder, ignore_errors=True)
            case.folder.mkdir(parents=True)
            case._train(done)
        return cls(table, reference_rows, number, Aim(**json.loads(done.read_text())))

    def _train(self, done: Path) -> None:
        population, n_rows = POPULATIONS[self.table], TRAIN_ROWS + self.reference_rows
        population.draw(n_rows, 0, *self._seed).to_parquet(self.folder / "table.parquet")
        file = self.folder / "model.yaml"
        file.write_text(CONFIG.format(test_size=self.reference_rows / n_rows, target=TARGET, bundle=self.folder / "bundle"))
        config = load_config(file)
        train(config)
        features, target, importance = judge(config, self.folder / "bundle")
        runtime = Runtime.load(self.folder / "bundle")
        add_predictions(features.assign(**{TARGET: target}), runtime).to_parquet(self.folder / "reference.parquet")
        numbers = [name for name in importance if name in population.numeric]
        texts = [name for name in importance if name in population.categories]
        done.write_text(json.dumps(asdict(Aim(numbers[0], numbers[1], texts[0] if texts else None))))


def judge(config: Config, bundle: Path) -> tuple[pd.DataFrame, "pd.Series[str]", list[str]]:
    """Return the held-out rows, their target, and the features from the most to the least important."""
    split, runtime = split_table(load_table(config), config), Runtime.load(bundle)
    held_out = HeldOut.predict(runtime, split.test_features, encode_target(split.test_target, runtime.contract))
    found = compute_importance(runtime, held_out, runtime.contract, config)
    assert found is not None
    features = split.test_features
    return features.astype(dict.fromkeys(features.select_dtypes("category"), object)), split.test_target, list(found.names)


def add_predictions(rows: pd.DataFrame, runtime: Runtime) -> pd.DataFrame:
    """Return the rows with the model's class and its probability of each."""
    predictions = runtime.predict({name: rows[name].to_numpy() for name in runtime.contract.names})
    assert predictions.indices is not None
    assert predictions.probabilities is not None
    classes = [str(label) for label in runtime.contract.classes]
    scores = {SCORE + label: predictions.probabilities[:, index] for index, label in enumerate(classes)}
    return rows.assign(**{PREDICTION: np.array(classes, dtype=object)[predictions.indices], **scores})
