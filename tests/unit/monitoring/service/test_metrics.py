import math

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlops_project.monitoring.service import metrics as exporter
from mlops_project.monitoring.service.metrics import METRICS, MonitorMetrics
from mlops_project.sections import MonitoringConfig
from tests.evaluations import NOON, make_alert, make_drift, make_evaluation, make_feature, make_performance


def read(metrics: MonitorMetrics) -> dict[tuple[object, ...], float]:
    """Return (sample's name, … label values in the order of their names) → value."""
    families = text_string_to_metric_families(metrics.render().decode())
    samples = [sample for family in families for sample in family.samples]
    found = {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


@pytest.fixture
def metrics() -> MonitorMetrics:
    return MonitorMetrics(MonitoringConfig(every_minutes=5, min_rows=50, stale_label_hours=2))


def test_every_gauge_of_an_evaluation_is_there(metrics):
    features = [make_feature("age", shift=1, weight=0.3), make_feature("city", kind="category")]
    drift = make_drift(features, scores=[make_feature("yes")], domain=True)
    metrics.show(make_evaluation(drift=drift, alerts=[make_alert("data-drift"), make_alert("data-quality", windows=1)]))
    found = read(metrics)
    assert found["mlops_monitor_rows", "churn", "3"] == 800
    assert found["mlops_monitor_last_run_timestamp_seconds", "churn"] == NOON.timestamp() + 300
    assert found["mlops_monitor_feature_drifted", "age", "churn"] == 1
    assert found["mlops_monitor_feature_drifted", "city", "churn"] == 0
    assert found["mlops_monitor_feature_drift", "age", "churn"] == features[0].jensen_shannon
    assert found["mlops_monitor_drift_share", "churn"] == 0.3
    assert found["mlops_monitor_domain_auc", "churn"] == 0.71
    assert found["mlops_monitor_prediction_drift", "yes", "churn"] == drift.scores[0].jensen_shannon
    assert found["mlops_monitor_metric", "roc_auc", "churn", "live"] == 0.95
    assert found["mlops_monitor_metric", "roc_auc", "churn", "reference"] == 0.96
    assert found["mlops_monitor_metric_low", "roc_auc", "churn", "estimated"] == pytest.approx(0.93)
    assert ("mlops_monitor_metric_low", "roc_auc", "churn", "reference") not in found
    assert found["mlops_monitor_label_delay_seconds", "churn"] == 5400
    assert ("mlops_monitor_feature_out_of_range_ratio", "age", "churn") in found
    assert ("mlops_monitor_feature_unseen_ratio", "age", "churn") not in found
    alerts = {labels[0]: value for (name, *labels), value in found.items() if name == "mlops_monitor_alert"}
    assert alerts == {
        "data-drift": 1,
        "prediction-drift": 0,
        "performance-loss": 0,
        "coverage-loss": 0,
        "abstain-rise": 0,
        "unequal-groups": 0,
        "estimated-loss": 0,
        "data-quality": 0,
        "rows-missing": 0,
    }


def test_series_of_what_is_no_more_vanish_and_other_models_stay(metrics):
    metrics.show(make_evaluation(drift=make_drift([make_feature("age"), make_feature("bmi")])))
    metrics.show(make_evaluation(model="other"))
    metrics.show(make_evaluation(1, version="4", drift=make_drift([make_feature("age")]), performance=make_performance(None)))
    found = read(metrics)
    assert ("mlops_monitor_feature_drift", "age", "churn") in found
    assert ("mlops_monitor_feature_drift", "bmi", "churn") not in found
    assert ("mlops_monitor_rows", "churn", "3") not in found
    assert ("mlops_monitor_metric", "roc_auc", "churn", "live") not in found
    assert ("mlops_monitor_label_coverage_ratio", "churn") not in found
    assert ("mlops_monitor_feature_drift", "age", "other") in found


def test_counters_begin_at_0_and_grow(metrics):
    metrics.begin("churn")
    assert read(metrics)["mlops_monitor_runs_total", "churn", "error"] == 0
    assert read(metrics)["mlops_monitor_undecodable_records_total",] == 0
    metrics.add(exporter.RUNS, 1.0, "churn", "ok")
    metrics.add(exporter.RUNS, 1.0, "churn", "ok")
    assert read(metrics)["mlops_monitor_runs_total", "churn", "ok"] == 2


def test_retraining_is_shown_with_every_result(metrics):
    counts = {"promoted": 2, "rolled-back": 1}
    metrics.show_retraining("churn", running=True, ended_at=NOON.isoformat(), counts=counts)
    found = read(metrics)
    assert found["mlops_retraining_running", "churn"] == 1
    assert found["mlops_retrainings_total", "churn", "promoted"] == 2
    assert found["mlops_retrainings_total", "churn", "failed"] == 0
    assert found["mlops_rollbacks_total", "churn"] == 1
    assert found["mlops_retraining_last_timestamp_seconds", "churn"] == NOON.timestamp()


def test_interval_that_is_not_known_has_no_series(metrics):
    performance = make_performance()
    live = performance.live[0].__class__(
        name="roc_auc", source="live", value=0.9, low=math.nan, high=math.nan, reference=0.96, rows=500
    )
    metrics.show(make_evaluation(performance=performance.__class__(metric="roc_auc", live=(live,))))
    assert ("mlops_monitor_metric_low", "roc_auc", "churn", "live") not in read(metrics)


def test_names_with_quotes_and_line_ends_are_escaped(metrics):
    name = 'a "b"\n\\c'
    metrics.show(make_evaluation(drift=make_drift([make_feature(name)])))
    assert ("mlops_monitor_feature_drift", name, "churn") in read(metrics)


def test_declarations_are_unique_documented_and_end_as_prometheus_wants():
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.help.endswith(".")


def test_settings_that_rules_compare_with_are_there(metrics):
    found = read(metrics)
    assert found["mlops_monitor_window_seconds",] == 300
    assert found["mlops_monitor_min_rows",] == 50
    assert found["mlops_monitor_stale_label_seconds",] == 7200
