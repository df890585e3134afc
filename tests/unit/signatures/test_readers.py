"""Every reader of a folder refuses every bundle that is not what it is offered as, and takes the honest one."""

import ast
import hashlib
import json
import logging
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

import mlops_project as mlops
from mlops_project.bundle import SIGNATURE_FILE, load_bundle
from mlops_project.cli import main
from mlops_project.config import read_config
from mlops_project.errors import BundleError, MLOpsError, SignatureError
from mlops_project.metadata import read_metadata, seal
from mlops_project.monitoring.service.bundles import BundleFinder
from mlops_project.score import open_model
from mlops_project.serving.metrics import ServerMetrics
from mlops_project.serving.models import LoadedModels
from mlops_project.serving.settings import build_settings
from mlops_project.signatures.keys import create_key, load_private_key
from mlops_project.signatures.signing import sign_bundle
from mlops_project.signatures.statement import GateDecision

ROOT = Path(__file__).parents[3]
KEY, STRANGER = create_key(), create_key()


def sign(bundle, pair=KEY, *, version: str = "3", promoted: bool = True, name: str = "tiny") -> None:
    key, gate = load_private_key(pair[0], "key.pem"), GateDecision(promoted=promoted, verdict="better")
    bundle.note_signature(sign_bundle(key, name, version, bundle.metadata.files, bundle.digest, gate))


@pytest.fixture
def registered(tiny_bundle):
    """A bundle as `mlops sync` leaves it: version 3, signed as promoted."""
    tiny_bundle.note_tracking(model_name="tiny", model_version="3")
    sign(tiny_bundle)
    return tiny_bundle


@pytest.fixture
def config(tmp_path, registered):
    """A configuration whose model is that bundle, exported and served."""
    folder = tmp_path / "served" / "tiny"
    (folder / "versions").mkdir(parents=True)
    (folder / "versions" / "3-abcdefabcdef").symlink_to(registered.path)
    (folder / "champion").symlink_to("versions/3-abcdefabcdef")
    (tmp_path / "trusted.pub").write_text(KEY[1])
    (tmp_path / "model.yaml").write_text(
        "model: {name: tiny}\npaths: {exported_model_dir: model, served_models_dir: served}\n"
        "trust: {keys: [trusted.pub], require: true}\ntracking: {enabled: false}\n"
    )
    return read_config(tmp_path / "model.yaml", root=tmp_path, env={})


def rewrite_metadata(bundle, **changes) -> None:
    """Change what the metadata says, and seal it again, as somebody would who can write the folder."""
    file = bundle.path / "metadata.json"
    file.write_bytes(seal(msgspec.structs.replace(read_metadata(file.read_bytes()), **changes)))
    (bundle.path / "tracking.json").unlink()


def write_newer_format(bundle) -> None:
    file = bundle.path / "metadata.json"
    said = json.loads(file.read_bytes()) | {"format_version": 99}
    del said["sha256"]
    file.write_bytes(seal(said))
    (bundle.path / "tracking.json").unlink()
    sign(load_digest(bundle))


def load_digest(bundle):
    """The bundle's handle with the digest that its metadata has by now."""
    return replace(bundle, digest=hashlib.sha256((bundle.path / "metadata.json").read_bytes()).hexdigest())


def replay(bundle) -> None:
    """Offer version 3, with its signature, as version 4."""
    bundle.note_tracking(model_name="tiny", model_version="4")


def append(bundle) -> None:
    with (bundle.path / "model.onnx").open("ab") as file:
        file.write(b"\0")


ATTACKS = {
    "unsigned": (lambda bundle: (bundle.path / SIGNATURE_FILE).unlink(), "is not signed, and trust.require asks for that"),
    "wrongly signed": (lambda bundle: sign(bundle, STRANGER), "is none of trust.keys"),
    "tampered file": (append, "sha256 is"),
    "tampered metadata": (
        lambda bundle: rewrite_metadata(bundle, metrics={"accuracy": 1.0, "f1": 1.0}),
        "is of another bundle",
    ),
    "signature of another version": (replay, "signed as version 3 and says that it is version 4"),
    "newer format": (write_newer_format, "bundle format 99 is unknown here"),
    "signature cut off": (lambda bundle: (bundle.path / SIGNATURE_FILE).write_bytes(b"{"), "not a DSSE envelope"),
    "signature is a pipe": (lambda bundle: make_pipe(bundle.path / SIGNATURE_FILE), "is not a regular file"),
    "another model's": (lambda bundle: sign(bundle, name="other"), "signed as model 'other'"),
}


def make_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def read_by_load(config, monkeypatch, caplog):
    return load_bundle(config.model_dir, trust=config.trust_policy)


def read_by_score(config, monkeypatch, caplog):
    with open_model(None, config) as (bundle, _):
        return bundle


def read_by_python(config, monkeypatch, caplog):
    return mlops.load(config.model_dir, config=config).bundle


def read_by_server(config, monkeypatch, caplog, **places):
    given = places or {"model_dir": config.model_dir}
    (config.root / "counters").mkdir(exist_ok=True)
    models = LoadedModels(
        build_settings(config, metrics_dir=config.root / "counters", **given), ServerMetrics(config.root / "counters")
    )
    with caplog.at_level(logging.ERROR):
        models.refresh()
    if not models.champions:
        raise BundleError(caplog.text)
    return models.champions["tiny"].bundle


def read_by_server_of_links(config, monkeypatch, caplog):
    return read_by_server(config, monkeypatch, caplog, models_dir=config.served_models_dir)


