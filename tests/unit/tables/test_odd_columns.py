import numpy as np
import pandas as pd
import pytest

from mlops_project.tables import checks
from mlops_project.tables.copies import find_contradictions, find_copies
from mlops_project.tables.odd_columns import find_few_rows, find_odd_columns
from mlops_project.tables.sample import take_sample
from tests.unit.tables.test_copies import make_table, people

N = 400


def look(**columns):
    frame = pd.DataFrame(columns)
    table = make_table(frame, np.arange(len(frame)) % 2)
    table.types.update(
        {name: {"f": "float", "i": "integer"}.get(column.dtype.kind, "string") for name, column in frame.items()}
    )
    return {(finding.code, finding.columns) for finding in find_odd_columns(take_sample(table), frozenset())}


@pytest.mark.parametrize("mark", [-1, -999, 9999])
def test_number_that_stands_for_a_missing_value_is_named(rng, mark):
    years = rng.integers(0, 40, N)
    assert look(years=np.where(rng.random(N) < 0.1, mark, years)) == {("mark-for-missing", ("years",))}
    assert look(change=rng.integers(-20, 20, N), steps=rng.integers(-1, 3, N), pay=rng.gamma(2, 4000, N).round()) == set()


def test_column_that_is_hardly_filled_and_one_that_says_what_another_says_are_named(rng):
    city, kg = rng.choice(["Natal", "Olinda", "Recife"], N), rng.normal(70, 9, N).round(1)
    codes = pd.Series(city).map({"Natal": 3, "Olinda": 1, "Recife": 2})
    found = look(city=city, code=codes, kg=kg, lb=(kg * 2.2046).round(2), rare=np.where(np.arange(N) % 20, np.nan, kg))
    assert found == {("recoded-column", ("code",)), ("recoded-column", ("lb",)), ("mostly-missing", ("rare",))}
    assert look(kg=kg, lean=kg * 0.8 + rng.normal(0, 0.5, N), half=np.where(np.arange(N) % 2, np.nan, kg)) == set()


def test_more_columns_than_rows_can_tell_are_named(rng):
    (found,) = find_few_rows(make_table(pd.DataFrame(rng.normal(size=(60, 30))), [0, 1] * 30), 0.2)
    assert (found.code, found.seen) == ("few-rows-for-columns", "48 rows to learn from have 30 columns")
    assert list(find_few_rows(make_table(pd.DataFrame(rng.normal(size=(60, 10))), [0, 1] * 30), 0.2)) == []


def test_rows_of_one_kind_with_two_answers_are_named(rng):
    frame = people(rng)
    twice, y = pd.concat([frame, frame.head(60)]), rng.integers(0, 2, 600)
    found = find_contradictions(make_table(twice, np.append(y, 1 - y[:60])))
    assert found.seen == "60 of 660 rows equal another one in every column and have another 'y', such as row 1"
    assert find_contradictions(make_table(twice, np.append(y, y[:60]))) is None
    few = pd.DataFrame({name: rng.integers(0, 3, 600) for name in "abcd"})  # equal rows by nature
    assert find_contradictions(make_table(few, y)) is None


@pytest.mark.parametrize("size", [0.001, 0.01, 0.03])
def test_copies_with_jittered_numbers_are_found(rng, size):
    frame = pd.DataFrame(rng.normal(50, 9, (600, 6)), columns=list("abcdef"))
    copied = frame.head(80) + rng.normal(0, 9 * size, (80, 6))
    y = rng.integers(0, 2, 600)
    copies = find_copies(make_table(pd.concat([frame, copied]), np.append(y, y[:80])))
    assert copies.is_close
    assert copies.near >= 70
    assert (copies.groups[:80] == copies.groups[600:]).mean() >= 0.9
    assert find_copies(make_table(frame, y)) is None


def test_copies_with_new_names_and_dates_are_found(rng):
    frame = people(rng).assign(order=rng.permutation(900)[:600] + 5000, at=pd.date_range("2026-01-01", periods=600, freq="5h"))
    copied = frame.head(90).assign(order=np.arange(90) + 9000, at=pd.date_range("2026-09-01", periods=90, freq="h"))
    y = rng.integers(0, 2, 600)
    copies = find_copies(make_table(pd.concat([frame, copied], ignore_index=True), np.append(y, y[:90])))
    assert (copies.near, copies.differing) == (90, ("order", "at"))


def test_names_of_rows_are_told_from_quantities(rng):
    drawn = rng.integers(10**8, 10**9, 500)
    pay = np.unique(rng.lognormal(15.5, 0.4, 500).astype(int))
    columns = {
        "passport": drawn,
        "seat": rng.permutation(500),
        "serial": drawn // 7,
        "pay": pay,
        "stock": rng.integers(0, 900, 500),
    }
    found = checks.find_identifiers(
        {name: pd.Series(values) for name, values in columns.items()}, dict.fromkeys(columns, "integer")
    )
    assert {column for finding in found for column in finding.columns} == {"passport", "seat", "serial"}
