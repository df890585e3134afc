"""Whatever of a bundle is changed or invented, nothing of it is believed: each test has the reader decide, not the writer."""

import hashlib
import json
import os

import msgspec
import pytest

from mlops_project.bundle import METADATA_FILE, MODEL_FILE, TRACKING_FILE, load_bundle, publish, stage
from mlops_project.contract import Contract, Feature
from mlops_project.errors import BundleError
from mlops_project.metadata import Tracking, is_sealed, read_metadata, read_tracking, seal

HOSTILE = ["a\r\nSet-Cookie: x=1", "a\x1b[31m", "a\x00", "a\u2028b", "a\u202eb", "x" * 1001]
LEVELS = (0.0, 1.0)


@pytest.fixture
def tracked_bundle(tiny_bundle):
    tiny_bundle.note_tracking(tracking_uri="http://mlflow:5000", run_id="a1", model_name="tiny", model_version="3")
    return tiny_bundle


@pytest.mark.parametrize("name", [METADATA_FILE, TRACKING_FILE, MODEL_FILE, "plots/roc.png"])
def test_any_flipped_bit_in_any_file_is_refused(tracked_bundle, name):
    file = tracked_bundle.path / name
    content = file.read_bytes()
    accepted = []
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 8
        file.write_bytes(damaged)
        try:
            load_bundle(tracked_bundle.path)
            accepted.append(position)
        except BundleError:
            pass
    assert accepted == []
    file.write_bytes(content)
    assert load_bundle(tracked_bundle.path).version == "3"


@pytest.mark.parametrize("name", [METADATA_FILE, TRACKING_FILE])
def test_any_byte_that_is_lost_added_or_replaced_in_a_description_is_refused(tracked_bundle, name):
    file = tracked_bundle.path / name
    content = file.read_bytes()
    for position in range(0, len(content), 7):
        for damaged in (
            content[:position] + content[position + 1 :],
            content[:position] + b" " + content[position:],
            content[:position] + b"0" + content[position + 1 :],
            content[:position],
        ):
            if damaged == content:
                continue
            file.write_bytes(damaged)
            with pytest.raises(BundleError):
                load_bundle(tracked_bundle.path)


def test_bundle_from_before_there_were_seals_is_read(tracked_bundle):
    for name in (METADATA_FILE, TRACKING_FILE):
        file = tracked_bundle.path / name
        values = json.loads(file.read_bytes())
        file.write_text(json.dumps({key: value for key, value in values.items() if key not in ("sha256", "bundle")}, indent=2))
    loaded = load_bundle(tracked_bundle.path)
    assert loaded.metadata == tracked_bundle.metadata
    assert loaded.version == "3"


def test_tracking_note_of_another_bundle_or_model_is_refused(tracked_bundle):
    metadata = tracked_bundle.metadata
    for noted in (Tracking(bundle="0" * 64), Tracking(model_name="other")):
        with pytest.raises(BundleError, match="it is about"):
            read_tracking(seal(noted), metadata, tracked_bundle.digest)


@pytest.mark.parametrize(
    "values",
    [
        {"model_version": 5},
        {"model_version": None},
        {"model_version": "1\r\nSet-Cookie: x=1"},
        {"model_version": "1\n"},
        {"model_version": "one"},
        {"model_version": "1" * 19},
        {"model_version": "¹"},
        {"run_id": "a b"},
        {"run_id": "../.."},
        {"experiment_id": 1},
        {"tracking_uri": "http://a\x1b[31m"},
        {"tracking_uri": "x" * 1001},
        {"model_name": ["tiny"]},
        {"unknown": "field"},
        [],
        "text",
    ],
)
def test_hostile_tracking_note_is_refused_before_it_is_used(tiny_bundle, values):
    (tiny_bundle.path / TRACKING_FILE).write_text(json.dumps(values))
    with pytest.raises(BundleError, match="delete it, and log the bundle again"):
        load_bundle(tiny_bundle.path)


@pytest.mark.parametrize(
    "raw", [b'{"model_version": "\\ud800"}', b'{"model_version": "\xed\xa0\x80"}', b"", b"\xff", b"[" * 100_000]
)
def test_tracking_note_that_is_no_text_is_refused(tiny_bundle, raw):
    (tiny_bundle.path / TRACKING_FILE).write_bytes(raw)
    with pytest.raises(BundleError):
        load_bundle(tiny_bundle.path)


def test_note_that_could_not_be_read_is_not_written(tiny_bundle):
    with pytest.raises(BundleError):
        tiny_bundle.note_tracking(model_version="1\r\n")
    assert not (tiny_bundle.path / TRACKING_FILE).exists()


def _contract(**changes) -> Contract:
    text = Feature("town", "category", categories=("A", "B"), default="A")
    whole = Contract((text,), "y", "binary", classes=("no", "yes"), class_names=("no", "yes"))
    return msgspec.structs.replace(whole, **changes)


