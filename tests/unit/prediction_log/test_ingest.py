import fcntl
import json
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from mlops_project.errors import BundleError
from mlops_project.prediction_log import ingest as module
from mlops_project.prediction_log import parts
from mlops_project.prediction_log.ingest import Ingested, ingest
from mlops_project.prediction_log.markers import read_damaged
from mlops_project.prediction_log.parts import Bounds
from mlops_project.prediction_log.records import Losses
from mlops_project.prediction_log.scan import EPOCH
from mlops_project.prediction_log.segments import list_read
from mlops_project.prediction_log.typed import to_columns, to_predictions
from mlops_project.runtime import Runtime
from mlops_project.sections import ServingConfig
from mlops_project.storage.directory import Directory
from tests.unit.prediction_log.segments import JSON, NOON, make_id

LENIENT = ServingConfig()


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def run(segments, store, find):
    def start(find=find, serving=LENIENT, **options):
        return ingest(segments.folder, str(store), find, serving, **options)

    return start


def parquet_files(store) -> list[str]:
    return sorted(file.relative_to(store).as_posix() for file in store.rglob("*.parquet"))


def read_log(store, model="tiny"):
    files = sorted((store / "log" / f"model={model}").rglob("*.parquet"))
    return [row for file in files for row in pq.read_table(file, partitioning=None).to_pylist()]


def test_every_row_of_a_segment_is_there_once_under_its_date(segments, store, run):
    late = NOON + timedelta(hours=13)
    first = segments.predict({"x": 0.25})
    batch = segments.predict([{"x": 0.75}, {"x": 0.1}], at=late, version="2", role="canary")
    name = segments.close()[-1].stem
    assert run() == Ingested(segments=1, rows=3, models=frozenset({"tiny"}))
    assert parquet_files(store) == [
        f"log/model=tiny/date=2026-03-01/{name}-v1.parquet",
        f"log/model=tiny/date=2026-03-02/{name}-v2.parquet",
    ]
    seen = [
        (row["mlops.id"], row["mlops.row"], row["mlops.time"], row["mlops.version"], row["mlops.role"], row["x"])
        for row in read_log(store)
    ]
    assert seen == [
        (first, 0, NOON, "1", "champion", 0.25),
        (batch, 0, late, "2", "canary", 0.75),
        (batch, 1, late, "2", "canary", 0.1),
    ]
    assert [row["mlops.prediction"] for row in read_log(store)] == [0, 1, 0]
    assert [row["mlops.probability.1"] for row in read_log(store)] == [0.25, 0.75, 0.1]
    assert run() == Ingested()


def test_open_segments_wait_until_they_are_closed(segments, store, run):
    segments.predict({"x": 0.5})
    assert run() == Ingested()
    segments.close()
    assert run().rows == 1


def test_every_wire_format_is_read_as_it_was_served(segments, store, run, mixed_bundle):
    row = {"x": 0.5, "gap": None, "whole": 3, "flag": True, "town": "Ulm", "word": "new", "when": "2026-02-03T04:05:06.789"}
    names, values = list(row), list(row.values())
    turned = {"columns": names[::-1], "data": [values[::-1]]}
    kinds = {"x": "FP64", "gap": "FP64", "whole": "INT64", "flag": "BOOL", "town": "BYTES", "word": "BYTES", "when": "BYTES"}
    tensors = [{"name": name, "shape": [1], "datatype": kinds[name], "data": [value]} for name, value in row.items()]
    head = json.dumps(
        {"inputs": [*tensors[1:], {"name": "x", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}}]}
    )
    csv = ",".join(names) + "\n" + ",".join("" if value is None else str(value) for value in values)
    options = {"model": "mixed"}
    segments.predict(row, **options)
    segments.predict([row, row], **options)
    segments.predict({"dataframe_split": {"columns": names, "data": [values]}}, wire="mlflow", content_type=JSON, **options)
    segments.predict({"dataframe_split": turned}, wire="mlflow", content_type=JSON, **options)
    segments.predict({"dataframe_records": [row]}, wire="mlflow", content_type=f"{JSON}; charset=utf-8", **options)
    segments.predict(csv.encode(), wire="mlflow", content_type="text/csv", **options)
    segments.predict({"inputs": tensors}, wire="open_inference", **options)
    binary = head.encode() + np.float64(0.5).tobytes()
    segments.predict(binary, wire="open_inference", content_type=str(len(head)), **options)
    segments.close()
    assert run() == Ingested(segments=1, rows=9, models=frozenset({"mixed"}))
    (file,) = (store / "log").rglob("*.parquet")
    table = pq.read_table(file, partitioning=None)
    columns = to_columns(table, mixed_bundle.contract)
    assert set(columns["x"]) == {0.5}
    assert np.isnan(columns["gap"]).all()
    assert table["gap"].null_count == 0  # a missing number is NaN; null is for versions that lack the column
    assert set(columns["flag"]) == {1.0}
    assert set(columns["word"]) == {"new"}
    assert set(columns["when"]) == {np.datetime64("2026-02-03T04:05:06.789", "us")}
    expected = Runtime.load(mixed_bundle).predict({name: [value] for name, value in row.items()})
    said = to_predictions(table, mixed_bundle.contract)
    assert (said.indices == expected.indices).all()
    assert (said.probabilities == expected.probabilities).all()


