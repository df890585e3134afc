import json
import re
from dataclasses import replace
from pathlib import Path

import msgspec
import pandas as pd
import pytest
from click.testing import CliRunner

from mlops_project.bundle import REFERENCE_FILE, ROWS_FILE
from mlops_project.cli import main
from mlops_project.errors import BundleError, ConfigError, TrackingError
from mlops_project.modeling.held_out import HeldOut
from mlops_project.promote import promote, rollback, run_gate
from mlops_project.runtime import Runtime
from mlops_project.tracking import registry
from mlops_project.tracking.events import EVENT_TAG
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from tests.integration.tracking.stores import reseal

pytestmark = pytest.mark.xdist_group("mlflow")


@pytest.fixture
def champion(make):
    """The project's configuration, with version 1 (`good`) as champion."""
    bundle, config = make("good")
    log_bundle(bundle, config)
    assert promote(config, "challenger")[1].verdict == "first"
    return config


def challenge(make, recipe: str):
    """Log a recipe as the challenger and return its configuration."""
    bundle, config = make(recipe)
    log_bundle(bundle, config)
    return config


def current(config) -> int:
    with open_store(config) as store:
        return registry.find_champion(store, "cancer").number


def test_poor_challenger_is_refused_and_the_reason_is_kept(champion, make):
    config = challenge(make, "poor")
    version, decision = promote(config, "challenger")
    assert (decision.promote, decision.verdict) == (False, "worse")
    assert current(config) == 1
    with open_store(config) as store:
        kept = registry.find_version(store, "cancer", str(version.number))
    assert kept.verdict == "worse"
    assert "ROC AUC" in kept.reason


def test_equally_good_challenger_is_promoted_and_recorded(champion, make):
    config = challenge(make, "better")
    _, decision = promote(config, "challenger")
    assert decision.promote
    assert decision.reason.endswith("(the held-out rows)")
    assert current(config) == 2
    with open_store(config) as store:
        last = registry.read_moves(store, "cancer")[-1]
    assert (last.action, last.source, last.target) == ("promote", 1, 2)
    assert last.reason in decision.reason


