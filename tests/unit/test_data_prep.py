"""From a file to a checked table, its split and its contract."""

import re
import time

import numpy as np
import pandas as pd
import pytest

from mlops_project.config import read_config
from mlops_project.contract import QUANTILE_LEVELS
from mlops_project.data_prep import build_contract, load_table, split_table
from mlops_project.errors import ConfigError, DataError

N = 100


def table_of(rng, **columns) -> pd.DataFrame:
    base = {"a": rng.random(N).round(6), "b": rng.integers(0, 50, N), "y": ["no", "yes"] * (N // 2)}
    return pd.DataFrame(base | columns)


@pytest.fixture
def configure(tmp_path):
    """Write a table and a configuration for it; return the configuration."""

    def build(frame: pd.DataFrame | None = None, data: str = "", rest: str = "", name: str = "t.csv"):
        if frame is not None:
            frame.to_csv(tmp_path / name, index=False) if name.endswith("csv") else frame.to_parquet(tmp_path / name)
        file = tmp_path / "model.yaml"
        file.write_text(f"data:\n  source: {name}\n  target: y\n{data}\n{rest}\n", encoding="utf-8")
        return read_config(file, root=tmp_path, env={})

    return build


def problems(config) -> str:
    with pytest.raises(DataError) as caught:
        load_table(config)
    return str(caught.value)


def test_table_has_typed_columns_target_and_task(configure, rng):
    frame = table_of(
        rng, city=["Ulm", "Köln"] * 50, day=pd.date_range("2026-01-01", periods=N).astype(str), flag=[True, False] * 50
    )
    frame.loc[3, "a"] = np.nan
    frame["flag"] = frame["flag"].sample(frac=1, random_state=0).to_numpy()
    frame["city"] = frame["city"].sample(frac=1, random_state=0).to_numpy()
    table = load_table(configure(frame))
    assert table.types == {"a": "float", "b": "integer", "city": "category", "day": "datetime", "flag": "boolean"}
    assert (table.task, table.classes, table.class_names) == ("binary", ("no", "yes"), ("no", "yes"))
    assert table.source.endswith("t.csv")
    assert len(table.target) == len(table.features) == N
    assert table.warnings == ()


@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        (["no", "yes"] * 50, "binary", ("no", "yes")),
        (["yes", "zzz"] * 50, "binary", ("zzz", "yes")),  # the affirmative label is the positive one
        ([0, 1] * 50, "binary", (0, 1)),
        ([1.0, 0.0] * 50, "binary", (0, 1)),
        ([True, False] * 50, "binary", (False, True)),
        ([3, 1, 2, 1] * 25, "multiclass", (1, 2, 3)),
        (["c", "a", "b", "a"] * 25, "multiclass", ("a", "b", "c")),
        (list(range(N)), "regression", ()),
        ([0.5, 1.5] * 50, "regression", ()),
    ],
)
def test_task_is_guessed_from_the_target(configure, rng, target, task, classes):
    table = load_table(configure(table_of(rng, y=target, b=rng.random(N))))
    assert (table.task, table.classes) == (task, classes)
    if task == "regression":
        assert table.target.dtype == np.float64


def test_task_positive_class_and_names_can_be_ordered(configure, rng):
    frame = table_of(rng, y=[1, 2] * 50)
    config = configure(frame, "  positive_class: 1\n  class_names: {1: ill, 2: well}")
    table = load_table(config)
    assert (table.classes, table.class_names) == ((2, 1), ("well", "ill"))
    assert load_table(configure(frame, "  task: regression")).task == "regression"


def test_rows_without_target_are_left_out_and_told(configure, rng):
    frame = table_of(rng, y=[1, 0, None, 1] * 25)
    table = load_table(configure(frame))
    assert len(table.target) == 75
    assert table.classes == (0, 1)
    assert [(found.code, found.seen) for found in table.findings] == [("missing-target", "25 of 100 rows have no 'y'")]


def test_useless_columns_are_left_out_and_told_and_identifiers_warned_of(configure, rng):
    frame = table_of(rng, empty=[None] * N, same=["x"] * N, number=range(1000, 1000 + N))
    frame["copy"] = frame["a"]
    table = load_table(configure(frame))
    assert list(table.features) == ["a", "b", "number"]
    assert {found.code: (found.severity, found.seen) for found in table.findings} == {
        "identifier": ("warning", "column 'number' numbers the rows (100 different values)"),
        "no-values": ("note", "column 'empty' has no values in any of 100 rows"),
        "constant": ("note", "column 'same' is 'x' in all 100 rows"),
        "copy-of-column": ("note", "column 'copy' is a copy of 'a'"),
    }
    assert table.findings[0].cure == "if it is an identifier, add 'number' to data.drop"