def test_answers_are_those_that_were_given_and_not_the_models_of_today(segments, store, run, tiny_bundle):
    names = tiny_bundle.contract.class_names
    items = [{"label": "yes", "probabilities": dict(zip(names, (0.9, 0.1), strict=True))}]
    segments.predict({"x": 0.25}, response=json.dumps({"predictions": items}).encode())
    labels = {"wire": "mlflow", "content_type": JSON}
    segments.predict(
        {"dataframe_split": {"columns": ["x"], "data": [[0.25], [0.75]]}}, response=b'{"predictions": ["yes", "no"]}', **labels
    )
    segments.predict({"instances": [{"x": 0.75}]}, response=b'{"predictions": [[0.8, 0.2]]}', **labels)
    segments.close()
    assert run().rows == 4
    rows = read_log(store)
    said = [(row["mlops.prediction"], row["mlops.probability.1"], row["mlops.recomputed"]) for row in rows]
    assert sorted(said) == [(0, 0.2, False), (0, 0.75, True), (1, 0.1, False), (1, 0.25, True)]


def test_threshold_that_decided_is_logged_with_each_row_and_decides_what_responses_lack(segments, store, run, caplog):
    labels, row = {"wire": "mlflow", "content_type": JSON}, {"x": 0.25}
    segments.predict({"instances": [row], "params": {"threshold": 0.2}}, response=b'{"predictions": ["yes"]}', **labels)
    segments.predict({"instances": [row], "params": {"threshold": 0.1}}, response=b'{"predictions": [[0.7, 0.3]]}', **labels)
    segments.predict({"rows": [row, {"x": 0.75}], "threshold": 0.9}, response=b"")
    segments.predict(row, response=b"")
    segments.close()
    assert run().rows == 5
    rows = read_log(store)
    said = [(row["mlops.threshold"], row["mlops.prediction"], row["mlops.probability.1"]) for row in rows]
    assert sorted(said) == [(0.1, 1, 0.3), (0.2, 1, 0.25), (0.5, 0, 0.25), (0.9, 0, 0.25), (0.9, 0, 0.75)]
    assert "are others than this version gives" not in caplog.text


def test_response_of_other_rows_than_the_request_has_is_not_taken(segments, store, run):
    segments.predict({"x": 0.25}, wire="mlflow", content_type=JSON, response=b'{"predictions": ["yes", "yes"]}')
    segments.predict(
        {"instances": [{"x": 0.25}]}, wire="mlflow", content_type=JSON, response=b'{"predictions": ["yes", "yes"]}'
    )
    segments.close()
    assert run().rows == 1
    (row,) = read_log(store)
    assert (row["mlops.prediction"], row["mlops.recomputed"]) == (0, True)


def test_model_is_not_loaded_where_every_response_says_everything(segments, run, tiny_bundle, monkeypatch):
    monkeypatch.setattr("mlops_project.prediction_log.scorer.load_runtime", lambda _bundle: pytest.fail("the model was loaded"))
    items = [{"label": "no", "probabilities": dict(zip(tiny_bundle.contract.class_names, (0.75, 0.25), strict=True))}]
    for _ in range(3):
        segments.predict({"x": 0.25}, response=json.dumps({"predictions": items}).encode())
    segments.close()
    assert run().rows == 3


def test_missing_text_and_date_are_null(segments, store, run, mixed_bundle):
    row = mixed_bundle.contract.example_row() | {"town": None, "when": "1969-12-31T23:59:59.999999"}
    segments.predict({"dataframe_records": [row]}, model="mixed", wire="mlflow", content_type=JSON)
    segments.predict({"dataframe_records": [row | {"when": None}]}, model="mixed", wire="mlflow", content_type=JSON)
    segments.close()
    assert run().rows == 2
    first, second = read_log(store, "mixed")
    assert first["town"] is None
    assert {first["when"], second["when"]} == {None, datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)}


