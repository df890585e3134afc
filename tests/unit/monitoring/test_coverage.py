"""Coverage by labels: healthy windows are quiet, lost ones are found, and an alert says so."""

from collections.abc import Iterator

import msgspec
import numpy as np
import pandas as pd
import pytest

from mlops_project.config import Config
from mlops_project.contract import Contract, Feature
from mlops_project.modeling.conformal import calibrate
from mlops_project.modeling.held_out import HeldOut
from mlops_project.modeling.metrics import Scored
from mlops_project.monitoring.alerts import decide_alerts
from mlops_project.monitoring.coverage import (
    ABSTAINED,
    COVERAGE,
    WIDTH,
    Mix,
    SurenessCounter,
    explain_coverage,
    find_usual,
    judge_coverage,
    judge_weighted,
)
from mlops_project.monitoring.past import Judge, Past
from mlops_project.monitoring.performance import compute_performance
from mlops_project.monitoring.results import Bins, Drift, Evaluation, FeatureDrift, MetricValue, Performance
from mlops_project.reference.performance import build_reference_performance
from mlops_project.runtime import Predictions
from mlops_project.sections import GatesConfig, MonitoringConfig
from mlops_project.uncertainty import Uncertainty
from tests.unit.monitoring.test_performance import BINARY, NUMBER, make_rows, make_values


def promise(scored: Scored, contract: Contract, coverage: float = 0.9) -> Uncertainty:
    n_rows = len(scored.truth)
    encoded = np.zeros((n_rows, 1)), np.empty((n_rows, 0), object)
    held_out = HeldOut(pd.DataFrame(index=range(n_rows)), encoded, scored.truth, scored.predictions)
    return calibrate(held_out, contract, coverage, seed=0)


@pytest.mark.parametrize("held_out", [60, 1000])
@pytest.mark.parametrize("contract", [BINARY, NUMBER], ids=["classes", "numbers"])
def test_one_healthy_window_of_a_hundred_at_most_is_taken_for_lost(rng, contract: Contract, held_out: int) -> None:
    make = make_rows if contract is BINARY else make_values

    def draw() -> Iterator[bool]:
        for seed in range(80):
            promised = promise(make(rng, held_out), contract)
            yield from (judge_coverage(make(rng, 200), promised, seed).lost for _ in range(5))

    assert np.mean([*draw()]) <= 0.015  # 1 of 100 on the mean, and chance of 400 draws


def test_noise_that_grew_and_labels_that_turned_are_found(rng) -> None:
    found = judge_coverage(make_values(rng, 300, noise=2.0), promise(make_values(rng, 500), NUMBER), seed=0)
    assert (found.name, found.source, found.reference, found.rows) == (COVERAGE, "live", 0.9, 300)
    assert found.low < found.value < found.high < 0.9
    assert found.lost
    turned = judge_coverage(make_rows(rng, 500, drifted=0.15), promise(make_rows(rng, 500), BINARY), seed=0)
    assert turned.lost


def test_class_that_is_in_every_set_cannot_be_lost(rng) -> None:
    held_out = make_rows(rng, 100)
    known = promise(held_out, BINARY)
    few = msgspec.structs.replace(known, sets=msgspec.structs.replace(known.sets, least=(0.0, 0.0), rows=(3, 5)))
    found = judge_coverage(make_rows(rng, 200), few, seed=0)
    assert (found.value, found.lost) == (1.0, False)


def test_rows_that_are_marked_are_counted_and_many_more_than_usual_raise_an_alert(rng) -> None:
    contract = Contract((Feature("x", "float", quantiles=tuple(np.linspace(0.0, 1.0, 11))),), "y", "regression")
    held_out, usual = make_values(rng, 500), rng.random(500)
    frame, encoded = pd.DataFrame(index=range(500)), (usual[:, None], np.empty((500, 0), object))
    promised = calibrate(HeldOut(frame, encoded, held_out.truth, held_out.predictions), contract, 0.9, seed=0)

    def count(values) -> Performance:
        counter, rows = SurenessCounter(promised, contract), make_values(rng, len(values))
        for part in (slice(0, 50), slice(50, None)):
            counter.add({"x": values[part]}, rows.predictions.pick(part))
        return Performance(metric="mae", counted=counter.judge(0.05))

    quiet, loud = count(rng.random(200)), count(np.where(rng.random(200) < 0.3, 40.0, rng.random(200)))
    assert [value.name for value in quiet.counted] == [ABSTAINED, WIDTH]
    assert quiet.counted[0].value < 0.05
    assert quiet.counted[1].value == pytest.approx(promised.checked.size, rel=0.3)
    assert 0.2 < loud.counted[0].value < 0.4
    assert (quiet.counted[0].lost, loud.counted[0].lost) == (False, True)
    drift = Drift(rows=200, reference_rows=500, features=(), share=0.0, drifted=False, prediction_drifted=False, reason="")
    (alert,) = decide_alerts(drift, loud, (), MonitoringConfig(), "2026-01-01T00:00:00")
    assert alert.name == "abstain-rise"
    assert "of 200 rows are marked as not to be trusted" in alert.reason
    assert decide_alerts(drift, quiet, (), MonitoringConfig(), "2026-01-01T00:00:00") == ()
    assert SurenessCounter(promised, contract).judge(0.05) == ()