def test_accepted_leak_is_a_column_like_others(configure, rng):
    frame = table_of(rng)
    frame["leak"] = frame["y"].map({"no": 4, "yes": 7})
    table = load_table(configure(frame, rest='checks: {accept: {"leak-copy:leak": it is known in time}}'))
    assert list(table.features) == ["a", "b", "leak"]
    assert [(found.code, found.accepted) for found in table.findings] == [("leak-copy", "it is known in time")]


def test_every_problem_of_a_table_is_in_one_message(configure, rng):
    frame = table_of(rng)
    frame["broken"] = [*map(str, range(98)), "12,5 kg", "abc"]
    frame["huge"] = [np.inf, *rng.random(N - 1)]
    frame["leak"] = frame["y"].map({"no": 4, "yes": 7})
    message = problems(configure(frame))
    assert message.splitlines()[0].endswith("t.csv: no model can be trained on this table (100 rows, 4 feature columns)")
    assert "column 'broken' holds numbers, but 2 of its values are not: '12,5 kg' (row 99), 'abc' (row 100)" in message
    assert "column 'huge' has 1 infinite values, the first in row 1" in message
    assert "column 'leak' equals the target 'y'" in message


def test_settings_mend_what_the_message_names(configure, rng):
    frame = table_of(rng)
    frame["broken"] = [*map(str, range(98)), "12,5 kg", "abc"]
    frame["huge"] = [np.inf, *rng.random(N - 1)]
    frame["leak"] = frame["y"].map({"no": 4, "yes": 7})
    table = load_table(configure(frame, "  drop: [leak]\n  missing: [inf, '12,5 kg', abc]"))
    assert list(table.features) == ["a", "b", "broken", "huge"]
    assert table.features["broken"].isna().sum() == 2
    assert table.features["huge"].isna().sum() == 1


@pytest.mark.parametrize(
    ("columns", "data", "message"),
    [
        ({"y": ["x"] * N}, "", "the target 'y' is 'x' in all 100 rows; a model needs at least two classes"),
        ({"y": [1.0] * N}, "  task: regression", "in all 100 rows"),
        ({"y": [None] * N}, "", "0 of 100 rows have a 'y', too few"),
        ({"y": [f"c{i}" for i in range(N)]}, "", "100 classes in 100 rows, 100 of them with fewer than 5 rows"),
        ({"y": ["a"] * 48 + ["b"] * 50 + ["c"] * 2}, "", r"1 of them with fewer than 5 rows: 'c' \(2\)"),
        ({"y": ["a", "b", "c", "a"] * 25}, "  task: binary", "has 3 classes, and data.task is binary; use multiclass"),
        ({"y": ["a", "b"] * 50}, "  task: regression", "the target 'y' is category, and regression needs numbers"),
        ({"y": pd.date_range("2026-01-01", periods=N).astype(str)}, "", "the target 'y' holds dates"),
        ({"y": [np.inf, *np.linspace(0, 1, N - 1)]}, "", "the target 'y' has 1 infinite values, the first in row 1"),
        ({"a": [1.0] * N, "b": [2] * N}, "", "column"),
    ],
)
def test_hopeless_target_or_table_is_refused_with_the_row_count(configure, rng, columns, data, message):
    text = problems(configure(table_of(rng, **columns), data))
    assert re.search(message, text), text
    assert "t.csv" in text


def test_class_that_was_read_as_missing_is_told(configure, rng):
    text = problems(configure(table_of(rng, y=["NA", "EU"] * 50)))  # a continent, but not to pandas
    assert "the target 'y' is 'EU' in all 50 rows" in text
    assert "50 more rows have none (an empty field, NA, N/A, null, None or nan is none)" in text


def test_target_of_numbers_written_for_people_is_a_number(configure, rng):
    table = load_table(configure(table_of(rng, y=[f"$1,{100 + i}" for i in range(N)])))
    assert (table.task, table.target.iloc[0]) == ("regression", 1100.0)


def test_column_of_numbers_written_for_people_is_read_and_told(configure, rng):
    table = load_table(configure(table_of(rng, price=[f"1,{100 + i % 9}" for i in range(N)])))
    assert table.types["price"] == "integer"
    assert table.readings["price"].thousands == ","
    assert "column 'price': texts were read as numbers, '1,100' as 1100" in table.warnings


