"""Windows of a real log, of a real model: written, ingested, evaluated."""

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pandas as pd
import pytest

from mlops_project.bundle import PROFILE_FILE, Bundle, load_bundle, publish, stage
from mlops_project.config import Config, read_config
from mlops_project.monitoring.domain import RowSample
from mlops_project.monitoring.evaluate import evaluate_window
from mlops_project.monitoring.service import rounds as watching
from mlops_project.monitoring.service.bundles import name_version
from mlops_project.monitoring.service.rounds import Watcher
from mlops_project.monitoring.windows import Progress, find_window
from mlops_project.prediction_log import ids
from mlops_project.prediction_log.ingest import ingest
from mlops_project.prediction_log.reader import LogReader, Window
from mlops_project.prediction_log.records import About
from mlops_project.prediction_log.scan import Files
from mlops_project.prediction_log.writer import LogWriter
from mlops_project.sections import ChecksConfig, MonitoringConfig, PredictionLogConfig

NOON = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)  # no older than the model
HOUR = timedelta(hours=1)
CONFIG = """
data: {source: "sklearn:breast_cancer"}
model: {name: churn, estimator: logistic_regression}
evaluation: {bootstrap_rounds: 50, importance_repeats: 1}
tracking: {enabled: false}
monitoring: {min_rows: 100, consecutive: 2}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Config:
    from mlops_project.train import train

    root = tmp_path_factory.mktemp("trained")
    (root / "model.yaml").write_text(CONFIG)
    config = read_config(root / "model.yaml", root=root, env={})
    train(config)
    return config


class Log:
    """A project's prediction log."""

    def __init__(self, config: Config, monkeypatch) -> None:
        self.config, self.bundle = config, load_bundle(config.model_dir)
        self.version = name_version(self.bundle)
        self.folder, self.store = str(config.prediction_log_dir), config.monitoring_dir
        self.rows = pd.read_parquet(self.bundle.path / "reference.parquet")
        self._writer = LogWriter(config.prediction_log_dir, PredictionLogConfig())
        self._issuer = ids.IdIssuer(b"key")
        self._patch = monkeypatch
        self._draws = 0

    def send(self, n_rows: int, at: datetime, *, shift: float = 0.0, labels: str = "", role: str = "champion") -> None:
        """Write predictions of a moment; labels that are ``true``, ``wrong`` or of ``ones`` alone come half an hour later."""
        self._draws += 1
        drawn = self.rows.sample(n_rows, replace=True, random_state=self._draws)
        columns = drawn[list(self.bundle.contract.names)]
        body = (columns + shift * self.rows[columns.columns].std()).to_dict("records")
        with self._patch.context() as patch:
            patch.setattr(ids, "time", SimpleNamespace(time_ns=lambda: round(at.timestamp() * 1e9)))
            key = self._issuer.issue(n_rows)
        about = {"model": "churn", "version": self.version, "role": role, "wire": "native", "rows": n_rows}
        self._append(About(id=key, time_ns=round(at.timestamp() * 1e9), **about), body)
        for row, label in enumerate(drawn[self.bundle.contract.target].tolist() if labels else ()):
            if labels == "ones" and not label:
                continue
            said = 1 - label if labels == "wrong" else label
            time_ns = round((at + HOUR / 2).timestamp() * 1e9)
            self._append(About(id=f"{key}.{row}", time_ns=time_ns, kind="label"), said)

    def _append(self, about: About, body: object) -> None:
        assert self._writer.append(msgspec.json.encode(about), json.dumps(body).encode(), b"")

    def read(self) -> LogReader:
        """Close the segment, bring it into the Parquet log, and return that."""
        self._writer.close()
        ingest(self.folder, self.store, lambda *_: self.bundle, self.config.serving)
        return LogReader(self.store)

    def evaluate(self, start: datetime = NOON, end: datetime = NOON + HOUR, *, bundle: Bundle | None = None, previous=()):
        window = Window("churn", start, end, self.version)
        return evaluate_window(self.config, bundle or self.bundle, self.read(), window, previous)


