"""What is tried, how it is judged, and when it ends."""

import os
import signal
import threading
from concurrent.futures import Future

import numpy as np
import pandas as pd
import pytest

from mlops_project.engines.local import LocalEngine
from mlops_project.errors import ConfigError, StackError
from mlops_project.modeling.choice import CrossValidation
from mlops_project.train import read_rows
from mlops_project.tune import _list_results, tune
from mlops_project.tuning.runners import ClusterRunner, HereRunner
from mlops_project.tuning.search import Observer, search
from tests.integration.tuning.searches import ROWS, read, tell


def test_held_out_rows_change_nothing(project):
    first, _ = tune(read(project))
    frame = pd.read_csv(project / "table.csv")
    last = slice(ROWS - 60, ROWS)  # the newest fifth is held out
    frame.loc[frame.index[last], "y"] = frame["y"][last].to_numpy()[::-1]
    frame.loc[frame.index[last], ["a", "b"]] = frame[["a", "b"]][last].to_numpy()[::-1] / 2
    frame.to_csv(project / "table.csv", index=False)
    second, _ = tune(read(project))
    assert second.key != first.key  # it was another search
    assert second.start.loss == first.start.loss
    assert tell(second.trials) == tell(first.trials)


def test_more_trials_continue_a_search_as_if_it_had_not_ended(project):
    whole, _ = tune(read(project, "search.trials=14"))
    for trials in (3, 11, 14):
        parts, _ = tune(read(project, f"search.trials={trials}", f"search.storage={project / 'parts.jsonl'}"))
    assert parts.resumed == 11
    assert tell(parts.trials) == tell(whole.trials)
    assert len({str(trial.params) for trial in whole.trials}) > 10


def test_several_estimators_are_searched_together_each_from_its_own_start(project):
    overrides = ["search.estimators=[decision_tree, logistic_regression]", "search.space={}", "search.trials=14"]
    found, left = tune(read(project, *overrides))
    assert {trial.estimator for trial in found.trials[:2]} == {"decision_tree", "logistic_regression"}
    own = [trial for trial in found.trials if trial.estimator == "logistic_regression"]
    assert all(trial.params.keys() == {"C"} for trial in own)
    assert found.best == min((*found.trials, found.start), key=lambda trial: trial.loss if trial.loss is not None else np.inf)
    assert found.model.estimator == found.best.estimator
    assert found.start.estimator == "decision_tree"
    assert "min_samples_leaf" not in found.model.params or found.model.estimator == "decision_tree"  # they are the tree's
    page = left.report.read_text()
    assert "logistic regression" in page
    assert page.count("data:image/png;base64,") == len(left.charts) >= 1


def test_auto_stands_for_what_auto_compares_and_params_go_to_those_that_have_them(project):
    overrides = [
        "model.estimator=auto",
        "model.params={n_estimators: 3}",
        "search.space={}",
        "search.trials=3",
        "data.time=null",
    ]
    found, _ = tune(read(project, *overrides))
    assert [one.estimator for one in found.searched] == ["logistic_regression", "hist_gradient_boosting", "random_forest"]
    assert [one.params.get("n_estimators") for one in found.searched] == [None, None, 3]
    assert found.searched[1].params == {"early_stopping": False}
    assert found.start is None


def test_configuration_that_no_trial_improves_stays(project):
    found, _ = tune(read(project, "search.space={max_depth: [8]}", "search.trials=1", "model.params={max_depth: 1}"))
    assert found.start.loss < found.trials[0].loss
    assert (found.best, found.model.params) == (found.start, {"max_depth": 1})


def test_rounds_are_found_by_one_fit_and_judged_as_if_they_had_been_asked_for(project):
    overrides = ["model.estimator=hist_gradient_boosting", "model.params={}", "search.trials=3"]
    space = "search.space={learning_rate: [0.1, 0.4], max_iter: {low: 3, high: 25}}"
    config = read(project, *overrides, space)
    table, split, contract = read_rows(config)
    found = search(table, split, contract, config, Observer())
    rows = CrossValidation(table, split, contract, config)
    complete = [trial for trial in found.trials if trial.loss is not None]
    assert complete
    for trial in complete:
        assert 3 <= trial.params["max_iter"] <= 25
        asked_for = [rows.lose(found.searched[0].fill(trial.params), fold).mean() for fold in range(found.folds)]
        assert trial.folds == pytest.approx(asked_for, rel=1e-12)
    again, _ = tune(config)
    assert (again.resumed, tell(again.trials)) == (3, tell(found.trials))


def test_search_ends_when_nothing_better_comes(project):
    found, _ = tune(read(project, "search.trials=50", "search.patience=4"))
    losses = [trial.loss if trial.loss is not None else np.inf for trial in found.trials]
    assert found.ended == "patience"
    assert len(losses) < 50
    assert len(losses) - 1 - losses.index(min(losses)) == 4


def test_time_that_is_over_ends_the_search_and_gives_back_what_was_not_finished(project):
    clock = Clock()
    config = read(project, "search.trials=50", "search.minutes=1", "search.pruning=false")
    found = search(*read_rows(config), config, Observer(), lambda rows: SlowRunner(rows, clock), clock)
    assert found.ended == "minutes"
    assert [trial.state for trial in found.trials] == ["complete"] * 3 + ["lost"]
    again, _ = tune(read(project, "search.trials=5", "search.pruning=false"))
    assert tell(again.trials)[:3] == tell(found.trials)
    assert [trial.params for trial in again.trials[3:5]] == [found.trials[3].params] * 2  # it was tried again
    assert sum(trial.counts for trial in again.trials) == 5