def test_few_rows_and_no_rows_are_refused(configure, rng):
    assert "19 of 19 rows have a 'y', too few" in problems(configure(table_of(rng).head(19)))
    assert "the table has no rows (3 columns)" in problems(configure(table_of(rng).head(0)))


def test_missing_target_column_suggests_the_nearest(configure, rng):
    text = problems(configure(table_of(rng).rename(columns={"y": "Y1"})))
    assert "t.csv" in text
    assert "'y'" in text
    assert "100 rows" in text


def test_missing_file_names_where_it_was_looked_for_and_what_is_near(configure, rng, tmp_path):
    configure(table_of(rng))
    config = configure(None, name="tt.csv")
    text = problems(config)
    assert str(tmp_path / "tt.csv") in text
    assert "there is: t.csv" in text


@pytest.mark.parametrize(
    ("data", "rest", "message"),
    [
        ("  drop: [aa]", "", r"data.drop: no column 'aa'"),
        ("  types: {citty: category}", "", "data.types: no column 'citty'"),
        ("  units: {citty: km}", "", "data.units: no column 'citty'"),
        ("  group: g", "", "data.group: no column 'g'"),
        ("  time: y", "", "data.time: 'y' is the target"),
        ("  drop: [y]", "", "data.drop: 'y' is the target"),
        ("  group: a\n  time: b", "", "data.group and data.time are both set"),
        ("  embargo: 3", "", "data.embargo: only a split by time has one"),
        ("", "evaluation: {slices: [region]}", "evaluation.slices: no column 'region'"),
        ("  drop: [b]", "evaluation: {slices: [b]}", "evaluation.slices: 'b'"),
        ("  positive_class: maybe", "", "data.positive_class: 'maybe' is not among the labels of 'y': 'no', 'yes'"),
        ("  class_names: {nope: x}", "", "data.class_names: 'nope' is not among the labels"),
    ],
)
def test_settings_about_what_is_not_there_are_config_errors(configure, rng, data, rest, message):
    with pytest.raises(ConfigError, match=message):
        load_table(configure(table_of(rng), data, rest))


def test_digest_follows_content_and_not_the_file_format(configure, rng):
    frame = table_of(rng)
    digest = load_table(configure(frame)).digest
    assert load_table(configure(frame)).digest == digest
    assert load_table(configure(frame, name="t.parquet")).digest == digest
    changed = frame.copy()
    changed.loc[5, "b"] += 1
    assert load_table(configure(changed)).digest != digest
    assert load_table(configure(frame.rename(columns={"a": "A"}))).digest != digest
    assert load_table(configure(frame.iloc[::-1])).digest != digest


def test_split_is_stratified_and_repeatable(configure, rng):
    frame = table_of(rng, y=["no"] * 80 + ["yes"] * 20)
    config = configure(frame)
    table = load_table(config)
    first, second = split_table(table, config), split_table(table, config)
    assert (first.test_target == "yes").sum() == 4
    assert list(first.test_features.index) == list(second.test_features.index)
    assert set(first.train_features.index) | set(first.test_features.index) == set(range(N))
    assert not set(first.train_features.index) & set(first.test_features.index)


def test_group_split_keeps_groups_whole_and_out_of_the_features(configure, rng):
    frame = table_of(rng, patient=np.repeat(range(20), 5))
    config = configure(frame, "  group: patient")
    table = load_table(config)
    split = split_table(table, config)
    assert "patient" not in table.features
    assert not set(table.groups[split.train_features.index]) & set(table.groups[split.test_features.index])


def test_time_split_holds_out_the_newest_rows(configure, rng):
    frame = table_of(rng, day=pd.date_range("2026-01-01", periods=N).astype(str)).sample(frac=1, random_state=1)
    config = configure(frame, "  time: day")
    table = load_table(config)
    split = split_table(table, config)
    assert table.times[split.test_features.index].min() > table.times[split.train_features.index].max()
    assert len(split.test_features) == 20


def test_embargo_keeps_rows_before_the_held_out_ones_from_training(configure, rng):
    frame = table_of(rng, day=pd.date_range("2026-01-01", periods=N).astype(str)).sample(frac=1, random_state=1)
    config = configure(frame, "  time: day\n  embargo: 7")
    table = load_table(config)
    split = split_table(table, config)
    gap = table.times[split.test_features.index].min() - table.times[split.train_features.index].max()
    assert (gap, len(split.train_features), len(split.test_features)) == (pd.Timedelta(days=7), 74, 20)
    numbers = configure(table_of(rng, t=range(N)), "  time: t\n  embargo: 100")
    with pytest.raises(DataError, match="no row lies 100 before"):
        split_table(load_table(numbers), numbers)