def test_lost_coverage_raises_an_alert_and_counts_windows_with_new_labels(rng) -> None:
    held_out, rows = make_values(rng, 500), make_values(rng, 300, noise=2.0)
    reference = build_reference_performance(
        {"x": np.zeros(500)}, held_out.predictions, held_out.truth, NUMBER, Config(), seed=0
    )

    def judge(promised: Uncertainty | None) -> Performance:
        found = compute_performance(
            reference, NUMBER, MonitoringConfig(), GatesConfig(), labelled=rows, promised=promised, rounds=100
        )
        return msgspec.json.decode(msgspec.json.encode(found), type=Performance)

    quiet = Drift(
        rows=300, reference_rows=500, features=(), scores=(), share=0.0, drifted=False, prediction_drifted=False, reason=""
    )
    performance = judge(promise(held_out, NUMBER))
    alerts = {alert.name: alert for alert in decide_alerts(quiet, performance, (), MonitoringConfig(), "2026-01-01T00:00:00")}
    assert "of 300 labelled rows, 90% are promised" in alerts["coverage-loss"].reason
    assert COVERAGE not in {value.name for value in judge(None).live}


def mix_of(rng, n_rows: int, middle: float, noise: float = 0.0) -> tuple[Scored, np.ndarray]:
    """Return numbers whose errors grow with a column, and the column."""
    x = rng.normal(middle, 1, n_rows)
    truth = rng.normal(0, 1, n_rows) * np.exp(0.5 * x) * (1 + noise)
    return Scored(Predictions(values=np.zeros(n_rows)), truth, 0), x[:, None]


def test_weights_tell_whether_the_mix_explains_lost_coverage(rng) -> None:
    held_out, column = mix_of(rng, 600, 0.0)
    promised, texts = promise(held_out, NUMBER), np.empty((600, 0), object)

    def judge(noise: float) -> tuple[MetricValue, MetricValue | None]:
        rows, moved = mix_of(rng, 400, 1.0, noise)
        mix = Mix((column, texts), held_out.predictions, held_out.truth, (moved, texts[:400]))
        return judge_coverage(rows, promised, seed=0), judge_weighted(rows, promised, mix, NUMBER, seed=0)

    plain, weighted = judge(0.0)
    assert (plain.lost, weighted.lost, weighted.name) == (True, False, "coverage_weighted")
    assert plain.value + 0.05 < weighted.value
    assert [reason.kind for reason in explain_coverage(plain, weighted)] == ["coverage-lost", "coverage-mix"]
    plain, weighted = judge(1.5)
    assert (plain.lost, weighted.lost) == (True, True)
    assert [reason.kind for reason in explain_coverage(plain, weighted)] == ["coverage-lost", "coverage-concept"]
    far = Mix((column, texts), held_out.predictions, held_out.truth, (column[:400] + 9, texts[:400]))
    assert judge_weighted(mix_of(rng, 400, 9.0)[0], promised, far, NUMBER, seed=0) is None


def test_marked_rows_that_come_and_go_with_the_season_are_no_rise(rng) -> None:
    def past(shares: list[float]) -> list[Evaluation]:
        return [window(place, share) for place, share in enumerate(shares)]

    steady, seasonal = (Judge(Past({}, {}, {}, windows=40, odd=odd), dependent=False) for odd in (0, 30))
    shares = [0.02, 0.1, 0.2, 0.1] * 5
    assert find_usual(steady, past(shares), frozenset(), 200) == 0.0
    assert find_usual(seasonal, past(shares[:5]), frozenset(), 200) == 1.0, "too few windows to judge by"
    assert 0.3 < find_usual(seasonal, past(shares), frozenset(), 200) < 0.45


def window(place: int, share: float) -> Evaluation:
    marked = MetricValue(name=ABSTAINED, source="counted", value=share, low=0.0, high=1.0, reference=0.02, rows=200)
    figures = {"psi": 0.0, "jensen_shannon": 0.0, "statistic": 0.0, "p_value": 1.0, "p_adjusted": 1.0, "threshold": 0.1}
    bins = Bins(labels=("0",), reference=(1,), current=(1,))
    column = FeatureDrift(name="x", kind="numeric", rows=200, test="ks", drifted=False, bins=bins, **figures)
    drift = Drift(
        rows=200, reference_rows=500, features=(column,), share=0.0, drifted=False, prediction_drifted=False, reason=""
    )
    return Evaluation(
        model="m",
        version="1",
        start="",
        end=str(place),
        evaluated_at="",
        rows=200,
        drift=drift,
        performance=Performance(metric="mae", counted=(marked,)),
    )
