from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from mlops_project.config import Config, read_config
from mlops_project.data_prep import build_contract, join_production, load_table, read_production, split_table
from mlops_project.errors import DataError

START = datetime(2026, 11, 1, tzinfo=UTC)
N_ROWS = 200


@pytest.fixture
def config(tmp_path) -> Config:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "size": rng.normal(10, 2, N_ROWS).round(4),
            "rooms": rng.integers(1, 9, N_ROWS),
            "city": rng.choice(["Recife", "Natal"], N_ROWS),
            "garden": rng.random(N_ROWS) < 0.5,
            "seen": pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.integers(0, 300, N_ROWS), unit="D"),
            "sold": rng.choice(["no", "yes"], N_ROWS),
        }
    )
    frame.to_csv(tmp_path / "houses.csv", index=False)
    (tmp_path / "houses.yaml").write_text("data: {source: houses.csv, target: sold, missing: [-999]}\nmodel: {name: houses}\n")
    return read_config(tmp_path / "houses.yaml", root=tmp_path, env={})


@pytest.fixture
def prepared(config):
    table = load_table(config)
    return table, split_table(table, config)


def log(n_rows: int, **columns) -> pa.Table:
    """Return rows as the log keeps them, a minute apart, oldest first."""
    given = {
        "mlops.id": [f"{number:038x}" for number in range(n_rows)],
        "mlops.row": np.zeros(n_rows, np.int32),
        "mlops.time": pa.array([START + timedelta(minutes=number) for number in range(n_rows)], pa.timestamp("us", "UTC")),
        "size": np.linspace(1, 2, n_rows),
        "rooms": np.full(n_rows, 3.0),
        "city": ["Recife"] * n_rows,
        "garden": np.ones(n_rows),
        "seen": pa.array([START] * n_rows, pa.timestamp("us", "UTC")),
    }
    return pa.table(given | columns)


def read(prepared, rows: pa.Table, labels=None):
    table, split = prepared
    labels = np.arange(rows.num_rows) % 2 if labels is None else np.asarray(labels)
    return read_production(rows, labels, build_contract(table, split))


def test_rows_of_the_log_become_rows_of_the_table(prepared, config):
    table, split = prepared
    joined, whole = join_production(table, split, read(prepared, log(10)), config)
    assert whole.train_features.dtypes.to_dict() == split.train_features.dtypes.to_dict()
    assert len(whole.train_features) == len(whole.train_target) == len(split.train_target) + 10
    assert whole.train_features.index.is_unique
    assert whole.train_features.index.equals(whole.train_target.index)
    pd.testing.assert_frame_equal(whole.test_features, split.test_features)
    assert whole.test_target is split.test_target
    last = whole.train_features.iloc[-1]
    assert (last["size"], last["rooms"], last["city"], bool(last["garden"])) == (2.0, 3, "Recife", True)
    assert last["seen"] == pd.Timestamp("2026-11-01")
    assert whole.train_target.tolist()[-2:] == ["no", "yes"]
    assert joined.source == f"{table.source} + 10 labelled predictions"
    assert joined.own_digest == table.digest != joined.digest


def test_digest_depends_on_the_predictions_and_their_labels(prepared, config):
    one, other, flipped = (
        join_production(*prepared, read(prepared, log(10, size=np.arange(10) / 7 + shift), labels), config)[0].digest
        for shift, labels in ((0, None), (0.1, None), (0, 1 - np.arange(10) % 2))
    )
    assert len({one, other, flipped}) == 3


def test_gap_in_a_column_of_whole_numbers_makes_it_a_nullable_float_column_on_both_sides(prepared, config):
    rooms, garden = np.full(5, 3.0), np.ones(5)
    rooms[2] = garden[1] = np.nan
    table, whole = join_production(*prepared, read(prepared, log(5, rooms=rooms, garden=garden)), config)
    for side in (whole.train_features, whole.test_features):
        assert side["rooms"].dtype == side["garden"].dtype == np.float64
    contract = build_contract(table, whole)
    assert contract.feature("rooms").nullable
    assert contract.feature("garden").nullable
    assert not contract.feature("size").nullable
    assert contract.feature("rooms").type == "integer"


