import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_project.prediction_log.ids import IdIssuer, UnknownPredictionError, keep_key, load_key

ISSUER = IdIssuer(b"k" * 32)


def test_id_says_when_and_whether_it_was_logged():
    before = time.time_ns() // 1_000_000
    found = ISSUER.check(ISSUER.issue(1, logged=False))
    assert before <= found.at_ms <= time.time_ns() // 1_000_000
    assert not found.logged
    assert found.row == 0


def test_ids_differ_and_another_process_with_the_key_knows_them():
    ids = {ISSUER.issue(1) for _ in range(10_000)}
    assert len(ids) == 10_000
    other = IdIssuer(b"k" * 32)
    assert all(other.check(item).logged for item in list(ids)[:100])


def test_row_of_a_batch_is_checked():
    batch = ISSUER.issue(3)
    assert ISSUER.check(f"{batch}.2").row == 2
    for bad in (f"{batch}.3", f"{batch}.-1", f"{batch}.", f"{batch}.x", f"{batch}.1.1"):
        with pytest.raises(UnknownPredictionError):
            ISSUER.check(bad)


@given(st.text(max_size=50))
def test_other_text_is_no_id(text):
    with pytest.raises(UnknownPredictionError, match="no prediction has this id"):
        ISSUER.check(text)


def test_changed_id_and_another_servers_id_are_refused():
    item = ISSUER.issue(1)
    for position in range(len(item)):
        changed = item[:position] + ("0" if item[position] != "0" else "1") + item[position + 1 :]
        with pytest.raises(UnknownPredictionError):
            ISSUER.check(changed)
    with pytest.raises(UnknownPredictionError):
        ISSUER.check(IdIssuer(b"o" * 32).issue(1))


def test_key_is_made_once_and_kept_from_others(tmp_path, monkeypatch):
    monkeypatch.delenv("SERVE_ID_KEY", raising=False)
    folder = tmp_path / "log"
    key = load_key(folder)
    assert len(key) == 32
    assert load_key(folder) == key
    assert [file.name for file in folder.iterdir()] == [".id-key"]
    assert (folder / ".id-key").stat().st_mode & 0o077 == 0


def test_key_comes_from_the_variable_where_replicas_share_no_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SERVE_ID_KEY", "one of many")
    assert load_key(tmp_path / "a") == load_key(tmp_path / "b")
    assert not (tmp_path / "a").exists()


def write_key(folder, content: bytes):
    folder.mkdir(exist_ok=True)
    (folder / ".id-key").write_bytes(content)


def test_key_of_an_older_release_is_still_read(tmp_path, monkeypatch):
    monkeypatch.delenv("SERVE_ID_KEY", raising=False)
    write_key(tmp_path, b"k" * 32)
    assert load_key(tmp_path) == b"k" * 32


@pytest.mark.parametrize("content", [b"", b"k" * 31, b"k" * 33, b"k" * 36, b"k" * 500])
def test_damaged_key_is_set_aside_and_said(tmp_path, monkeypatch, caplog, content):
    monkeypatch.delenv("SERVE_ID_KEY", raising=False)
    write_key(tmp_path, content)
    key = load_key(tmp_path)
    assert len(key) == 32
    assert load_key(tmp_path) == key
    assert (tmp_path / ".id-key.damaged").read_bytes() == content
    assert "is damaged" in caplog.text
    assert "labels for predictions made before are refused" in caplog.text


def test_any_flipped_bit_of_the_key_is_noticed(tmp_path, monkeypatch):
    monkeypatch.delenv("SERVE_ID_KEY", raising=False)
    load_key(tmp_path)
    content = (tmp_path / ".id-key").read_bytes()
    for place in range(len(content)):
        data = bytearray(content)
        data[place] ^= 1 << place % 8
        write_key(tmp_path, bytes(data))
        assert load_key(tmp_path) != content[:32]
        (tmp_path / ".id-key").unlink()


def test_key_that_is_gone_is_written_again_and_the_first_of_several_workers_wins(tmp_path):
    folder = tmp_path / "log"
    assert keep_key(folder, b"a" * 32) == b"a" * 32
    assert keep_key(folder, b"b" * 32) == b"a" * 32
    assert [file.name for file in folder.iterdir()] == [".id-key"]


def test_ids_signed_with_a_key_before_are_still_known():
    issuer = IdIssuer(b"a" * 32)
    before = issuer.issue(1)
    issuer.adopt(b"b" * 32)
    after = issuer.issue(1)
    assert (issuer.key, issuer.check(before).base, issuer.check(after).base) == (b"b" * 32, before, after)
    with pytest.raises(UnknownPredictionError):
        IdIssuer(b"b" * 32).check(before)
    assert IdIssuer(b"b" * 32).check(after).base == after
