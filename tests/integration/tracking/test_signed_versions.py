"""Signed versions in a real registry: what signs them, and which of them its readers refuse."""

import base64
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from mlops_project.bundle import SIGNATURE_FILE, load_bundle
from mlops_project.cli import main
from mlops_project.config import read_config
from mlops_project.errors import MLOpsError, SignatureError
from mlops_project.promote import promote, rollback
from mlops_project.retrain import retrain
from mlops_project.score import open_model
from mlops_project.signatures.envelope import sign_payload
from mlops_project.signatures.keys import create_key, load_private_key
from mlops_project.signatures.policy import check_signature
from mlops_project.signatures.signing import sign_bundle
from mlops_project.signatures.statement import GateDecision
from mlops_project.tracking import registry
from mlops_project.tracking.runs import log_bundle
from mlops_project.tracking.signing import sign_version
from mlops_project.tracking.store import open_store
from mlops_project.tracking.sync import Follower
from mlops_project.train import train
from tests.integration.tracking.stores import reseal, write_config

pytestmark = pytest.mark.xdist_group("mlflow")
KEY, STRANGER = create_key(), create_key()


def write_keys(root: Path, *, signs: bool) -> list[str]:
    (root / "signing.pem").write_text(KEY[0])
    (root / "signing.pem.pub").write_text(KEY[1])
    trust = ["trust.keys=[signing.pem.pub]", "trust.require=true"]
    return [*trust, "trust.signing_key=signing.pem"] if signs else trust


class Signed:
    """A project whose versions are signed, and a reader's view of it, which has no private key."""

    def __init__(self, bundle, config) -> None:
        self.bundle, root = bundle, config.root
        self.config = read_config(config.file, root=root, overrides=write_keys(root, signs=True), env={})
        self.reader = read_config(config.file, root=root, overrides=write_keys(root, signs=False), env={})

    def add_version(self) -> int:
        for name in ("tracking.json", SIGNATURE_FILE):
            (self.bundle.path / name).unlink(missing_ok=True)
        self.bundle = reseal(self.bundle, created_at=f"2026-01-01T00:00:{len(self.versions()):02}+00:00")
        return log_bundle(self.bundle, self.config).model_version

    def versions(self) -> list[registry.Version]:
        with open_store(self.config) as store:
            return registry.list_versions(store, "cancer") if registry.list_models(store) else []

    def find(self, number: int) -> registry.Version:
        with open_store(self.config) as store:
            return registry.find_version(store, "cancer", str(number))

    def tag(self, number: int, key: str, value: str) -> None:
        with open_store(self.config) as store:
            store.client.set_model_version_tag("cancer", str(number), key, value)

    def untag(self, number: int, key: str) -> None:
        with open_store(self.config) as store:
            store.client.delete_model_version_tag("cancer", str(number), key)

    def point(self, number: int) -> None:
        """Move the champion's alias as somebody with access to the registry can: without the gate, and without a record."""
        with open_store(self.config) as store:
            store.client.set_registered_model_alias("cancer", "champion", str(number))

    def stored(self, number: int) -> Path:
        with open_store(self.config) as store:
            return Path(store.client.get_model_version("cancer", str(number)).source.removeprefix("file://"))

    def said(self, number: int):
        version = self.find(number)
        found = check_signature(self.reader.trust_policy, version.signature.encode(), version.digest)
        return found.statement.predicate


@pytest.fixture(scope="module")
def whole(tmp_path_factory, trained, fresh_database) -> Signed:
    """Version 1, promoted."""
    root = tmp_path_factory.mktemp("signed")
    (root / "mlruns").mkdir()
    shutil.copy(fresh_database, root / "mlruns" / "mlflow.db")
    config = read_config(write_config(root, "poor"), root=root, env={})
    shutil.copytree(trained("poor"), config.model_dir)
    world = Signed(load_bundle(config.model_dir), config)
    assert world.add_version() == 1
    promote(world.config, "1", force=True, reason="test")
    return world


@pytest.fixture
def signed(whole) -> Signed:
    """Version 1 is champion, and published; what was done to other versions before is none of its business."""
    whole.point(1)
    with open_store(whole.config) as store:
        store.client.delete_registered_model_alias("cancer", "challenger")
    shutil.rmtree(whole.config.served_models_dir, ignore_errors=True)
    assert sync(whole).problem is None
    return whole


