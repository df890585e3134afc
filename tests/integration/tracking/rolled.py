"""A project with a champion and a challenger that passed the gate; what servers would log is written by hand."""

import json
import random
import shutil
from datetime import UTC, datetime, timedelta

import msgspec
from click.testing import CliRunner

from mlops_project.bundle import load_bundle
from mlops_project.cli import main
from mlops_project.monitor import Monitor
from mlops_project.prediction_log.records import About
from mlops_project.prediction_log.writer import LogWriter
from mlops_project.tracking import registry, rollouts
from mlops_project.tracking.events import read_history
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from tests.integration.tracking.production import write_project
from tests.integration.tracking.stores import reseal

SETTINGS = (
    "serving.challenger=canary",
    "rollout.steps=[0.3, 0.6]",
    "rollout.step_minutes=0",
    "rollout.max_failures=0.05",
    "rollout.max_loss=0.05",
)


class World:
    """A project in which version 2 may be rolled out; what servers would log is written by hand."""

    def __init__(self, root, *overrides: str) -> None:
        self.config = write_project(root, *SETTINGS, *overrides)
        self.restart()
        self._random, self._count = random.Random(1), 0

    @staticmethod
    def register(config, verdict: str) -> int:
        """Register the same model again, sealed at another time, as one of which the gate says this."""
        bundle = load_bundle(config.model_dir)
        (bundle.path / "tracking.json").unlink()
        number = log_bundle(reseal(bundle, created_at=datetime.now(UTC).isoformat()), config).model_version
        with open_store(config) as store:
            registry.note_verdict(store, registry.find_version(store, "world", str(number)), verdict, "it is good")
        return number

    def add_version(self, verdict: str = "better") -> int:
        return self.register(self.config, verdict)

    def look(self) -> rollouts.Rollout | None:
        self.monitor.watcher.read_log()
        self.monitor.check_rollout()
        return self.monitor.guard.rollout

    def restart(self) -> None:
        """Start another monitor, as after a kill."""
        self.monitor = Monitor(self.config, str(self.config.prediction_log_dir))

    def serve(
        self, n_requests: int, *, fails: float = 0.0, slow: float = 0.0, wrong: float = 0.0, labels: bool = False, keys: int = 0
    ) -> None:
        """Answer requests as servers would; what the shares say befalls those that are drawn for the challenger."""
        rollout, start = self.monitor.guard.rollout, datetime.now(UTC)
        writer = LogWriter(self.config.prediction_log_dir, self.config.prediction_log)
        for number in range(n_requests):
            self._count += 1
            drawn = self._random.random() < rollout.share
            failed = drawn and self._random.random() < fails
            took = 900_000 if drawn and self._random.random() < slow else 100 + self._random.randrange(900)
            instant = start + timedelta(microseconds=200 * number)  # before the next look
            key = f"{round(instant.timestamp() * 1000):012x}{self._count:026x}"
            about = About(
                key,
                round(instant.timestamp() * 1e9),
                model="world",
                version=str(rollout.champion if failed or not drawn else rollout.version),
                wire="native",
                role="canary" if drawn and not failed else "champion",
                rollout=rollout.id,
                step=rollout.step,
                microseconds=took,
                failed=str(rollout.version) if failed else "",
                unit=f"{self._random.randrange(keys):016x}" if keys else "",
            )
            row = {"a": self._random.choice([-1.5, 1.5]), "b": 0.0, "c": 0.0}
            assert writer.append(msgspec.json.encode(about), json.dumps(row).encode(), b"", rows=1)
            if labels:
                right = (row["a"] > 0) != (drawn and self._random.random() < wrong)
                said = About(key, time_ns=about.time_ns + 1, kind="label")
                assert writer.append(msgspec.json.encode(said), json.dumps("yes" if right else "no").encode(), b"")
        writer.close()

    def champion(self) -> int:
        with open_store(self.config) as store:
            return registry.find_champion(store, "world").number

    def story(self) -> list[str]:
        with open_store(self.config) as store:
            return [item.result for item in read_history(store, "world") if getattr(item, "kind", "") == "rollout"]

    def command(self, *arguments: str) -> str:
        names = [f"--set={item}" for item in SETTINGS]
        found = CliRunner().invoke(main, ["rollout", *arguments, str(self.config.file), *names], catch_exceptions=False)
        assert found.exit_code == 0, found.output
        return found.output


def copy_project(rolled, target) -> None:
    (target / "mlruns").mkdir()
    shutil.copy(rolled / "mlruns" / "mlflow.db", target / "mlruns" / "mlflow.db")
    shutil.copytree(rolled / "artifacts", target / "artifacts")
