"""Messages on their way to real receivers: taken, refused, slow, moved, gone, rebound; and a sender that is killed."""

import json
import os
import signal
import socket
import threading
import time

import pytest
from standardwebhooks import Webhook

from mlops_project.notifications import posting, sender
from mlops_project.notifications.sender import DELAYS, JITTER, Sender, compute_delay, run, start_sender
from mlops_project.storage.locks import is_locked
from tests.certificates import Authority
from tests.outboxes import KEPT, SECRET, Post
from tests.receivers import receiving

UNSET = "env:NO_SUCH"


def test_message_arrives_once_signed_as_the_specification_says(box, receiver):
    (identifier,) = box.add("1")
    box.send()
    box.send()
    (got,) = receiver.got
    event = Webhook(SECRET).verify(got.body, got.headers)
    assert (event["type"], event["data"]["title"]) == ("model.promoted", "event 1")
    assert (got.path, got.headers["content-type"], got.headers["webhook-id"]) == ("/hook", "application/json", identifier)
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert (box.state().waiting, box.state().delivered) == (0, 1)


def test_refused_message_is_sent_again_with_the_same_id_and_body_and_a_new_signature(box, receiver, monkeypatch):
    box.add("1")
    receiver.answers = [500, 503, 404]
    started = time.time()
    for later in (0, 60, 3600, 7200):
        monkeypatch.setattr(posting.time, "time", lambda later=later: started + later)
        box.send()
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert len({got.body for got in receiver.got}) == 1
    assert len({got.headers["webhook-signature"] for got in receiver.got}) == len(receiver.got) == 4
    assert (box.state().waiting, box.state().delivered, box.state().problem) == (0, 1, "")


def test_receiver_that_is_down_is_left_alone_and_one_bad_message_holds_up_no_other(box, receiver):
    box.add("1", "2", "3")
    receiver.answers = [500]
    box.send()
    assert len(receiver.got) == 1  # the others would fare the same now
    receiver.answers = [400]
    box.send()
    assert len(receiver.got) == 4
    assert (box.state().waiting, box.state().delivered, box.state().problem) == (1, 2, "it answers 400")


def test_pause_after_a_failure_is_kept_within_one_sender(box, receiver):
    box.add("1", "2")
    receiver.answers = [500]
    at_work = Sender(box.settings)
    at_work.send_due()
    at_work.send_due()
    assert len(receiver.got) == 1


@pytest.mark.parametrize("answer", ["hang", "drip"])
def test_slow_receiver_costs_no_more_than_the_time_limit(answer, receiver, make_post):
    box = make_post(receiver.url, timeout_seconds=0.3)
    box.add("1")
    receiver.answers = [answer]
    started = time.monotonic()
    box.send()
    assert time.monotonic() - started < 20
    assert "it took too long" in box.state().problem
    box.send()
    assert box.state().delivered == 1


def test_connection_that_is_never_accepted_costs_no_more_than_the_time_limit(make_post):
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:  # a handshake of TLS that nobody answers
        box = make_post(f"https://127.0.0.1:{silent.getsockname()[1]}/", timeout_seconds=0.3)
        box.add("1")
        started = time.monotonic()
        box.send()
        assert time.monotonic() - started < 20
    assert "it took too long" in box.state().problem


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_not_followed(status, box, receiver):
    with receiving() as other:
        for place in ("http://169.254.169.254/latest/meta-data", other.url):
            box.add(place)
            receiver.answers = [(status, {"Location": place})]
            box.send()
            assert f"it answers {status} and sends on to {place}, which is not followed" in box.state().problem
            box.send()
        assert other.got == []


def test_receiver_that_wants_no_more_gets_no_more_of_it(box, receiver):
    box.add("1", "2")
    receiver.answers = [410]
    box.send()
    assert (box.state().given_up, box.state().delivered, box.state().waiting) == (1, 1, 0)


