import re
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mlops_project.contract import Contract, Feature
from mlops_project.monitoring.alerts import decide_alerts
from mlops_project.monitoring.report.page import build_report, write_drift_report
from mlops_project.monitoring.report.plots import Annotation, Line, Point, draw_bins, draw_lines
from mlops_project.monitoring.report.summary import judge
from mlops_project.monitoring.results import Bins, Drift, PastNote
from mlops_project.sections import MonitoringConfig
from mlops_project.utils import load_config
from tests.evaluations import NOON, make_alert, make_drift, make_evaluation, make_feature, make_performance
from tests.pages import Page

HOSTILE = "<script>alert('x')</script> \"&amp; {{ 7 * 7 }}"
CONFIG = load_config()


def find_titles(page: Page) -> list[str]:
    """Return the texts of the headings."""
    return [text for text in page.texts if text in HEADINGS]


HEADINGS = ("Alerts", "What to do next", "Over time", "What changed first", "Changed features", "Predictions", "Performance")


def make_history(names, hours=12, model="churn"):
    """Return evaluations in which one feature after the other starts to drift."""
    evaluations = []
    for hour in range(hours):
        shifts = {name: max(0.0, 0.25 * (hour - 3 - place)) for place, name in enumerate(names)}
        drift = make_drift([make_feature(name, shift=shift, weight=1 / len(names)) for name, shift in shifts.items()])
        previous = [item for item in evaluations if item.version == "3"]
        alerts = decide_alerts(drift, make_performance(), previous, CONFIG.monitoring, make_evaluation(hour).start)
        version = "2" if hour < 2 else "3"
        evaluations.append(make_evaluation(hour, model=model, version=version, drift=drift, alerts=alerts))
    return evaluations


def test_quiet_window_says_so_first_and_shows_no_alert():
    page = Page(build_report([make_evaluation()], CONFIG))
    assert page.texts[page.texts.index("churn", 1) + 2] == "All is quiet"
    assert find_titles(page) == ["Over time", "Performance"]
    assert "No feature has more missing, unseen or out-of-range values than it should." in page.texts


def test_alert_is_the_verdict_with_reason_and_next_steps():
    page = Page(build_report(make_history(["age", "income", "city"]), CONFIG))
    assert any(text.startswith("Alert: the inputs changed, for 8 windows, since 2026-11-24 15:00 UTC") for text in page.texts)
    assert find_titles(page) == [*HEADINGS[:5], "Performance"]
    assert 'mlops retrain --reason "drift"' in page.texts


@pytest.mark.parametrize(("judged_by", "offered"), [("windows", True), ("rows", False)])
def test_change_that_lasts_is_one_decision_where_past_windows_decide(judged_by, offered):
    history = make_history(["age", "income", "city"])
    past = PastNote(judged_by=judged_by, windows=40, needed=14, dependent=True, beyond_chance=True)
    newest = replace(history[-1], drift=replace(history[-1].drift, past=past))
    texts = Page(build_report([*history[:-1], newest], CONFIG)).texts
    assert ('mlops monitor --accept "why this is right"' in texts) is offered
    assert (
        any(text.startswith("It is one change, and lasts since 2026-11-24 15:00 UTC (8 windows).") for text in texts) is offered
    )


def test_commands_of_the_next_steps_name_the_configuration_that_the_model_is_from(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "churn.yaml").touch()
    page = Page(build_report(make_history(["age", "income", "city"]), load_config("churn.yaml")))
    assert {'mlops retrain churn.yaml --reason "drift"', "mlops history churn.yaml"} <= set(page.texts)


def test_what_changed_first_is_ranked_by_the_first_window_of_this_version():
    text = build_report(make_history(["late", "later", "latest"], 9), CONFIG)
    table = text[text.index("What changed first") : text.index("Changed features")]
    assert re.findall(r'class="text">(\w+)</td><td [^>]*class="time">(.{16})</td>', table) == [
        ("late", "2026-11-24 15:00"),
        ("later", "2026-11-24 16:00"),
        ("latest", "2026-11-24 17:00"),
    ]
    assert "5 of 7" in table


def test_promotion_is_marked_and_the_metric_has_reference_and_tolerance():
    text = build_report(make_history(["age"]), CONFIG)
    assert text.count('class="mark"') == 4  # in both plots over time, for desktops and for phones
    assert ">version 3</text>" in text
    assert 'class="level-reference"' in text
    assert "what is tolerated (0.9400)" in text


def test_page_needs_nothing_else_and_escapes_what_the_data_says():
    features = [make_feature(HOSTILE, shift=1, quality=(HOSTILE,)), make_feature(HOSTILE + "2", shift=1, kind="category")]
    drift = make_drift(features, scores=[make_feature(HOSTILE, shift=1)], domain=True, reason=HOSTILE)
    alerts = decide_alerts(drift, make_performance(), [], MonitoringConfig(consecutive=1), make_evaluation().start)
    contract = Contract((Feature(HOSTILE, "float", unit=HOSTILE),), "y", "regression")
    text = build_report([make_evaluation(model=HOSTILE, drift=drift, alerts=alerts)], CONFIG, contract)
    page = Page(text)
    assert "script" not in page.tags
    assert f"{HOSTILE} [{HOSTILE}]" in page.texts
    links = [value for tag, name, value in page.attributes if name in ("src", "href", "xlink:href")]
    assert links == []
    assert "url(" not in text