def test_settings_of_the_server_decide_what_is_read(segments, store, run):
    segments.predict({"dataframe_records": [{"other": 1}]}, wire="mlflow", content_type=JSON)
    segments.close()
    assert run(serving=ServingConfig(missing_features="impute")).rows == 1
    assert read_log(store)[0]["x"] == 0.5


def test_records_that_cannot_be_read_are_counted_and_stop_no_other(segments, store, run):
    kept = [segments.predict({"x": index / 100}) for index in range(100)]
    segments.predict({"x": "text"})
    segments.predict({"x": 1, "extra": 2})
    segments.predict(b"\xff{")
    segments.predict({"x": 0.5}, wire="carrier pigeon")
    segments.predict(b"{}", wire="open_inference", content_type="no number")
    segments.predict({"x": 0.5}, wire="mlflow", content_type="application/xml")
    segments.raw(b'{"id":"x","time_ns":1,"kind":"something new"}')
    segments.raw(b"no json")
    kept.append(segments.predict({"dataframe_records": [{"x": "0.5"}]}, wire="mlflow", content_type=JSON))
    segments.close()
    done = run()
    assert (done.rows, done.undecodable, done.segments) == (101, 8, 1)
    assert sorted(row["mlops.id"] for row in read_log(store)) == sorted(kept)


def test_row_that_the_model_has_no_answer_for_is_counted(segments, store, run):
    for value in (0.1, float("nan"), 0.2, 0.3):
        segments.predict({"dataframe_records": [{"x": value}]}, wire="mlflow", content_type=JSON)
    segments.close()
    done = run()
    assert (done.rows, done.undecodable) == (3, 1)
    assert [row["mlops.probability.1"] for row in read_log(store)] == [0.1, 0.2, 0.3]


def test_torn_end_counts_for_nothing_and_damage_is_counted(segments, store, run):
    segments.predict({"x": 0.5})
    (torn,) = segments.close()
    whole = torn.read_bytes()
    torn.write_bytes(whole + whole[:-3])
    (segments.folder / "20260101T000000-a-1-1.log").write_bytes(b"garbage, and lots of it, in the place of a segment")
    (segments.folder / "20260101T000000-a-1-2.log").write_bytes(whole + whole[:20] + b"?" * 300)
    (segments.folder / "20260101T000000-a-1-3.log").write_bytes(b"")
    done = run()
    assert (done.segments, done.rows, done.undecodable) == (4, 2, 0)
    assert (done.lost, done.lost_bytes) == (2, 50 + 320)
    damaged = read_damaged(Directory(store))
    assert damaged == {"20260101T000000-a-1-1": Losses(1, 50), "20260101T000000-a-1-2": Losses(1, 320)}
    assert run().lost == 0


