"""One search by several processes, in PostgreSQL."""

import pytest

from mlops_project.errors import StackError
from mlops_project.tune import tune
from mlops_project.tuning.places import DatabasePlace
from tests.integration.tuning.searches import prepare_processes, read, run_search, tell


def test_processes_share_a_search_in_postgresql_and_one_that_is_killed_loses_its_trial_alone(project, postgresql):
    context, address = prepare_processes(), postgresql.address("postgres", postgresql.password)
    overrides = ("search.trials=12", "search.patience=0", f"search.storage={address}")
    processes = [context.Process(target=run_search, args=(project, overrides)) for _ in range(3)]
    for process in processes:
        process.start()
    processes[0].join(1.5)
    processes[0].kill()
    for process in processes[1:]:
        process.join(120)
        assert process.exitcode == 0
    found, _ = tune(read(project, *overrides))
    assert found.resumed == sum(trial.counts for trial in found.trials) == 12
    assert sum(trial.state == "lost" for trial in found.trials) <= 1
    alone, _ = tune(read(project, "search.trials=1"))
    assert tell(found.trials)[0] == tell(alone.trials)[0]


def test_worker_is_alive_in_postgresql_until_its_session_ends(postgres_url):
    one, two, elsewhere = (DatabasePlace(postgres_url, key) for key in ("a", "a", "b"))
    assert one.is_alive(two.worker)
    assert not elsewhere.is_alive(two.worker)  # of another search
    with one.exclusive():  # its locks are none of a worker's
        assert one.is_alive(one.worker)
    two.close()
    assert not one.is_alive(two.worker)
    one.close()
    elsewhere.close()


def test_database_that_does_not_answer_is_named_without_its_password(project):
    with pytest.raises(StackError, match=r"search.storage: postgresql://127.0.0.1:1/none cannot be used: ") as caught:
        tune(read(project, "search.storage=postgresql://me:hunter2@127.0.0.1:1/none"))
    assert "hunter2" not in str(caught.value)