@pytest.mark.parametrize(("seconds", "trials", "end"), [(60, 3, 5 * 8 + 3 * 5), (18.5, 2, 19)])
def test_configuration_that_is_slow_waits_until_the_trials_are_done(project, seconds, trials, end):
    clock = Clock()

    class Slow(HereRunner):
        """Takes 8 s for a fold of the configuration as it is, and 1 s for one of a trial, which has 5."""

        def submit(self, model, fold, rounds=None):
            clock.now += 1 if "max_depth" in model.params else 8
            return super().submit(model, fold, rounds)

    config = read(project, "search.trials=3", f"search.minutes={seconds / 60}", "search.pruning=false")
    found = search(*read_rows(config), config, Observer(), Slow, clock)
    assert [trial.state for trial in found.trials if trial.counts] == ["complete"] * trials
    assert (found.start is not None) is (trials == 3)
    assert any("was not judged" in line for line in _list_results(found, config)) is (trials != 3)
    assert clock.now == end
    again, _ = tune(read(project, "search.trials=3", "search.pruning=false"))
    assert again.start is not None


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowRunner(HereRunner):
    """Takes 3.5 s for a fold, of which a trial has 5."""

    def __init__(self, rows, clock) -> None:
        super().__init__(rows)
        self.clock = clock

    def submit(self, model, fold, rounds=None):
        self.clock.now += 3.5
        return super().submit(model, fold, rounds)


def test_trials_that_are_worse_than_most_are_pruned_unless_they_may_not_be(project):
    found, _ = tune(read(project, "search.trials=24"))
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned
    assert all(1 <= len(trial.folds) < found.folds and trial.loss is None for trial in pruned)
    found, _ = tune(read(project, "search.trials=16", "search.pruning=false"))
    assert all(len(trial.folds) == found.folds for trial in found.trials)


def test_trial_that_fails_says_why_and_ends_nothing(project):
    found, _ = tune(read(project, "search.space={criterion: [nonsense, gini]}", "search.trials=6"))
    failed = [trial for trial in found.trials if trial.state == "fail"]
    assert failed
    assert all("DecisionTreeClassifier cannot be trained" in trial.reason for trial in failed)
    with pytest.raises(ConfigError, match=r"no trial could be finished: model.params: DecisionTreeClassifier cannot be"):
        tune(read(project, "search.space={criterion: [nonsense]}", "model.params={criterion: none}", "search.trials=1"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["search.estimators=[ridge]"], "model.estimator: ridge predicts numbers"),
        (["search.estimators=[decision_tree, knn]"], r"search.space.max_depth: with several estimators, name the one"),
        (["search.space={decision_tree: {depth: [1]}}"], r"search.space.decision_tree.depth: decision_tree has no such"),
        (
            ["model.params={max_deph: 3}"],
            r"model.params.max_deph: decision_tree has no such parameter; did you mean 'max_depth'",
        ),
        (["model.estimator=own"], "model.estimator: own is a pipeline that you fitted"),
    ],
)
def test_search_that_cannot_be_is_named(project, overrides, message):
    with pytest.raises(ConfigError, match=message):
        tune(read(project, *overrides))


def test_processes_judge_at_the_same_time_and_one_that_is_killed_is_replaced(project):
    killed = threading.Event()

    class Killer(Observer):
        def end_trial(self, trial, progress):
            from multiprocessing import active_children

            if not killed.is_set():
                killed.set()
                os.kill(active_children()[0].pid, signal.SIGKILL)

    config = read(project, "search.processes=2", "search.trials=8")
    found = search(*read_rows(config), config, Killer())
    assert killed.is_set()
    assert [trial.state for trial in found.trials if not trial.counts] == []
    assert len(found.trials) == 8
    alone, _ = tune(read(project, "search.trials=2", f"search.storage={project / 'alone.jsonl'}"))
    assert tell(found.trials[:1]) == tell(alone.trials[:1])  # the start is the same


def test_processes_of_an_engine_judge_as_this_process_does(project):
    config = read(project, "search.trials=4")
    found = search(*read_rows(config), config, Observer(), lambda rows: ClusterRunner(rows, LocalEngine(), 2))
    alone, _ = tune(read(project, "search.trials=2", f"search.storage={project / 'alone.jsonl'}"))
    assert [trial.state for trial in found.trials if not trial.counts] == []
    assert found.start.loss == alone.start.loss
    assert tell(found.trials[:1]) == tell(alone.trials[:1])


class Broken:
    """An engine's processes that are gone for good."""

    slots = 1

    def __init__(self, rows) -> None:
        self.submitted = 0

    def submit(self, model, fold, rounds=None):
        self.submitted += 1
        future = Future()
        future.set_exception(StackError("no actor could be started"))
        return future

    def close(self) -> None:
        pass


def test_engine_that_ends_again_and_again_ends_the_search_and_not_all_its_trials(project):
    config, made = read(project, "search.trials=50"), []
    with pytest.raises(StackError, match="no actor could be started"):
        search(*read_rows(config), config, Observer(), lambda rows: made.append(Broken(rows)) or made[0])
    assert made[0].submitted <= 4