def test_flipped_bit_costs_one_row_or_label_of_hundreds(segments, store, run):
    ids = [segments.predict({"x": index / 400}) for index in range(400)]
    for key in ids[::2]:
        segments.label(key, "yes")
    (file,) = segments.close()
    data = bytearray(file.read_bytes())
    for place in (len(data) // 10, len(data) - 10):
        data[place] ^= 4
    file.write_bytes(data)
    done = run()
    assert (done.rows, done.labels, done.lost, done.segments) == (399, 199, 2, 1)
    assert done.lost_bytes < 1000
    assert len({row["mlops.id"] for row in read_log(store)} & {*ids}) == 399


@pytest.mark.parametrize("time_ns", [-1, 10**30, 253_402_300_800 * 10**9])
def test_record_of_a_time_that_no_clock_says_is_counted(segments, run, time_ns):
    segments.raw(b'{"id":"no id","time_ns":%d,"model":"tiny","version":"1","wire":"native"}' % time_ns, b'{"x":0.5}')
    segments.raw(b'{"id":"%b","time_ns":%d,"kind":"label"}' % (make_id().encode(), time_ns), b"1")
    segments.raw(b'{"id":"%b","time_ns":5,"model":"tiny","version":"1","wire":"native"}' % (b"ff" * 19), b'{"x":0.5}')
    segments.predict({"x": 0.5}, at=datetime(2106, 2, 8, tzinfo=UTC))
    segments.predict({"x": 0.5}, at=datetime(1970, 1, 1, tzinfo=UTC))
    segments.close()
    done = run()
    assert (done.rows, done.labels, done.undecodable, done.lost, done.segments) == (2, 0, 3, 0, 1)


def test_rows_that_come_too_late_or_too_early_for_a_window_are_counted_once(segments, run, find, monkeypatch):
    now = datetime.now(UTC)
    segments.predict([{"x": 0.1}, {"x": 0.2}], at=NOON - timedelta(seconds=1))
    segments.predict({"x": 0.3}, at=NOON)
    segments.predict({"x": 0.4}, at=NOON - timedelta(days=1), role="shadow")
    segments.predict({"x": 0.5}, at=now + timedelta(hours=1))
    segments.predict({"x": 0.6}, at=NOON - timedelta(days=1), version="3")
    segments.close()
    monkeypatch.setattr(module, "MAX_WAIT_SECONDS", 0.0)
    first = run(begin=lambda _model, version: {"1": Bounds(EPOCH, NOON), "3": Bounds(EPOCH, NOON)}[version])
    assert (first.rows, first.late, first.ahead, first.waiting) == (5, 2, 1, 1)
    second = run(lambda model, _version: find(model, "1"), begin=lambda *_: Bounds(EPOCH, now))
    assert (second.rows, second.late, second.ahead, second.segments) == (1, 1, 0, 1)


def test_segment_that_waits_is_read_again_although_the_clock_was_set_back(segments, store, run, find):
    segments.predict({"x": 0.75}, version="3")
    segments.close()
    assert run().waiting == 1
    (waiting,) = (store / "ingested").glob("*.waiting")
    waiting.write_text(json.dumps(json.loads(waiting.read_text()) | {"retry_at": time.time() + 40 * 86400}))
    assert run(lambda model, _version: find(model, "1")).rows == 1


def test_segment_that_cannot_be_read_is_named_and_read_once_it_can_be(segments, store, run):
    segments.predict({"x": 0.5})
    segments.close()
    segments.predict({"x": 0.6})
    name = segments.close()[-1]
    kept = name.rename(name.with_suffix(".kept"))
    name.mkdir()
    done = run()
    assert (done.rows, [*done.unreadable]) == (1, [name.stem])
    assert "directory" in done.unreadable[name.stem]
    name.rmdir()
    kept.rename(name)
    done = run()
    assert (done.rows, done.unreadable) == (1, {})


def test_foreign_file_in_the_folder_is_no_segment(segments, run):
    segments.predict({"x": 0.5})
    segments.close()
    (segments.folder / "access.log").write_bytes(b"GET / 200\n" * 100)
    done = run()
    assert (done.segments, done.rows, done.lost) == (1, 1, 0)


def test_folder_is_told_what_is_read(segments, run):
    segments.predict({"x": 0.5})
    segments.predict({"x": 0.5}, version="3")
    read = segments.close()[0]
    assert run().waiting == 1
    assert list_read(segments.folder) == set()
    segments.predict({"x": 0.5})
    read = segments.close()[-1]
    run()
    assert list_read(segments.folder) == {read.stem}


def test_segment_whose_model_cannot_be_had_is_read_again_later(segments, store, run, find, monkeypatch):
    segments.predict({"x": 0.5})
    segments.predict({"x": 0.75}, version="3")
    segments.close()
    assert run() == Ingested(rows=1, models=frozenset({"tiny"}), waiting=1)
    assert run() == Ingested()  # not yet
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    waiting = next((store / "ingested").glob("*.waiting"))
    waiting.write_text(json.dumps(json.loads(waiting.read_text()) | {"retry_at": 1.0}))
    assert run() == Ingested(models=frozenset({"tiny"}), waiting=1)
    assert run(lambda model, _version: find(model, "1")) == Ingested(segments=1, rows=1, models=frozenset({"tiny"}))
    assert [row["x"] for row in read_log(store)] == [0.5, 0.75]
    assert [file.suffix for file in (store / "ingested").glob("[!.]*")] == [".json"]


def test_model_that_can_never_be_had_is_given_up(segments, store, run, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)
    segments.predict({"x": 0.5}, model="gone")
    segments.predict({"x": 0.5})
    segments.close()

    def refuse(model, version):
        if model == "gone":
            raise BundleError("damaged")

    results = [run(refuse) for _ in range(module.MAX_ATTEMPTS + 1)]
    assert [done.waiting for done in results] == [1] * (module.MAX_ATTEMPTS - 1) + [0, 0]
    assert [done.undecodable for done in results] == [0] * (module.MAX_ATTEMPTS - 1) + [2, 0]


def test_labels_stand_under_the_date_of_their_prediction(segments, store, run):
    key = segments.predict([{"x": 0.5}, {"x": 0.6}])
    segments.label(f"{key}.1", "yes", NOON + timedelta(days=9))
    segments.label(key.upper(), "no", NOON + timedelta(days=9))
    name = segments.close()[-1].stem
    assert (run().labels, run().labels) == (2, 0)
    (file,) = (store / "labels").rglob("*.parquet")
    assert file.relative_to(store).as_posix() == f"labels/date=2026-03-01/{name}.parquet"
    found = [
        (row["mlops.id"], row["mlops.row"], row["mlops.label"]) for row in pq.read_table(file, partitioning=None).to_pylist()
    ]
    assert found == [(key, 0, '"no"'), (key, 1, '"yes"')]


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("x", b"1"),
        ("ab" * 19 + ".x", b"1"),
        ("ab" * 19, b"{"),
        ("ab" * 19, b"\xff"),
        ("ab" * 19 + ".99999999999", b"1"),
        ("", b"1"),
        ("zz" * 19, b"1"),
    ],
)
def test_label_that_makes_no_sense_is_counted(segments, run, key, label):
    segments.label(key, label)
    segments.close()
    done = run()
    assert (done.labels, done.undecodable, done.segments) == (0, 1, 1)