def test_dry_run_notes_the_verdict_and_moves_nothing(champion, make):
    config = challenge(make, "better")
    done = CliRunner().invoke(main, ["promote", str(config.file), "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "cancer version 2 would be promoted: " in done.output
    assert current(config) == 1
    with open_store(config) as store:
        assert registry.find_version(store, "cancer", "2").verdict in ("better", "not_worse", "unclear")
        assert {move.target for move in registry.read_moves(store, "cancer") if move.alias == "champion"} == {1}
    both = CliRunner().invoke(main, ["promote", str(config.file), "--dry-run", "--force", "--reason", "because"])
    assert (both.exit_code, "exclude each other" in both.stderr) == (2, True)


def test_champion_that_needs_a_dropped_column_cannot_be_compared(champion, make):
    config = challenge(make, "narrow")
    _, decision = promote(config, "challenger")
    assert (decision.promote, decision.verdict) == (False, "incomparable")
    assert "mean radius" in decision.reason
    assert "--force" in decision.reason
    _, decision = promote(config, "challenger", force=True, reason="fewer columns on purpose")
    assert decision.promote
    assert current(config) == 2


def test_champion_of_another_task_cannot_be_compared(champion, make, project):
    bundle, config = make("better")
    version = log_bundle(bundle, config).model_version
    rows = pd.read_parquet(bundle.path / "reference.parquet")
    held_out = HeldOut.predict(Runtime.load(bundle), rows[[*bundle.contract.names]], rows["target"].to_numpy())
    reasons = {
        ("no", "yes"): "its classes were (0, 1) and are ('no', 'yes') now",
        (1, 0): "its positive class was 1 and is 0 now; to keep it, set decision.positive: 1 and train again",
    }
    for classes, reason in reasons.items():
        contract = msgspec.structs.replace(bundle.contract, classes=classes)
        other = replace(bundle, metadata=msgspec.structs.replace(bundle.metadata, contract=contract))
        decision = run_gate(config, other, version, held_out)
        assert decision.verdict == "incomparable"
        assert reason in decision.reason


def split_otherwise(config):
    changed = msgspec.structs.replace(config, random_state=7)  # another split: its held-out rows were trained on
    changed.__dict__.update(file=config.file, root=config.root)
    return changed


def test_held_out_rows_are_known_by_their_digests_whatever_the_split_would_be_today(champion, make):
    _, decision = promote(split_otherwise(challenge(make, "better")), "challenger")
    assert " on 114 rows; " in decision.reason
    assert decision.reason.endswith("(the held-out rows)")


def test_changed_table_falls_back_to_the_reference_rows(champion, make):
    bundle, config = make("better")
    (bundle.path / ROWS_FILE).unlink()
    log_bundle(reseal(bundle), config)
    _, decision = promote(split_otherwise(config), "challenger")
    assert decision.reason.endswith("(the bundle's reference rows)")


def test_changed_table_without_reference_rows_is_refused(champion, make):
    bundle, config = make("better")
    for name in (REFERENCE_FILE, ROWS_FILE):
        (bundle.path / name).unlink()
    bundle = reseal(bundle, data_digest="0" * 64)
    log_bundle(bundle, config)
    with pytest.raises(BundleError, match="the table is not the one it was trained on, and the bundle holds no reference rows"):
        promote(config, "challenger")


def test_force_needs_a_reason(champion):
    with pytest.raises(ConfigError, match="--force needs --reason"):
        promote(champion, "challenger", force=True, reason="  ")


def test_rollback_walks_back_the_line_of_champions(champion, make):
    config = challenge(make, "better")
    promote(config, "challenger")
    challenge(make, "poor")
    promote(config, "challenger", force=True, reason="a mistake")
    assert current(config) == 3
    assert rollback(config, reason="it was a mistake").target == 2
    assert rollback(config).target == 1
    with pytest.raises(TrackingError, match="version 1 is the first champion of 'cancer'"):
        rollback(config)
    assert rollback(config, to=3).target == 3
    with pytest.raises(TrackingError, match="version 3 is the champion of 'cancer' already"):
        rollback(config, to=3)
    with pytest.raises(TrackingError, match="no version or alias '9'"):
        rollback(config, to=9)


def test_rollback_without_champion_says_so(make):
    bundle, config = make("good")
    log_bundle(bundle, config)
    with pytest.raises(TrackingError, match="'cancer' has no champion to roll back"):
        rollback(config)


def test_commands_show_versions_and_history_and_refuse_with_exit_code_3(champion, make, project, monkeypatch):
    monkeypatch.chdir(project)
    config = challenge(make, "poor")
    run = CliRunner().invoke
    refused = run(main, ["promote", str(config.file)])
    assert refused.exit_code == 3, refused.output
    assert "not promoted: worse: ROC AUC" in refused.stdout
    assert "to overrule the gate: mlops promote poor.yaml --version 2 --force --reason '…'" in refused.stdout
    again = run(main, ["promote", str(config.file), "--version", "1"])
    assert (again.exit_code, "it is the champion already" in again.stdout) == (0, True)

    table = run(main, ["models", str(config.file)]).stdout
    assert "champion" in table
    assert re.search(r"challenger .* worse\n", re.sub(" +\n", "\n", table))
    versions = json.loads(run(main, ["models", str(config.file), "--json"]).stdout)
    assert [(item["number"], item["aliases"]) for item in versions] == [(2, ["challenger"]), (1, ["champion"])]

    history = run(main, ["history", str(config.file)]).stdout
    assert "1 → 2" in history
    assert "refused" in history
    assert "worse: ROC AUC" in history
    moves = json.loads(run(main, ["history", str(config.file), "--json"]).stdout)
    assert [move["kind"] for move in moves] == ["registered", "promoted", "registered", "refused"]
    assert all({"at", "user", "reason", "metrics"} <= move.keys() for move in moves[:3])

    done = run(main, ["rollback", str(config.file), "--to", "2", "--reason", "drill"])
    assert done.stdout.startswith("cancer: champion is version 2 again, was version 1\n")
    assert "mlops history poor.yaml" in done.stdout


def test_models_and_history_are_those_of_the_configuration_that_is_named(champion, project, monkeypatch):
    monkeypatch.chdir(project)
    run = CliRunner().invoke
    Path("other.yaml").write_text(champion.file.read_text().replace("name: cancer", "name: other"))
    for command in ("models", "history"):
        none = run(main, [command, "other.yaml"]).stdout
        assert "model 'other' is not registered yet; train it with `mlops train other.yaml`; --all shows" in none
        for options in (["good.yaml"], ["other.yaml", "--all"], ["other.yaml", "--model", "cancer"], []):
            assert "cancer" in run(main, [command, *options]).stdout


def test_commands_on_an_empty_store_say_what_to_do(project, make, monkeypatch):
    monkeypatch.chdir(project)
    _, config = make("good")
    run = CliRunner().invoke
    for command in ("models", "history"):
        assert "no model is registered yet; train one with `mlops train`" in run(main, [command]).stdout
        assert "train it with `mlops train good.yaml`" in run(main, [command, str(config.file)]).stdout
    missing = run(main, ["promote", str(config.file)])
    assert missing.exit_code == 1
    assert "no model 'cancer' is registered (registered: none); train one with `mlops train good.yaml`" in missing.stderr


def test_bad_tags_stop_neither_history_nor_models_nor_rollback_and_are_shown_without_control_characters(
    champion, make, project, monkeypatch, caplog
):
    monkeypatch.chdir(project)
    config = challenge(make, "poor")
    promote(config, "challenger", force=True, reason="by \x1b[31mhand\x9b")
    with open_store(config) as store:
        note = store.client.set_registered_model_tag
        note("cancer", f"{registry.MOVE_TAG}zzz", "{broken")
        note("cancer", f"{registry.MOVE_TAG}0000", '{"\x1b[2J": 99}')
        note("cancer", f"{EVENT_TAG}zzz", '{"at": 5}')
        store.client.set_model_version_tag("cancer", "2", registry.METRICS_TAG, "[]")
        store.client.set_model_version_tag("cancer", "2", registry.REASON_TAG, "\x1b[31mred\u202e")
    shown = {}
    for command in ("history", "history --json", "models", "models --json", "rollback"):
        name, *options = command.split()
        done = CliRunner().invoke(main, [name, str(config.file), *options])
        assert done.exit_code == 0, done.output
        assert not set(done.output) & set("\x1b\u202e\x9b")
        shown[command] = done.stdout
    assert r"by force: by \x1b[31mhand\x9b" in shown["history"]
    assert json.loads(shown["history --json"])[-1]["reason"] == "by \x1b[31mhand\x9b"
    assert json.loads(shown["models --json"])[0]["reason"] == "\x1b[31mred\u202e"
    assert caplog.text.count("is left out, it cannot be read") == 3
    assert "cancer: tag mlops.move.0000 is left out" in caplog.text
    assert "\x1b" not in caplog.text
    assert current(config) == 1


def test_rollback_passes_over_a_version_that_was_deleted(champion, make):
    for recipe in ("better", "poor"):
        promote(challenge(make, recipe), "challenger", force=True, reason="by hand")
    with open_store(champion) as store:
        store.client.delete_model_version("cancer", "2")
    assert rollback(champion).target == 1
