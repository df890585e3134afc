import re
import time

import numpy as np
import pandas as pd

from tests.unit.tables.test_leaks import judge

PATIENTS, VISITS = 120, 5


def visits(rng) -> pd.DataFrame:
    patients = pd.DataFrame(
        {
            "patient_id": rng.permutation(PATIENTS) + 1000,
            "age": rng.integers(20, 80, PATIENTS),
            "pressure": rng.normal(120, 15, PATIENTS).round(2),
            "ill": rng.integers(0, 2, PATIENTS),
        }
    )
    rows = patients.loc[patients.index.repeat(VISITS)].assign(visit=np.tile(np.arange(VISITS), PATIENTS))
    return rows.sample(frac=1, random_state=1).reset_index(drop=True)


def test_identifier_with_several_rows_asks_for_a_group_and_says_what_a_random_split_hides(rng):
    frame = visits(rng)
    found = judge(frame.drop(columns="ill"), frame["ill"], "binary")
    assert list(found) == ["repeated-identifier"]
    seen = found["repeated-identifier"].seen
    assert seen.startswith(
        "column 'patient_id' names 120 persons or things, with 5.0 rows each on average; all rows of one have"
    )
    assert re.search(
        r"\(a small forest explains (9\d|100)% of it where it has seen other rows of the same one, \d% where it has not\)", seen
    )
    assert found["repeated-identifier"].cure.startswith("set data.group: patient_id")


def test_rows_of_one_person_are_recognised_without_an_identifier(rng):
    frame = visits(rng).assign(
        pulse=rng.normal(70, 9, PATIENTS * VISITS), weight=lambda rows: rows["pressure"].rank(method="dense") % 37
    )
    found = judge(frame.drop(columns=["ill", "patient_id"]), frame["ill"], "binary")
    assert list(found) == ["repeated-entity"]
    assert set(found["repeated-entity"].columns) == {"pressure", "age", "weight"}


def test_categories_and_measured_values_that_repeat_are_no_identifiers(rng):
    rows = 3000
    city = rng.integers(0, 150, rows)
    effect = rng.normal(0, 5, 150)
    frame = pd.DataFrame({"city": [f"c{code}" for code in city], "age": rng.integers(18, 90, rows), "x": rng.normal(size=rows)})
    assert judge(frame, effect[city] + rng.normal(0, 1, rows)) == {}


def test_names_of_animals_and_machines_are_identifiers_too(rng):
    for noun in ("Pig", "individual", "engine_no", "Loan"):
        frame = visits(rng).rename(columns={"patient_id": noun, "age": "litter"}).assign(feed=rng.random(PATIENTS * VISITS))
        answer = frame["feed"] * 10 + frame["pressure"] / 100 + rng.normal(0, 1, len(frame))
        found = judge(frame.drop(columns="ill"), answer)
        assert found["repeated-identifier"].columns == (noun,)


def test_many_columns_of_repeated_numbers_are_not_compared_with_each_other(rng):
    columns, rows = 100, 1000
    frame = pd.DataFrame(rng.integers(0, 100, (rows, columns)), columns=[f"p{number}" for number in range(columns)])
    started = time.process_time()
    assert "repeated-entity" not in judge(frame, pd.Series(rng.integers(0, 2, rows), name="y"), "binary")
    assert time.process_time() - started < 3  # 10 s if each is compared with all