def sync(world: Signed):
    config = world.reader
    return Follower(config, "cancer", config.served_models_dir, interval_seconds=5).attempt()


def test_training_signs_what_it_exports_and_what_the_gate_said(project, monkeypatch):
    config = read_config(write_config(project, "poor"), root=project, overrides=write_keys(project, signs=True), env={})
    bundle = train(config).bundle
    assert load_bundle(bundle.path, trust=config.trust_policy).version == "1"
    with open_store(config) as store:
        version = registry.find_version(store, "cancer", "1")
    raw = (bundle.path / SIGNATURE_FILE).read_bytes()
    assert version.signature.encode() == raw
    said = check_signature(config.trust_policy, raw, bundle.digest, version.as_offered()).statement
    assert said.predicate.gate.promoted
    assert said.predicate.gate.reason == version.reason
    assert said.digests == {"metadata.json": bundle.digest, **bundle.metadata.files}


def test_bundle_that_is_in_no_registry_is_signed_as_such(project):
    overrides = [*write_keys(project, signs=True), "tracking.enabled=false"]
    config = read_config(write_config(project, "poor"), root=project, overrides=overrides, env={})
    bundle = train(config).bundle
    assert load_bundle(bundle.path, trust=config.trust_policy).digest == bundle.digest
    bundle.note_tracking(model_name="cancer", model_version="7")
    with pytest.raises(SignatureError, match="signed as version none and says that it is version 7"):
        load_bundle(bundle.path, trust=config.trust_policy)


def test_sync_publishes_signed_versions_and_follows_a_signature_that_was_renewed(signed):
    number, policy = signed.add_version(), signed.reader.trust_policy
    assert sync(signed).problem is None
    champion, challenger = (signed.config.served_models_dir / "cancer" / alias for alias in ("champion", "challenger"))
    assert load_bundle(champion, trust=policy).version == "1"
    assert not signed.said(number).gate.promoted
    before = (challenger / SIGNATURE_FILE).read_bytes()
    promote(signed.config, str(number), force=True, reason="a person decided")
    assert sync(signed).problem is None
    assert load_bundle(champion, trust=policy).version == str(number)
    assert (champion / SIGNATURE_FILE).read_bytes() != before
    assert (signed.said(number).gate.promoted, signed.said(number).gate.reason) == (True, "a person decided")
    rollback(signed.reader, to=1)  # needs no key: version 1 was signed as promoted
    assert sync(signed).problem is None
    assert load_bundle(champion, trust=policy).version == "1"


def put_unsigned(world: Signed, number: int) -> None:
    world.untag(number, registry.SIGNATURE_TAG)


def sign_wrongly(world: Signed, number: int) -> None:
    version = world.find(number)
    gate, key = GateDecision(promoted=True), load_private_key(STRANGER[0], "x")
    world.tag(number, registry.SIGNATURE_TAG, sign_bundle(key, "cancer", str(number), {}, version.digest, gate).decode())


def promote_without_the_gate(world: Signed, number: int) -> None:
    """The alias alone is moved."""


def replay(world: Signed, number: int) -> None:
    """Put version 1, its files, digest and signature, where the new version is."""
    old, new = world.stored(1), world.stored(number)
    shutil.rmtree(new)
    shutil.copytree(old, new)
    version = world.find(1)
    world.tag(number, registry.DIGEST_TAG, version.digest)
    world.tag(number, registry.SIGNATURE_TAG, version.signature)


def tamper(world: Signed, number: int) -> None:
    promote(world.config, str(number), force=True, reason="test")
    file = world.stored(number) / "model.onnx"
    file.write_bytes(file.read_bytes() + b"\0")


def tamper_whole(world: Signed, number: int) -> None:
    """Put another whole bundle there, and its digest into the registry; the signature stays."""
    promote(world.config, str(number), force=True, reason="test")
    other = reseal(load_bundle(world.stored(number)), metrics={"accuracy": 1.0})
    world.tag(number, registry.DIGEST_TAG, other.digest)


def come_from_the_future(world: Signed, number: int) -> None:
    version, key = world.find(number), load_private_key(KEY[0], "x")
    raw = sign_bundle(key, "cancer", str(number), {}, version.digest, GateDecision(promoted=True)).decode()
    payload = base64.b64decode(json.loads(raw)["payload"]).replace(b"bundle-origin:v1", b"bundle-origin:v2")
    world.tag(number, registry.SIGNATURE_TAG, sign_payload(payload, key).decode())


