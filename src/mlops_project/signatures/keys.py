"""Keys in PEM: Ed25519, and ECDSA on P-256 with SHA-256. ``cryptography`` is imported here alone, once there is a key."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlops_project.errors import ConfigError, explain_os
from mlops_project.names import show

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FROM_ENVIRONMENT = "env:"
PASSPHRASE_VARIABLE = "MODEL_SIGNING_KEY_PASSWORD"  # noqa: S105 - a variable's name
MAX_BYTES = 1 << 20  # of a key file
PUBLIC = re.compile(r"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)
EXPECTED = "expected Ed25519 or ECDSA on P-256; make a pair with `mlops sign --new-key signing.pem`"
MISSING = "signatures need the package cryptography; install it with: pip install 'mlops_project[sign]'"


@dataclass(frozen=True)
class PublicKey:
    """A key that checks signatures.

    Attributes
    ----------
    id
        sha256 of the key (DER, SubjectPublicKeyInfo), as hexadecimal digits.
    key
        Of ``cryptography``.
    """

    id: str
    key: "Ed25519PublicKey | EllipticCurvePublicKey"

    def is_valid(self, signature: bytes, message: bytes) -> bool:
        """Whether this key's private half made the signature."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            if isinstance(self.key, EllipticCurvePublicKey):
                self.key.verify(signature, message, ECDSA(SHA256()))
            else:
                self.key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """A key that signs.

    Attributes
    ----------
    key
        Of ``cryptography``.
    """

    key: "Ed25519PrivateKey | EllipticCurvePrivateKey"

    @property
    def public(self) -> PublicKey:
        """Its public half."""
        return _identify(self.key.public_key())

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message."""
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256

        if isinstance(self.key, EllipticCurvePrivateKey):
            return self.key.sign(message, ECDSA(SHA256()))
        return self.key.sign(message)


def read_key_text(place: str, root: Path) -> str:
    """Return the PEM text of a file, relative to ``root``, or of a variable, ``env:NAME``.

    Raises
    ------
    ConfigError
        If there is none.
    """
    if place.startswith(FROM_ENVIRONMENT):
        name = place.removeprefix(FROM_ENVIRONMENT)
        if not os.environ.get(name):
            raise ConfigError(f"{show(place)}: the variable {show(name)} is not set; expected a key in PEM")
        return os.environ[name]
    file = root / Path(place).expanduser()
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{file}: is larger than {MAX_BYTES >> 20} MiB; expected a key in PEM")
        return file.read_text(encoding="ascii")
    except OSError as error:
        raise ConfigError(f"{file}: the key cannot be read: {explain_os(error)}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not a key in PEM; make a pair with `mlops sign --new-key signing.pem`") from error


def find_public_keys(text: str, place: str, *, setting: str = "trust.keys") -> tuple[str, ...]:
    """Return the public keys in a text, each in PEM.

    Parameters
    ----------
    setting
        That names the place, for messages.

    Raises
    ------
    ConfigError
        If there is none, or a private key among them.
    """
    if "PRIVATE KEY" in text:
        raise ConfigError(f"{setting}: {show(place)} holds a private key; name the file with the public one (.pub)")
    found = tuple(PUBLIC.findall(text))
    if not found:
        raise ConfigError(f"{setting}: {show(place)} holds no public key in PEM (-----BEGIN PUBLIC KEY-----)")
    return found


def load_public_key(pem: str) -> PublicKey:
    """Return a public key.

    Raises
    ------
    ConfigError
        If it is none of the two kinds, or ``cryptography`` is not installed.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ModuleNotFoundError as error:
        raise ConfigError(MISSING) from error
    try:
        return _identify(load_pem_public_key(pem.encode()))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"trust.keys: a public key cannot be read: {show(str(error))}; {EXPECTED}") from error


def load_private_key(text: str, place: str) -> PrivateKey:
    """Return a private key; one with a password takes it from ``MODEL_SIGNING_KEY_PASSWORD``.

    Raises
    ------
    ConfigError
        If it cannot be read, is none of the two kinds, or ``cryptography`` is not installed.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ModuleNotFoundError as error:
        raise ConfigError(MISSING) from error
    password = os.environ.get(PASSPHRASE_VARIABLE, "").encode() or None
    try:
        key = load_pem_private_key(text.encode(), password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: a password is missing, or one too many
        hint = f" (its password is read from {PASSPHRASE_VARIABLE})" if "password" in str(error).lower() else ""
        raise ConfigError(f"trust.signing_key: {show(place)} cannot be read: {show(str(error))}{hint}") from error
    _check_kind(key.public_key())
    return PrivateKey(key)  # type: ignore[arg-type]  # one of the two kinds, as was checked


def create_key() -> tuple[str, str]:
    """Return a new Ed25519 pair in PEM: the private key, without a password, and the public one."""
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
    except ModuleNotFoundError as error:
        raise ConfigError(MISSING) from error
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


def _identify(key: object) -> PublicKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    checked = _check_kind(key)
    return PublicKey(hashlib.sha256(checked.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest(), checked)


def _check_kind(key: object) -> "Ed25519PublicKey | EllipticCurvePublicKey":
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    if isinstance(key, Ed25519PublicKey) or (isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)):
        return key
    raise ConfigError(f"a key for signatures is a {type(key).__name__}; {EXPECTED}")