def test_message_is_given_up_after_the_last_attempt(box, receiver):
    box.add("1")
    receiver.answers = [500] * 20
    for _ in range(len(DELAYS) + 3):
        box.send()
    assert len(receiver.got) == len(DELAYS) + 1
    assert (box.state().given_up, box.state().waiting) == (1, 0)


def test_delays_grow_to_three_days_in_all_and_are_spread():
    assert 2.5 * 86400 < sum(DELAYS) < 3.5 * 86400
    assert list(DELAYS) == sorted(DELAYS)
    drawn = {compute_delay(1) for _ in range(20)}
    assert len(drawn) > 1
    assert all(DELAYS[0] * (1 - JITTER) <= item <= DELAYS[0] * (1 + JITTER) for item in drawn)
    assert compute_delay(99) <= DELAYS[-1] * (1 + JITTER)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("120", 120, 120),
        ("Wed, 21 Oct 2037 07:28:00 GMT", 86400, 86400),
        ("-5", 0, 0),
        ("soon", 0, 0),
        ("9" * 50, 86400, 86400),
    ],
)
def test_receiver_may_ask_to_wait_for_a_day_at_most(text, least, most, box, receiver):
    box.add("1")
    receiver.answers = [(429, {"Retry-After": text})]
    before = time.time()
    box.send()
    due = box.outbox.find_due(("ops",))
    assert before + max(least, DELAYS[0] * (1 - JITTER)) <= due
    assert due <= time.time() + max(most, DELAYS[0] * (1 + JITTER))


