"""The rule of two persons in a real registry: what waits, who may approve, and what every way to production makes of it."""

import json
import shutil

import pytest
from click.testing import CliRunner

from mlops_project.approve import approve
from mlops_project.bundle import SIGNATURE_FILE, load_bundle
from mlops_project.cli import main
from mlops_project.config import read_config
from mlops_project.doctor import _look_at_approvals
from mlops_project.errors import ApprovalError, ConfigError
from mlops_project.models import read_story
from mlops_project.monitoring.service.bundles import BundleFinder
from mlops_project.promote import promote, rollback
from mlops_project.score import open_model
from mlops_project.serving.settings import build_settings
from mlops_project.signatures.keys import create_key
from mlops_project.tracking import events, registry
from mlops_project.tracking.events import EVENT_TAG, record_event
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.store import open_store
from mlops_project.tracking.sync import Follower
from mlops_project.tracking.versions import APPROVAL_SIGNATURE_TAG, APPROVAL_TAG
from mlops_project.ui.language import Translate
from mlops_project.ui.model.page import _say_standing
from mlops_project.ui.monitoring.timeline import build_entries
from mlops_project.ui.registry import read_registry
from tests.integration.tracking.stores import reseal, write_config

pytestmark = pytest.mark.xdist_group("mlflow")
MAKER, ANA, STRANGER = create_key(), create_key(), create_key()
REQUIRED = "gates.approval=required"


class Team:
    """A project in which versions are registered by bob; ``ask`` runs a command as somebody."""

    def __init__(self, bundle, config, monkeypatch) -> None:
        self.bundle, self.config, self._monkeypatch = bundle, config, monkeypatch
        self._made = 0

    def become(self, name: str) -> None:
        self._monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)

    def register(self) -> int:
        self.become("bob")
        self._made += 1
        for name in ("tracking.json", SIGNATURE_FILE):
            (self.bundle.path / name).unlink(missing_ok=True)
        self.bundle = reseal(self.bundle, created_at=f"2026-01-01T00:00:{self._made:02}+00:00")
        return log_bundle(self.bundle, self.config).model_version

    def ask(self, who: str, *words: str):
        self.become(who)
        return CliRunner().invoke(main, [*words, "--set", REQUIRED])

    def approve(self, who: str, number: int, *options: str):
        return self.ask(who, "approve", str(number), str(self.config.file), *options)

    def find(self, number: int) -> registry.Version:
        with open_store(self.config) as store:
            return registry.find_version(store, "cancer", str(number))

    def champion(self) -> int | None:
        with open_store(self.config) as store:
            found = registry.find_champion(store, "cancer")
        return found and found.number

    def point(self, number: int) -> None:
        """Move the champion's alias as somebody with access to the registry can."""
        with open_store(self.config) as store:
            store.client.set_registered_model_alias("cancer", "champion", str(number))

    def tag(self, number: int, key: str, value: str) -> None:
        with open_store(self.config) as store:
            store.client.set_model_version_tag("cancer", str(number), key, value)

    def sync(self):
        return Follower(self.config, "cancer", self.config.served_models_dir, interval_seconds=5).attempt()

    def served(self, alias: str = "champion") -> str | None:
        folder = self.config.served_models_dir / "cancer" / alias
        return load_bundle(folder).version if folder.exists() else None


@pytest.fixture
def team(make, monkeypatch) -> Team:
    bundle, plain = make("good")
    config = read_config(plain.file, root=plain.root, overrides=[REQUIRED], env={})
    return Team(bundle, config, monkeypatch)


def test_version_that_passes_waits_until_a_second_person_approves_it(team):
    number, config = team.register(), team.config
    file = str(config.file)
    waits = team.ask("bob", "promote", file)
    assert waits.exit_code == 3, waits.output
    assert "version 1 not promoted: " in waits.stdout
    assert (
        "it waits for the approval of a second person; somebody else than who registered it approves it with: " in waits.stdout
    )
    assert "mlops approve 1 " in waits.stdout
    assert "--force" not in waits.stdout
    dry = team.ask("bob", "promote", file, "--dry-run")
    assert (dry.exit_code, "version 1 would be promoted: " in dry.stdout, "waits for the approval" in dry.stdout) == (
        0,
        True,
        True,
    )
    assert team.ask("bob", "promote", file, "--force", "--reason", "now").exit_code == 3
    assert team.champion() is None

    own = team.approve("Bob", number)
    assert own.exit_code == 2
    assert "cancer version 1 was registered by 'Bob', who you are as well; a second person has to approve it" in own.stderr
    done = team.approve("ana", number, "--reason", "the report was read")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("cancer version 1 approved by ana, registered by bob: bundle ")
    assert "next: mlops promote " in done.stdout
    said = team.find(number).approval
    assert (said.user, said.registered_by, said.reason, said.digest) == (
        "ana",
        "bob",
        "the report was read",
        team.bundle.digest,
    )
    assert team.ask("bob", "promote", file).exit_code == 0
    assert team.champion() == number

    told = [item for item in read_story(config)[0] if item.__class__.__name__ == "Event"]
    assert [(item.kind, item.user) for item in told] == [("approval-wanted", "bob"), ("approved", "ana")]
    history = json.loads(team.ask("bob", "history", file, "--json").stdout)
    assert [item["kind"] for item in history] == ["registered", "approval-wanted", "approved", "promoted"]
    shown = team.ask("bob", "models", file).stdout
    assert "approved by ana" in shown