@pytest.fixture
def log(trained, tmp_path, monkeypatch) -> Iterator[Log]:
    (tmp_path / "pyproject.toml").touch()
    shutil.copytree(trained.root / "artifacts", tmp_path / "artifacts")
    shutil.copy(trained.file, tmp_path / "model.yaml")
    return Log(read_config(tmp_path / "model.yaml", root=tmp_path, env={}), monkeypatch)


def test_rows_of_a_window_are_read_once_and_keys_once_more_for_the_labels(log, monkeypatch):
    log.send(400, NOON, labels="true")
    reader, passes, read, fetch = log.read(), [], Files.read, Files.fetch

    def note_read(files, row_groups, columns=None, *options):
        kind = "labels" if all("labels" in item.file for item in row_groups) else "keys"
        passes.append("every column" if columns is None else kind)
        return read(files, row_groups, columns, *options)

    def note_fetch(files, row_groups, positions, columns):
        passes.append(f"{len(positions)} rows")
        return fetch(files, row_groups, positions, columns)

    monkeypatch.setattr(Files, "read", note_read)
    monkeypatch.setattr(Files, "fetch", note_fetch)
    found = evaluate_window(log.config, log.bundle, reader, Window("churn", NOON, NOON + HOUR, log.version))
    assert (found.rows, found.performance.label_coverage) == (400, 1.0)
    assert found.drift.domain is not None
    assert passes == ["every column", "labels", "keys", "400 rows"]


def test_labels_of_what_the_model_flagged_alone_are_neither_judged_nor_lost(log):
    log.send(400, NOON, labels="ones")
    found = log.evaluate().performance
    assert (found.live, found.lost, found.live_reason.kind) == ((), False, "live-chosen")
    assert found.live_reason.values["unlabelled"] > 0.2


def draw(n_rows: int, seed: int, sizes: tuple[int, ...]) -> list[float]:
    sample, first = RowSample(seed, n_rows), 0
    for size in sizes:
        numbers = np.arange(first, first + size)
        sample.add({"x": numbers.astype(np.float64), "text": numbers.astype(str).astype(object)})
        first += size
    assert sample.columns["text"].tolist() == [str(int(value)) for value in sample.columns["x"]]
    return sample.columns["x"].tolist()


def test_sample_is_uniform_and_the_same_for_the_same_seed():
    sizes = (700, 1, 299, 1500, 500)
    first = draw(300, 1, sizes)
    assert draw(300, 1, sizes) == first != draw(300, 2, sizes)
    assert len(set(first)) == 300
    assert draw(100, 1, sizes) == first[:100]
    assert sorted(draw(9999, 3, sizes)) == list(range(3000))
    counts = np.histogram(np.concatenate([draw(300, seed, sizes) for seed in range(40)]), 10, (0, 3000))[0]
    assert (
        abs(counts - 1200).max() < 150
    )  # of a binomial with a standard deviation of 33, and fewer because none is drawn twice


def test_held_out_rows_again_are_quiet_in_every_respect(log):
    log.send(400, NOON, labels="true")
    found = log.evaluate()
    assert (found.rows, found.drift.rows, found.alerts) == (400, 400, ())
    assert found.performance.live
    assert found.performance.estimated
    assert (found.performance.label_coverage, found.performance.label_delay_seconds) == (1.0, 1800.0)
    assert found.last_label_at == (NOON + HOUR / 2).isoformat()
    assert found.drift.domain is not None


def test_moved_rows_are_drift_of_inputs_and_predictions(log):
    log.send(400, NOON, shift=1.0)
    found = log.evaluate()
    assert {"data-drift", "prediction-drift"} <= {alert.name for alert in found.alerts}
    assert not found.firing
    again = log.evaluate(previous=[found])
    assert {"data-drift", "prediction-drift"} <= {alert.name for alert in again.firing}


