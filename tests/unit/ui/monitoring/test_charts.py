from datetime import timedelta

import numpy as np
import pytest

from mlops_project.monitoring.results import Bins
from mlops_project.ui.language import Translate
from mlops_project.ui.monitoring.charts import MAX_NAMED, draw_bins, draw_metric, draw_share
from mlops_project.ui.monitoring.evaluations import Mark, list_points, list_shares
from tests.evaluations import NOON, make_evaluation, make_feature, make_performance

ENGLISH = Translate("en")
SPAN = (NOON, NOON + timedelta(hours=5))


def rows(spec: dict) -> list[dict]:
    return [row for data in spec["datasets"].values() for row in data]


def legends(spec: dict) -> list[list[str]]:
    encodings = [layer.get("encoding", {}) for layer in spec["layer"]]
    return [item["color"]["scale"]["domain"] for item in encodings if item.get("color", {}).get("legend")]


@pytest.mark.parametrize("hours", [1, 2, 200])
def test_metric_is_drawn_with_its_intervals(hours):
    evaluations = [make_evaluation(hour) for hour in range(hours)]
    spec = draw_metric(list_points(evaluations), [], SPAN, "ROC AUC", ENGLISH).to_dict()
    drawn = [row for row in rows(spec) if row.get("source") == "from labels"]
    assert all(row["low"] <= row["value"] <= row["high"] for row in drawn)
    assert len({row["end"] for row in drawn}) == hours


def test_legend_names_only_what_is_drawn():
    points = list_points([make_evaluation(performance=make_performance(None))])
    assert all(domain == ["estimated"] for domain in legends(draw_metric(points, [], SPAN, "ROC AUC", ENGLISH).to_dict()))


def test_both_charts_show_the_same_time():
    evaluations = [make_evaluation(hour) for hour in range(3)]
    marks = [(Mark(NOON, "4", "rolled-back"), "back to v4")]
    charts = (
        draw_metric(list_points(evaluations), marks, SPAN, "ROC AUC", ENGLISH),
        draw_share(list_shares(evaluations), marks, SPAN, 0.05, ENGLISH),
    )
    domains = [str(layer["encoding"]["x"]["scale"]["domain"]) for chart in charts for layer in _flatten(chart.to_dict())]
    assert len(set(domains)) == 1
    assert domains[0] == str([instant.isoformat() for instant in SPAN])


def _flatten(spec: dict) -> list[dict]:
    layers = [inner for layer in spec["layer"] for inner in layer.get("layer", [layer])]
    return [layer for layer in layers if "scale" in layer.get("encoding", {}).get("x", {})]


def test_only_the_newest_marks_carry_text():
    marks = [(Mark(NOON + timedelta(minutes=number), str(number), "promoted"), f"v{number}") for number in range(30)]
    spec = draw_share(list_shares([make_evaluation()]), marks, SPAN, 0.05, ENGLISH).to_dict()
    texts = [layer for layer in spec["layer"] if isinstance(layer.get("mark"), dict) and layer["mark"]["type"] == "text"]
    assert [len(spec["datasets"][layer["data"]["name"]]) for layer in texts] == [MAX_NAMED]


@pytest.mark.parametrize("kind", ["numeric", "category"])
def test_bins_are_shares_of_reference_and_window(kind):
    spec = draw_bins(make_feature("age", kind=kind, shift=1.0).bins, "age", "years", ENGLISH).to_dict()
    for who in ("reference", "this window"):
        assert sum(row["share"] for row in rows(spec) if row["who"] == who) == pytest.approx(1)
    assert ("years" in str(spec)) is (kind == "numeric")


def test_numbers_keep_their_order_and_categories_go_by_share():
    numbers = Bins(labels=("< 1", "1 – 2", "> 2"), edges=(1.0, 2.0), reference=(1, 5, 3), current=(9, 0, 0))
    assert list(dict.fromkeys(row["bin"] for row in rows(draw_bins(numbers, "x", "", ENGLISH).to_dict()))) == [
        "< 1",
        "1 – 2",
        "> 2",
    ]
    categories = Bins(labels=("a", "b", "c"), reference=(1, 5, 3), current=(0, 1, 8))
    assert list(dict.fromkeys(row["bin"] for row in rows(draw_bins(categories, "x", "", ENGLISH).to_dict()))) == ["c", "b", "a"]


def test_bins_without_rows_are_left_out_and_an_empty_window_is_drawn():
    bins = Bins(labels=("a", "b", "c"), reference=(4, 0, 6), current=(0, 0, 0))
    drawn = rows(draw_bins(bins, "x", "", ENGLISH).to_dict())
    assert {row["bin"] for row in drawn} == {"a", "c"}
    assert np.isfinite([row["share"] for row in drawn]).all()


def test_categories_that_look_alike_when_shortened_stay_apart():
    long = ["x" * 40 + letter + "y" * 40 for letter in "ab"]
    drawn = rows(draw_bins(Bins(labels=tuple(long), reference=(1, 2), current=(2, 1)), "x", "", ENGLISH).to_dict())
    assert len({row["bin"] for row in drawn}) == 2