def test_refusal_takes_an_approval_back_and_both_stay_in_the_trail(team):
    number = team.register()
    assert team.approve("ana", number).exit_code == 0
    without = team.approve("eve", number, "--refuse")
    assert (without.exit_code, "--refuse needs --reason" in without.stderr) == (2, True)
    assert team.approve("eve", number, "--refuse", "--reason", "trained on last week").exit_code == 0
    refused = team.ask("bob", "promote", str(team.config.file))
    assert refused.exit_code == 3
    assert "eve refused it: trained on last week" in refused.stdout
    assert "refused by eve" in team.ask("bob", "models", str(team.config.file)).stdout
    kinds = [item.kind for item in read_story(team.config)[0] if item.__class__.__name__ == "Event"]
    assert kinds == ["approved", "approval-refused"]


def test_what_the_gate_refused_is_approved_with_a_reason_alone(team):
    number = team.register()
    with open_store(team.config) as store:
        registry.note_verdict(store, registry.find_version(store, "cancer", str(number)), "worse", "worse")
    refused = team.approve("ana", number)
    assert (refused.exit_code, "the gate refused version 1 (worse)" in refused.stderr) == (2, True)
    assert team.approve("ana", number, "--reason", "the new region counts more").exit_code == 0
    assert team.ask("bob", "promote", str(team.config.file), "--force", "--reason", "as agreed").exit_code == 0
    assert team.champion() == number


def test_no_way_to_production_takes_a_version_without_approval(team):
    first, second = team.register(), team.register()
    assert team.approve("ana", first).exit_code == 0
    promote(team.config, str(first))
    assert team.sync().problem is None
    assert (team.served(), team.served("challenger")) == ("1", None)  # the challenger waits, which is no problem
    with pytest.raises(ApprovalError, match="version 2: it waits for the approval"):
        rollback(team.config, to=second)
    with open_store(team.config) as store, pytest.raises(ApprovalError, match="mlops approve 2 "):
        registry.move_alias(store, registry.find_version(store, "cancer", "2"), "champion", "force", "by another way")

    team.point(second)
    outcome = team.sync()
    assert "champion version 2 cannot be published: it waits for the approval of a second person" in outcome.problem
    status = json.loads((team.config.served_models_dir / "cancer" / "sync.json").read_text())
    assert status["refused"][0]["cause"] == "approval"
    assert team.served() == "1"
    with (
        pytest.raises(ApprovalError, match="version 2 cannot be used as champion"),
        open_model("models:/cancer@champion", team.config),
    ):
        pass
    assert BundleFinder(team.config).find_champion("cancer") == "1"  # what serves, and not what the alias says

    assert team.approve("ana", second).exit_code == 0
    assert team.sync().problem is None
    assert team.served() == "2"
    assert rollback(team.config, to=first).target == first  # it was approved before
    assert team.sync().problem is None
    assert (team.served(), team.served("challenger")) == ("1", "2")


def test_approval_is_of_the_bundle_and_not_of_its_number(team):
    first, second = team.register(), team.register()
    assert team.approve("ana", first).exit_code == 0
    approved, other = team.find(first), team.find(second)
    with open_store(team.config) as store:
        source = store.client.get_model_version("cancer", "1").source.removeprefix("file://")
        stolen = store.client.get_model_version("cancer", "2").source.removeprefix("file://")
    shutil.rmtree(source)
    shutil.copytree(stolen, source)
    team.point(first)
    assert "another bundle than was registered" in team.sync().problem
    team.tag(first, registry.DIGEST_TAG, other.digest)
    assert "its approval is of another bundle" in team.sync().problem
    team.tag(second, APPROVAL_TAG, json.dumps({"model": "cancer", "version": 1, "digest": approved.digest} | WORDS))
    team.point(second)
    assert "its approval is of 'cancer' version 1" in team.sync().problem
    assert team.served() is None


WORDS = {"decision": "approved", "user": "ana", "at": "2026-01-01T00:00:00+00:00"}