def test_wrong_labels_are_lost_performance_and_no_drift(log):
    log.send(400, NOON, labels="wrong")
    found = log.evaluate()
    assert [alert.name for alert in found.alerts] == ["performance-loss", "coverage-loss"]
    assert "weighted for the mix of these rows they would hold" in found.alerts[1].reason
    assert "coverage_weighted" in {value.name for value in found.performance.live}


def test_groups_are_compared_by_the_labelled_rows_of_the_log(log):
    name = log.bundle.contract.names[0]
    log.config = msgspec.structs.replace(log.config, checks=ChecksConfig(groups=(name,)))
    log.send(400, NOON, labels="wrong")
    found = log.evaluate()
    assert [alert.name for alert in found.alerts] == ["performance-loss", "coverage-loss", "unequal-groups"]
    level = next(reason for reason in found.performance.groups if reason.kind == "group-level")
    assert level.values["name"] == name
    assert abs(level.values["first"] - level.values["second"]) > 0.5


def test_only_the_window_counts_for_drift_and_labels_up_to_its_end(log):
    log.send(200, NOON - HOUR, shift=2.0, labels="true")
    log.send(300, NOON)
    log.send(200, NOON + HOUR, shift=2.0, labels="wrong")
    found = log.evaluate()
    assert found.rows == 300
    assert not found.drift.drifted
    assert found.performance.labelled_rows == 200


def test_shadows_count_for_nothing(log):
    log.send(300, NOON)
    log.send(300, NOON, shift=3.0, role="shadow")
    found = log.evaluate()
    assert (found.rows, found.drift.drifted) == (300, False)


def without_profile(bundle: Bundle, target: Path) -> Bundle:
    """Return the same model as an older training left it."""
    with stage(target) as folder:
        for name in bundle.metadata.files:
            if name != PROFILE_FILE:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(bundle.path / name, folder / name)
        return publish(folder, target, bundle.metadata)


def test_model_without_a_reference_profile_is_judged_by_its_labels_and_the_reason_says_so(log, tmp_path):
    log.send(400, NOON, shift=3.0, labels="wrong")
    found = log.evaluate(bundle=without_profile(log.bundle, tmp_path / "older"))
    assert "without a reference profile" in found.drift.reason
    assert (found.drift.features, found.drift.drifted) == ((), False)
    assert [alert.name for alert in found.alerts] == ["performance-loss", "coverage-loss"]
    assert found.performance.estimated == ()


def test_window_without_rows_is_evaluated_without_a_fault(log):
    found = log.evaluate()
    assert (found.rows, found.alerts, found.last_label_at) == (0, (), None)


def windows(log: Log, watermark: datetime, **settings) -> list[tuple[datetime, datetime]]:
    """Return the windows that are due, one after the other."""
    reader, chosen = log.read(), MonitoringConfig(min_rows=100, **settings)
    found: list[tuple[datetime, datetime]] = []
    while True:
        last_end = found[-1][1] if found else None
        window = find_window(reader, Progress("churn", log.version, last_end, NOON - 9 * HOUR), watermark, chosen)
        if window is None:
            return found
        found.append((window.start, window.end))


def test_windows_follow_one_another_up_to_the_watermark(log):
    for hours in range(3):
        log.send(150, NOON + hours * HOUR)
    assert windows(log, NOON + 2.5 * HOUR) == [(NOON, NOON + HOUR), (NOON + HOUR, NOON + 2 * HOUR)]
    assert len(windows(log, NOON + 3 * HOUR)) == 3
    assert windows(log, NOON + HOUR / 2) == []


def test_window_with_few_rows_goes_on_until_it_has_them(log):
    for hours, n_rows in ((0, 60), (1.5, 60), (2.5, 200)):
        log.send(n_rows, NOON + hours * HOUR)
    assert windows(log, NOON + 9 * HOUR) == [(NOON, NOON + 2 * HOUR), (NOON + 2 * HOUR, NOON + 3 * HOUR)]