ATTACKS = {
    "unsigned": (put_unsigned, "is not signed"),
    "wrongly signed": (sign_wrongly, r"none of trust\.keys"),
    "not promoted": (promote_without_the_gate, "signed as a version that was not promoted"),
    "replayed": (replay, r"signed as version 1 and offered as version \d+"),
    "tampered file": (tamper, "sha256 is"),
    "tampered whole": (tamper_whole, "is of another bundle"),
    "newer format": (come_from_the_future, "format v2, known here: v1; update mlops_project"),
}


def score(world: Signed) -> None:
    with open_model("models:/cancer@champion", world.reader):
        pass


def sync_or_fail(world: Signed) -> None:
    problem = sync(world).problem
    status = json.loads((world.config.served_models_dir / "cancer" / "sync.json").read_text())
    if problem:
        assert status["refused"][0]["cause"] in ("signature", "damaged")
        raise MLOpsError(problem)


def retrain_or_fail(world: Signed) -> None:
    retrain(world.reader, reason="test")


def verify(world: Signed) -> None:
    done = CliRunner().invoke(main, ["verify", *options(world.reader), "--model", "models:/cancer@champion"])
    if done.exit_code:
        raise MLOpsError(done.stderr)


def options(config) -> list[str]:
    keys = f"trust.keys=[{config.root / 'signing.pem.pub'}]"
    return [str(config.file), "--set", keys, "--set", "trust.require=true"]


READERS = [sync_or_fail, score, retrain_or_fail, verify]


@pytest.mark.parametrize("attack", ATTACKS)
def test_version_that_is_not_as_it_was_signed_is_refused_by_every_reader_and_the_old_one_stays(attack, signed):
    change, said = ATTACKS[attack]
    number = signed.add_version()
    change(signed, number)
    signed.point(number)
    for reader in READERS:
        with pytest.raises(MLOpsError, match=said):
            reader(signed)
    served = load_bundle(signed.config.served_models_dir / "cancer" / "champion", trust=signed.reader.trust_policy)
    assert served.version == "1"


def test_unsigned_version_is_neither_judged_nor_gone_back_to_until_a_person_signs_it(signed):
    number = signed.add_version()
    promote(signed.config, str(number), force=True, reason="test")
    signed.point(1)
    signed.untag(number, registry.SIGNATURE_TAG)
    with pytest.raises(SignatureError, match=f"version {number}: it is not signed"):
        rollback(signed.reader, to=number)
    with pytest.raises(SignatureError, match=f"version {number}: it is not signed"):
        promote(signed.reader, str(number))
    key = f"trust.signing_key={signed.config.root / 'signing.pem'}"
    done = CliRunner().invoke(main, ["sign", *options(signed.config), "--set", key, "--version", str(number)])
    assert done.exit_code == 0, done.output
    assert "as a version that was promoted" in done.output
    assert rollback(signed.reader, to=number).target == number


def test_version_that_was_promoted_once_stays_signed_so_whatever_the_gate_says_later(signed):
    number = signed.add_version()
    gate = GateDecision(verdict="worse", reason="worse than the champion")
    for promoted_before in (False, True):
        if promoted_before:
            promote(signed.config, str(number), force=True, reason="test")
        with open_store(signed.config) as store:
            assert sign_version(store, signed.config, signed.find(number), signed.bundle, gate)
        assert (signed.said(number).gate.promoted, signed.said(number).gate.verdict) == (promoted_before, "worse")
    sign_wrongly(signed, number)  # as promoted, by somebody else
    with open_store(signed.config) as store:
        assert sign_version(store, signed.config, signed.find(number), signed.bundle, gate)
    assert not signed.said(number).gate.promoted


def test_second_logging_keeps_the_signature_and_what_the_gate_said(signed):
    number = signed.add_version()
    promote(signed.config, str(number), force=True, reason="test")
    before = signed.find(number).signature
    (signed.bundle.path / SIGNATURE_FILE).unlink()
    log_bundle(signed.bundle, signed.config)
    assert signed.find(number).signature == before
    assert (signed.bundle.path / SIGNATURE_FILE).read_text() == before
