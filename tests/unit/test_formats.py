import json
import logging
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_project.formats import PlainFormatter, plain, plain_json, without_credentials

SHOWN = {
    "\x1b[2J\x1b[31mred": r"\x1b[2J\x1b[31mred",
    "a\nb\r\tc": r"a\nb\r\tc",
    "\x07\x08\x7f": r"\x07\x08\x7f",
    "\x9b31m": r"\x9b31m",  # the same as ESC [ for some terminals
    "user\u202egnp.exe": r"user\u202egnp.exe",
    "\u2066a\u2069\u200f\u061c": r"\u2066a\u2069\u200f\u061c",
    "a\u2028b\u2029c\x85": r"a\u2028b\u2029c\x85",
    "\ud800": r"\ud800",
    "\ufeffbom\u200b": r"\ufeffbom\u200b",
    "\U000e0041": r"\U000e0041",  # a tag character: nobody sees it
}


@pytest.mark.parametrize(("text", "shown"), SHOWN.items())
def test_what_a_terminal_obeys_or_hides_becomes_an_escape(text, shown):
    assert plain(text) == shown


@pytest.mark.parametrize("text", ["", "plain", "ação → “x” … 温度 🙂", "میخواهم", "👩‍💻", "no\u00a0break", "\\x1b"])
def test_what_people_read_stays(text):
    assert plain(text) == text


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_nothing_else_reaches_a_terminal_and_json_means_the_same(text):
    joined = plain(text).replace("\u200c", "").replace("\u200d", "").replace("\u3000", " ")
    assert all(letter.isprintable() or letter.isspace() for letter in joined)
    assert not set(plain(text)) & {"\n", "\r", "\x1b", "\x85", "\u2028", "\u2029"}
    written = plain_json(json.dumps({"a": text}, ensure_ascii=False))
    assert json.loads(written) == {"a": text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")}
    assert not set(written) & {"\n", "\x1b", "\x7f", "\x9b", "\u202e"}


def test_log_lines_are_one_line_and_tracebacks_keep_theirs():
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "bad %s", ("a\nERROR fake\x1b",), sys.exc_info())
    first, *rest = PlainFormatter("%(levelname)s %(message)s").format(record).split("\n")
    assert first == r"ERROR bad a\nERROR fake\x1b"
    assert rest[0] == "Traceback (most recent call last):"
    assert rest[-1] == r"ValueError: \x1b[2J"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:hunter2@host:5000/x", "http://host:5000/x"),
        ("http://user@host", "http://host"),
        ("http://user:hunter2@@host", "http://host"),
        ("http://user:hunter2/slash@host/path", "http://host/path"),
        (
            "postgresql+psycopg2://u:hunter2%40@h/db refused, http://a:hunter2@b too",
            "postgresql+psycopg2://h/db refused, http://b too",
        ),
        ("HTTPConnectionPool: url: http://u:hunter2@h:5/api (failed)", "HTTPConnectionPool: url: http://h:5/api (failed)"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("http://host/@scope", "http://host/@scope"),
        ("http://host:5000/x@y", "http://host:5000/x@y"),
        ("mail me@host", "mail me@host"),
    ],
)
def test_addresses_are_shown_without_user_and_password(text, shown):
    assert without_credentials(text) == shown
