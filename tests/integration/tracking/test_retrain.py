import os
import subprocess
import sys
from datetime import timedelta

import msgspec
import pytest
from click.testing import CliRunner

from mlops_project.bundle import load_bundle
from mlops_project.cli import main
from mlops_project.errors import ConfigError, DataError, TrackingError
from mlops_project.promote import promote, read_held_out
from mlops_project.retrain import retrain
from mlops_project.retraining.attempts import Attempts, find_folder
from mlops_project.retraining.rollback import check_rollback
from mlops_project.tracking import registry
from mlops_project.tracking.events import read_history
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from mlops_project.train import train
from tests.integration.tracking.production import NOW, Log, draw, inverted, moved, same, write_project

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture(scope="session")
def first_champion(tmp_path_factory):
    """The bundle that every test begins with, trained once."""
    root = tmp_path_factory.mktemp("world")
    return train(write_project(root, "tracking.enabled=false")).bundle


@pytest.fixture
def start(project, first_champion):
    """Make the project with version 1 as champion, and return its configuration."""

    def build(*overrides: str):
        config = write_project(project, *overrides)
        from mlops_project.bundle import install

        log_bundle(install(first_champion, config.model_dir), config)
        promote(config, "challenger")
        return config

    return build


@pytest.fixture
def log() -> Log:
    return Log()


def champion(config) -> int:
    with open_store(config) as store:
        return registry.find_champion(store, "world").number


def story(config) -> list[tuple[str, str]]:
    with open_store(config) as store:
        return [
            (item.kind, item.result) if hasattr(item, "kind") else (item.action, item.alias)
            for item in read_history(store, "world")
        ]


def served_digest(config) -> str:
    return load_bundle(config.model_dir).digest


def test_good_challenger_of_a_changed_world_is_promoted_and_history_tells_the_story(start, log):
    config = start()
    log.add(draw(1500, moved, 2))
    done = retrain(config, reason="performance-loss: accuracy fell", cause="alert:performance-loss:1:x", reader=log)
    assert done.result == "promoted", done.text
    assert done.version == champion(config) == 2
    assert "the world has changed" in done.text
    bundle = load_bundle(config.model_dir)
    assert bundle.metadata.train_rows == 480 + 1050
    assert bundle.metadata.data_source.endswith("world.csv + 1,050 labelled predictions")
    assert bundle.metadata.test_rows == 120
    assert story(config) == [
        ("register", "challenger"),
        ("promote", "champion"),
        ("retraining-started", ""),
        ("register", "challenger"),
        ("promote", "champion"),
        ("retraining-ended", "promoted"),
    ]
    with open_store(config) as store:
        version = registry.find_version(store, "world", "2")
        tags = store.client.get_model_version("world", "2").tags
        last = [item for item in read_history(store, "world") if isinstance(item, registry.Move)][-1]
    assert version.digest == bundle.digest
    assert "1,050 labelled predictions to learn from, the newest 450 to judge" in tags[registry.RETRAINING_TAG]
    assert last.cause == "alert:performance-loss:1:x"
    assert last.user == "mlops retrain (alert)"
    assert last.reason.endswith("; retrained because of performance-loss: accuracy fell")
    state = Attempts(find_folder(config)).read()
    assert (state.counts, state.attempts[0].version) == ({"promoted": 1}, 2)


def test_held_out_rows_of_a_retrained_bundle_can_be_had_again(start, log):
    config = start()
    log.add(draw(1500, moved, 2))
    retrain(config, reader=log)
    bundle = load_bundle(config.model_dir)
    assert bundle.metadata.table_digest != bundle.metadata.data_digest
    held_out, origin = read_held_out(config, bundle)
    assert origin == "the held-out rows"
    assert len(held_out.features) == len(held_out.truth) == 120


def test_bad_challenger_is_refused_and_nothing_that_serves_has_moved(start, log):
    config = start("model.estimator=decision_tree", "model.params.max_depth=1")
    before = served_digest(config)
    log.add(draw(1200, same, 2))
    done = retrain(config, reader=log)
    assert done.result == "refused"
    assert champion(config) == 1
    assert "version 2 is not promoted: newest labelled rows: worse: ROC AUC" in done.text
    assert served_digest(config) == before
    with open_store(config) as store:
        assert registry.find_version(store, "world", "challenger").verdict == "worse"
    assert story(config)[-1] == ("retraining-ended", "refused")


def test_inverted_labels_are_refused_by_what_would_be_forgotten(start, log):
    config = start()
    log.add(draw(3000, inverted, 2))
    done = retrain(config, reader=log)
    assert done.result == "refused", done.text
    assert champion(config) == 1
    assert "more than retraining.forgetting 0.3" in done.text
    with open_store(config) as store:
        assert registry.find_version(store, "world", "2").verdict == "forgets"


