import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

from mlops_project.config import Config, DataConfig
from mlops_project.tables.copies import describe_copies, find_copies
from mlops_project.tables.splits import split_table
from mlops_project.tables.table import Table


def make_table(features: pd.DataFrame, target, task="binary") -> Table:
    values = pd.Series(np.asarray(target), name="y")
    classes = () if task == "regression" else tuple(sorted(values.unique()))
    types = dict.fromkeys(features.columns, "float")
    return Table(features, values, types, task, classes, tuple(map(str, classes)), "t.csv", "d")


def people(rng, rows=600) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": rng.integers(18, 65, rows),
            "bmi": rng.normal(30, 6, rows).round(2),
            "children": rng.integers(0, 6, rows),
            "smoker": rng.choice(["yes", "no"], rows),
            "region": rng.choice(["north", "south"], rows),
            "weight": rng.normal(80, 9, rows),
        }
    )


def with_copies(rng, change=lambda copies: copies):
    frame = people(rng).assign(y=rng.integers(0, 2, 600))
    both = pd.concat([frame, change(frame.sample(frac=0.5, random_state=1).copy())]).sample(frac=1, random_state=2)
    both = both.reset_index(drop=True)
    return make_table(both.drop(columns="y"), both["y"])


def test_exact_copies_are_counted_and_kept_on_one_side(rng):
    table = with_copies(rng)
    copies = find_copies(table)
    assert (copies.exact, copies.near, int(copies.twins.sum())) == (300, 0, 600)
    split = split_table(table, Config())
    sides = [set(split.copies.groups[side.index]) for side in (split.train_target, split.test_target)]
    assert not sides[0] & sides[1]
    assert len(split.test_target) == pytest.approx(180, abs=25)
    assert split.test_target.mean() == pytest.approx(table.target.mean(), abs=0.08)


def test_last_digits_and_one_other_column_do_not_hide_a_copy(rng):
    noisy = with_copies(rng, lambda copies: copies.assign(weight=copies["weight"] * (1 + 1e-7)))
    assert find_copies(noisy).near >= 280
    found = find_copies(with_copies(rng, lambda copies: copies.assign(weight=rng.normal(80, 9, 300))))
    assert (found.near, found.differing) == (300, ("weight",))


def test_setting_lets_copies_stand_anywhere_and_they_are_counted(rng):
    table = with_copies(rng)
    split = split_table(table, Config(data=DataConfig(copies="anywhere")))
    finding = describe_copies(split.copies, split.test_target.index.to_numpy(), None)
    assert finding.seen.startswith("300 of 900 rows equal an earlier row in every column; ")
    assert "of the 180 held-out rows have a copy among the training rows" in finding.seen


def test_equal_rows_of_a_table_of_few_categories_are_no_copies(rng):
    frame = pd.DataFrame({name: rng.integers(0, 4, 2000) for name in "abcde"})
    assert 2000 - len(frame.drop_duplicates()) > 500
    assert find_copies(make_table(frame, rng.integers(0, 2, 2000))) is None
    related = frame.assign(f=frame["a"] + frame["b"], g=frame["c"] * 2)  # columns that say nothing new
    assert find_copies(make_table(related, (frame["a"] > 1).astype(int))) is None


@pytest.mark.parametrize("name", ["breast_cancer", "wine", "iris", "digits", "diabetes"])
def test_tables_without_copies_are_split_as_ever(name):
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    task = "regression" if name == "diabetes" else "multiclass"
    table = make_table(frame.drop(columns="target"), frame["target"], task)
    split, other = (split_table(table, Config(data=DataConfig(copies=how))) for how in ("together", "anywhere"))
    assert split.copies is None
    assert split.test_target.equals(other.test_target)


def test_capital_letters_and_two_other_columns_do_not_hide_a_copy(rng):
    def shout(copies):
        return copies.assign(smoker=copies["smoker"].str.upper(), region=copies["region"].str.title())

    assert find_copies(with_copies(rng, shout)).near == 300
    frame = pd.concat([people(rng), people(rng).add_suffix("_before")], axis=1).assign(y=rng.integers(0, 2, 600))
    both = pd.concat([frame, frame.head(90).assign(weight=rng.normal(80, 9, 90), bmi=rng.normal(30, 6, 90))], ignore_index=True)
    assert find_copies(make_table(both.drop(columns="y"), both["y"])).differing == ("bmi", "weight")


def test_few_columns_are_enough_where_they_tell_rows_apart(rng):
    frame = pd.DataFrame(rng.normal(size=(600, 4)).round(3), columns=list("abcd")).assign(y=rng.integers(0, 2, 600))
    both = pd.concat([frame, frame.head(90).assign(a=rng.normal(size=90).round(3))], ignore_index=True)
    assert find_copies(make_table(both.drop(columns="y"), both["y"])).differing == ("a",)
    assert find_copies(make_table(frame.drop(columns="y"), frame["y"])) is None


def test_copies_that_lost_some_of_their_values_are_no_chance(rng):
    def lose(copies):
        return copies.assign(**{name: copies[name].where(rng.random(300) > 0.1) for name in copies if name != "y"})

    assert find_copies(with_copies(rng, lose)).exact > 120
