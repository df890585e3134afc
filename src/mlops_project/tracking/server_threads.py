"""How many requests MLflow may work on at once, such that none waits for a database connection that another one holds.

MLflow's ``log_batch`` holds a connection while it takes a second one. With more threads than connections (asyncio's 40, and
SQLAlchemy's 5 + 10), as many of these requests as there are connections take one each, and all wait for a second until that
fails after 30 s, with a 400 that clients do not try again: what they logged is lost. One worker and fifty clients are enough.
So a worker has half as many threads as connections; a request more waits for a thread, which it gets. It costs no throughput:
the threads share one processor anyway.
"""

import os
from collections.abc import Mapping

POOL_SIZE, MAX_OVERFLOW = 5, 10  # SQLAlchemy's defaults, which MLflow leaves
CONNECTIONS_PER_REQUEST = 2


def compute_thread_limit(env: Mapping[str, str]) -> int | None:
    """Return the number of threads; None if the pool of connections has no limit."""
    kind = env.get("MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "") or "QueuePool"
    overflow = int(env.get("MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW") or 0) or MAX_OVERFLOW  # MLflow takes 0 as not set
    size = int(env.get("MLFLOW_SQLALCHEMYSTORE_POOL_SIZE") or 0) or POOL_SIZE
    if kind != "QueuePool" or overflow < 0:
        return None
    return max(1, (size + overflow) // CONNECTIONS_PER_REQUEST)


def limit_threads() -> None:
    """Apply the limit to the threads of the running event loop."""
    import anyio.to_thread

    limit = compute_thread_limit(os.environ)
    if limit is not None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = limit