def read_by_monitor(config, monkeypatch, caplog):
    with caplog.at_level(logging.WARNING):
        numbers = {str(number): BundleFinder(config)("tiny", str(number)) for number in (3, 4)}
        found = numbers["3"] or numbers["4"]
    if found is None:
        raise BundleError(caplog.text)
    return found


def read_by_application(config, monkeypatch, caplog):
    from mlops_project.ui.catalogue import find_models, open_model

    return open_model(find_models(config), "tiny").bundle


def read_by_verify(config, monkeypatch, caplog):
    done = CliRunner().invoke(main, ["verify", str(config.file)])
    if done.exit_code:
        raise BundleError(done.stderr)
    assert "promoted  yes" in done.output
    return load_bundle(config.model_dir)


READERS = [
    read_by_load,
    read_by_score,
    read_by_python,
    read_by_server,
    read_by_server_of_links,
    read_by_monitor,
    read_by_application,
    read_by_verify,
]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__.removeprefix("read_by_"))
def test_honest_bundle_is_read(reader, config, registered, monkeypatch, caplog):
    assert reader(config, monkeypatch, caplog).digest == registered.digest


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__.removeprefix("read_by_"))
@pytest.mark.parametrize("attack", ATTACKS)
def test_dishonest_bundle_is_refused_and_the_reader_says_why(attack, reader, config, registered, monkeypatch, caplog):
    change, said = ATTACKS[attack]
    change(registered)
    with pytest.raises(MLOpsError) as caught:
        reader(config, monkeypatch, caplog)
    assert said in str(caught.value)


def test_champion_s_link_to_a_version_that_was_not_promoted_is_refused_and_the_challenger_s_is_not(
    config, registered, monkeypatch, caplog
):
    sign(registered, promoted=False)
    with pytest.raises(BundleError, match="signed as a version that was not promoted"):
        read_by_server_of_links(config, monkeypatch, caplog)
    assert read_by_server(config, monkeypatch, caplog).digest == registered.digest  # a folder is no link


def test_unsigned_bundle_of_today_loads_where_signatures_are_not_required(config, registered):
    (registered.path / SIGNATURE_FILE).unlink()
    lenient = msgspec.structs.replace(config.trust, require=False)
    changed = msgspec.structs.replace(config, trust=lenient)
    changed.__dict__.update(file=config.file, root=config.root)
    assert load_bundle(registered.path, trust=changed.trust_policy).digest == registered.digest
    sign(registered, STRANGER)
    with pytest.raises(SignatureError, match=r"none of trust\.keys"):
        load_bundle(registered.path, trust=changed.trust_policy)
    assert load_bundle(registered.path).digest == registered.digest  # without a key, no signature is looked at


def test_second_key_signs_on_while_the_first_still_counts(config, registered):
    with (config.root / "trusted.pub").open("a") as file:
        file.write(STRANGER[1])
    for pair in (KEY, STRANGER):
        sign(registered, pair)
        assert load_bundle(registered.path, trust=config.trust_policy).digest == registered.digest


def test_nothing_of_a_bundle_is_parsed_before_its_signature_fits(config, registered):
    (registered.path / "metadata.json").write_bytes(b"this is not JSON, and nobody finds out")
    with pytest.raises(SignatureError, match="is of another bundle"):
        load_bundle(registered.path, trust=config.trust_policy)


def test_bundle_s_own_configuration_says_neither_whom_to_trust_nor_what_signs(config, registered):
    (registered.path / "config.yaml").write_text("trust: {keys: [evil.pub], signing_key: /home/you/signing.pem}\n")
    own = read_config(registered.path / "config.yaml", root=config.root, env={})
    assert (own.trust.keys, own.trust.signing_key) == ((), None)
    given = {"MLOPS_TRUST__KEYS": "[trusted.pub]", "MLOPS_TRUST__REQUIRE": "true"}
    assert read_config(registered.path / "config.yaml", root=config.root, env=given).trust_policy == config.trust_policy


def test_sign_and_verify_from_the_command_line(config, registered):
    (config.root / "signing.pem").write_text(STRANGER[0])
    options = [str(config.file), "--set", "trust.signing_key=signing.pem"]
    signed = CliRunner().invoke(main, ["sign", *options])
    assert signed.exit_code == 0, signed.output
    refused = CliRunner().invoke(main, ["verify", str(config.file), "--json"])
    assert (refused.exit_code, "none of trust.keys" in refused.stderr) == (2, True)
    (config.root / "stranger.pub").write_text(STRANGER[1])
    accepted = CliRunner().invoke(main, ["verify", str(config.file), "--key", str(config.root / "stranger.pub"), "--json"])
    assert json.loads(accepted.output)["statement"]["predicate"]["version"] == "3"
    no_key = CliRunner().invoke(main, ["sign", str(config.file)])
    assert (no_key.exit_code, "trust.signing_key is not set" in no_key.stderr) == (2, True)


def test_every_call_in_the_product_that_reads_a_bundle_says_whom_it_trusts():
    without = []
    for file in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "load_bundle"
            if is_call and "trust" not in {keyword.arg for keyword in node.keywords}:
                without.append(file.stem)
    # sign: whoever signs says that it is to be trusted; sync: its digest is the one whose signature was checked
    assert without == ["sign", "sync"]


def test_cryptography_is_loaded_by_no_server_that_checks_no_signatures():
    script = "import sys, mlops_project.serve, mlops_project.serving.server, mlops_project.sync; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "cryptography" not in {name.partition(".")[0] for name in done.stdout.split()}