def test_category_that_only_predictions_have_becomes_known(prepared, config):
    table, whole = join_production(*prepared, read(prepared, log(4, city=["Recife", "Olinda", "", None])), config)
    city = build_contract(table, whole).feature("city")
    assert city.categories == ("Natal", "Olinda", "Recife")
    assert city.nullable
    assert whole.train_features["city"].isna().sum() == 2


def test_marks_of_missing_values_are_read_as_the_tables(prepared, config):
    _, whole = join_production(*prepared, read(prepared, log(3, size=[1.5, -999.0, 2.5])), config)
    assert np.isnan(whole.train_features["size"].iloc[-2])


def test_texts_that_an_earlier_version_logged_are_read_by_the_tables_rules(prepared, config):
    """It took the words for texts; the table, a CSV file, reads them as missing, and blanks do not count."""
    table, whole = join_production(*prepared, read(prepared, log(4, city=["Recife ", "NA", "None", "Olinda"])), config)
    assert whole.train_features["city"].tolist()[-4] == "Recife"
    assert whole.train_features["city"].isna().tolist()[-4:] == [False, True, True, False]
    assert build_contract(table, whole).feature("city").categories == ("Natal", "Olinda", "Recife")


def test_rows_equal_to_a_held_out_row_are_left_out(prepared, config):
    table, split = prepared
    stolen = split.test_features.head(3).astype({"rooms": float, "garden": float})
    columns = {name: [*stolen[name], *stolen[name]] for name in ("size", "rooms", "city", "garden")}
    columns["size"][3:] = [77.0, 78.0, 79.0]  # equal but for one value: kept
    seen = [value.tz_localize("UTC") for value in stolen["seen"]] * 2
    rows = log(6, **columns, seen=pa.array(seen, pa.timestamp("us", "UTC")))
    joined, whole = join_production(table, split, read(prepared, rows), config)
    assert len(whole.train_target) == len(split.train_target) + 3
    assert "3 labelled predictions equal a held-out row and were left out" in joined.warnings


def test_copies_in_the_table_are_known_where_labelled_predictions_have_joined_it(config, tmp_path):
    frame = pd.read_csv(tmp_path / "houses.csv")
    pd.concat([frame, frame.head(60)]).to_csv(tmp_path / "houses.csv", index=False)
    table = load_table(config)
    prepared = table, split_table(table, config)
    rows = read(prepared, log(30))
    assert join_production(*prepared, rows, config)[1].copies is prepared[1].copies is not None
    alone = msgspec.structs.replace(config, retraining=msgspec.structs.replace(config.retraining, original=False))
    assert join_production(*prepared, rows, alone)[1].copies is None  # whose training rows are none of the table's


def test_table_of_few_categories_keeps_equal_rows_as_they_give_nothing_away(tmp_path):
    frame = pd.DataFrame({"a": list("xyxy") * 40, "b": list("xxyy") * 40, "t": list("nyyn") * 40})
    frame.to_csv(tmp_path / "few.csv", index=False)
    (tmp_path / "few.yaml").write_text("data: {source: few.csv, target: t}\n")
    config = read_config(tmp_path / "few.yaml", root=tmp_path, env={})
    table = load_table(config)
    split = split_table(table, config)
    rows = pa.table(
        {name: log(8)[name] for name in ("mlops.id", "mlops.row", "mlops.time")} | {"a": list("xy") * 4, "b": ["x"] * 8}
    )
    production = read_production(rows, np.arange(8) % 2, build_contract(table, split))
    assert len(join_production(table, split, production, config)[1].train_target) == len(split.train_target) + 8


