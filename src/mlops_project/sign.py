"""Sign and verify: who made a model, shown with keys. ``mlops sign`` and ``mlops verify``."""

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlops_project.bundle import SIGNATURE_FILE, Bundle, load_bundle
from mlops_project.command import WorkflowCommand, config_options, echo, print_json
from mlops_project.config import Config
from mlops_project.errors import ConfigError, SignatureError, explain_os
from mlops_project.score import REGISTRY, fetch_model
from mlops_project.signatures.keys import create_key
from mlops_project.signatures.policy import ANYBODY, UNNAMED, Offer, TrustPolicy, Verified, check_signature, read_policy
from mlops_project.signatures.signing import find_key, sign_bundle
from mlops_project.signatures.statement import GateDecision

if TYPE_CHECKING:
    from mlops_project.tracking.registry import Version


def write_keys(file: Path) -> Path:
    """Make a pair of keys: the private one in ``file``, readable by its owner alone, the public one beside it; return that one.

    Raises
    ------
    ConfigError
        If one of the files is there already, or cannot be written.
    """
    public_file = file.with_name(f"{file.name}.pub")
    if public_file.exists():
        raise ConfigError(f"{public_file} is there already, and models may be signed with its key; name another file")
    private, public = create_key()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(private)
        public_file.write_text(public, encoding="ascii")
    except FileExistsError as error:
        raise ConfigError(f"{file} is there already, and is not replaced; name another file") from error
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {explain_os(error)}") from error
    return public_file


def sign_folder(config: Config, folder: Path) -> Bundle:
    """Sign the bundle in a folder, with the version that its ``tracking.json`` has.

    Raises
    ------
    ConfigError, BundleError
        If there is no key, or no whole bundle.
    """
    key = find_key(config.trust.signing_key, config.root)
    if key is None:
        raise ConfigError(
            "trust.signing_key is not set; make keys with `mlops sign --new-key signing.pem`, then give "
            "--set trust.signing_key=signing.pem"
        )
    bundle = load_bundle(folder)  # unverified on purpose: whoever signs says that it is to be trusted
    metadata, version = bundle.metadata, bundle.read_tracking().model_version
    bundle.note_signature(sign_bundle(key, metadata.name, version, metadata.files, bundle.digest, GateDecision()))
    return bundle


def sign_registered(config: Config, which: str) -> "tuple[Version, bool]":
    """Sign a registered version, with what the gate said of it; return it, and whether it is signed as promoted.

    Parameters
    ----------
    which
        Version number or alias.

    Raises
    ------
    ConfigError, TrackingError, BundleError
        If there is no key, no such version, or no whole bundle of it.
    """
    from mlops_project.tracking import registry
    from mlops_project.tracking.download import download_bundle
    from mlops_project.tracking.signing import sign_version
    from mlops_project.tracking.store import open_store

    with open_store(config) as store, tempfile.TemporaryDirectory(prefix="mlops-sign-") as folder:
        version = registry.find_version(store, config.model.name, which)
        bundle = download_bundle(store, version, Path(folder), ANYBODY)
        moves = registry.read_moves(store, version.name)
        promoted = registry.CHAMPION in version.aliases or any(
            (move.alias, move.target) == (registry.CHAMPION, version.number) for move in moves
        )
        gate = GateDecision(promoted=promoted, verdict=version.verdict, reason=version.reason)
        if not sign_version(store, config, version, bundle, gate):
            raise ConfigError("trust.signing_key is not set; give --set trust.signing_key=signing.pem")
    return version, promoted


