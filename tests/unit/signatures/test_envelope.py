import base64
import json

import pytest
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from mlops_project.errors import SignatureError
from mlops_project.signatures.envelope import PAYLOAD_TYPE, open_envelope, sign_payload
from mlops_project.signatures.keys import create_key, load_private_key
from mlops_project.signatures.statement import GateDecision, decode_statement, encode_statement

KEY, OTHER = (load_private_key(create_key()[0], "key.pem") for _ in range(2))
PAYLOAD = encode_statement("churn", "3", {"model.onnx": "a" * 64}, "b" * 64, GateDecision(promoted=True, verdict="better"))


def change(raw: bytes, **changes) -> bytes:
    return json.dumps(json.loads(raw) | changes).encode()


def test_what_was_signed_comes_back():
    payload, key = open_envelope(sign_payload(PAYLOAD, KEY), [OTHER.public, KEY.public])
    statement = decode_statement(payload)
    assert key.id == KEY.public.id
    assert statement.digests == {"metadata.json": "b" * 64, "model.onnx": "a" * 64}
    assert (statement.predicate.name, statement.predicate.version, statement.predicate.gate.promoted) == ("churn", "3", True)


def test_reference_library_of_dsse_accepts_our_envelopes_and_we_accept_its(tmp_path):
    theirs = SSlibKey.from_crypto(KEY.key.public_key())
    ours = OtherEnvelope.from_dict(json.loads(sign_payload(PAYLOAD, KEY)) | {"signatures": _named(KEY, theirs.keyid)})
    assert theirs.keyid in ours.verify([theirs], 1)
    made = OtherEnvelope(PAYLOAD, PAYLOAD_TYPE, {})
    made.sign(CryptoSigner(KEY.key))
    assert open_envelope(json.dumps(made.to_dict()).encode(), [KEY.public])[0] == PAYLOAD


def _named(key, keyid: str) -> list[dict[str, str]]:
    """Their library finds signatures by its own key ids, which the specification leaves open."""
    return [json.loads(sign_payload(PAYLOAD, key))["signatures"][0] | {"keyid": keyid}]


def test_statement_is_what_in_toto_asks_for():
    said = json.loads(PAYLOAD)
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert said["subject"][0] == {"name": "metadata.json", "digest": {"sha256": "b" * 64}}
    assert said["predicateType"] == "urn:mlops_project:bundle-origin:v1"
    assert said["predicate"]["gate"] == {"promoted": True, "verdict": "better", "reason": ""}


SIGNED = sign_payload(PAYLOAD, KEY)
CHANGED = base64.b64encode(PAYLOAD.replace(b'"3"', b'"4"')).decode()


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param(b"", "not a DSSE envelope", id="empty"),
        pytest.param(b"\xff\xfe", "not a DSSE envelope", id="no text"),
        pytest.param(b"[" * 100_000, "not a DSSE envelope", id="deep"),
        pytest.param(SIGNED[:-20], "not a DSSE envelope", id="cut off"),
        pytest.param(change(SIGNED, payload="%%%"), "not a DSSE envelope", id="no base64"),
        pytest.param(change(SIGNED, payload=CHANGED), "changed after it was signed", id="changed statement"),
        pytest.param(change(SIGNED, payloadType="text/plain"), "expected application/vnd.in-toto", id="another type"),
        pytest.param(change(SIGNED, signatures=[]), "signed by nobody", id="no signatures"),
        pytest.param(sign_payload(PAYLOAD, OTHER), "none of trust.keys", id="another key"),
        pytest.param(change(SIGNED, signatures=[{"sig": ""}]), "a key without a name", id="empty signature"),
        pytest.param(change(SIGNED, signatures=[{"sig": "", "keyid": "x\x1b[2J"}] * 1000), "none of trust.keys", id="many"),
    ],
)
def test_envelope_that_does_not_fit_is_refused_and_says_why(raw, said):
    with pytest.raises(SignatureError, match=said) as caught:
        open_envelope(raw, [KEY.public])
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"predicateType": "urn:mlops_project:bundle-origin:v2"}, "format v2, known here: v1; update mlops_project"),
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "says nothing of where a bundle is from"),
        ({"subject": "all"}, "cannot be read"),
        ({"_type": None}, "cannot be read"),
    ],
)
def test_signed_statement_of_another_kind_is_refused(changes, said):
    with pytest.raises(SignatureError, match=said):
        decode_statement(json.dumps(json.loads(PAYLOAD) | changes).encode())


def test_signature_of_the_bare_statement_without_its_type_does_not_count():
    bare = {"sig": base64.b64encode(KEY.sign(PAYLOAD)).decode(), "keyid": KEY.public.id}
    with pytest.raises(SignatureError, match="changed after"):
        open_envelope(change(SIGNED, signatures=[bare]), [KEY.public])