def test_veto_stands_in_the_audit_trail_and_a_person_can_overrule_it(start, log):
    config = start()
    rows = draw(1500, moved, 2)
    rows.loc[::40, "c"] = 1e6
    log.add(rows)
    done = retrain(config, reader=log)
    assert (done.result, done.vetoes, done.version) == ("refused", ("values-far-out-of-range",), None)
    assert done.text.startswith("not begun: 38 of 1,500 labelled rows have a c such as 1e+06, and training knows -")
    assert f"mlops retrain {config.file} --overrule values-far-out-of-range --reason '…'" in done.text
    assert story(config)[-2:] == [("retraining-started", ""), ("retraining-ended", "refused")]
    assert Attempts(find_folder(config)).read().attempts[-1].vetoes == done.vetoes
    with pytest.raises(ConfigError, match="--overrule needs --reason"):
        retrain(config, overrule=done.vetoes, reader=log)
    again = retrain(config, overrule=done.vetoes, reason="a new sensor, checked", reader=log)
    assert again.result == "promoted", again.text
    with open_store(config) as store:
        (event,) = [item for item in read_history(store, "world") if getattr(item, "kind", "") == "overruled"]
    assert event.text.startswith("veto values-far-out-of-range: a new sensor, checked; it said: 38 of 1,500")
    assert event.user


def test_table_with_another_content_is_not_learned_from_until_somebody_trains(start, log):
    config = start()
    draw(600, same, 9).to_csv(config.root / "world.csv", index=False)
    log.add(draw(1500, moved, 2))
    done = retrain(config, reader=log)
    assert (done.result, done.vetoes) == ("refused", ("table-changed",))
    assert "of the 600 rows of " in done.text
    assert "600 are gone or have other values" in done.text
    assert "mlops train" in done.text


def test_challenger_waits_for_a_person_if_nothing_may_be_promoted(start, log):
    config = start()
    before = served_digest(config)
    log.add(draw(1500, moved, 2))
    done = retrain(config, promote=False, reader=log)
    assert done.result == "ready"
    assert f"mlops promote {config.file} --version 2 --force" in done.text
    assert (champion(config), served_digest(config)) == (1, before)


def test_predictions_alone_are_learned_from_if_asked_for(start, log):
    config = start("retraining.original=false")
    log.add(draw(1500, moved, 2))
    done = retrain(config, reader=log)
    assert done.result == "promoted", done.text
    assert load_bundle(config.model_dir).metadata.train_rows == 1050


def test_too_few_labels_skip_and_train_nothing(start, log):
    config = start()
    log.add(draw(199, moved, 2))
    log.add(draw(500, moved, 3), minutes_ago=60 * 24 * 10)
    done = retrain(config, since_days=3, reader=log)
    assert done.result == "skipped"
    assert "199 labelled predictions since" in done.text
    assert "retraining.min_rows asks for 200" in done.text
    assert story(config)[-1] == ("retraining-ended", "skipped")
    assert retrain(start(), reader=Log()).text.startswith("0 labelled predictions since")


def test_labels_of_an_unknown_class_fail_with_the_label_and_are_recorded(start, log):
    config = start()
    log.add(draw(500, moved, 2).assign(up="perhaps"))
    with pytest.raises(DataError, match='500 of 500 labels are none that version and table know, such as "perhaps"'):
        retrain(config, reader=log)
    assert Attempts(find_folder(config)).read().counts == {"failed": 1}
    assert story(config)[-1] == ("retraining-ended", "failed")


def test_few_strange_labels_are_left_out(start, log):
    config = start("model.estimator=decision_tree", "model.params.max_depth=1")
    rows = draw(1000, same, 2)
    rows.loc[:4, "up"] = "perhaps"
    log.add(rows)
    assert retrain(config, reader=log).result == "refused"
    assert load_bundle(find_folder(config) / "model").metadata.train_rows == 480 + round(995 * 0.7)


def test_model_without_champion_is_told_to_train_one(project, log):
    with pytest.raises(TrackingError, match="model 'world' has no champion to retrain; train one with `mlops train "):
        retrain(write_project(project), reader=log)


def test_second_retraining_exits_at_once_saying_so(start, log):
    config = start()
    lock = Attempts(find_folder(config)).acquire()
    done = retrain(config, reader=log)
    os.close(lock)
    assert done.result == "running"
    assert "another retraining of 'world' runs" in done.text
    assert Attempts(find_folder(config)).read().attempts == ()


def test_cause_that_was_answered_is_not_answered_again(start, log):
    config = start()
    log.add(draw(1500, moved, 2))
    assert retrain(config, cause="alert:x", reader=log).result == "promoted"
    again = retrain(config, cause="alert:x", reader=log)
    assert (again.result, again.version) == ("promoted", 2)
    assert "answered with version 2 already" in again.text
    with open_store(config) as store:
        assert [version.number for version in registry.list_versions(store, "world")] == [2, 1]


def test_promotion_that_was_killed_between_record_and_alias_is_finished(start, log):
    config = start()
    log.add(draw(1500, moved, 2))
    retrain(config, cause="alert:x", promote=False, reader=log)
    with open_store(config) as store:
        version = registry.find_version(store, "world", "2")
        registry.move_alias(store, version, registry.CHAMPION, "promote", "gate", cause="alert:y")
        store.client.set_registered_model_alias("world", registry.CHAMPION, "1")  # as if the kill had come before
    done = retrain(config, cause="alert:y", reader=log)
    assert (done.result, champion(config)) == ("promoted", 2)
    with open_store(config) as store:
        assert served_digest(config) == registry.find_version(store, "world", "2").digest


