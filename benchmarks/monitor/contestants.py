"""Who takes part, and the line to each: a process of its own that gets jobs and returns alarms."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.environments import install
from benchmarks.monitor.places import BENCH, BUILD, HERE

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # each, so that none gains by a machine that is idle
SILENT = {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}  # both report their use to their makers by default


@dataclass(frozen=True, eq=False)
class Contestant:
    """A tool; ``detectors`` says what its alarms are called in tables, for drift and for loss of performance."""

    name: str
    detectors: dict[str, dict[str, str]]
    requirements: tuple[str, ...] = ()  # of an environment of its own; none: it is in ours
    windows: int = 1_000_000  # of 100,000 rows, at most: some are slow

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return BENCH / self.name / "bin" / "python" if self.requirements else Path(sys.executable)

    @property
    def script(self) -> Path:
        """What it runs."""
        return HERE / "peers" / f"{self.name}_peer.py"

    def install(self) -> None:
        """Make its environment unless it is there."""
        if self.requirements and (failure := install(BENCH / self.name, self.requirements)):
            raise SystemExit(f"{self.name} {failure}")

    @contextmanager
    def running(self) -> Iterator["Line"]:
        """Start it; end it afterwards."""
        log = BUILD / f"{self.name}.log"
        with (
            log.open("w") as errors,
            subprocess.Popen(
                [str(self.python), str(self.script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=os.environ | SILENT | ONE_THREAD,
            ) as process,
        ):
            yield Line(process, log)


@dataclass(frozen=True)
class Line:
    """The line to a running contestant."""

    process: "subprocess.Popen[str]"
    log: Path

    def ask(self, job: dict[str, Any]) -> dict[str, Any]:
        """Send a job; return alarms per window, and the seconds that took."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        if not (text := self.process.stdout.readline()):
            raise SystemExit(f"it ended: {self.log}\n{self.log.read_text()[-2_000:]}")
        answer: dict[str, Any] = json.loads(text)
        return answer


CONTESTANTS = (
    Contestant(
        "ours",
        {
            "drift": {"data": "ours, data drift", "prediction": "ours, prediction drift", "either": "ours, either"},
            "loss": {"loss": "ours, live metric lost"},
        },
    ),
    Contestant(
        "evidently",
        {
            "drift": {"dataset": "Evidently, dataset drift", "column": "Evidently, any column"},
            "loss": {"loss": "Evidently, any test of ClassificationPreset"},
        },
        requirements=("evidently==0.7.23", "pandas==3.0.6", "pyarrow==26.0.1"),  # does not import with pandas 3.1
        windows=40,
    ),
    Contestant(
        "nannyml",
        {
            "drift": {"univariate": "NannyML, any column", "reconstruction": "NannyML, reconstruction error"},
            "loss": {"loss": "NannyML, ROC AUC"},
        },
        requirements=("nannyml==0.13.1", "statsmodels==0.15.0", "pyarrow==26.0.1"),  # forgets to ask for statsmodels
        windows=40,
    ),
)
