"""Windows in the order of time: seasonal series, a real table, and rows that are independent draws."""

import msgspec
import numpy as np
import pandas as pd
import pytest

from mlops_project.contract import Contract, Feature
from mlops_project.errors import ConfigError
from mlops_project.modeling.held_out import HeldOut, as_columns
from mlops_project.monitoring.accepted import FILE, accept_windows, read_accepted
from mlops_project.monitoring.alerts import decide_alerts
from mlops_project.monitoring.drift import compute_drift
from mlops_project.monitoring.order import OrderTest, compare_neighbours, compare_slices
from mlops_project.monitoring.past import KEPT, NEEDED, Judge, choose_quiet, collect_past
from mlops_project.monitoring.results import Evaluation, Performance
from mlops_project.monitoring.store import EvaluationStore
from mlops_project.reference.profile import Profiler, build_reference, decode_profile
from mlops_project.reference.training_windows import add_blocks, cut_windows, take_training_windows
from mlops_project.runtime import Predictions
from mlops_project.sections import MonitoringConfig
from mlops_project.tables.splits import Split

SETTINGS = MonitoringConfig(every_minutes=240, min_rows=200)
START = np.datetime64("2026-01-01", "us")
HOUR = np.timedelta64(3600, "s")
DAYS, WINDOW = 40, 240  # rows in four hours


def make_season(seed: int) -> tuple[pd.DataFrame, "pd.Series"]:
    """A row a minute: a daily cycle with the noise of an AR(1), a slow wave, a category of the hour, and plain noise."""
    rng, rows = np.random.default_rng(seed), DAYS * 1440
    hours = np.arange(rows) / 60
    noise = np.repeat(np.convolve(rng.normal(size=DAYS * 24), 0.8 ** np.arange(20))[: DAYS * 24], 60)
    cycle = np.sin(hours * 2 * np.pi / 24)
    frame = pd.DataFrame(
        {
            "load": 2 * cycle + 0.3 * noise + rng.normal(0, 0.5, rows),
            "wave": np.sin(hours * 2 * np.pi / 170) + rng.normal(size=rows),
            "kind": np.where(rng.random(rows) < 0.3 + 0.25 * cycle, "day", "night").astype(object),
            "plain": rng.normal(size=rows),
        }
    )
    return frame, pd.Series(START + (hours * 3600e6).astype("timedelta64[us]"))


def describe(frame: pd.DataFrame) -> Contract:
    features = [
        Feature(name, "category", categories=tuple(sorted(set(frame[name]))))
        if frame[name].dtype.kind not in "fi"
        else Feature(name, "float", minimum=float(frame[name].min()), maximum=float(frame[name].max()))
        for name in frame
    ]
    return Contract(tuple(features), "y", "regression", (), ())


