"""Whether an approval counts: by its record, and by its signature where keys are named."""

import base64
import json

import msgspec
import pytest

from mlops_project.config import read_config
from mlops_project.errors import ConfigError
from mlops_project.signatures.approval import Approval, ApprovalPolicy, explain_missing, read_approval_policy, sign_approval
from mlops_project.signatures.envelope import sign_payload
from mlops_project.signatures.keys import create_key, load_private_key
from mlops_project.signatures.policy import ANYBODY, TrustPolicy
from mlops_project.signatures.signing import sign_bundle
from mlops_project.signatures.statement import GateDecision

PRIVATE, PUBLIC = create_key()
OTHER_PRIVATE, OTHER_PUBLIC = create_key()
KEY, STRANGER = load_private_key(PRIVATE, "x"), load_private_key(OTHER_PRIVATE, "x")
DIGEST = "a" * 64
AT = "2026-11-30T12:00:00+00:00"
GOOD = Approval(
    model="churn", version=3, digest=DIGEST, decision="approved", user="ana", at=AT, reason="read", registered_by="bob"
)
BY_RECORD, BY_KEY = ApprovalPolicy(required=True), ApprovalPolicy(required=True, keys=(PUBLIC,))


def explain(policy: ApprovalPolicy, approval: Approval | None, envelope: str = "", **version: object) -> str:
    asked = {"name": "churn", "version": 3, "digest": DIGEST} | version
    return explain_missing(policy, approval, envelope, **asked)  # type: ignore[arg-type]


def change(**fields: object) -> Approval:
    return msgspec.structs.replace(GOOD, **fields)


def test_nothing_is_asked_for_where_no_approval_is_required():
    assert explain(ApprovalPolicy(), None) == ""


WRONG = {
    "none": (None, "waits for the approval of a second person"),
    "refused": (change(decision="refused", reason="too old"), "ana refused it: too old"),
    "another version": (change(version=2), "its approval is of 'churn' version 2"),
    "another model": (change(model="fraud"), "its approval is of 'fraud' version 3"),
    "another bundle": (change(digest="b" * 64), "of another bundle"),
    "who registered it": (change(user="Bob"), "Bob registered it as well"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("signed", [False, True], ids=["record", "signature"])
def test_only_the_approval_of_a_second_person_for_this_very_bundle_counts(case, signed):
    approval, said = WRONG[case]
    envelope = sign_approval(approval, KEY) if signed and approval else ""
    assert said in explain(BY_KEY if signed else BY_RECORD, approval, envelope)
    assert explain(BY_KEY if signed else BY_RECORD, GOOD, sign_approval(GOOD, KEY) if signed else "") == ""


def test_version_without_a_digest_cannot_be_approved():
    assert "has no digest" in explain(BY_RECORD, change(digest=""), digest="")


def test_record_in_the_registry_counts_for_nothing_where_keys_are_named():
    assert "that is signed" in explain(BY_KEY, GOOD)
    refused = sign_approval(change(decision="refused", reason="no"), KEY)
    assert explain(BY_KEY, GOOD, refused) == "ana refused it: no"


def forge(**changes: object) -> str:
    """An approval that the approver signed, with changed content."""
    envelope = json.loads(sign_approval(GOOD, KEY))
    payload = json.loads(base64.b64decode(envelope["payload"])) | changes
    return json.dumps(envelope | {"payload": base64.b64encode(json.dumps(payload).encode()).decode()})


FORGED = {
    "by a stranger": (sign_approval(GOOD, STRANGER), "none of trust.approvers"),
    "changed": (forge(predicateType="urn:mlops_project:approval:v2"), "changed after it was signed"),
    "no envelope": ("{}", "not a DSSE envelope"),
    "a model's signature": (
        sign_bundle(KEY, "churn", "3", {}, DIGEST, GateDecision(promoted=True)).decode(),
        "cannot be read as an approval",
    ),
    "of something else": (
        sign_payload(
            msgspec.json.encode(
                {
                    "_type": "https://in-toto.io/Statement/v1",
                    "subject": [{"name": "metadata.json", "digest": {"sha256": DIGEST}}],
                    "predicateType": "urn:elsewhere:v1",
                    "predicate": GOOD,
                }
            ),
            KEY,
        ).decode(),
        "is no approval",
    ),
    "two bundles": (
        sign_payload(
            msgspec.json.encode(
                {
                    "_type": "https://in-toto.io/Statement/v1",
                    "subject": [{"name": "metadata.json", "digest": {"sha256": "c" * 64}}],
                    "predicateType": "urn:mlops_project:approval:v1",
                    "predicate": GOOD,
                }
            ),
            KEY,
        ).decode(),
        "another bundle than it approves",
    ),
}


@pytest.mark.parametrize("case", FORGED)
def test_forged_approval_is_not_taken_for_one(case):
    envelope, said = FORGED[case]
    found = explain(BY_KEY, GOOD, envelope)
    assert found.startswith("its approval does not count: ")
    assert said in found


def test_longest_reason_fits_into_a_tag_of_mlflow():
    from mlops_project.tracking.approvals import MAX_REASON

    longest = change(reason="\U0001f600" * MAX_REASON, model="m" * 200, user="\U0001f600" * 60, registered_by="\U0001f600" * 60)
    assert len(sign_approval(longest, KEY)) <= 5000


def test_keys_are_read_only_where_approvals_are_asked_for(tmp_path):
    (tmp_path / "m.yaml").write_text("trust: {approvers: [missing.pub]}")
    config = read_config(tmp_path / "m.yaml", root=tmp_path, env={})
    assert config.approval_policy == ApprovalPolicy()
    asked = read_config(tmp_path / "m.yaml", root=tmp_path, env={"MLOPS_GATES__APPROVAL": "required"})
    with pytest.raises(ConfigError, match=r"missing\.pub"):
        _ = asked.approval_policy


def test_policy_that_nobody_could_fulfil_or_that_one_person_could_is_refused(tmp_path):
    (tmp_path / "ana.pub").write_text(PUBLIC)
    with pytest.raises(ConfigError, match=r"trust\.approvers is empty, so no approval would count"):
        read_approval_policy((), tmp_path, TrustPolicy((OTHER_PUBLIC,), required=True))
    with pytest.raises(ConfigError, match=r"is in trust\.keys as well"):
        read_approval_policy(("ana.pub",), tmp_path, TrustPolicy((PUBLIC, OTHER_PUBLIC)))
    (tmp_path / "ana.pem").write_text(PRIVATE)
    with pytest.raises(ConfigError, match=r"trust\.approvers: ana\.pem holds a private key"):
        read_approval_policy(("ana.pem",), tmp_path, ANYBODY)
    assert len(read_approval_policy(("ana.pub",), tmp_path, TrustPolicy((OTHER_PUBLIC,), required=True)).keys) == 1
