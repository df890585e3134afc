"""A registered version's bundle, fetched from MLflow: its signature is checked first, then every file."""

from pathlib import Path

from mlops_project.bundle import SIGNATURE_FILE, Bundle, load_bundle
from mlops_project.errors import BundleError, SignatureError
from mlops_project.signatures.policy import Offer, TrustPolicy, check_signature
from mlops_project.tracking.registry import Version
from mlops_project.tracking.store import Store


class OtherNameError(BundleError):
    """A registered version's bundle has another model's name."""

    code = "bundle_name"


def check_origin(version: Version, trust: TrustPolicy, offer: Offer) -> None:
    """Check a version's signature.

    Raises
    ------
    SignatureError
        If ``trust`` does not accept it as what it is offered.
    """
    try:
        check_signature(trust, version.signature.encode() or None, version.digest, offer)
    except SignatureError as error:
        raise SignatureError(f"{version.name} version {version.number}: {error}") from error


def download_bundle(store: Store, version: Version, folder: Path, trust: TrustPolicy, *, offer: Offer | None = None) -> Bundle:
    """Fetch a version's bundle into ``folder``, an existing directory, and check it; its signature first.

    Parameters
    ----------
    trust
        Whose signatures count.
    offer
        As what it is offered; default by its number and aliases.

    Raises
    ------
    BundleError
        If what the registry holds is not a whole bundle, or another model's.
    """
    from mlflow.artifacts import download_artifacts

    offered, signature = offer or version.as_offered(), version.signature.encode()
    if version.digest:  # nothing is fetched that is not signed
        check_origin(version, trust, offered)
    source = store.client.get_model_version_download_uri(version.name, str(version.number))
    path = download_artifacts(artifact_uri=source, dst_path=str(folder), tracking_uri=store.client.tracking_uri)
    if signature:
        Path(path, SIGNATURE_FILE).write_bytes(signature)
    bundle = load_bundle(path, trust=trust, offer=offered)
    if bundle.metadata.name != version.name:
        raise OtherNameError(
            f"{version.name} version {version.number}: its bundle calls itself {bundle.metadata.name!r}; train it with "
            f"`model.name: {version.name}`, or register it under its own name"
        )
    if version.digest and bundle.digest != version.digest:
        raise BundleError(f"{version.name} version {version.number}: the registry holds another bundle than was registered")
    return bundle
