"""A table that grew keeps its sides: no row that was learned is held out later, and none the other way."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mlops_project.config import read_config
from mlops_project.data_prep import load_table, split_table
from mlops_project.tables.known_rows import HELD_OUT, LEARNED, Growth, KnownRows, describe_sides, note_rows

N_ROWS = 400


def make_rows(n_rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(size=n_rows).round(9), "count": rng.integers(0, 9, n_rows)})
    frame["town"] = rng.choice(["north", "south", "east"], n_rows)
    frame["day"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(n_rows) + 1000 * (seed - 1), "h")
    frame["person"] = rng.integers(0, n_rows // 4, n_rows) + 50 * seed
    return frame.assign(up=np.where(frame["x"] + rng.normal(0, 0.5, n_rows) > 0, "yes", "no"))


@pytest.fixture
def split(tmp_path):
    """Return a table's split, by what the model of an earlier split knows."""

    def split_rows(rows: pd.DataFrame, known: KnownRows | None = None, *overrides: str):
        rows.to_csv(tmp_path / "t.csv", index=False)
        text = f"data: {{source: {tmp_path}/t.csv, target: up, drop: [%s]}}\nmodel: {{name: t}}\n"
        by = {name for name in ("day", "person") if not any(name in item for item in overrides)}
        (tmp_path / "t.yaml").write_text(text % ", ".join(by))
        config = read_config(tmp_path / "t.yaml", root=tmp_path, overrides=overrides, env={})
        table = load_table(config)
        made = split_table(table, config, known)
        rows = note_rows(table, made.train_features.index, made.test_features.index)
        return replace(made, rows=rows)

    return split_rows


def name_sides(rows: pd.DataFrame, made) -> "pd.Series[int]":
    """Return the side of each row by its x, which is the row's own."""
    sides = pd.concat([made.train_features["x"].map(lambda _: LEARNED), made.test_features["x"].map(lambda _: HELD_OUT)])
    return sides.set_axis(rows["x"].to_numpy()[sides.index])


SPLITS = [(), ("data.time=day",), ("data.group=person",), ("data.time=day", "data.embargo=1")]


@pytest.mark.parametrize("overrides", SPLITS)
def test_no_row_changes_its_side_while_the_table_grows_day_by_day_in_any_order(split, overrides):
    rows = make_rows(N_ROWS, 1)
    first = made = split(rows, None, *overrides)
    before = name_sides(rows, made)
    for day in range(2, 5):
        rows = pd.concat([rows, make_rows(60, day)]).sample(frac=1, random_state=day)
        made = split(rows, made.rows, *overrides)
        now = name_sides(rows, made)
        assert made.growth.is_kept
        assert made.growth.is_new.sum() == 60
        assert (now[before.index] == before).all()
        before = now
    held_out, learned = len(made.test_target), len(made.train_target)
    assert held_out > len(first.test_target)
    if not overrides:
        assert 0.1 < held_out / (held_out + learned) < 0.3
    # a model that knows the first day only gives the new rows the same sides
    assert (name_sides(rows, split(rows, first.rows, *overrides))[before.index] == before).all()


def test_rows_of_a_group_and_copies_follow_those_that_are_known(split):
    rows = make_rows(N_ROWS, 1)
    made = split(rows, None, "data.group=person")
    more = make_rows(N_ROWS, 2).assign(person=np.tile(rows["person"].unique(), 9)[:N_ROWS])
    grown = split(pd.concat([rows, more]), made.rows, "data.group=person")
    both = pd.concat([rows, more])["person"].to_numpy()
    assert not {*both[grown.train_features.index]} & {*both[grown.test_features.index]}
    made = split(rows)
    near = rows.assign(x=rows["x"] * (1 + 1e-6))
    grown = split(pd.concat([rows, near]), made.rows)
    held_out = pd.Series(np.isin(np.arange(2 * N_ROWS), grown.test_features.index)).groupby(grown.copies.groups)
    assert (held_out.size() == 2).sum() > 0.9 * N_ROWS
    before = pd.Series(np.isin(np.arange(N_ROWS), made.test_features.index)).groupby(grown.copies.groups[:N_ROWS]).nunique()
    assert (held_out.nunique() == before).all()  # two rows that became copies of each other only now stay where they were


def test_rows_from_the_first_held_out_time_on_are_held_out(split):
    rows = make_rows(N_ROWS, 1)
    made = split(rows, None, "data.time=day")
    border = rows["day"][made.test_features.index].min()
    late = make_rows(20, 7).assign(day=border - pd.Timedelta("3h"))
    grown = split(pd.concat([rows, make_rows(30, 2), late]), made.rows, "data.time=day")
    assert (len(grown.test_target), len(grown.train_target)) == (len(made.test_target) + 30, len(made.train_target) + 20)