def resolve(monkeypatch, *answers: str) -> list[str]:
    """Let hooks.example lead to each of these addresses, one lookup after the other; return the names that were looked up."""
    real, asked, left = socket.getaddrinfo, list[str](), list(answers)

    def answer(host, *arguments, **options):
        if host != "hooks.example":
            return real(host, *arguments, **options)
        asked.append(host)
        return real(left.pop(0) if len(left) > 1 else left[0], *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    return asked


def test_name_that_leads_elsewhere_a_moment_later_is_connected_to_where_it_was_checked(receiver, make_post, monkeypatch):
    with receiving(host="127.0.0.2", port=receiver.port) as internal:
        asked = resolve(monkeypatch, "127.0.0.1", "127.0.0.2")
        box = make_post(f"http://hooks.example:{receiver.port}/hook", allow=["127.0.0.1"])
        box.add("1")
        box.send()
        assert (len(receiver.got), len(internal.got), len(asked)) == (1, 0, 1)
        assert receiver.got[0].headers["host"] == f"hooks.example:{receiver.port}"
        box.add("2")
        box.send()  # looked up anew, and refused
        assert internal.got == []
    assert "hooks.example leads to 127.0.0.2, which is no public address" in box.state().problem


@pytest.mark.parametrize(
    "place", ["http://169.254.169.254/latest/meta-data/", "https://127.0.0.1:{port}/", "http://[::1]:{port}/"]
)
def test_internal_address_that_is_not_listed_is_not_called(place, receiver, make_post):
    box = make_post(place.format(port=receiver.port), allow=[])
    box.add("1")
    box.send()
    assert receiver.got == []
    assert "no public address; if it is meant, list it in notifications.allow" in box.state().problem
    assert box.state().waiting == 1  # the configuration may be mended


def test_certificate_is_asked_for_by_the_name_in_the_url(tmp_path, make_post, monkeypatch):
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with receiving(certificate=authority.issue("receiver")) as receiver:
        box = make_post(receiver.url)
        box.add("1")
        box.send()
        assert box.state().delivered == 1
        resolve(monkeypatch, "127.0.0.1")
        other = Post(tmp_path, {"ops": {"url": f"https://hooks.example:{receiver.port}/", "secret": KEPT}})
        other.add("2")
        other.send()
        assert "certificate verify failed" in other.state().problem
        monkeypatch.delenv("SSL_CERT_FILE")
        other = make_post(receiver.url)
        other.add("3")
        other.send()
        assert "certificate verify failed" in other.state().problem


def test_missing_secret_or_address_is_said_and_nothing_is_sent_unsigned(tmp_path, receiver, monkeypatch):
    monkeypatch.delenv("NO_SUCH", raising=False)
    targets = {
        "unsigned": {"url": receiver.url},
        "unset": {"url": receiver.url, "secret": UNSET},
        "nowhere": {"secret": KEPT},
        "hidden": {"url": "env:NO_SUCH", "secret": KEPT},
    }
    box = Post(tmp_path, targets)
    box.add("1")
    box.send()
    assert receiver.got == []
    assert "unsigned.secret is not set" in box.state("unsigned").problem
    assert "the variable NO_SUCH is not set" in box.state("unset").problem
    assert "nowhere.url is not set" in box.state("nowhere").problem
    assert "hidden.url: the variable NO_SUCH is not set" in box.state("hidden").problem


def test_chat_whose_address_is_a_secret_gets_a_text_without_a_signature(tmp_path, receiver, monkeypatch):
    monkeypatch.setenv("CHAT", receiver.url)
    box = Post(tmp_path, {"chat": {"url": "env:CHAT", "format": "slack"}})
    box.add("1")
    box.send()
    (got,) = receiver.got
    assert json.loads(got.body) == {"text": "*event 1*\nwhy"}
    assert "webhook-signature" not in got.headers


def test_receiver_that_hangs_does_not_hold_up_another(tmp_path, receiver):
    with receiving() as slow:
        slow.answers = ["hang"]
        targets = {"slow": {"url": slow.url, "secret": KEPT}, "ops": {"url": receiver.url, "secret": KEPT}}
        box = Post(tmp_path, targets, timeout_seconds=30.0)
        box.add("1", "2")
        sending = threading.Thread(target=box.send)
        sending.start()
        receiver.wait(2)
        slow.wait(1)
        slow.released.set()
        sending.join()
    assert box.state("ops").delivered == 2


def test_killed_sender_loses_nothing_and_the_next_one_sends_again(box, receiver, monkeypatch):
    box.add("1", "2")
    receiver.answers = ["hang"]
    start_sender(box.settings)
    (child,) = sender._children
    receiver.wait(1)
    assert is_locked(box.settings.folder / "sender.lock")
    start_sender(box.settings)  # one is at work
    assert sender._children == [child]
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    receiver.released.set()
    assert (box.state().waiting, box.state().delivered) == (2, 0)
    start_sender(box.settings)
    receiver.wait(3)
    sender._children[-1].wait()
    identifiers = [got.headers["webhook-id"] for got in receiver.got]
    assert identifiers[0] == identifiers[1] != identifiers[2]
    assert (box.state().waiting, box.state().delivered) == (0, 2)


def test_service_sends_what_others_put_into_the_outbox_until_it_is_stopped(box, receiver, monkeypatch):
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.02)
    stop = threading.Event()
    service = threading.Thread(target=run, args=(box.settings, stop))
    service.start()
    box.add("1")
    receiver.wait(1)
    start_sender(box.settings)
    assert [child for child in sender._children if child.poll() is None] == []
    box.add("2")
    receiver.wait(2)
    stop.set()
    service.join(30)
    assert not service.is_alive()


def test_outbox_that_cannot_be_used_is_said_once_and_ends_no_service(box, monkeypatch, caplog):
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.01)
    box.settings.folder.parent.mkdir(exist_ok=True)
    box.settings.folder.write_text("a file")
    stop = threading.Event()
    service = threading.Thread(target=run, args=(box.settings, stop))
    service.start()
    while "cannot be used" not in caplog.text:
        time.sleep(0.01)
    time.sleep(0.1)
    box.settings.folder.unlink()
    box.add("1")
    while not box.state().delivered:
        time.sleep(0.01)
    stop.set()
    service.join(30)
    assert caplog.text.count("cannot be used") == 1
