import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mlops_project.cli import main
from mlops_project.errors import ConfigError
from mlops_project.signatures.keys import create_key, find_public_keys, load_private_key, load_public_key, read_key_text
from mlops_project.signatures.policy import read_policy

PKCS8 = Encoding.PEM, PrivateFormat.PKCS8


def public_pem(key) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize("kind", ["ed25519", "p256"])
def test_signature_fits_its_message_and_no_other(kind):
    if kind == "ed25519":
        private, public = create_key()
    else:
        made = ec.generate_private_key(ec.SECP256R1())
        private, public = made.private_bytes(*PKCS8, NoEncryption()).decode(), public_pem(made)
    key, other = load_private_key(private, "key.pem"), load_public_key(create_key()[1])
    signature = key.sign(b"message")
    assert load_public_key(public).id == key.public.id
    assert key.public.is_valid(signature, b"message")
    assert not key.public.is_valid(signature, b"another")
    assert not key.public.is_valid(signature[:-1] + bytes([signature[-1] ^ 1]), b"message")
    assert not key.public.is_valid(b"", b"message")
    assert not other.is_valid(signature, b"message")


def test_key_with_a_password_is_read_with_it_and_refused_without(monkeypatch):
    made = ec.generate_private_key(ec.SECP256R1())
    text = made.private_bytes(*PKCS8, BestAvailableEncryption(b"open sesame")).decode()
    with pytest.raises(ConfigError, match="MODEL_SIGNING_KEY_PASSWORD"):
        load_private_key(text, "key.pem")
    monkeypatch.setenv("MODEL_SIGNING_KEY_PASSWORD", "open sesame")
    assert load_private_key(text, "key.pem").public.id == load_public_key(public_pem(made)).id


def test_keys_come_from_files_with_several_and_from_variables(tmp_path, monkeypatch):
    pairs = [create_key() for _ in range(3)]
    (tmp_path / "two.pub").write_text("the old one\n" + pairs[0][1] + "the new one\n" + pairs[1][1])
    monkeypatch.setenv("TRUSTED", pairs[2][1])
    policy = read_policy(["two.pub", "env:TRUSTED"], tmp_path, required=True)
    assert [load_public_key(pem).id for pem in policy.keys] == [load_public_key(public).id for _, public in pairs]


@pytest.mark.parametrize(
    ("place", "content", "said"),
    [
        ("missing.pub", None, "the key cannot be read: No such file"),
        ("env:NOT_SET", None, "the variable NOT_SET is not set"),
        ("words.pub", "no key", "holds no public key in PEM"),
        ("binary.pub", "\xff\xfe", "is not a key in PEM"),
        ("private.pub", create_key()[0], "holds a private key"),
    ],
    ids=["missing", "variable", "words", "binary", "private"],  # a key of its own each time has no place in a name
)
def test_what_is_no_public_key_is_named(tmp_path, place, content, said):
    if content is not None:
        (tmp_path / place).write_text(content, encoding="latin-1")
    with pytest.raises(ConfigError, match=said):
        find_public_keys(read_key_text(place, tmp_path), place)


def test_other_kinds_of_keys_are_refused_with_what_is_expected():
    for made in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(ConfigError, match="expected Ed25519 or ECDSA on P-256"):
            load_public_key(public_pem(made))
        with pytest.raises(ConfigError, match="expected Ed25519 or ECDSA on P-256"):
            load_private_key(made.private_bytes(*PKCS8, NoEncryption()).decode(), "key.pem")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_public_key("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----")
    with pytest.raises(ConfigError, match=r"trust.signing_key: key.pem cannot be read"):
        load_private_key("nothing", "key.pem")


def test_required_signatures_without_a_key_are_a_mistake(tmp_path):
    with pytest.raises(ConfigError, match="every model would be refused"):
        read_policy([], tmp_path, required=True)


def test_new_keys_are_written_once_and_the_private_one_for_its_owner_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["sign", "--new-key", "signing.pem"])
    assert done.exit_code == 0, done.output
    assert "--set trust.signing_key=signing.pem" in done.output
    assert stat.S_IMODE(Path("signing.pem").stat().st_mode) == 0o600
    key = load_private_key(read_key_text("signing.pem", tmp_path), "signing.pem")
    assert load_public_key(read_key_text("signing.pem.pub", tmp_path)).id == key.public.id
    again = CliRunner().invoke(main, ["sign", "--new-key", "signing.pem"])
    assert again.exit_code == 2
    assert "is there already" in again.stderr