@pytest.mark.parametrize("hours", [1, 60])
def test_report_of_300_features_stays_small_and_shows_the_most_important_changes(hours):
    names = [f"feature {number}" for number in range(300)]
    features = [make_feature(name, shift=0.5, weight=1 / 300) for name in names]
    quiet = make_drift([make_feature(name, weight=1 / 300) for name in names])
    evaluations = [make_evaluation(hour, drift=quiet) for hour in range(hours)]
    text = build_report([*evaluations, make_evaluation(hours, drift=make_drift(features))], CONFIG)
    assert len(text) < 1_000_000
    page = Page(text)
    assert page.tags.count("figure") == 18
    assert "300 features" in page.texts
    assert "The 16 most important of 300" in text


def test_report_without_reference_profile_says_why_there_is_no_drift():
    quiet = {"share": 0.0, "drifted": False, "prediction_drifted": False}
    empty = Drift(rows=5, reference_rows=0, features=(), reason="no reference profile", **quiet)
    page = Page(build_report([make_evaluation(drift=empty)], CONFIG))
    assert "no reference profile" in page.texts
    assert "All features" not in page.texts


def test_missing_labels_are_said_with_what_to_do():
    page = Page(build_report([make_evaluation(performance=make_performance(None))], CONFIG))
    assert any("POST /feedback" in text for text in page.texts)
    assert "probabilities are calibrated as on the held-out rows" in page.texts


def test_comparison_of_two_tables_has_the_same_look_and_only_drift(tmp_path):
    drift = make_drift([make_feature("age", shift=1), make_feature("city", kind="category")], reason="age changed")
    write_drift_report(tmp_path / "drift.html", drift, "b.csv against a.csv")
    page = Page((tmp_path / "drift.html").read_text())
    assert page.texts[1:5] == [
        "b.csv against a.csv",
        "800 rows against 1,000 reference rows",
        "The tables differ",
        "age changed",
    ]
    assert find_titles(page) == ["Changed features"]
    write_drift_report(tmp_path / "drift.html", make_drift(), "same")
    assert "No change that matters" in Page((tmp_path / "drift.html").read_text()).texts


@pytest.mark.parametrize(
    ("alerts", "level"),
    [([], "quiet"), ([make_alert(windows=1)], "changed"), ([make_alert(windows=1), make_alert("data-quality")], "alert")],
)
def test_verdict_follows_what_fires(alerts, level):
    assert judge(make_evaluation(alerts=alerts)).level == level


def test_bars_show_shares_and_missing_values_stand_apart():
    bins = Bins(
        labels=("< 1", "1 – 2", "> 2", "missing"), edges=(1.0, 2.0), reference=(50, 30, 20, 0), current=(10, 10, 60, 20)
    )
    svg = draw_bins(bins, "age")
    Page(svg)
    heights = [float(height) for height in re.findall(r'class="bar-\w+"[^>]* height="([\d.]+)"', svg)]
    assert [round(height / 2.5) for height in heights] == [50, 10, 30, 10, 20, 60, 0, 20]  # 150 pixels are 60 %
    assert ">missing</text>" in svg


@pytest.mark.parametrize("counts", [(0, 0, 0), (1, 0, 0)])
@pytest.mark.parametrize("edges", [(), (1.0,)])
def test_empty_bins_are_drawn(counts, edges):
    Page(draw_bins(Bins(labels=("a", "b", "missing"), edges=edges, reference=counts, current=(0, 0, 0)), "x"))


def test_rare_categories_are_joined():
    labels = tuple(f"category {number}" for number in range(40))
    svg = draw_bins(Bins(labels=labels, reference=tuple(range(40)), current=tuple(range(40))), "city")
    assert ">32 others</text>" in svg


def test_line_is_broken_where_nothing_was_measured():
    points = [Point(NOON + timedelta(hours=hour), None if hour == 2 else 0.9, 0.8, 1.0) for hour in range(5)]
    svg = draw_lines([Line("live", points)], "AUC", marks=[Annotation(NOON, "version 2")])
    Page(svg)
    assert svg.count('class="line-live"') == svg.count('class="band-live"') == 2


def test_no_measurement_is_no_plot():
    assert draw_lines([Line("live", [Point(NOON, None)])], "AUC") == ""


@pytest.mark.parametrize("value", [0.0, 1e-9, 123456789.0, -5.0])
@pytest.mark.parametrize("minutes", [1, 90, 60 * 24 * 3, 60 * 24 * 900])
def test_any_range_of_values_and_times_is_drawn(value, minutes):
    points = [Point(NOON, value), Point(NOON + timedelta(minutes=minutes), value)]
    svg = draw_lines([Line("live", points)], "RMSE")
    Page(svg)
    numbers = [float(number) for number in re.findall(r' (?:cx|cy|x|y)="([-\d.]+)"', svg)]
    assert all(-20 <= number <= 960 for number in numbers)
    assert 1 <= len(re.findall(r'class="tick"', svg)) <= 8