@click.command(
    cls=WorkflowCommand,
    name="sign",
    examples=(
        "mlops sign --new-key signing.pem",
        "mlops sign churn.yaml --set trust.signing_key=signing.pem   # the exported model",
        "mlops sign churn.yaml --version 3                # a registered one, with the gate's decision",
    ),
)
@config_options
@click.option("--version", "which", metavar="N", help="Sign this registered version, or alias, with the gate's decision.")
@click.option("--model", type=click.Path(path_type=Path), metavar="DIR", help="Bundle to sign; default the exported model.")
@click.option("--new-key", type=click.Path(path_type=Path), metavar="FILE", help="Make a pair of keys and end.")
def command(config: Config, which: str | None, model: Path | None, new_key: Path | None) -> None:
    """Sign a model: its name, version, every file and the gate's decision. Training and promoting do it by themselves."""
    if new_key is not None:
        public = write_keys(new_key)
        echo(f"private key: {new_key}   keep it secret, out of the repository", f"public key:  {public}")
        echo("to sign:   --set trust.signing_key=" + str(new_key), f"to verify: --set trust.keys=[{public}]")
        return
    if which is not None and model is not None:
        raise ConfigError("--version and --model exclude each other: a version of the registry, or a folder")
    if which is None:
        bundle = sign_folder(config, model or config.model_dir)
        echo(f"signed {bundle.metadata.name} version {bundle.version}: {bundle.path / SIGNATURE_FILE}")
        return
    version, promoted = sign_registered(config, which)
    state = "a version that was promoted" if promoted else "a version that was not promoted: it cannot become champion unsigned"
    echo(f"signed {version.name} version {version.number} as {state}")


def verify(config: Config, place: str | None, policy: TrustPolicy) -> tuple[Bundle, Verified]:
    """Check a bundle's signature, then every file.

    Parameters
    ----------
    place
        A folder, or ``models:/name@champion`` or ``models:/name/3``; None for the exported model.
    policy
        Whose signatures count.

    Raises
    ------
    ConfigError, BundleError, TrackingError
        If there is no key to check with, no bundle, or ``policy`` does not accept it.
    """
    if not policy.keys:
        raise ConfigError("there is no key to verify with; give --key signing.pem.pub, or set trust.keys")
    strict = TrustPolicy(policy.keys, required=True)
    with tempfile.TemporaryDirectory(prefix="mlops-verify-") as folder:
        if place is not None and place.startswith(REGISTRY):
            bundle, _ = fetch_model(place, config, Path(folder), strict, proven=False)
        else:
            bundle = load_bundle(place or config.model_dir, trust=strict)
        verified = check_signature(strict, (bundle.path / SIGNATURE_FILE).read_bytes(), bundle.digest, _offer(bundle))
    if verified is None:
        raise SignatureError(f"{bundle.path}: it is not signed; `mlops sign` signs it")
    return bundle, verified


def _offer(bundle: Bundle) -> Offer:
    number = bundle.read_tracking().model_version
    return Offer(bundle.metadata.name, number) if number else UNNAMED


@click.command(
    cls=WorkflowCommand,
    name="verify",
    examples=(
        "mlops verify churn.yaml --key signing.pem.pub",
        "mlops verify churn.yaml --model models:/churn@champion --json",
    ),
)
@config_options
@click.option("--model", metavar="PLACE", help="Bundle, models:/name@champion or models:/name/3; default the exported model.")
@click.option("--key", "keys", multiple=True, metavar="FILE", help="Public key; may be repeated; default trust.keys.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def verify_command(config: Config, model: str | None, keys: tuple[str, ...], as_json: bool) -> None:
    """Check who signed a model, and that nothing of it was changed since (exit 2: it must not be used)."""
    policy = read_policy(keys, Path.cwd(), required=True) if keys else config.trust_policy
    bundle, verified = verify(config, model, policy)
    said = verified.statement.predicate
    if as_json:
        print_json({"path": str(bundle.path), "digest": bundle.digest, "key": verified.key.id, "statement": verified.statement})
        return
    gate = f"{said.gate.verdict}: {said.gate.reason}" if said.gate.verdict else "was not asked"
    echo(
        f"{said.name} version {said.version or 'none'}: signed {said.signed_at} by key {verified.key.id[:12]}",
        f"  files     {len(verified.statement.subject)}, all as signed",
        f"  promoted  {'yes' if said.gate.promoted else 'no'}",
        f"  gate      {gate}",
    )


if __name__ == "__main__":
    command()
