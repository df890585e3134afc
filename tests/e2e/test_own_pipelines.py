"""The same five lines for six pipelines of somebody's own: served, watched, judged, promoted and rolled back.

One model server, one log, one monitor and one registry for all of them, so that every pipeline costs a second or two.
"""

import json
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier, StackingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, PowerTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeRegressor

import mlops_project as mlops
from mlops_project.interface.settings import open_config
from mlops_project.monitor import Monitor, evaluate_once
from mlops_project.monitoring.results import Evaluation
from mlops_project.monitoring.windows import MARGIN
from mlops_project.tracking.sync import Follower
from tests.custom_steps import Clip
from tests.e2e.watching import SEGMENTS
from tests.servers import ModelServer, model_server, wait_until, write_mlflow_tables

pytestmark = pytest.mark.timeout(1200)  # twelve models and a server, on a machine that may do other work

ROOT = Path(__file__).parents[2]
TRUSTED = ["tests.custom_steps.Clip"]
ROWS, KNOWN, SENT = 700, 450, 240
QUICK = {
    "evaluation": {"bootstrap_rounds": 0, "importance_repeats": 0},
    "gates__bootstrap_rounds": 200,
    "proof": {"trusted_types": TRUSTED},
}
SETTINGS = {
    "proof": {"trusted_types": TRUSTED},
    "monitoring": {"min_rows": 100, "min_labels": 50},
    "prediction_log": {"segment_seconds": 0.3},
}


class Case(NamedTuple):
    """Somebody's pipeline: unfitted, its columns and target, and which engine answers."""

    build: Callable[[], Any]
    columns: list[str]
    target: str
    engine: str = "onnx"


def build_table() -> pd.DataFrame:
    rng = np.random.default_rng(11)
    x, wait = rng.normal(0, 1, ROWS), rng.exponential(2, ROWS).round(3)
    city = rng.choice(["Natal", "Recife", "Olinda"], ROWS)
    score = x + wait / 2 + (city == "Recife") - 1
    noisy = score + rng.normal(0, 0.5, ROWS)
    good, bad = ["kind staff", "works well", "fast and cheap", "as expected"], ["came late", "broken again", "rude", "too dear"]
    late = rng.random(ROWS) < 1 / (1 + np.exp(-4 * noisy))
    words = [f"{rng.choice(bad if said else good)}, {where}" for said, where in zip(late, city, strict=True)]
    level = np.select([noisy < -0.5, noisy < 1], ["low", "middle"], "high")
    frame = pd.DataFrame({"x": x, "wait": wait, "z": rng.normal(0, 1, ROWS), "city": city, "note": words})
    return frame.assign(late=np.where(late, "yes", "no"), level=level, cost=noisy.round(3))


NUMBERS = ["x", "wait", "z"]
CASES = {
    "forest": Case(
        lambda: make_pipeline(
            make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough"),
            RandomForestClassifier(20, min_samples_leaf=5, random_state=0),
        ),
        [*NUMBERS, "city"],
        "late",
    ),
    "svm": Case(
        lambda: make_pipeline(PowerTransformer(), PCA(3, random_state=0), CalibratedClassifierCV(SVC(), ensemble=False, cv=3)),
        NUMBERS,
        "late",
    ),
    "stacking": Case(
        lambda: StackingRegressor([("ridge", RidgeCV()), ("tree", DecisionTreeRegressor(max_depth=4, random_state=0))], cv=3),
        NUMBERS,
        "cost",
    ),
    "text": Case(
        lambda: make_pipeline(make_column_transformer((TfidfVectorizer(), "note")), LogisticRegression()), ["note"], "late"
    ),
    "catboost": Case(
        lambda: CatBoostClassifier(
            iterations=100, depth=3, learning_rate=0.1, verbose=False, allow_writing_files=False, random_seed=0
        ),
        NUMBERS,
        "level",
    ),
    "custom": Case(lambda: make_pipeline(Clip(), StandardScaler(), LogisticRegression()), NUMBERS, "late", "python"),
}