class Replay:
    """The first rows of a table are its training table; the others are a log, cut into windows."""

    def __init__(self, frame: pd.DataFrame, times: "pd.Series", settings: MonitoringConfig, *, by_time: bool) -> None:
        self.frame, self.times, self.settings = frame, times, settings
        self.first = len(frame) // 2
        rows = np.arange(self.first)
        test = rows[-self.first // 4 :] if by_time else np.random.default_rng(0).choice(rows, self.first // 4, replace=False)
        train = np.setdiff1d(rows, test)
        held_out = frame.iloc[test]
        self.profile = build_reference(as_columns(held_out), None, describe(frame.iloc[train]), seed=0)
        if by_time:
            target = pd.Series(0.0, index=frame.index)
            split = Split(frame.iloc[train], target.iloc[train], held_out, target.iloc[test])
            answers = HeldOut(
                held_out, (np.empty(0), np.empty(0, object)), np.empty(0), Predictions(values=np.zeros(len(test)))
            )
            windows = take_training_windows(split, times, settings)
            assert windows is not None
            self.profile = decode_profile(add_blocks(self.profile, windows, answers).encode())
        self.history: list[Evaluation] = []
        self.spans = [
            (start + self.first, end + self.first) for start, end in cut_windows(times.to_numpy()[self.first :], settings)
        ]

    def run(self, count: int, change=lambda rows: rows) -> list[Evaluation]:
        """Evaluate the next windows."""
        found = []
        for start, end in self.spans[len(self.history) : len(self.history) + count]:
            rows = change(self.frame.iloc[start:end])
            found.append(self.evaluate(rows, self.times.to_numpy()[start:end]))
        return found

    def evaluate(self, rows: pd.DataFrame, times: np.ndarray) -> Evaluation:
        counted, order = Profiler(self.profile), OrderTest(self.profile)
        counted.add(as_columns(rows))
        order.add(as_columns(rows), times)
        judge = Judge(collect_past(self.profile, self.history), order.is_dependent)
        drift = compute_drift(self.profile, counted, self.settings, judge=judge, seed=0)
        end, quiet = str(times[-1]), Performance(metric="rmse")
        about = {"model": "m", "version": "1", "start": str(times[0]), "end": end, "evaluated_at": end, "rows": len(rows)}
        alerts = decide_alerts(drift, quiet, self.history[-1:], self.settings, end)
        self.history.append(Evaluation(**about, drift=drift, performance=quiet, alerts=alerts))
        return self.history[-1]


@pytest.fixture(scope="module", params=[False, True], ids=["random", "by-time"])
def season(request) -> Replay:
    replay = Replay(*make_season(1), SETTINGS, by_time=request.param)
    replay.run(100)
    return replay


def fork(replay: Replay) -> Replay:
    copy = object.__new__(Replay)
    copy.__dict__ = {**replay.__dict__, "history": [*replay.history]}
    return copy


def test_seasonal_windows_raise_no_alert_though_every_one_is_beyond_chance(season):
    pasts = [one.drift.past for one in season.history]
    assert sum(past.beyond_chance for past in pasts) >= 95
    assert sum(bool(one.firing) for one in season.history) <= 1
    is_by_time = season.profile.blocks is not None
    assert [past.judged_by for past in pasts[:NEEDED]] == (["windows"] * NEEDED if is_by_time else ["nothing"] * NEEDED)
    assert {past.judged_by for past in pasts[NEEDED:]} == {"windows"}


def test_what_is_too_short_to_tell_is_said_with_the_number_of_windows():
    replay = Replay(*make_season(2), SETTINGS, by_time=False)
    reason = replay.run(3)[-1].drift.reason
    assert f"too short to tell, 2 of {NEEDED} past windows" in reason


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("load", lambda rows: rows.assign(load=rows["load"] * 1.8 + 32)),
        ("kind", lambda rows: rows.assign(kind="new")),
        ("plain", lambda rows: rows.assign(plain=rows["plain"] + 1)),
        ("wave", lambda rows: rows.assign(wave=rows["wave"].mask(np.arange(len(rows)) % 10 == 0))),
        ("plain", lambda rows: rows.assign(plain=0.0)),
    ],
    ids=["unit", "new-category", "shift", "null-burst", "constant"],
)
def test_faults_laid_over_a_season_fire_by_the_second_window(season, name, change):
    last = fork(season).run(2, change)[-1]
    assert last.firing
    found = next(one for one in last.drift.features if one.name == name)
    assert found.drifted or found.quality


def test_columns_that_no_longer_go_together_are_found_though_both_move_with_the_hour():
    frame, times = make_season(6)
    frame["echo"] = frame["load"] + np.random.default_rng(6).normal(0, 0.2, len(frame))
    replay = Replay(frame[["load", "echo"]], times, SETTINGS, by_time=True)
    replay.run(40)
    assert not any(one.firing for one in replay.history)
    rng = np.random.default_rng(0)
    found = replay.run(2, lambda rows: rows.assign(echo=rng.permutation(rows["echo"].to_numpy())))
    assert [alert.name for alert in found[-1].firing] == ["data-drift"]
    assert [one.aspect for one in found[-1].drift.aspects if one.drifted] == ["pair"]


def test_more_of_what_an_earlier_window_had_is_no_news_and_is_without_that_window():
    frame, times = make_season(7)
    rng = np.random.default_rng(7)
    frame["rain"] = np.where(rng.random(len(frame)) < 0.02, rng.uniform(2, 5, len(frame)), rng.exponential(0.1, len(frame)))
    replay = Replay(frame[["load", "rain"]], times, SETTINGS, by_time=False)

    def pour(share):
        return lambda rows: rows.assign(rain=rows["rain"].where(np.arange(len(rows)) % 10 >= 10 * share, 3.0))

    replay.run(30)
    dry = fork(replay)
    replay.run(1, pour(0.3))  # alone between dry windows: a day off, part of the past from then on
    replay.run(5)
    dry.run(6)
    found = [next(one for one in log.run(1, pour(0.6))[-1].drift.features if one.name == "rain") for log in (replay, dry)]
    assert all(one.jensen_shannon > one.threshold for one in found)
    assert [one.drifted for one in found] == [False, True]