def test_predictions_alone_are_learned_from_if_asked_for(prepared, config):
    alone = with_settings(config, original=False)
    joined, whole = join_production(*prepared, read(prepared, log(20)), alone)
    assert len(whole.train_target) == 20
    assert joined.source.startswith("20 labelled predictions; held-out rows of ")
    pd.testing.assert_frame_equal(whole.test_features, prepared[1].test_features)
    with pytest.raises(DataError, match=r"cannot be learned from: none of them has sold 'yes'"):
        join_production(*prepared, read(prepared, log(20), np.zeros(20, int)), alone)


def with_settings(config: Config, **settings) -> Config:
    changed = msgspec.structs.replace(config, retraining=msgspec.structs.replace(config.retraining, **settings))
    changed.__dict__.update(file=config.file, root=config.root)
    return changed


def test_label_that_the_table_does_not_have_is_refused(prepared, config):
    table, split = prepared
    contract = build_contract(table, split)
    wider = msgspec.structs.replace(contract, classes=("no", "yes", "rented"), class_names=("no", "yes", "rented"))
    production = read_production(log(4), np.array([0, 1, 2, 0]), wider)
    with pytest.raises(
        DataError, match=r"labelled predictions hold sold 'rented', which .*houses.csv does not have \('no', 'yes'\)"
    ):
        join_production(table, split, production, config)


def test_missing_column_is_refused_with_its_name(prepared, config):
    with pytest.raises(DataError, match="no column 'city'"):
        read(prepared, log(4).drop_columns(["city"]))
    production = read(prepared, log(4))
    production = replace(production, features=production.features.drop(columns="city"))
    with pytest.raises(DataError, match="labelled predictions have no column 'city'"):
        join_production(*prepared, production, config)


def test_each_prediction_counts_once_in_the_order_of_time_and_rows_without_a_known_label_do_not(prepared):
    rows = log(6)
    twice = pa.concat_tables([rows.slice(4, 2), rows])
    production = read(prepared, twice, [0, 1, 0, 1, -1, 1, 0, 1])
    assert production.target.tolist() == ["no", "yes", "yes", "no", "yes"]
    assert (np.diff(production.times) > np.timedelta64(0)).all()


def test_no_rows_are_no_rows_whatever_the_columns(prepared):
    assert len(read(prepared, pa.table({}), np.empty(0, np.int64))) == 0


def test_the_newest_rows_judge_and_rows_of_one_request_stay_together(prepared):
    production = read(prepared, log(100))
    older, recent = production.split(0.3)
    assert (len(older), len(recent)) == (70, 30)
    assert older.times.max() < recent.times.min()
    assert recent.features.index[0] == 0
    one_request = log(10, **{"mlops.time": pa.array([START] * 10, pa.timestamp("us", "UTC"))})
    older, recent = read(prepared, one_request.set_column(1, "mlops.row", pa.array(np.arange(10, dtype=np.int32)))).split(0.3)
    assert (len(older), len(recent)) == (0, 10)


def test_regression_labels_are_numbers(tmp_path):
    frame = pd.DataFrame({"x": np.arange(100) / 3, "y": np.random.default_rng(0).normal(size=100)})
    frame.to_csv(tmp_path / "line.csv", index=False)
    (tmp_path / "line.yaml").write_text("data: {source: line.csv, target: y}\n")
    config = read_config(tmp_path / "line.yaml", root=tmp_path, env={})
    table = load_table(config)
    split = split_table(table, config)
    rows = pa.table({name: log(3)[name] for name in ("mlops.id", "mlops.row", "mlops.time")} | {"x": [1.0, 2.0, 3.0]})
    production = read_production(rows, np.array([0.5, np.nan, 1.5]), build_contract(table, split))
    _, whole = join_production(table, split, production, config)
    assert whole.train_target.tolist()[-2:] == [0.5, 1.5]
    assert whole.train_target.dtype == np.float64
