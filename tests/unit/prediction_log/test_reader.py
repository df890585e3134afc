import json
import os
from datetime import UTC, datetime, timedelta

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.prediction_log import scan
from mlops_project.prediction_log.ingest import ingest, ingest_again
from mlops_project.prediction_log.overdue import Overdue
from mlops_project.prediction_log.reader import (
    Counts,
    Labels,
    LogReader,
    Window,
    read_records,
    to_columns,
    to_predictions,
    to_truth,
)
from mlops_project.prediction_log.typed import concat
from mlops_project.runtime import Runtime
from mlops_project.sections import ServingConfig
from tests.unit.prediction_log.segments import NOON, make_id

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ALWAYS = Window("tiny", datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


@pytest.fixture
def read(segments, tmp_path, find):
    """Close and ingest what was logged, and return a reader."""

    def start() -> LogReader:
        segments.close()
        ingest(segments.folder, str(tmp_path / "store"), find, ServingConfig())
        return LogReader(str(tmp_path / "store"))

    return start


@pytest.fixture
def small_slices(monkeypatch):
    """Slices of a few rows, so that a small log has many."""
    monkeypatch.setattr(scan, "SLICE_ROWS", 7)
    monkeypatch.setattr("mlops_project.prediction_log.reader.SLICE_ROWS", 7)


def collect(batches) -> list[dict]:
    return [row for batch in batches for row in batch.to_pylist()]


def xs(batches) -> list[float]:
    return [row["x"] for row in collect(batches)]


def fill(segments, n: int = 100, step: timedelta = HOUR, per_segment: int = 10) -> list[str]:
    """Log one row per step, x rising from 0, in several segments; return the ids."""
    ids = []
    for index in range(n):
        ids.append(segments.predict({"x": index / 1000}, at=NOON + index * step))
        if index % per_segment == per_segment - 1:
            segments.close()
    return ids


def test_window_is_from_its_start_to_before_its_end(segments, read):
    fill(segments)
    reader = read()
    window = Window("tiny", NOON + 3 * HOUR, NOON + 50 * HOUR)
    assert sorted(xs(reader.batches(window))) == [index / 1000 for index in range(3, 50)]
    assert reader.count(window) == Counts(47, 0, NOON + 3 * HOUR, NOON + 49 * HOUR)
    assert reader.count(Window("tiny", NOON - DAY, NOON)) == Counts(0, 0, None, None)
    assert reader.count(Window("other", NOON, NOON + DAY)) == Counts(0, 0, None, None)
    assert collect(reader.batches(Window("other", NOON, NOON + DAY), labelled=True)) == []
    assert reader.models() == ["tiny"]


def test_window_reads_its_own_dates_only(segments, read, tmp_path):
    fill(segments)
    reader = read()
    for file in (tmp_path / "store" / "log").rglob("*.parquet"):
        if file.parent.name != "date=2026-03-03":
            file.write_bytes(b"unreadable")
    day = datetime(2026, 3, 3, tzinfo=UTC)
    assert reader.count(Window("tiny", day, day + DAY)).rows == 24


def test_window_of_one_version_and_without_shadows(segments, read):
    for version, role in (("1", "champion"), ("2", "canary"), ("2", "shadow"), ("1", "shadow"), ("2", "champion")):
        segments.predict({"x": 0.5}, version=version, role=role)
    reader = read()
    roles = [
        (row["mlops.version"], row["mlops.role"]) for row in collect(reader.batches(ALWAYS, ["mlops.version", "mlops.role"]))
    ]
    assert sorted(roles) == [("1", "champion"), ("2", "canary"), ("2", "champion")]
    only = Window(ALWAYS.model, ALWAYS.start, ALWAYS.end, "2")
    assert reader.count(only).rows == 2
    assert reader.versions(ALWAYS) == {"1": 1, "2": 2}
    assert reader.versions(only) == {"2": 2}


def test_naive_times_are_utc(segments, read):
    segments.predict({"x": 0.5})
    assert read().count(Window("tiny", datetime(2026, 3, 1, 12), datetime(2026, 3, 1, 13))).rows == 1  # noqa: DTZ001


@pytest.mark.parametrize("order", [False, True])
def test_last_label_counts_and_none_is_null(segments, read, small_slices, order):
    ids = fill(segments)
    for index, key in enumerate(ids[::2]):
        segments.label(key, "no", NOON + 5 * DAY + index * HOUR)
    segments.close()
    for key in ids[:10:2]:
        segments.label(f"{key}.0", "yes", NOON + 9 * DAY)
    segments.label(ids[0], "maybe", NOON + DAY)  # came in late, but is older
    segments.label(make_id(), "yes")  # of nobody
    reader = read()
    rows = collect(reader.batches(ALWAYS, ["mlops.id", "x"], labelled=True, order=order))
    if order:
        assert [row["mlops.id"] for row in rows] == ids
    labels = {row["mlops.id"]: row["mlops.label"] for row in rows}
    assert [labels[key] for key in ids[::2]] == ['"yes"'] * 5 + ['"no"'] * 45
    assert {labels[key] for key in ids[1::2]} == {None}
    assert list(rows[0]) == ["mlops.id", "x", "mlops.label", "mlops.label_time"]
    assert reader.count(ALWAYS).labelled == 50
    assert {row["mlops.label_time"] for row in rows if row["mlops.label"] == '"yes"'} == {NOON + 9 * DAY}


def test_label_of_one_row_of_a_batch_is_that_rows(segments, read):
    key = segments.predict([{"x": 0.1}, {"x": 0.2}, {"x": 0.3}])
    segments.label(f"{key}.1", "yes")
    assert [row["mlops.label"] for row in collect(read().batches(ALWAYS, labelled=True))] == [None, '"yes"', None]


def test_order_is_by_time_over_segments_of_several_workers(segments, read, small_slices):
    for index in (*range(0, 40, 2), *range(1, 40, 2)):
        segments.predict({"x": index / 100}, at=NOON + index * HOUR)
        if index in (10, 38, 15):
            segments.close()
    assert xs(read().batches(ALWAYS, order=True)) == [index / 100 for index in range(40)]
    assert all(len(batch) <= 3 for batch in read().batches(ALWAYS, order=True, batch_rows=3))


def test_versions_with_other_columns_stand_side_by_side(segments, read, tmp_path):
    segments.predict({"x": 0.5})
    reader = read()
    (file,) = (tmp_path / "store" / "log").rglob("*.parquet")
    table = pq.read_table(file, partitioning=None)
    text = table.drop_columns("x").append_column("X", pa.array([7.0])).append_column("x", pa.array(["0.25"]))
    text = text.append_column("mlops.file", pa.array([1])).set_column(0, "mlops.id", pa.array([make_id(NOON + HOUR)]))
    pq.write_table(text, file.with_name("other-v2.parquet"))
    rows = collect(reader.batches(ALWAYS, ["x", "X", "new"]))
    assert sorted(rows, key=str) == sorted([{"x": 0.5, "X": None, "new": None}, {"x": "0.25", "X": 7.0, "new": None}], key=str)
    table = concat([pa.Table.from_batches([batch]) for batch in reader.batches(ALWAYS)])
    assert sorted(table["x"].to_pylist()) == ["0.25", "0.5"]
    contract = Contract((Feature("x", "float"), Feature("X", "float"), Feature("town", "category")), "y", "regression")
    columns = to_columns(table, contract)
    assert sorted(columns["x"]) == [0.25, 0.5]
    assert np.isnan(columns["X"]).sum() == 1
    assert columns["town"].tolist() == [None, None]


def test_labels_have_witnesses_and_another_source_that_says_otherwise_disputes_them(segments, read):
    sure, corrected, disputed = (segments.predict({"x": 0.1}, at=NOON + index * HOUR) for index in range(3))
    segments.label(sure, "yes", source="lab-a", batch="1")
    for key, source in ((corrected, "lab-a"), (disputed, "lab-b")):
        segments.label(key, "no", source="lab-a", batch="1")
        segments.label(key, "yes", NOON + DAY, source=source, batch="2")
    table = read().newest_labelled("tiny", None, 10, columns=["x"], witnesses=True)
    names = [f"mlops.label_{name}" for name in ("source", "batch", "disputed", "first")]
    assert table.select(names).to_pylist() == [
        dict(zip(names, said, strict=True))
        for said in (("lab-a", "1", False, '"yes"'), ("lab-a", "2", False, '"no"'), ("lab-b", "2", True, '"no"'))
    ]


def test_label_files_of_earlier_releases_have_no_witnesses(segments, read, tmp_path):
    segments.label(segments.predict({"x": 0.1}), "yes", source="lab-a", batch="1")
    reader = read()
    (file,) = (tmp_path / "store" / "labels").rglob("*.parquet")
    pq.write_table(
        pq.read_table(file, partitioning=None).select(["mlops.id", "mlops.row", "mlops.label", "mlops.label_time"]), file
    )
    (row,) = reader.newest_labelled("tiny", None, 10, witnesses=True).to_pylist()
    assert (row["mlops.label"], row["mlops.label_source"], row["mlops.label_batch"]) == ('"yes"', "", "")


def test_nothing_labelled_is_an_empty_table(read):
    assert read().newest_labelled("tiny", None, 10).column_names[-2:] == ["mlops.label", "mlops.label_time"]


def test_newest_labelled_are_the_newest_predictions_that_have_one(segments, read, small_slices):
    ids = fill(segments)
    for key in ids[:80:2]:
        segments.label(key, "yes", NOON + 9 * DAY)
    reader = read()
    table = reader.newest_labelled("tiny", None, 5)
    assert table["mlops.id"].to_pylist() == ids[70:80:2]
    assert table["mlops.label"].to_pylist() == ['"yes"'] * 5
    assert reader.newest_labelled("tiny", "1", 999)["mlops.id"].to_pylist() == ids[:80:2]
    assert reader.newest_labelled("tiny", "2", 999).num_rows == 0
    since = reader.newest_labelled("tiny", None, 999, since=NOON + 60 * HOUR, columns=["x"])
    assert since["x"].to_pylist() == [index / 1000 for index in range(60, 80, 2)]
    until = reader.newest_labelled("tiny", None, 2, until=NOON + 60 * HOUR, columns=["x"])
    assert until["x"].to_pylist() == [0.056, 0.058]


def test_window_by_rows_ends_just_after_its_last(segments, read, small_slices):
    fill(segments)
    reader = read()
    end = reader.find_end("tiny", "1", NOON + HOUR, 30)
    assert end == NOON + 30 * HOUR + timedelta(microseconds=1)
    assert reader.count(Window("tiny", NOON + HOUR, end)).rows == 30
    assert reader.find_end("tiny", None, NOON, 100) == NOON + 99 * HOUR + timedelta(microseconds=1)
    assert reader.find_end("tiny", None, NOON, 101) is None


def test_delay_and_coverage_of_labels(segments, read, small_slices):
    ids = fill(segments)
    for index in range(20, 60, 4):
        segments.label(ids[index], "yes", NOON + index * HOUR + timedelta(seconds=90))
    reader = read()
    labelled = reader.newest_labelled("tiny", None, 99)
    found = reader.describe_labels(labelled, "tiny", None)
    assert found == Labels(10, NOON + 56 * HOUR + timedelta(seconds=90), 90.0, 10 / 37)
    assert reader.describe_labels(reader.newest_labelled("tiny", None, 4), "tiny", None).coverage == 4 / 13
    assert reader.describe_labels(reader.newest_labelled("tiny", None, 99, until=NOON), "tiny", None) == Labels(0)


def test_old_dates_are_deleted_with_their_labels_and_markers(segments, read, tmp_path):
    ids = fill(segments)
    segments.label(ids[0], "yes")
    segments.label(ids[-1], "yes")
    reader = read()
    markers = tmp_path / "store" / "ingested"
    (markers / "20251231T000000-a-1-1.json").touch()
    (markers / "20260303T110000-a-1-1.json").touch()
    assert reader.count(ALWAYS).rows == 100
    assert reader.delete_old(NOON + 2 * DAY + HOUR) == 2
    assert reader.count(ALWAYS) == Counts(64, 1, NOON + 36 * HOUR, NOON + 99 * HOUR)
    assert not (markers / "20251231T000000-a-1-1.json").exists()
    assert (markers / "20260303T110000-a-1-1.json").exists()
    assert not list((tmp_path / "store").rglob("date=2026-03-0[12]"))
    assert reader.delete_old(NOON) == 0


def test_store_may_be_anywhere_fsspec_reaches(segments, find):
    ids = fill(segments)
    segments.label(ids[5], "yes", NOON + 9 * DAY)
    segments.close()
    store = f"memory://{segments.folder}/store"
    assert ingest(f"file://{segments.folder}", store, find, ServingConfig()).rows == 100
    reader = LogReader(store)
    assert reader.count(ALWAYS) == Counts(100, 1, NOON, NOON + 99 * HOUR)
    assert sorted(xs(reader.batches(ALWAYS))) == xs(reader.batches(ALWAYS, order=True))
    assert reader.newest_labelled("tiny", None, 5)["mlops.id"].to_pylist() == [ids[5]]
    assert reader.delete_old(NOON + 99 * DAY) == 5
    assert reader.count(ALWAYS).rows == 0
    fsspec.filesystem("memory").rm(str(segments.folder), recursive=True)


def test_new_segments_are_seen_by_the_same_reader(segments, read, tmp_path, find):
    segments.predict({"x": 0.5})
    reader = read()
    assert reader.count(ALWAYS).rows == 1
    segments.predict({"x": 0.5}, at=NOON + DAY)
    read()
    assert reader.count(ALWAYS).rows == 2


def test_unfinished_files_are_not_read(segments, read, tmp_path):
    segments.predict({"x": 0.5})
    reader = read()
    (file,) = (tmp_path / "store" / "log").rglob("*.parquet")
    file.with_name(".half-v1.parquet.tmp").write_bytes(b"half")
    (file.parent.parent / "strange").mkdir()
    assert reader.count(ALWAYS).rows == 1


def test_typed_view_gives_back_what_was_predicted(segments, read, mixed_bundle):
    contract = mixed_bundle.contract
    rows = [
        contract.example_row() | {"x": value, "gap": None if value > 0 else value, "town": "Köln"} for value in (-1.5, 0.5, 2.5)
    ]
    segments.predict(rows, model="mixed")
    (batch,) = read().batches(Window("mixed", ALWAYS.start, ALWAYS.end))
    columns = {name: [row[name] for row in rows] for name in contract.names}
    expected = Runtime.load(mixed_bundle).predict(columns)
    again = Runtime.load(mixed_bundle).predict(to_columns(batch, contract))
    said = to_predictions(batch, contract)
    for found in (again, said):
        assert found.indices.tolist() == expected.indices.tolist()
        assert found.probabilities.tolist() == expected.probabilities.tolist()


@pytest.mark.parametrize(
    ("classes", "labels", "expected"),
    [
        (("no", "yes"), ['"yes"', '"no"', '"other"', None, "1", "{", '["yes"]'], [1, 0, -1, -1, -1, -1, -1]),
        ((0, 1), ["1", "true", "1.0", '"1"', "0"], [1, -1, -1, -1, 0]),
        ((False, True), ["true", "1", "false"], [1, -1, 0]),
    ],
)
def test_labels_become_indices_of_classes(classes, labels, expected):
    contract = Contract((), "y", "binary", classes=classes, class_names=tuple(map(str, classes)))
    assert to_truth(labels, contract).tolist() == expected
    assert to_truth(pa.chunked_array([pa.array(labels)]), contract).dtype == np.int64
    assert to_truth([], contract).dtype == np.int64


def test_labels_become_numbers_for_regression():
    contract = Contract((), "y", "regression")
    labels = ["1.5", "2", "true", '"3"', None, "1e999", "9" * 400, "[]"]
    np.testing.assert_array_equal(to_truth(labels, contract), [1.5, 2, *[np.nan] * 6])


def test_raw_view_gives_the_records_as_they_were(segments):
    ids = [segments.predict({"x": index}) for index in range(3)]
    segments.close()
    segments.label(ids[0], "yes")
    segments.close()
    segments.predict({"x": 9})  # in a segment that is still open
    records = list(read_records(segments.folder))
    assert [record.about.kind for record in records] == ["prediction"] * 3 + ["label"]
    assert [json.loads(record.request) for record in records] == [{"x": 0}, {"x": 1}, {"x": 2}, "yes"]
    assert list(read_records(f"file://{segments.folder}")) == records


def test_memory_does_not_grow_with_the_window(segments, read, small_slices, monkeypatch):
    """Each slice is asked for on its own: no query sees more than a few rows."""
    ids = fill(segments, per_segment=3)
    for key in ids:
        segments.label(key, "yes", NOON + 9 * DAY)
    reader = read()
    seen = []
    query = reader._joins._query
    monkeypatch.setattr(
        reader._joins,
        "_query",
        lambda text, **tables: seen.append(tables["keys"].num_rows) or query(text, **tables),
    )
    assert reader.count(ALWAYS).labelled == 100
    assert max(seen) <= 9
    assert sum(seen) == 100


def test_nothing_is_left_in_the_working_directory(segments, read, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    fill(segments)
    reader = read()
    assert reader.count(ALWAYS).rows == sum(batch.num_rows for batch in reader.batches(ALWAYS, order=True))
    assert os.listdir(".") == []


def damage(file, kind: str) -> None:
    """Damage a file of the Parquet log."""
    data = bytearray(file.read_bytes())
    if kind == "empty":
        data.clear()
    elif kind == "cut":
        del data[len(data) // 2 :]
    elif kind == "footer":
        start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
        data[start : start + 32] = bytes(32)
    elif kind == "page":
        data[len(data) // 8] ^= 1
    elif kind == "text":
        data[:] = b"not a table"
    file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind == "schema":
        pq.write_table(pa.table({"x": [1.0]}), file)
    elif kind == "types":
        pq.write_table(
            pa.table({name: ["a"] for name in ("mlops.id", "mlops.row", "mlops.time", "mlops.version", "mlops.role")}), file
        )
    elif kind != "gone":
        file.write_bytes(data)


DAMAGES = ["empty", "cut", "footer", "page", "text", "folder", "schema", "types"]


@pytest.mark.parametrize("kind", DAMAGES)
def test_file_that_cannot_be_read_is_named_and_left_out(segments, read, tmp_path, kind):
    keys = fill(segments, 40)
    segments.label(keys[0], 1)
    segments.label(keys[30], 1)
    reader = read()
    *_, broken = sorted((tmp_path / "store/log").rglob("*.parquet"))
    damage(broken, kind)
    name = broken.relative_to(tmp_path / "store").as_posix()
    gone = len(pq.read_table(broken, columns=["x"])) if kind == "page" else None
    rows = reader.leave_out_unreadable(lambda: xs(reader.batches(ALWAYS)))
    assert [*reader.left_out] == [name]
    assert reader.left_out[name]
    assert rows == [index / 1000 for index in range(len(rows))]
    assert len(rows) in range(20, 40) if gone is None else len(rows) == 40 - gone
    assert reader.count(ALWAYS).rows == len(rows)
    assert reader.newest_labelled("tiny", None, 10)["x"].to_pylist() == [0.0, 0.03] or len(rows) <= 30
    broken.rmdir() if kind == "folder" else broken.unlink()
    reader.recheck()
    assert reader.left_out == {}


@pytest.mark.parametrize("first", ["count", "newest_labelled", "find_end", "versions"])
def test_every_way_to_read_leaves_out_what_cannot_be_read(segments, read, tmp_path, first):
    keys = fill(segments, 40)
    for key in keys:
        segments.label(key, 1)
    reader = read()
    (broken,) = sorted((tmp_path / "store/log").rglob("*.parquet"))[:1]
    damage(broken, "page" if first == "newest_labelled" else "cut")
    ways = {
        "count": lambda: reader.count(ALWAYS),
        "newest_labelled": lambda: reader.newest_labelled("tiny", None, 40),
        "find_end": lambda: reader.find_end("tiny", None, NOON, 1),
        "versions": lambda: reader.versions(ALWAYS),
    }
    ways[first]()
    assert [*reader.left_out] == [broken.relative_to(tmp_path / "store").as_posix()]


def test_damaged_file_is_written_anew_from_its_segment(segments, read, tmp_path, find):
    keys = fill(segments, 40)
    segments.label(keys[3], 1)
    read()
    store = tmp_path / "store"

    def mend(file: str) -> bool:
        return ingest_again(file, segments.folder, str(store), find, ServingConfig())

    for folder in ("log", "labels"):
        broken = min((store / folder).rglob("*.parquet"))
        damage(broken, "cut")
    reader = LogReader(str(store), mend=mend)
    assert reader.count(ALWAYS) == Counts(40, 1, NOON, NOON + 39 * HOUR)
    assert reader.left_out == {}
    assert ingest(segments.folder, str(store), find, ServingConfig()).segments == 0


def test_damaged_file_whose_segment_is_gone_or_has_no_model_is_left_out(segments, read, tmp_path, find):
    fill(segments, 40)
    read()
    store = tmp_path / "store"
    broken = min((store / "log").rglob("*.parquet"))
    damage(broken, "cut")
    without_model = LogReader(
        str(store), mend=lambda file: ingest_again(file, segments.folder, str(store), lambda *_: None, ServingConfig())
    )
    assert without_model.count(ALWAYS).rows < 40
    assert len(without_model.left_out) == 1
    for file in segments.folder.glob("*.log"):
        file.unlink()
    without_segment = LogReader(
        str(store), mend=lambda file: ingest_again(file, segments.folder, str(store), find, ServingConfig())
    )
    assert without_segment.count(ALWAYS).rows < 40
    assert len(without_segment.left_out) == 1


def test_what_has_only_just_become_old_is_kept_until_it_has_been_so_for_long(segments, read, tmp_path):
    fill(segments, 30)
    reader, now = read(), 0.0
    overdue = Overdue(3600, lambda: now)
    assert reader.delete_old(NOON + 400 * DAY, overdue) == 0  # the clock jumped
    now = 3000.0
    assert reader.delete_old(NOON, overdue) == 0  # and was set right
    now = 4000.0
    assert reader.delete_old(NOON + 400 * DAY, overdue) == 0
    assert reader.count(ALWAYS).rows == 30
    now = 7601.0
    assert reader.delete_old(NOON + 400 * DAY, overdue) > 0
    assert reader.count(ALWAYS).rows == 0