class World:
    """Six models in one registry, and the server that answers for all of them."""

    def __init__(self, root: Path) -> None:
        self.root, self.table = root, build_table()
        self.server: ModelServer
        self.asked = Counter[str]()  # rows without labels, one by one
        self.decisions: dict[str, list[Any]] = {}
        self.bundles: dict[str, Any] = {}
        self.pipelines: dict[str, Any] = {}

    def hand_over(self, name: str, learned: pd.DataFrame) -> Any:
        """The five lines: a fitted pipeline becomes a registered model, which the gate has judged."""
        case = CASES[name]
        X, y = self.table[case.columns], self.table[case.target]
        pipeline = case.build().fit(learned[case.columns][:KNOWN], y[:KNOWN])
        sides = X[:KNOWN], y[:KNOWN], X[KNOWN:], y[KNOWN:]
        first = name not in self.bundles  # the gate asks it to be better than the base rate
        asked = {"export__engine": case.engine, "gates__metric": "rmse" if case.target == "cost" else "log_loss", **QUICK}
        asked["evaluation"] = QUICK["evaluation"] | {"baselines": first}
        bundle = mlops.export(pipeline, *sides, path=f"artifacts/{name}", name=name, **asked)
        self.decisions.setdefault(name, []).append(mlops.log(bundle).decision)
        self.pipelines[name], self.bundles[name] = pipeline, bundle
        return bundle

    def spoil(self) -> pd.DataFrame:
        """Return the table with its most telling column torn from the rows: what is learned from it is worth less."""
        rng = np.random.default_rng(3)
        notes = self.table["note"].mask(rng.random(ROWS) < 0.9, rng.permutation(self.table["note"]))
        return self.table.assign(x=rng.permutation(self.table["x"]), note=notes)

    def sync(self) -> None:
        for name in CASES:
            config = open_config(self.bundles[name], SETTINGS)
            result = Follower(config, name, self.root / "artifacts/served", interval_seconds=1).attempt()
            assert result.problem is None, result.problem

    def send(self, name: str, rows: pd.DataFrame, labels: list[Any]) -> str:
        """Send rows and then their labels; return the version that answered."""
        path = f"/models/{name}/predict"
        _, head = self._post(path, rows[CASES[name].columns].to_dict("records"))
        given = [{"id": f"{head['x-prediction-id']}.{row}", "label": label} for row, label in enumerate(labels)]
        self._post("/feedback", given)
        return str(head["x-model-version"])

    def _post(self, path: str, content: Any) -> tuple[Any, Any]:
        request = urllib.request.Request(f"{self.server.address}{path}", json.dumps(content).encode())
        request.add_header("content-type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read()), response.headers

    def ask_version(self, name: str) -> str:
        row = self.table[CASES[name].columns].head(1)
        self.asked[name] += 1
        return str(self._post(f"/models/{name}/predict", row.to_dict("records"))[1]["x-model-version"])

    def look(self) -> dict[str, Evaluation]:
        """Let a monitor evaluate what was sent since it last looked."""
        log, sent_at = self.root / "logs/predictions", datetime.now(UTC)
        wait_until(lambda: not list(log.glob("*.open")) and datetime.now(UTC) > sent_at + MARGIN, 60)
        monitor = Monitor(open_config({"model": {"name": "forest"}}, SETTINGS), str(log))
        evaluations, skipped = evaluate_once(monitor, None, act=False)
        assert skipped == {}
        return {item.model: item for item in evaluations}


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("six")
    (root / "pyproject.toml").touch()
    write_mlflow_tables(root / "mlruns/mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("PYTHONPATH", str(ROOT))
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        made = World(root)
        for name in CASES:
            made.hand_over(name, made.spoil())
            made.hand_over(name, made.table)
        made.sync()
        options = ("--models", "artifacts/served", *SEGMENTS, "--set", f"proof.trusted_types={TRUSTED}")
        with model_server(root, *options, PYTHONPATH=str(ROOT)) as server:
            made.server = server
            yield made


@pytest.mark.parametrize("name", CASES)
def test_first_model_and_a_better_one_pass_the_gate(world, name):
    first, better = world.decisions[name]
    assert (first.promote, first.verdict) == (True, "first"), first.reason
    assert (better.promote, better.verdict) == (True, "better"), better.reason


@pytest.mark.parametrize("name", CASES)
def test_loaded_champion_answers_as_the_pipeline_does(world, name):
    case, rows = CASES[name], world.table[CASES[name].columns]
    model = mlops.load(f"models:/{name}@champion", proof__trusted_types=TRUSTED)
    assert (model.bundle.metadata.engine, model.version) == (case.engine, "2")
    if case.target == "cost":
        np.testing.assert_allclose(model.predict(rows), world.pipelines[name].predict(rows), atol=1e-6)
        return
    np.testing.assert_allclose(model.predict_proba(rows), world.pipelines[name].predict_proba(rows), atol=1e-6)
    assert [*model.predict(rows)] == [*np.ravel(world.pipelines[name].predict(rows))]


def test_ordinary_rows_are_quiet_and_moved_ones_with_other_answers_are_drift_and_a_loss(world):
    for name, case in CASES.items():
        rows = world.table.sample(SENT, replace=True, random_state=5)
        assert world.send(name, rows, rows[case.target].tolist()) == "2"
    for name, item in world.look().items():
        assert item.performance.labelled_rows == SENT, name
        assert SENT <= item.rows <= SENT + world.asked[name], name  # another test may have asked this version before
        assert not item.drift.drifted, (name, item.drift.reason)
        assert not item.performance.lost, (name, item.performance.reason)
    for name, case in CASES.items():
        rows = world.table.sample(SENT, replace=True, random_state=6)
        moved = rows.assign(x=rows["x"] + 2, wait=rows["wait"] * 3, note="rude and late, " + rows["note"])
        world.send(name, moved, rows[case.target].sample(frac=1, random_state=0).tolist())
    found = world.look()
    assert {*found} == {*CASES}
    for name, item in found.items():
        assert item.drift.drifted, (name, item.drift.reason)
        assert item.performance.lost, (name, item.performance.reason)


@pytest.mark.parametrize("name", CASES)
def test_worse_version_is_refused_and_the_way_back_is_open(world, name):
    bundle = world.bundles[name]
    refused = mlops.promote(bundle, version=1)
    assert (refused.promote, refused.verdict) == (False, "worse"), refused.reason
    assert world.ask_version(name) == "2"
    move = mlops.rollback(bundle, reason="a test")
    assert (move.source, move.target) == (2, 1)
    world.sync()
    wait_until(lambda: world.ask_version(name) == "1", 60)
    forced = mlops.promote(bundle, version=2, force=True, reason="the way there again")
    assert forced.promote
    world.sync()
    wait_until(lambda: world.ask_version(name) == "2", 60)
    assert [item.action for item in mlops.history(bundle) if hasattr(item, "action")][-2:] == ["rollback", "force"]