def test_old_rows_that_are_gone_or_say_something_else_are_counted(split):
    rows = make_rows(N_ROWS, 1)
    known = split(rows).rows
    changed = rows.copy()
    changed.loc[[11, 12], "up"] = changed.loc[[11, 12], "up"].map({"yes": "no", "no": "yes"})
    changed.loc[5, "count"] = 77
    growth = split(pd.concat([changed.iloc[:-3], make_rows(50, 2)]), known).growth
    assert not growth.is_kept
    assert (growth.gone, [*growth.relabelled]) == (6, [11, 12])
    assert growth.is_new.sum() == 53


def test_types_and_order_of_columns_do_not_matter_and_more_columns_are_no_change(split):
    rows = make_rows(N_ROWS, 1)
    known = split(rows).rows
    more = make_rows(50, 2).astype({"count": float})
    more.loc[0, "count"] = np.nan  # whole numbers become numbers with gaps
    grown = pd.concat([rows, more]).assign(colour="red")
    grown.loc[0, "colour"] = "blue"
    assert split(grown[grown.columns[::-1]], known).growth.is_kept
    lost = split(grown.drop(columns="count"), known).growth
    assert (lost.is_kept, lost.lost) == (False, ("count",))
    assert split(grown, known, "data.time=day").growth.resplit == "by data.time 'day', and was at random"


def test_equal_rows_are_found_as_often_as_they_are_there(split):
    rows = pd.concat([make_rows(N_ROWS, 1)] * 2)
    known = split(rows).rows
    assert split(rows, known).growth.is_kept
    assert split(rows.iloc[:-1], known).growth.gone == 1


def test_table_of_which_no_row_is_known_is_split_anew(split):
    rows, others = make_rows(N_ROWS, 1), make_rows(N_ROWS, 2)
    made = split(others, split(rows).rows)
    assert made.growth.gone == N_ROWS
    assert not made.growth.is_comparable
    assert [*made.test_features.index] == [*split(others).test_features.index]


def test_rows_that_are_written_are_read_again_and_damage_is_named(tiny_bundle, tmp_path):
    import msgspec

    from mlops_project.bundle import ROWS_FILE
    from mlops_project.errors import BundleError
    from mlops_project.tables.known_rows import read_known_rows

    known = KnownRows((), None, None, np.arange(5, dtype=np.uint64), np.array([0, 1, 2, 0, 0], np.uint8))
    assert read_known_rows(tiny_bundle) is None
    known.write(tmp_path / ROWS_FILE)
    metadata = msgspec.structs.replace(tiny_bundle.metadata, files={ROWS_FILE: "0" * 64}, config={"data": {"time": "day"}})
    bundle = replace(tiny_bundle, path=tmp_path, metadata=metadata)
    read = read_known_rows(bundle)
    assert (read.time, read.group, read.names) == ("day", None, bundle.contract.names)
    assert ([*read.digests], [*read.sides]) == ([0, 1, 2, 3, 4], [0, 1, 2, 0, 0])
    (tmp_path / ROWS_FILE).write_bytes(b"PAR1")
    with pytest.raises(BundleError, match=r"rows\.parquet: cannot be read: .*; train again"):
        read_known_rows(bundle)
    KnownRows((), None, None, np.arange(2, dtype=np.uint64), np.array([0, 7], np.uint8)).write(tmp_path / ROWS_FILE)
    with pytest.raises(BundleError, match="does not hold the digests of rows"):
        read_known_rows(bundle)


def test_growth_without_a_comparison_is_no_growth():
    known = KnownRows((), None, None, np.empty(0, np.uint64), np.empty(0, np.uint8))
    assert not Growth(known, ("x",)).is_kept
    assert not Growth(known, resplit="by").is_comparable


@pytest.mark.parametrize("overrides", [(), ("data.group=person",)])
def test_same_table_is_split_as_it_was_in_the_same_order(split, overrides):
    rows = make_rows(N_ROWS, 1)
    first = split(rows, None, *overrides)
    again = split(rows, first.rows, *overrides)
    assert again.train_features.index.equals(first.train_features.index)
    assert again.test_features.index.equals(first.test_features.index)
    assert again.growth.is_same


def test_same_table_whose_sides_came_from_a_smaller_one_keeps_them(split):
    first = split(make_rows(N_ROWS, 1))
    rows = pd.concat([make_rows(N_ROWS, 1), make_rows(80, 2)])
    grown = split(rows, first.rows)
    again = split(rows, grown.rows)
    assert again.growth.is_same
    assert again.test_features.index.equals(grown.test_features.index)
    assert "80 rows that the last model does not know" in describe_sides(grown.growth, grown.test_features.index.to_numpy())
    assert describe_sides(again.growth, again.test_features.index.to_numpy()) == ""


def test_split_anew_is_said_where_rows_cannot_be_told(split):
    rows = make_rows(N_ROWS, 1)
    first = split(rows)
    without = split(rows.drop(columns="town"), first.rows)
    assert "no column 'town' any more" in describe_sides(without.growth, without.test_features.index.to_numpy())
