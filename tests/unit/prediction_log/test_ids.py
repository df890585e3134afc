import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_project.prediction_log.ids import IdIssuer, UnknownPredictionError, load_key

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
