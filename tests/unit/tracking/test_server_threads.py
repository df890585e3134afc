import pytest

from mlops_project.tracking.server_threads import compute_thread_limit

SIZE, OVERFLOW, KIND = (f"MLFLOW_SQLALCHEMYSTORE_{name}" for name in ("POOL_SIZE", "MAX_OVERFLOW", "POOLCLASS"))


@pytest.mark.parametrize(
    ("env", "limit"),
    [
        ({}, 7),
        ({SIZE: "5", OVERFLOW: "5"}, 5),
        ({SIZE: "20"}, 15),
        ({SIZE: "0", OVERFLOW: "0"}, 7),  # MLflow passes neither on
        ({SIZE: "1", OVERFLOW: "1"}, 1),
        ({SIZE: "", OVERFLOW: "", KIND: ""}, 7),
        ({KIND: "QueuePool"}, 7),
        ({KIND: "NullPool"}, None),
        ({OVERFLOW: "-1"}, None),
    ],
)
def test_every_thread_can_have_two_connections(env, limit):
    assert compute_thread_limit(env) == limit
