"""No single request that is made to be expensive takes more than 400 MiB of a worker or holds up others."""

import itertools

import pytest

from mlops_project.config import read_config
from mlops_project.train import train
from tests.bombs import MIB, compress, describe_model, list_bombs
from tests.costs import WatchedServer
from tests.servers import model_server

MOST_BYTES = 400 * MIB
LONGEST_PING_SECONDS = 3.0  # on a busy machine; a parser in C holds the interpreter while it reads 32 MiB
REFUSED = (400, 404, 413, 415)
HARMLESS = ("run lengths, a footer that lies about rows",)  # the file then has as few rows as the footer says


@pytest.fixture
def bundle(tmp_path):
    """A model of 30 numbers."""
    (tmp_path / "model.yaml").write_text("model: {name: numbers, estimator: decision_tree, params: {max_depth: 5}}\n")
    quick = ["tracking.enabled=false", "evaluation.bootstrap_rounds=0", "evaluation.importance_repeats=0", "gates.minimum={}"]
    train(read_config(tmp_path / "model.yaml", root=tmp_path, overrides=quick, env={}))
    return tmp_path / "artifacts" / "model"


@pytest.mark.timeout(600)
def test_no_request_takes_much_memory_or_holds_up_others(bundle, project):
    faults = []
    bombs = list_bombs(*describe_model(bundle))
    with model_server(project, "--model", str(bundle)) as server:
        watched = WatchedServer(server.port, server.process.pid)
        for bomb, encoding in zip(bombs, itertools.cycle(["", "gzip", "deflate"]), strict=False):
            cost = watched.throw(compress(bomb, encoding) if encoding and "content-encoding" not in bomb.headers else bomb)
            allowed = (*REFUSED, 200) if bomb.name.endswith(HARMLESS) else REFUSED
            if cost.status not in allowed or cost.peak_bytes > MOST_BYTES or cost.ping_seconds > LONGEST_PING_SECONDS:
                faults.append((bomb.name, encoding, cost))
        assert server.process.poll() is None
        assert "Traceback" not in server.read_log()
    assert faults == []
