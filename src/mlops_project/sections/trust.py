"""The section about origin: whose models are used, and the key that signs them."""

from typing import Annotated

from msgspec import Meta

from mlops_project.sections.section import Section


class TrustConfig(Section, frozen=True, dict=True):
    """Whose models are used: public keys that check signatures, and the private one that makes them; see docs/signing.md.

    What a bundle's own `config.yaml` says here is never read.
    """

    keys: Annotated[
        tuple[str, ...],
        Meta(
            description="Public keys (PEM; Ed25519, or ECDSA on P-256) whose signatures count: files, each with one key or "
            "several, or `env:NAME` for a variable that holds them. Without one, no signature is looked at."
        ),
    ] = ()
    approvers: Annotated[
        tuple[str, ...],
        Meta(
            description="Public keys, as for `keys`, of the people whose approvals count (`gates.approval`); none of them may "
            "be in `keys`. With them an approval has to be signed (`mlops approve --key`)."
        ),
    ] = ()
    require: Annotated[bool, Meta(description="Refuse a model that is not signed by one of `trust.keys`.")] = False
    signing_key: Annotated[
        str | None,
        Meta(
            description="Private key (PEM): a file, or `env:NAME`. Where it is set, every model is signed as soon as the gate "
            "has judged it. A password is read from `MODEL_SIGNING_KEY_PASSWORD`."
        ),
    ] = None