@pytest.mark.parametrize("model", ["../../up", "a b", "100%", "*", "ä?[x]"])
def test_odd_model_names_stay_inside_the_store(segments, store, run, tiny_bundle, model):
    segments.predict({"x": 0.5}, model=model, version="a/../b")
    segments.close()
    assert run(lambda *_: tiny_bundle).models == {model}
    (file,) = store.parent.rglob("*.parquet")
    assert file.relative_to(store).parts[0] == "log"
    assert len(file.relative_to(store).parts) == 4


def test_many_batches_make_row_groups_and_no_row_is_lost(segments, store, run, monkeypatch):
    monkeypatch.setattr(parts, "CHUNK_ROWS", 64)
    monkeypatch.setattr(parts, "ROW_GROUP_ROWS", 200)
    for index in range(500):
        segments.predict([{"x": index / 1000}] * (1 + index % 3), at=NOON + timedelta(milliseconds=index))
    segments.close()
    assert run().rows == 999
    (file,) = (store / "log").rglob("*.parquet")
    table = pq.read_table(file, partitioning=None)
    assert pq.ParquetFile(file).num_row_groups == 4
    assert sorted(zip(table["x"].to_pylist(), table["mlops.row"].to_pylist(), strict=True)) == [
        (index / 1000, row) for index in range(500) for row in range(1 + index % 3)
    ]


def test_second_ingest_waits_for_the_first_and_finds_nothing_left(segments, store, run):
    segments.predict({"x": 0.5})
    segments.close()
    (store / "ingested").mkdir(parents=True)
    results = []
    with (store / "ingested" / ".lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        threads = [threading.Thread(target=lambda: results.append(run())) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert parquet_files(store) == []
    for thread in threads:
        thread.join()
    assert sorted(done.rows for done in results) == [0, 0, 1]
    assert len(read_log(store)) == 1


def test_store_that_cannot_be_written_leaves_nothing_half_done(segments, store, run):
    segments.predict({"x": 0.5})
    segments.label(make_id(), 1)
    segments.close()
    store.mkdir()
    (store / "labels").write_text("in the way")
    with pytest.raises(OSError, match="labels"):
        run()
    assert sorted(file.name for file in store.rglob("*") if file.is_file()) == [".lock", "labels"]
    (store / "labels").unlink()
    assert (run().rows, run().rows) == (1, 0)


def test_segments_and_store_may_be_anywhere_fsspec_reaches(segments, run, find, store):
    segments.predict({"x": 0.5})
    segments.close()
    assert run().rows == 1
    memory = fsspec.filesystem("memory")
    memory.put(str(segments.folder), "/ingest/segments", recursive=True)
    assert ingest("memory://ingest/segments", "memory://ingest/store", find, LENIENT).rows == 1
    assert ingest("memory://ingest/segments", "memory://ingest/store", find, LENIENT).rows == 0
    names = sorted(name.removeprefix("/ingest/store/") for name in memory.find("/ingest/store"))
    assert names == sorted([*parquet_files(store), *(f"ingested/{file.name}" for file in (store / "ingested").glob("*.json"))])
    memory.rm("/ingest", recursive=True)


def test_no_segments_folder_is_no_error(run):
    assert run() == Ingested()


def test_reading_the_log_needs_no_pandas_and_no_scikit_learn():
    heavy = ["pandas", "sklearn", "scipy", "mlflow"]
    script = f"import sys, mlops_project.prediction_log.reader; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