@pytest.mark.parametrize(
    ("columns", "data", "message"),
    [
        ({"g": ["one"] * N}, "  group: g", "has a single value; a split needs at least two"),
        ({"t": ["x", "y"] * 50}, "  time: t", "data.time: column 't' is category; rows are put in order by dates"),
        ({"t": [1.5, None] * 50}, "  time: t", "data.time: column 't' is missing in 50 rows"),
        ({"t": range(N), "y": ["a"] * 75 + ["b"] * 25}, "  time: t", "none of the 20 held-out rows has y 'a'"),
    ],
)
def test_impossible_split_is_refused(configure, rng, columns, data, message):
    config = configure(table_of(rng, **columns), data)
    with pytest.raises(DataError, match=message):
        split_table(load_table(config), config)


def test_class_too_rare_for_the_held_out_part_is_refused(configure, rng):
    frame = table_of(rng, y=["a"] * 95 + ["b"] * 5)
    config = configure(frame, rest="test_size: 0.01")
    with pytest.raises(DataError, match=r"test_size=0\.01 of 100 rows"):
        split_table(load_table(config), config)


def test_contract_describes_columns_from_the_training_rows_alone(configure, rng):
    frame = table_of(rng, city=[f"c{i % 3}" for i in range(N)], t=range(N), flag=[True, False] * 50)
    frame["flag"] = frame["flag"].sample(frac=1, random_state=0).to_numpy()
    frame.loc[0, "a"] = None
    frame.loc[N - 1, "b"] = 10_000  # held out: the newest row
    config = configure(frame, "  time: t\n  units: {a: mm²}")
    table = load_table(config)
    split = split_table(table, config)
    contract = build_contract(table, split)
    a, b, city, flag = contract.features
    assert (a.unit, b.unit) == ("mm²", "")
    assert (a.type, a.nullable, b.nullable) == ("float", True, False)
    assert b.maximum < 50
    assert len(a.quantiles) == len(QUANTILE_LEVELS)
    assert a.default == pytest.approx(split.train_features["a"].median())
    assert (city.categories, city.type) == (("c0", "c1", "c2"), "category")
    assert isinstance(flag.default, bool)
    assert isinstance(b.default, int)
    assert (contract.target, contract.task) == ("y", "binary")


def test_nameless_and_double_columns_are_handled(configure, rng, tmp_path):
    frame = table_of(rng)
    frame.to_csv(tmp_path / "t.csv")  # with the row index
    table = load_table(configure())
    assert list(table.features) == ["a", "b"]
    assert "1 column has no name (a saved row index?); left out" in table.warnings
    pd.DataFrame(frame.to_numpy(), columns=["a ", "a", "y"]).to_csv(tmp_path / "t.csv", index=False)
    assert "column names stand twice: a; rename them" in problems(configure())


@pytest.mark.parametrize(
    ("name", "task", "rows"),
    [
        ("breast_cancer", "binary", 569),
        ("wine", "multiclass", 178),
        ("iris", "multiclass", 150),
        ("digits", "multiclass", 1797),
        ("diabetes", "regression", 442),
    ],
)
def test_scikit_learns_tables_know_their_targets(tmp_path, name, task, rows):
    file = tmp_path / "model.yaml"
    file.write_text(f"data: {{source: 'sklearn:{name}'}}")
    table = load_table(read_config(file, root=tmp_path, env={}))
    assert (table.task, len(table.target)) == (task, rows)
    if name == "breast_cancer":
        assert table.class_names == ("malignant", "benign")


def test_unknown_scikit_learn_table_is_suggested(tmp_path):
    file = tmp_path / "model.yaml"
    file.write_text("data: {source: 'sklearn:wines'}")
    with pytest.raises(DataError, match="no scikit-learn table 'wines'; did you mean 'wine'"):
        load_table(read_config(file, root=tmp_path, env={}))


def test_loading_takes_as_long_per_column_however_many_there_are(configure, rng):
    seconds = {}
    for n_columns in (150, 900):
        config = configure(pd.DataFrame(rng.random((40, n_columns)).round(3)).add_prefix("c").assign(y=["no", "yes"] * 20))
        runs = []
        for _ in range(2):
            started = time.process_time()
            assert len(load_table(config).types) == n_columns
            runs.append(time.process_time() - started)
        seconds[n_columns] = min(runs)
    assert seconds[900] < 13 * seconds[150]  # 6 times as many columns; taking each out of a data frame: 36 times the time
