"""What the quick reader of bodies takes, Python reads alike, bit for bit; ordinary bodies are taken."""

import functools
import json
import random

import numpy as np
import pytest

from mlops_project.contract import Contract, Feature, Reading
from mlops_project.sections import ServingConfig
from mlops_project.wire.limits import NO_LIMITS, Limits, TooLargeError
from mlops_project.wire.mlflow import JSON
from mlops_project.wire.protocols import build_protocols

FEATURES = (
    Feature("f", "float", default=1.0),
    Feature('g "ü"', "float", nullable=True),
    Feature("i", "integer", default=2),
    Feature("b", "boolean", nullable=True),
    Feature("c", "category", categories=("a", "red"), default="a"),
    Feature("s", "string", nullable=True),
)
MARKED = (
    *FEATURES[:2],
    Feature("i", "integer", nullable=True, reading=Reading(missing=("-9", "?"))),
    FEATURES[3],
    Feature("c", "category", categories=("a", "red"), nullable=True, reading=Reading(missing=("?",))),
    FEATURES[5],
)
NAMES = [feature.name for feature in FEATURES]
SETTINGS = {
    "default": ServingConfig(),
    "strict": ServingConfig(coercion="strict"),
    "mlflow": ServingConfig(coercion="mlflow"),
    "impute": ServingConfig(missing_features="impute"),
}
DATED = (FEATURES[0], Feature("d", "datetime"))
COLUMNS = {"plain": FEATURES, "marked": MARKED, "dated": DATED}


def one_of(*values):
    return lambda rng: rng.choice(values)


# For each column: kinds of values, each as likely as the others.
CELLS = (
    [lambda rng: rng.gauss(0, 1) * 10.0 ** rng.randint(-20, 30), one_of(-9, 0, 7, -0.0), one_of(1.5), one_of(1e39, None, True)],
    [lambda rng: rng.uniform(-9, 9), one_of(None, 3), one_of(True, -9, "2")],
    [one_of(-9, 0, 5), one_of(2**53 - 1, 1.0, 4), one_of(2, 3), one_of(2**53, 1.5, None, True)],
    [one_of(True, False), one_of(True, False), one_of(True), one_of(0, 1, 2, None)],
    [one_of("a", "red"), one_of("a", "red"), one_of("a"), one_of("?", "", None, "blue", " a ", 'q"', "ü", 1)],
    [one_of("x", "", "q\\", "ä€"), one_of(None, "😀"), lambda rng: chr(rng.randint(1, 0xD7FF))],
)
FORMS = {
    "split": lambda rows: {"dataframe_split": {"columns": NAMES, "data": rows}},
    "pandas": lambda rows: {"dataframe_split": {"index": [*range(len(rows))], "columns": NAMES, "data": rows}},
    "pandas' JSON": lambda rows: {"dataframe_split": {"columns": NAMES, "index": [*range(len(rows))], "data": rows}},
    "records": lambda rows: {"dataframe_records": [dict(zip(NAMES, row, strict=True)) for row in rows]},
    "instances": lambda rows: {"instances": [dict(zip(NAMES, row, strict=True)) for row in rows]},
    "native": lambda rows: [dict(zip(NAMES, row, strict=True)) for row in rows],
    "native, one": lambda rows: dict(zip(NAMES, rows[0], strict=True)),
}
GOOD = [(1.5, 0.25, 3, True, "a", "x"), (-2, 7, -4, False, "red", "y ä")]


@functools.cache
def build(serving="default", features="plain", limits=NO_LIMITS):
    return build_protocols(Contract(COLUMNS[features], "y", "regression"), SETTINGS[serving], limits)


def draw_rows(rng: random.Random) -> list[tuple]:
    return [tuple(rng.choice(values)(rng) for values in CELLS) for _ in range(rng.randint(1, 4))]


@pytest.mark.parametrize("features", ["plain", "marked"])
@pytest.mark.parametrize("serving", SETTINGS)
@pytest.mark.parametrize("form", FORMS)
def test_what_is_read_quickly_python_reads_alike(form, serving, features):
    protocols = build(serving, features)
    protocol = protocols.native if form.startswith("native") else protocols.scoring
    rng, n_read = random.Random(f"{form} {serving} {features}"), 0
    for _ in range(100):
        rows, options = draw_rows(rng), {"indent": rng.choice([None, 1]), "ensure_ascii": rng.random() < 0.5}
        quick = protocol.plain.read(json.dumps(FORMS[form](rows), **options).encode())
        if quick is None:
            continue
        n_read += 1
        chosen = rows[:1] if form == "native, one" else rows
        careful = protocol.reader.read_columns(dict(zip(NAMES, map(list, zip(*chosen, strict=True)), strict=True)))
        assert quick.numbers.tobytes() == careful.numbers.tobytes()
        assert quick.texts.tolist() == careful.texts.tolist()
    assert n_read > 2


@pytest.mark.parametrize("features", ["plain", "marked"])
@pytest.mark.parametrize("serving", SETTINGS)
@pytest.mark.parametrize("form", FORMS)
def test_ordinary_bodies_are_read_quickly(form, serving, features):
    protocols = build(serving, features)
    protocol = protocols.native if form.startswith("native") else protocols.scoring
    for options in ({}, {"indent": 2}, {"ensure_ascii": False}, {"separators": (",", ":")}):
        read = protocol.plain.read(json.dumps(FORMS[form](GOOD), **options).encode())
        expected = GOOD[:1] if form == "native, one" else GOOD
        assert read.numbers.tolist() == [[*map(float, row[:4])] for row in expected]
        assert read.texts.tolist() == [[*row[4:]] for row in expected]


def test_gaps_of_a_mixed_table_are_read_quickly():
    rows = [(None, None, 1, True, None, None), (1, 2, 3, False, "a", "")]
    read = build().scoring.plain.read(json.dumps(FORMS["split"](rows)).encode())
    assert np.isnan(read.numbers[0, :2]).all()
    assert read.texts.tolist() == [["", ""], ["a", ""]]


def test_more_rows_or_values_than_a_request_may_have_are_refused():
    body = json.dumps(FORMS["split"](GOOD * 3)).encode()
    for limits in (Limits(max_rows=5), Limits(max_values=35)):
        with pytest.raises(TooLargeError):
            build(limits=limits).scoring.read(body, JSON)
    assert len(build(limits=Limits(max_rows=6)).scoring.read(body, JSON).numbers) == 6


def test_dates_and_other_orders_are_left_to_python():
    dated = build(features="dated").scoring
    body = {"dataframe_split": {"columns": ["f", "d"], "data": [[1.0, "2026-01-01"]]}}
    assert dated.plain.read(json.dumps(body).encode()) is None
    assert dated.read(json.dumps(body).encode(), JSON).numbers[0, 0] == 1.0
    turned = {"dataframe_split": {"columns": NAMES[::-1], "data": [GOOD[0][::-1]]}}
    scoring = build().scoring
    assert scoring.plain.read(json.dumps(turned).encode()) is None
    assert scoring.read(json.dumps(turned).encode(), JSON).numbers.tolist() == [[1.5, 0.25, 3.0, 1.0]]