def test_a_fault_in_the_warm_up_is_found_by_the_data_quality():
    replay = Replay(*make_season(3), SETTINGS, by_time=False)
    replay.run(2)
    found = replay.run(2, lambda rows: rows.assign(load=rows["load"] * 1000))
    assert [alert.name for alert in found[-1].firing] == ["data-quality"]
    windows = {name: column.windows for name, column in collect_past(replay.profile, replay.history).features.items()}
    assert windows == {"load": 2, "wave": 4, "kind": 4, "plain": 4}  # a faulty column has no past; the others go on learning


def test_a_standing_fault_does_not_keep_the_others_from_being_judged_and_its_column_is_named():
    replay = Replay(*make_season(3), SETTINGS, by_time=False)
    found = replay.run(NEEDED + 2, lambda rows: rows.assign(load=rows["load"] * 1000))[-1]
    assert found.drift.past.judged_by == "windows"
    assert f"not judged for drift, because they were faulty (0 of {NEEDED} windows without a fault): load" in found.drift.reason
    fault = replay.run(2, lambda rows: rows.assign(load=rows["load"] * 1000, plain=rows["plain"] + 1))[-1]
    assert [alert.name for alert in fault.firing] == ["data-drift", "data-quality"]


def test_a_season_that_climbs_step_by_step_out_of_the_training_range_is_no_fault_and_a_leap_is():
    frame, times = make_season(4)
    frame["climb"] = np.linspace(0, 1, len(frame)) + np.random.default_rng(4).normal(0, 0.1, len(frame))
    replay = Replay(frame, times, SETTINGS, by_time=False)
    found = replay.run(50)
    climb = [next(one for one in window.drift.features if one.name == "climb") for window in found]
    assert climb[-1].out_of_range_ratio > 0.05
    assert not any("outside the training range" in fault for one in climb for fault in one.quality)
    leap = replay.run(1, lambda rows: rows.assign(climb=rows["climb"] + 1))[-1]
    assert any(fault.kind == "out-of-range" for one in leap.drift.features for fault in one.faults)


def test_a_fault_of_single_windows_becomes_usual_after_two_and_the_worst_of_them_does_not(season):
    def lose(share):
        return lambda rows: rows.assign(plain=rows["plain"].mask(np.arange(len(rows)) % 10 < share / 10))

    replay = fork(season)
    shares = []
    for share in (30, 60):
        replay.run(1)
        replay.run(1, lose(share))
        replay.run(1)
        shares.append(collect_past(replay.profile, replay.history).features["plain"].missing)
    assert shares[0] == 0.0
    assert shares[1] == pytest.approx(0.3, abs=0.02)


def test_rows_that_are_independent_draws_are_judged_as_before():
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(rng.normal(size=(30_000, 3)), columns=["a", "b", "c"])
    times = pd.Series(START + np.arange(len(frame)) * np.timedelta64(60, "s"))
    replay = Replay(frame, times, SETTINGS, by_time=False)
    replay.run(40)
    assert {one.drift.past.judged_by for one in replay.history} == {"rows"}
    assert not any(one.firing for one in replay.history)
    assert replay.run(2, lambda rows: rows.assign(a=rows["a"] + 0.5))[-1].firing[0].name == "data-drift"


def test_a_first_window_with_a_shift_alarms_if_its_rows_do_not_depend_on_time():
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"a": rng.normal(size=9_000)})
    replay = Replay(frame, pd.Series(START + np.arange(9_000) * np.timedelta64(60, "s")), SETTINGS, by_time=False)
    assert replay.run(2, lambda rows: rows + 1)[-1].firing


def test_a_past_keeps_isolated_windows_and_what_a_person_accepted_and_never_faulty_ones(season):
    base = season.history[50:55]
    drifted = msgspec.structs.replace(base[2], drift=msgspec.structs.replace(base[2].drift, drifted=True))
    first, *others = base[2].drift.features
    faulty_feature = msgspec.structs.replace(first, quality=("always 0",))
    faulty = msgspec.structs.replace(base[2], drift=msgspec.structs.replace(base[2].drift, features=(faulty_feature, *others)))
    assert len(choose_quiet([*base[:2], drifted, *base[3:]])) == 5
    assert len(choose_quiet([*base[:2], drifted])) == 2
    assert len(choose_quiet([*base[:2], drifted], frozenset({drifted.end}))) == 3
    past = collect_past(season.profile, [*base[:2], faulty, *base[3:]], frozenset({faulty.end}))
    before = len(season.profile.blocks.rows) if season.profile.blocks else 0
    assert past.features[first.name].windows == min(before + 4, KEPT)
    assert {past.features[one.name].windows for one in others} == {min(before + 5, KEPT)}
    assert {score.windows for score in past.scores.values()} <= {before + 4}


