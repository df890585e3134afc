import contextlib
import itertools
import multiprocessing
import os
import subprocess
import sys

import pytest

from mlops_project.config import read_config
from mlops_project.prediction_log.ids import IdIssuer
from mlops_project.serving.errors import RefusedError
from mlops_project.serving.repeats import Repeats, RepeatTable, digest, read_key
from mlops_project.serving.settings import build_settings
from mlops_project.serving.wires import Question

KEYS = [digest(16, str(number).encode()) for number in range(200)]


class Ids:
    """Gives out ids that differ."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def __call__(self) -> str:
        return next(self._numbers).to_bytes(19, "big").hex()


@pytest.fixture
def open_table(tmp_path):
    """Return a function that opens the folder's table; all are closed at the end."""
    opened = []

    def build(n_keys: int = 100, seconds: float = 30) -> RepeatTable:
        opened.append(RepeatTable(tmp_path, n_keys, seconds))
        return opened[-1]

    yield build
    for table in opened:
        table.close()


def test_key_keeps_its_id_in_every_table_of_the_folder(open_table):
    one, other, ids = open_table(), open_table(), Ids()
    first = one.claim(KEYS[0], b"request!", ids)
    assert not first.repeated
    with pytest.raises(RefusedError, match="still at work"):
        other.claim(KEYS[0], b"request!", ids)
    one.settle(first, answered=True)
    assert other.claim(KEYS[0], b"request!", ids) == first._replace(repeated=True)
    assert other.claim(KEYS[1], b"request!", ids).id != first.id
    with pytest.raises(RefusedError, match="came with another request before") as caught:
        one.claim(KEYS[0], b"another!", ids)
    assert caught.value.status == 422


def test_request_that_was_never_answered_is_taken_over_after_its_time(open_table):
    table, ids = open_table(seconds=-1), Ids()
    first = table.claim(KEYS[0], b"request!", ids)
    assert table.claim(KEYS[0], b"request!", ids) == first


def test_request_that_was_not_answered_begins_anew(open_table):
    table, ids = open_table(), Ids()
    table.settle(table.claim(KEYS[0], b"request!", ids), answered=False)
    again = table.claim(KEYS[0], b"another!", ids)
    assert (again.repeated, again.id) == (False, (1).to_bytes(19, "big").hex())


def test_request_whose_worker_died_is_taken_over_under_its_id(tmp_path, open_table):
    script = (
        "import sys, pathlib\nfrom mlops_project.serving.repeats import RepeatTable\n"
        "RepeatTable(pathlib.Path(sys.argv[1]), 100, 30).claim(bytes.fromhex(sys.argv[2]), b'request!', lambda: 'ab' * 19)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path), KEYS[0].hex()], check=True)
    table = open_table()
    found = table.claim(KEYS[0], b"request!", Ids())
    assert (found.id, found.repeated) == ("ab" * 19, False)
    table.settle(found, answered=True)
    assert table.claim(KEYS[0], b"request!", Ids()).repeated


def test_memory_is_bounded_and_the_oldest_give_way(tmp_path, open_table):
    table, ids = open_table(16), Ids()
    for key in KEYS:
        table.settle(table.claim(key, b"request!", ids), answered=True)
    assert (tmp_path / "repeats").stat().st_size == 16 * 64
    known = [table.claim(key, b"request!", ids).repeated for key in reversed(KEYS[-4:])]
    assert all(known)
    assert not table.claim(KEYS[0], b"request!", ids).repeated


def claim_all(folder, results) -> None:
    table, found = RepeatTable(folder, 1000, 30), []
    ids = iter([digest(19, str(os.getpid()).encode(), str(number).encode()).hex() for number in range(200)])
    for key in KEYS:
        claim = None
        while claim is None:
            with contextlib.suppress(RefusedError):  # at work in another process
                claim = table.claim(key, b"request!", lambda: next(ids))
        table.settle(claim, answered=True)
        found.append((claim.id, claim.repeated))
    table.close()
    results.put(found)


def test_processes_at_once_agree(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=claim_all, args=(tmp_path, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
    for claims in zip(*found, strict=True):
        assert len({key for key, _ in claims}) == 1
        assert [repeated for _, repeated in claims].count(False) == 1


def test_table_that_cannot_be_made_is_a_refusal_that_says_so(tmp_path):
    (tmp_path / "m.yaml").write_text("model: {name: m}\n")
    settings = build_settings(read_config(tmp_path / "m.yaml", root=tmp_path, env={}), metrics_dir=tmp_path / "gone")
    repeats = Repeats(settings, IdIssuer(bytes(32)))
    with pytest.raises(RefusedError, match="keys cannot be remembered now"):
        repeats.claim(Question("native", b"{}", key=bytes(16)), "m/1", 1, logged=True)
    (tmp_path / "gone").mkdir()
    claim = repeats.claim(Question("native", b"{}", key=bytes(16)), "m/1", 1, logged=True)
    repeats.settle(claim, answered=True)
    assert (claim.logged, repeats.claim(Question("native", b"{}", key=bytes(16)), "m/1", 1, logged=True).logged) == (
        True,
        False,
    )
    repeats.close()


def test_key_belongs_to_its_caller_and_path():
    keys = {read_key(b"k", caller, path) for caller in (b"", b"Bearer a", b"Bearer b") for path in ("/predict", "/invocations")}
    assert len(keys) == 6
    for wrong in (b"", b"x" * 256, "é".encode(), b"a\tb"):
        with pytest.raises(RefusedError, match="Idempotency-Key: expected 1 to 255"):
            read_key(wrong, b"", "/predict")