def test_forged_tag_is_no_approval_where_signatures_are_asked_for(team, monkeypatch):
    root = team.config.root
    for name, (private, public) in {"maker": MAKER, "ana": ANA, "stranger": STRANGER}.items():
        (root / f"{name}.pem").write_text(private)
        (root / f"{name}.pub").write_text(public)
    trust = ["trust.keys=[maker.pub]", "trust.require=true", "trust.approvers=[ana.pub]", "trust.signing_key=maker.pem"]
    team.config = read_config(team.config.file, root=root, overrides=[REQUIRED, *trust], env={})
    options = [word for item in trust for word in ("--set", item)]
    number = team.register()
    forged = {"model": "cancer", "version": number, "digest": team.bundle.digest} | WORDS
    team.tag(number, APPROVAL_TAG, json.dumps(forged))
    team.point(number)
    assert "waits for the approval of a second person that is signed" in team.sync().problem
    monkeypatch.chdir(root)
    for key, said in {(): "none of trust.approvers", ("--key", "stranger.pem"): "none of trust.approvers"}.items():
        refused = team.approve("ana", number, *options, *key)
        assert (refused.exit_code, said in refused.stderr) == (2, True), refused.output
    assert team.approve("ana", number, *options, "--key", "ana.pem").exit_code == 0
    with open_store(team.config) as store:
        store.client.delete_registered_model_alias("cancer", "champion")
    assert promote(team.config, str(number), force=True, reason="as agreed")[1].promote
    assert team.sync().problem is None
    assert team.served() == str(number)

    later = team.register()  # the signed approval of another version is moved to it
    team.tag(later, APPROVAL_SIGNATURE_TAG, team.find(number).approval_signature)
    assert "its approval is of 'cancer' version 1" in promote(team.config, str(later), force=True, reason="x")[1].reason
    team.tag(later, APPROVAL_SIGNATURE_TAG, "")
    assert "waits for the approval of a second person" in promote(team.config, str(later), force=True, reason="x")[1].reason


def test_exported_model_does_not_stand_in_for_a_champion_that_nobody_approved(team, tmp_path):
    served = team.config.served_models_dir
    given = {"metrics_dir": tmp_path, "model_dir": team.config.model_dir}
    assert build_settings(team.config, **given, models_dir=served).model_dir is None
    assert build_settings(team.config, **given).model_dir == team.config.model_dir
    plain = read_config(write_config(team.config.root, "good"), root=team.config.root, env={})
    assert build_settings(plain, **given, models_dir=served).model_dir == team.config.model_dir


def test_words_of_approval_are_not_deleted_with_old_events(team, monkeypatch):
    monkeypatch.setattr(events, "KEPT_EVENTS", 9)
    monkeypatch.setattr(events, "SPARE_EVENTS", 2)
    number = team.register()
    assert team.approve("ana", number, "--reason", "read").exit_code == 0
    with open_store(team.config) as store:
        for place in range(11):
            store.client.set_registered_model_tag("cancer", f"{EVENT_TAG}2026-01-01T00:00:00.{place:06}", "{}")
        record_event(store, "cancer", "alert", "the inputs changed")
        tags = store.client.get_registered_model("cancer").tags
    assert sum(key.startswith(EVENT_TAG) for key in tags) == 9
    assert sum(key.startswith("mlops.review.") for key in tags) == 1


def test_doctor_tells_who_waits_and_what_serves_without_approval(team):
    number = team.register()
    waiting = _look_at_approvals(team.config)
    assert waiting.status == "note"
    assert waiting.seen == "challenger version 1 waits for approval"
    assert waiting.cure.startswith("for a second person: mlops approve 1 ")
    team.point(number)
    assert _look_at_approvals(team.config).status == "problem"
    assert team.approve("ana", number).exit_code == 0
    assert _look_at_approvals(team.config).seen == "challenger, champion version 1 approved by ana"


def test_application_reads_how_versions_stand(team, monkeypatch):
    first = team.register()
    assert team.approve("ana", first).exit_code == 0
    second = team.register()
    registered = read_registry(team.config, "cancer")
    said = {number: _say_standing(registered.standings.get(number), Translate("en")) for number in (first, second)}
    assert said == {first: "approved by ana", second: "waits for approval"}
    kinds = [entry.kind for entry in build_entries(registered)]
    assert kinds == ["registered", "approved", "registered"]


def test_nothing_changes_where_no_approval_is_asked_for(make):
    bundle, config = make("good")
    log_bundle(bundle, config)
    assert promote(config, "challenger")[1].promote
    assert "approval" not in CliRunner().invoke(main, ["models", str(config.file)]).stdout
    with pytest.raises(ConfigError, match="--refuse needs"):
        approve(config, "1", refuse=True)