def _feature(**changes) -> Contract:
    return _contract(features=(msgspec.structs.replace(_contract().features[0], **changes),))


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "place",
    [
        lambda text: {"name": text},
        lambda text: {"started_at": text},
        lambda text: {"created_at": text},
        lambda text: {"estimator": text},
        lambda text: {"data_source": text},
        lambda text: {"data_digest": text},
        lambda text: {"table_digest": text},
        lambda text: {"config_digest": text},
        lambda text: {"git_commit": text},
        lambda text: {"metrics": {text: 1.0}},
        lambda text: {"metric_intervals": {text: LEVELS}},
        lambda text: {"libraries": {text: "1"}},
        lambda text: {"libraries": {"numpy": text}},
    ],
)
def test_hostile_text_where_a_name_stands_is_refused_and_shown_safely(tiny_metadata, place, text):
    files = {MODEL_FILE: "0" * 64}
    with pytest.raises(BundleError) as caught:
        read_metadata(seal(msgspec.structs.replace(tiny_metadata, files=files, **place(text))))
    assert str(caught.value).isprintable()


CONTRACT_NAMES = [
    lambda text: {"contract": _contract(target=text)},
    lambda text: {"contract": _contract(classes=("no", text))},
    lambda text: {"contract": _contract(class_names=("no", text))},
    lambda text: {"contract": _feature(name=text)},
    lambda text: {"contract": _feature(unit=text)},
]


@pytest.mark.parametrize("text", HOSTILE[1:])
@pytest.mark.parametrize("place", CONTRACT_NAMES)
def test_hostile_name_in_the_contract_is_refused_and_shown_safely(tiny_metadata, place, text):
    with pytest.raises(BundleError) as caught:
        read_metadata(seal(msgspec.structs.replace(tiny_metadata, files={MODEL_FILE: "0" * 64}, **place(text))))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("place", CONTRACT_NAMES)
def test_names_of_a_table_may_have_several_lines(tiny_metadata, place):
    metadata = msgspec.structs.replace(tiny_metadata, files={MODEL_FILE: "0" * 64}, **place("two\nlines\tand more"))
    assert read_metadata(seal(metadata)).contract == metadata.contract


@pytest.mark.parametrize("text", ["a\x1b[31m", "a\x00", "a\u202eb", "x" * 100_001])
@pytest.mark.parametrize(
    "place",
    [
        lambda text: {"contract": _feature(categories=("A", text))},
        lambda text: {"contract": _feature(default=text)},
        lambda text: {"config": {"data": {"drop": [text]}}},
        lambda text: {"config": {text: 1}},
    ],
)
def test_hostile_text_among_values_is_refused(tiny_metadata, place, text):
    raw = seal(msgspec.structs.replace(tiny_metadata, files={MODEL_FILE: "0" * 64}, **place(text)))
    with pytest.raises(BundleError):
        read_metadata(raw)


def test_paragraphs_may_be_categories(tiny_metadata):
    kept = _feature(categories=("one\nline\tand more", "B"))
    raw = seal(msgspec.structs.replace(tiny_metadata, files={MODEL_FILE: "0" * 64}, contract=kept))
    assert read_metadata(raw).contract == kept


@pytest.mark.parametrize(
    "contract",
    [
        _contract(features=(*_contract().features, *_contract().features)),
        _contract(class_names=("no",)),
        _contract(classes=("no",), class_names=("no",)),
        _contract(task="regression"),
    ],
)
def test_contract_whose_parts_do_not_fit_is_refused(tiny_metadata, contract):
    with pytest.raises(BundleError):
        read_metadata(seal(msgspec.structs.replace(tiny_metadata, files={MODEL_FILE: "0" * 64}, contract=contract)))


@pytest.mark.parametrize(
    "name", ["../x", "/etc/hostname", "a/../../x", "./x", "a//b", "", ".", "a\x00b", METADATA_FILE, TRACKING_FILE]
)
def test_file_that_is_none_of_the_bundles_own_is_refused(tiny_metadata, name):
    files = {MODEL_FILE: "0" * 64, name: "0" * 64}
    with pytest.raises(BundleError):
        read_metadata(seal(msgspec.structs.replace(tiny_metadata, files=files)))


@pytest.mark.parametrize("digest", ["", "0" * 63, "0" * 64 + "\n", "A" * 64])
def test_digest_that_is_no_sha256_is_refused(tiny_metadata, digest):
    with pytest.raises(BundleError):
        read_metadata(seal(msgspec.structs.replace(tiny_metadata, files={MODEL_FILE: digest})))


def test_pipe_or_folder_in_place_of_a_file_keeps_no_reader_waiting(tiny_bundle):
    for make in (os.mkfifo, os.mkdir):
        file = tiny_bundle.path / "plots/roc.png"
        file.unlink() if file.is_file() else None
        make(file)
        with pytest.raises(BundleError, match="is not a regular file"):
            load_bundle(tiny_bundle.path)
        file.unlink() if not file.is_dir() else file.rmdir()


def test_hostile_bundle_is_not_written_in_the_first_place(tmp_path, tiny_metadata, tiny_model):
    hostile = msgspec.structs.replace(tiny_metadata, estimator="\x1b[31m")
    with stage(tmp_path / "model") as folder:
        (folder / MODEL_FILE).write_bytes(tiny_model)
        with pytest.raises(BundleError):
            publish(folder, tmp_path / "model", hostile)
    assert not (tmp_path / "model").exists()


def test_seal_covers_every_byte_before_it():
    raw = seal(Tracking(run_id="a"))
    head, digest = raw[: raw.index(b',\n  "sha256"')], json.loads(raw)["sha256"]
    assert hashlib.sha256(head).hexdigest() == digest
    assert is_sealed(raw)
    assert not is_sealed(b"{}")
