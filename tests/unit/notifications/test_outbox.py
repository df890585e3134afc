"""What waits in the outbox, what is dropped, and that it is all counted."""

import sqlite3
import subprocess
import sys
import time

import pytest

from mlops_project.notifications import outbox as module
from mlops_project.notifications.outbox import Message, Outbox


def messages(*numbers: int, target: str = "ops") -> list[Message]:
    return [Message(f"msg_{number}", target, f"event {number}", b"{}") for number in numbers]


@pytest.fixture
def box(tmp_path) -> Outbox:
    return Outbox(tmp_path / "outbox")


def add(box: Outbox, *added: Message, most: int = 100) -> int:
    with box.change() as change:
        return change.add(added, most)


def take(box: Outbox, target: str = "ops") -> Message | None:
    with box.change() as change:
        return change.take(target)


def test_messages_are_taken_in_order_and_stay_until_they_end(box):
    add(box, *messages(1, 2))
    assert [take(box).id, take(box).attempts] == ["msg_1", 2]  # killed after the first: it is sent again
    with box.change() as change:
        change.end("msg_1", "ops", "delivered")
    assert take(box).id == "msg_2"
    (state,) = box.read()
    assert (state.waiting, state.delivered, state.dropped, state.given_up) == (1, 1, 0, 0)


def test_event_that_is_told_again_is_not_sent_again(box):
    add(box, *messages(1))
    add(box, *messages(1))
    with box.change() as change:
        change.end("msg_1", "ops", "delivered")
    add(box, *messages(1))
    assert take(box) is None
    add(box, *messages(1, target="chat"))
    assert take(box, "chat").id == "msg_1"


def test_oldest_are_dropped_beyond_the_most_and_counted(box):
    assert add(box, *messages(1, 2, 3), *messages(9, target="chat"), most=3) == 0
    assert add(box, *messages(4, 5), most=3) == 2
    states = {state.target: state for state in box.read()}
    assert (states["ops"].waiting, states["ops"].dropped, states["chat"].waiting) == (3, 2, 1)
    assert "more than 3 messages waited" in states["ops"].problem
    assert take(box).id == "msg_3"


def test_postponed_message_waits_and_tells_why(box):
    add(box, *messages(1, 2))
    first = take(box)
    with box.change() as change:
        change.postpone(first, 3600, "it answers 500")
    assert take(box).id == "msg_2"
    assert box.read()[0].problem == "it answers 500"
    assert box.find_due(("chat",)) is None
    with box.change() as change:
        change.end("msg_2", "ops", "delivered")
    assert box.find_due(("ops",)) > time.time() + 3000
    with box.change() as change:
        change.hurry()
    assert take(box).id == "msg_1"


def test_old_messages_are_forgotten(box, monkeypatch):
    add(box, *messages(1, 2))
    with box.change() as change:
        change.end("msg_1", "ops", "delivered")
    later = time.time() + 15 * 86400
    monkeypatch.setattr(module.time, "time", lambda: later)
    add(box, *messages(3))
    (state,) = box.read()
    assert (state.waiting, state.dropped) == (1, 1)  # its receiver is in no configuration any more
    add(box, *messages(1))
    assert box.read()[0].waiting == 2


def test_transaction_that_fails_leaves_everything_as_it_was(box):
    def fail() -> None:
        with box.change() as change:
            change.add(messages(1), 100)
            change.note_told("churn", {"data-drift": ""})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert box.read() == ()
    with box.change() as change:
        assert change.read_told("churn") == {}


KILLED = """
import os, signal, sys
from pathlib import Path
from mlops_project.notifications.outbox import Message, Outbox
with Outbox(Path(sys.argv[1])).change() as change:
    change.add([Message("msg_9", "ops", "t", b"{}")], 10)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_within_a_transaction_leaves_the_outbox_whole(box):
    add(box, *messages(1))
    done = subprocess.run([sys.executable, "-c", KILLED, str(box.folder)], check=False)
    assert done.returncode == -9
    assert take(box).id == "msg_1"
    assert box.read()[0].waiting == 1


def test_damaged_file_is_put_aside_and_a_newer_one_is_left_alone(box, caplog):
    add(box, *messages(1))
    box.file.write_bytes(b"no database at all" * 100)
    with pytest.raises(sqlite3.DatabaseError):
        add(box, *messages(2))
    assert "begin anew" in caplog.text
    add(box, *messages(2))
    assert take(box).id == "msg_2"
    assert box.file.with_name("outbox.db.damaged").exists()
    with sqlite3.connect(box.file) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(sqlite3.NotSupportedError, match="of format 2, known here: 1"):
        add(box, *messages(3))
    assert box.file.exists()