def test_a_lasting_change_is_quiet_once_a_person_accepted_it(season, tmp_path):
    replay, store = fork(season), EvaluationStore(str(tmp_path))
    for one in replay.run(2, lambda rows: rows.assign(plain=rows["plain"] * 0.5 + 0.8)):
        store.append(one)
    assert replay.history[-1].firing
    accepted = accept_windows(store, "m", "new sensor")
    assert [one.end for one in accepted] == [one.end for one in replay.history[-2:]]
    assert read_accepted(store, "m") == {one.end for one in accepted}
    past = collect_past(replay.profile, replay.history, read_accepted(store, "m"))
    assert past.features["plain"].reference[-1] == replay.history[-1].drift.features[0].jensen_shannon
    with pytest.raises(ConfigError, match="did not drift"):
        accept_windows(EvaluationStore(str(tmp_path / "empty")), "m", "why")


def test_damaged_acceptances_stop_no_evaluation_and_are_not_written_over(tmp_path, season, caplog):
    replay, store = fork(season), EvaluationStore(str(tmp_path))
    for one in replay.run(2, lambda rows: rows.assign(plain=rows["plain"] * 0.5 + 0.8)):
        store.append(one)
    store.write("m", FILE, b"[{")
    assert read_accepted(store, "m") == frozenset()
    assert "accepted.json cannot be read" in caplog.text
    with pytest.raises(ConfigError, match="mend or delete it"):
        accept_windows(store, "m", "new sensor")
    assert store.read_bytes("m", FILE) == b"[{"


def test_temperatures_of_seattle_are_quiet_and_fahrenheit_read_as_celsius_is_not():
    from vega_datasets import local_data

    table = local_data.seattle_temps()
    frame = pd.DataFrame({"temp": table["temp"].astype(float), "hour": table["date"].dt.hour.astype(float)})
    settings = MonitoringConfig(every_minutes=4 * 1440, min_rows=90)
    replay = Replay(frame, table["date"].astype("datetime64[us]"), settings, by_time=True)
    replay.run(30)
    assert sum(one.drift.past.beyond_chance for one in replay.history) >= 25
    assert not any(one.firing for one in replay.history)
    assert replay.run(2, lambda rows: rows.assign(temp=(rows["temp"] - 32) / 1.8))[-1].firing


def test_slices_of_one_population_rarely_differ():
    rng = np.random.default_rng(7)
    found = np.array([compare_slices(rng.multinomial(50, [0.4, 0.3, 0.2, 0.1], size=8)) for _ in range(2000)])
    assert 0.03 < (found < 0.05).mean() < 0.07
    assert (found < 0.001).mean() < 0.004
    assert compare_slices(np.array([[50, 0], [0, 50]])) < 1e-9
    assert compare_slices(np.zeros((8, 3), np.int64)) == 1.0


def test_neighbours_of_independent_rows_are_rarely_alike():
    rng = np.random.default_rng(8)
    found = np.array([compare_neighbours(rng.exponential(size=200).round(1)) for _ in range(2000)])
    assert 0.03 < (found < 0.05).mean() < 0.07
    assert (found < 0.001).mean() < 0.004
    assert compare_neighbours(np.cumsum(rng.normal(size=200))) < 1e-9
    assert compare_neighbours(np.ones(100)) == compare_neighbours(np.array([1.0, np.nan])) == 1.0


def test_windows_of_a_table_are_cut_as_the_log_is():
    minutes = START + np.arange(1000) * np.timedelta64(60, "s")
    assert cut_windows(minutes, MonitoringConfig(every_minutes=240)) == [(0, 240), (240, 480), (480, 720), (720, 960)]
    assert cut_windows(minutes, MonitoringConfig(every_minutes=150)) == [(0, 300), (300, 600), (600, 900)]
    assert cut_windows(minutes, MonitoringConfig(every_minutes=600, every_rows=400)) == [(0, 400), (400, 800)]
    assert cut_windows(np.arange(500.0), MonitoringConfig()) == [(0, 200), (200, 400)]
    assert cut_windows(minutes[:100], MonitoringConfig()) == []


def test_a_past_is_bounded(season):
    many = season.history * 3
    past = collect_past(season.profile, many)
    assert {column.windows for column in past.features.values()} == {KEPT}
    assert all(len(column.last) == 7 for column in past.features.values())
