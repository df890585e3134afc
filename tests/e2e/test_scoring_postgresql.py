"""`mlops score` from PostgreSQL into PostgreSQL, killed while it loads."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import sqlalchemy

from tests.servers import PostgreSQL, postgresql_server
from tests.unit.conftest import tiny_bundle, tiny_contract, tiny_metadata, tiny_model

__all__ = ["tiny_bundle", "tiny_contract", "tiny_metadata", "tiny_model"]
pytestmark = pytest.mark.xdist_group("postgresql")
ROWS = 140_000  # three units
MAKE = f"""
create table customers as select i as id, (i % 1000) / 1000.0 as x, now() as seen, gen_random_uuid() as token,
  case when i > 70000 then i::numeric / 4 end as amount, jsonb_build_object('n', i) as more from generate_series(1, {ROWS}) as i
"""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with postgresql_server() as server:
        yield server


def test_killed_load_is_not_seen_and_goes_on_without_doubling_a_row(server, tiny_bundle, tmp_path, environment):
    url = server.create_database("shop")
    engine = sqlalchemy.create_engine(url)

    def ask(query: str) -> list:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sqlalchemy.text(query))]

    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(MAKE))
        connection.execute(sqlalchemy.text("create schema ml"))
    command = [sys.executable, "-m", "mlops_project.score", url, url, "--query", "select * from customers", "--json"]
    command += ["--table", "ml.scores", "--model", str(tiny_bundle.path), "--processes", "1"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as run:
        end = time.monotonic() + 120
        while not ask("select 1 from pg_tables where tablename = '_mlops_parts'") or not ask("select 1 from ml._mlops_parts"):
            assert run.poll() is None, run.stderr and run.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.02)
        run.kill()
    assert run.returncode == -signal.SIGKILL
    assert ask("select 1 from pg_tables where schemaname = 'ml' and tablename = 'scores'") == []
    ask_after = ask("select count(*) from ml._mlops_parts")
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["resumed"], summary["scored"], ask_after[0][0] < 3) == (True, ROWS, True)
    assert server.password not in done.stdout + done.stderr
    counts = (
        "count(*), count(distinct s.id), max(abs(s.\"probability yes\" - c.x)), count(s.amount), min(s.more::jsonb ->> 'n')"
    )
    joined = "ml.scores s join customers c on c.id = s.id and c.seen = s.seen and c.token::text = s.token"
    (found,) = ask(f"select {counts} from {joined}")
    assert found[:2] == (ROWS, ROWS)
    assert float(found[2]) < 1e-12
    assert found[3:] == (ROWS - 70_000, "1")
    engine.dispose()
