"""kill -9 at random moments: what goes on is the search that was killed."""

import os
import random
import time
from pathlib import Path

import pytest

from mlops_project.tune import tune
from tests.integration.tuning.searches import make_project, prepare_processes, read, run_search, tell

KILLS = int(os.environ.get("MLOPS_KILLS", "5"))  # more of them: MLOPS_KILLS=20
TRIALS = 16
SEED = random.SystemRandom().randrange(2**32)  # another one each time; the message of a failure names it


@pytest.fixture
def project(tmp_path) -> Path:
    """A project with a small table."""
    return make_project(tmp_path)


def test_search_that_is_killed_at_random_moments_ends_like_one_that_is_not(project):
    whole, _ = tune(read(project, f"search.trials={TRIALS}"))
    place, moments, context = f"search.storage={project / 'killed.jsonl'}", random.Random(SEED), prepare_processes()
    for _ in range(KILLS):
        process = context.Process(target=run_search, args=(project, (f"search.trials={TRIALS}", place)))
        process.start()
        process.join(moments.uniform(0.05, 0.6))
        process.kill()
        process.join()
    found, _ = tune(read(project, f"search.trials={TRIALS}", place))
    lost = [trial for trial in found.trials if not trial.counts]
    assert len(lost) <= KILLS, f"seed {SEED}"  # the one that ran
    assert tell(found.trials) == tell(whole.trials), f"seed {SEED}"
    assert found.best.params == whole.best.params


def test_trial_of_a_killed_process_is_taken_over_by_one_that_runs(project):
    context, place = prepare_processes(), f"search.storage={project / 'shared.jsonl'}"
    overrides = ("search.trials=16", "search.patience=0", place)
    processes = [context.Process(target=run_search, args=(project, overrides)) for _ in range(2)]
    for process in processes:
        process.start()
    end = time.monotonic() + 60
    while (
        (project / "shared.jsonl").read_bytes().count(b"datetime_complete") < 6 if (project / "shared.jsonl").exists() else True
    ):
        assert time.monotonic() < end
        time.sleep(0.01)
    processes[0].kill()
    processes[1].join(120)
    assert processes[1].exitcode == 0
    found, _ = tune(read(project, *overrides))
    assert found.resumed == sum(trial.counts for trial in found.trials) == 16
    assert sum(trial.state == "lost" for trial in found.trials) <= 1


def count_ended(file) -> int:
    return file.read_bytes().count(b"datetime_complete") if file.exists() else 0