def test_window_after_a_pause_begins_with_its_first_row(log):
    log.send(100, NOON)
    log.send(100, NOON + 5.5 * HOUR)
    assert windows(log, NOON + 9 * HOUR) == [(NOON, NOON + HOUR), (NOON + 5.5 * HOUR, NOON + 6.5 * HOUR)]


def test_window_ends_early_with_enough_rows(log):
    for minutes in range(0, 60, 10):
        log.send(100, NOON + timedelta(minutes=minutes))
    found = windows(log, NOON + 9 * HOUR, every_rows=250)
    assert [(end - NOON) // timedelta(minutes=1) for _, end in found] == [20, 50]


@pytest.fixture
def watcher(log) -> Watcher:
    return Watcher(log.config, log.folder)


def test_watcher_evaluates_each_row_once_whenever_it_dies(log, watcher, monkeypatch):
    for hours in range(4):
        log.send(120, NOON + hours * HOUR)
    log.read()

    class DiedError(BaseException):
        """Stands for kill -9: nothing catches it."""

    def die(*_, **__):
        raise DiedError

    for moment in ("evaluate_window", "build_report"):
        killed = Watcher(log.config, log.folder)
        with monkeypatch.context() as patch:
            patch.setattr(watching, moment, die)
            with pytest.raises(DiedError):
                killed.watch(NOON + 2.5 * HOUR)
    reborn = Watcher(log.config, log.folder)
    reborn.restore()
    reborn.watch(NOON + 9 * HOUR)
    found = reborn.store.read("churn")
    assert [item.rows for item in found] == [120] * 4
    assert all(before.end == after.start for before, after in pairwise(found))
    assert f"{NOON:%Y-%m-%d} 16:00".encode() in reborn.read_report("churn")


def test_watcher_shows_what_was_found_before_the_start(log, watcher):
    log.send(120, NOON)
    log.read()
    watcher.watch(NOON + 2 * HOUR)
    reborn = Watcher(log.config, log.folder)
    assert reborn.metrics.newest == {}
    reborn.restore()
    assert reborn.metrics.newest == watcher.metrics.newest != {}


def test_fault_with_one_model_is_counted_and_does_not_stop_the_others(log, watcher):
    log.send(120, NOON)
    log.read()
    source = Path(log.store) / "log" / "model=churn"
    shutil.copytree(source, source.with_name("model=another"))
    watcher.watch(NOON + 2 * HOUR)
    assert list(watcher.metrics.newest) == ["churn"]
    assert "no champion is known" in watcher.problems.current["another"]
    assert b'mlops_monitor_runs_total{model="another",result="error"} 1.0' in watcher.metrics.render()


def test_open_segment_holds_the_window_back_until_it_is_read(log, watcher):
    now = datetime.now(UTC)
    log.send(120, now - 3 * HOUR)
    assert watcher.read_log() < now  # a segment is open, whose rows may be older than now
    watcher.watch(watcher.read_log())
    assert watcher.metrics.newest == {}
    log._writer.close()
    watermark = watcher.read_log()
    assert now - timedelta(seconds=10) < watermark
    watcher.watch(watermark)
    assert watcher.metrics.newest["churn"].rows == 120


def test_span_by_itself_needs_rows_and_is_not_kept(log, watcher):
    log.send(120, NOON)
    log.send(20, NOON + 5 * HOUR)
    log.read()
    found = watcher.evaluate_span("churn", NOON, NOON + HOUR)
    assert found.rows == 120
    assert watcher.store.read("churn") == []
    assert "20 rows, 100 are needed" in watcher.evaluate_span("churn", NOON + 4 * HOUR, NOON + 6 * HOUR)


def test_version_behind_the_log_stays_known_when_another_is_trained_over_it(log, watcher):
    assert watcher.bundles("churn", log.version).contract == log.bundle.contract
    (log.config.model_dir / "metadata.json").unlink()
    reborn = Watcher(log.config, log.folder)
    assert reborn.bundles("churn", log.version).digest == log.bundle.digest
    assert reborn.bundles("churn", "77") is None
    assert reborn.bundles.find_champion("churn") is None
