"""Which requests took part in a roll-out: one row each, once, whatever becomes of the rows and of the segment."""

import json
from datetime import timedelta

import msgspec
import pytest

from mlops_project.prediction_log.draws import DrawReader
from mlops_project.prediction_log.ingest import ingest
from mlops_project.prediction_log.reader import LogReader
from mlops_project.prediction_log.records import About
from mlops_project.sections import ServingConfig
from tests.unit.prediction_log.segments import NOON, make_id


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def draw(segments):
    def log(version="1", *, rollout="r1", step=0, at=NOON, role="champion", model="tiny", n_rows=1, **more) -> str:
        key = make_id(at)
        about = About(
            key,
            round(at.timestamp() * 1e9),
            model=model,
            version=version,
            role=role,
            wire="native",
            rows=n_rows,
            rollout=rollout,
            step=step,
            **more,
        )
        segments.raw(msgspec.json.encode(about), json.dumps([{"x": 0.5}] * n_rows).encode())
        return key

    return log


def read(store, since=NOON):
    return DrawReader(str(store), "r1", "2", since)


def test_each_request_of_the_roll_out_is_there_once_in_the_order_of_time(segments, draw, find, store):
    late = draw(at=NOON + timedelta(seconds=2), n_rows=3, microseconds=120, unit="ab")
    early = draw("2", role="canary", step=1, microseconds=80)
    failed = draw(at=NOON + timedelta(seconds=1), failed="2")
    for other in ({"rollout": "r0"}, {"rollout": ""}, {"role": "shadow", "version": "2"}):
        draw(**other)
    segments.close()
    ingest(segments.folder, str(store), find, ServingConfig())
    reader = read(store)
    (found,) = reader.read_new()
    assert found.ids == [early, failed, late]
    assert (found.drawn.tolist(), found.failed.tolist()) == ([True, True, False], [False, True, False])
    assert (found.steps.tolist(), found.microseconds.tolist(), found.units) == ([1, 0, 0], [80, 0, 120], ["", "", "ab"])
    assert list(reader.read_new()) == []
    assert reader.find([late, "nobody"]).ids == [late]


def test_requests_of_a_version_that_cannot_be_had_count_all_the_same_and_once(segments, draw, store, find):
    draw("9")
    segments.close()
    for _ in range(2):
        ingest(segments.folder, str(store), find, ServingConfig())
    assert [len(found.ids) for found in read(store).read_new()] == [1]


def test_file_that_is_damaged_or_past_its_retention_has_none(segments, draw, find, store):
    draw()
    segments.close()
    draw(at=NOON + timedelta(days=1))
    segments.close()
    ingest(segments.folder, str(store), find, ServingConfig())
    first, second = sorted((store / "rollouts").rglob("*.parquet"))
    assert [len(found.ids) for found in read(store).read_new()] == [1, 1]
    assert [len(found.ids) for found in read(store, NOON + timedelta(days=1)).read_new()] == [1]
    second.write_bytes(b"no Parquet at all")
    assert [len(found.ids) for found in read(store).read_new()] == [1]
    LogReader(str(store)).delete_old(NOON + timedelta(days=1))
    assert not first.exists()
    assert second.exists()