def test_command_reports_and_exits_with_3_when_nothing_was_done(start, project, monkeypatch):
    config = start()
    monkeypatch.chdir(project)
    skipped = CliRunner().invoke(main, ["retrain", str(config.file), "--reason", "a drill", "--json"])
    assert skipped.exit_code == 3, skipped.output
    assert msgspec.json.decode(skipped.stdout)["result"] == "skipped"
    bad = CliRunner().invoke(main, ["retrain", str(config.file), "--since", "0"])
    assert bad.exit_code == 2
    module = [sys.executable, "-m", "mlops_project.retrain", str(config.file)]
    process = subprocess.run(module, cwd=project, capture_output=True, text=True, check=False)
    assert (process.returncode, "world: skipped: 0 labelled predictions" in process.stdout) == (3, True), process.stderr


@pytest.fixture
def promoted(start, log):
    """A project whose champion, version 2, was promoted by a retraining."""
    config = start()
    log.add(draw(1500, moved, 2), minutes_ago=60)
    assert retrain(config, cause="alert:x", reader=log).result == "promoted"
    return config


def test_retrained_champion_that_does_worse_than_its_predecessor_is_rolled_back(promoted, log):
    config = promoted
    log.add(draw(99, same, 7), "2")
    assert check_rollback(config, log) is None  # too few
    log.add(draw(300, same, 8), "2")
    move = check_rollback(config, log)
    assert move is not None
    assert (move.action, move.source, move.target, champion(config)) == ("rollback", 2, 1, 1)
    assert "version 2 against version 1: the previous champion is better: ROC AUC" in move.reason
    assert story(config)[-2:] == [("rollback-check", ""), ("rollback", "champion")]
    with open_store(config) as store:
        assert served_digest(config) == registry.find_version(store, "world", "1").digest
    state = Attempts(find_folder(config)).read()
    assert state.counts == {"promoted": 1, "rolled-back": 1}
    assert check_rollback(config, log) is None
    again = retrain(config, cause="alert:x", reader=log)  # the cause is answered: the bad one does not come back
    assert (again.result, champion(config)) == ("promoted", 1)


def test_retrained_champion_that_does_better_stays_and_is_looked_at_seldom(promoted, log):
    config = promoted
    for seed in range(5):
        log.add(draw(100, moved, 20 + seed), "2")
        assert check_rollback(config, log) is None
        assert check_rollback(config, log) is None
    assert [kind for kind, _ in story(config)].count("rollback-check") == 3  # at 100, 200 and 400 rows
    assert champion(config) == 2


def test_watch_ends_after_its_hours_and_leaves_people_s_promotions_alone(promoted, log):
    config = promoted
    log.add(draw(400, same, 7), "2")
    assert check_rollback(config, log, NOW + timedelta(hours=25)) is None
    promote(config, "1", force=True, reason="by hand")
    promote(config, "2", force=True, reason="by hand")
    assert check_rollback(config, log) is None
    assert champion(config) == 2


def test_labelled_predictions_are_read_from_the_real_log(start, monkeypatch):
    import json
    from types import SimpleNamespace

    from mlops_project.prediction_log import ids as clock
    from mlops_project.prediction_log.ids import IdIssuer
    from mlops_project.prediction_log.ingest import ingest
    from mlops_project.prediction_log.reader import LogReader
    from mlops_project.prediction_log.writer import LogWriter

    config = start()
    writer, ids = LogWriter(config.prediction_log_dir, config.prediction_log), IdIssuer(b"k" * 32)
    rows = draw(1500, moved, 2)
    begin = int((NOW - timedelta(hours=1)).timestamp() * 1e9)
    for number in range(0, 1500, 25):
        sent = begin + number * 1_000_000_000
        monkeypatch.setattr(clock, "time", SimpleNamespace(time_ns=lambda sent=sent: sent))
        part, name = rows.iloc[number : number + 25], ids.issue(25)
        about = {"id": name, "time_ns": sent, "model": "world", "version": "1", "rows": 25}
        about |= {"wire": "native", "content_type": "application/json"}
        writer.append(json.dumps(about).encode(), part[["a", "b", "c"]].to_json(orient="records").encode(), b"{}")
        for row, label in enumerate(part["up"]):
            late = {"id": f"{name}.{row}", "time_ns": begin + 4_000_000_000_000, "kind": "label"}
            writer.append(json.dumps(late).encode(), json.dumps(label).encode(), b"")
    writer.close()
    bundle = load_bundle(config.model_dir)
    found = ingest(config.prediction_log_dir, config.monitoring_dir, lambda _model, _version: bundle, config.serving)
    assert (found.rows, found.labels, found.undecodable) == (1500, 1500, 0)
    done = retrain(config, reason="from the log")
    assert (done.result, champion(config)) == ("promoted", 2), done.text
    assert load_bundle(config.model_dir).metadata.train_rows == 480 + 1050
    assert check_rollback(config, LogReader(config.monitoring_dir)) is None
