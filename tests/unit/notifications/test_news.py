"""How an event is written for programs, chats and mails, and signed."""

import json
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from mlops_project.errors import ConfigError
from mlops_project.notifications.news import News, write_body
from mlops_project.notifications.secrets import create_secret, read_secrets, read_text, sign

NEWS = News(
    kind="rolled-back",
    model="churn",
    title="churn: back to version 2",
    text="worse <b>& slower</b>",
    at="2026-11-30T12:00:00+00:00",
    key="k",
    data={"version": 2},
)


def test_event_has_type_timestamp_and_data():
    event = json.loads(write_body(NEWS, "json"))
    assert (event["type"], event["timestamp"]) == ("model.rolled_back", NEWS.at)
    assert event["data"] == {"model": "churn", "title": NEWS.title, "text": NEWS.text, "version": 2}


def test_chat_reads_no_link_and_calls_nobody():
    text = json.loads(write_body(News(**{**as_dict(NEWS), "text": "see <!channel> & <http://x|y>"}), "slack"))["text"]
    assert text == "*churn: back to version 2*\nsee &lt;!channel&gt; &amp; &lt;http://x|y&gt;"


def as_dict(news: News) -> dict:
    return {name: getattr(news, name) for name in news.__struct_fields__}


def test_mail_has_a_subject_on_one_line_and_escaped_html():
    news = News(**{**as_dict(NEWS), "title": "churn\r\nBcc: all@example.com \x1b[2J"})
    mail = json.loads(write_body(news, "email"))
    assert mail["subject"] == r"churn Bcc: all@example.com \x1b[2J"
    assert "<p>worse &lt;b&gt;&amp; slower&lt;/b&gt;</p>" in mail["html"]
    assert mail["text"].endswith("worse <b>& slower</b>\n")
    assert mail["type"] == "model.rolled_back"


@pytest.mark.parametrize("form", ["json", "slack", "email"])
def test_body_stays_below_what_receivers_are_asked_to_expect(form):
    huge = News(**{**as_dict(NEWS), "title": "t" * 10**6, "text": "x" * 10**6})
    assert len(write_body(huge, form)) < 20_000


def test_same_event_has_the_same_id_and_another_has_another():
    same = News(**{**as_dict(NEWS), "text": "other words", "at": "2026-11-30T13:00:00+00:00"})
    assert same.id == NEWS.id
    others = [News(**{**as_dict(NEWS), **change}).id for change in ({"key": "l"}, {"kind": "alert"}, {"model": "fraud"})]
    assert len({NEWS.id, *others}) == 4
    assert "." not in NEWS.id


def test_signature_is_what_the_specifications_own_library_verifies(tmp_path):
    old, new = create_secret(), create_secret()
    (tmp_path / "s").write_text(f"{new}\n{old}\n")
    keys, body, now = read_secrets("s", tmp_path, "here"), write_body(NEWS, "json"), int(time.time())
    headers = {"webhook-id": NEWS.id, "webhook-timestamp": str(now), "webhook-signature": sign(NEWS.id, now, body, keys)}
    for secret in (old, new):  # while one takes the other's place
        assert Webhook(secret).verify(body, headers)["type"] == "model.rolled_back"
    for wrong in ({"webhook-id": "msg_other"}, {"webhook-timestamp": str(now - 1)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(new).verify(body, headers | wrong)
    with pytest.raises(WebhookVerificationError):
        Webhook(new).verify(body + b" ", headers)


@pytest.mark.parametrize(
    "text",
    ["", "plain", "whsec_", "whsec_c2hvcnQ=", "whsec_***", f"{create_secret()}\nx", "x" * 100_000],
    ids=["empty", "plain", "no key", "short", "no base64", "two lines", "long"],
)
def test_secret_of_another_form_is_refused_and_not_shown(text, tmp_path, monkeypatch):
    (tmp_path / "s").write_text(text)
    monkeypatch.setenv("SECRET", text[:1000])
    for place in ("s", "file:s", "env:SECRET"):
        with pytest.raises(ConfigError) as caught:
            read_secrets(place, tmp_path, "here")
        assert not text[:1000].strip() or len(text) < 10 or text[:1000] not in str(caught.value)


def test_secret_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="here: the variable NO_SUCH is not set"):
        read_text("env:NO_SUCH", tmp_path, "here")
    with pytest.raises(ConfigError, match=r"here: .*nothing cannot be read: No such file"):
        read_text("nothing", tmp_path, "here")
