"""One attempt to post a message: signed, to a checked address, within its time, without redirects."""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple

from mlops_project import __version__
from mlops_project.errors import ConfigError
from mlops_project.names import show
from mlops_project.notifications.addresses import Endpoint, find_endpoint
from mlops_project.notifications.outbox import Message
from mlops_project.notifications.secrets import FROM_ENVIRONMENT, FROM_FILE, read_secrets, read_text, sign
from mlops_project.sections.notifications import NotificationsConfig, TargetConfig

OVERLOADED = (408, 425, 429)
GONE = 410
MOST_RETRY_AFTER = 86_400.0  # seconds


class Outcome(NamedTuple):
    """How an attempt went.

    Attributes
    ----------
    problem
        Why it failed, in words; empty if the message was taken.
    is_gone
        The receiver wants no more messages: this one is given up.
    is_down
        The receiver itself, or what is set for it, is at fault, and not this message: others would fare the same now.
    wait_seconds
        How long the receiver asks to wait; 0 if it does not.
    """

    problem: str = ""
    is_gone: bool = False
    is_down: bool = False
    wait_seconds: float = 0.0


class _Connection(http.client.HTTPConnection):
    """A connection to an address that was checked. It looks no name up, and asks for the certificate of the URL's host."""

    def __init__(self, endpoint: Endpoint, seconds: float) -> None:
        super().__init__(endpoint.host, endpoint.port, timeout=seconds)
        self._endpoint, self.ends = endpoint, time.monotonic() + seconds

    def connect(self) -> None:
        endpoint = self._endpoint
        self.sock = self._reach()
        if time.monotonic() >= self.ends:
            raise TimeoutError
        if endpoint.scheme == "https":
            secure = ssl.create_default_context()
            self.sock = secure.wrap_socket(self.sock, server_hostname=endpoint.host, do_handshake_on_connect=False)
            self.sock.do_handshake()

    def _reach(self) -> socket.socket:
        """Connect to the first of the checked addresses that answers, all of them within the attempt's time."""
        reason = OSError("it has no address")
        for address in self._endpoint.addresses:
            left = self.ends - time.monotonic()
            if left <= 0:
                raise TimeoutError
            try:
                return socket.create_connection((str(address), self._endpoint.port), left)
            except OSError as error:
                reason = error
        raise reason

    def abort(self) -> None:
        """End the attempt from another thread, wherever it is."""
        with contextlib.suppress(OSError, AttributeError):
            self.sock.shutdown(socket.SHUT_RDWR)


def find_url(target: TargetConfig, name: str, root: Path) -> str:
    """Return a receiver's address.

    Raises
    ------
    ConfigError
        If the variable or file that holds it cannot be read.
    """
    if not target.url:
        raise ConfigError(f"notifications.targets.{name}.url is not set: where are its messages to go?")
    if not target.url.startswith((FROM_ENVIRONMENT, FROM_FILE)):
        return target.url
    return read_text(target.url, root, f"notifications.targets.{name}.url")


def find_keys(target: TargetConfig, name: str, root: Path) -> tuple[bytes, ...]:
    """Return the secrets that sign a receiver's messages; none for a chat without one.

    Raises
    ------
    ConfigError
        If there is none although the format asks for one, or it cannot be read.
    """
    setting = f"notifications.targets.{name}.secret"
    if target.secret is not None:
        return read_secrets(target.secret, root, setting)
    if target.format == "slack":
        return ()
    raise ConfigError(
        f"{setting} is not set, so a receiver could not tell your messages from others; make one with `mlops notify "
        "--new-secret FILE`, and give it to the receiver as well"
    )


def post(message: Message, target: TargetConfig, settings: NotificationsConfig, root: Path) -> Outcome:
    """Make one attempt; whatever goes wrong is in the outcome."""
    try:
        keys = find_keys(target, message.target, root)
        endpoint = find_endpoint(find_url(target, message.target, root), settings.allow)
        return _judge(*_exchange(message, endpoint, keys, settings.timeout_seconds))
    except ConfigError as error:
        return Outcome(str(error), is_down=True)
    except (OSError, http.client.HTTPException) as error:
        reason = "it took too long" if isinstance(error, TimeoutError) else show(str(error) or type(error).__name__, 200)
        return Outcome(f"no answer: {reason}", is_down=True)


def _exchange(message: Message, endpoint: Endpoint, keys: tuple[bytes, ...], seconds: float) -> tuple[int, str, str]:
    """Send a message; return the answer's status, and its headers ``Retry-After`` and ``Location``. Its body is not read."""
    now = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"mlops_project/{__version__}",
        "webhook-id": message.id,
        "webhook-timestamp": str(now),
    }
    if keys:
        headers["webhook-signature"] = sign(message.id, now, message.body, keys)
    connection = _Connection(endpoint, seconds)
    watch = threading.Timer(seconds, connection.abort)  # a socket's timeout bounds each read, and not all of them together
    watch.daemon = True
    watch.start()
    try:
        connection.request("POST", endpoint.path, message.body, headers)
        answer = connection.getresponse()
        if time.monotonic() >= connection.ends:
            raise TimeoutError  # a head that was cut off looks like one that ended
        return answer.status, answer.headers.get("Retry-After", ""), answer.headers.get("Location", "")
    except (OSError, http.client.HTTPException) as error:
        if time.monotonic() >= connection.ends:
            raise TimeoutError from error
        raise
    finally:
        watch.cancel()
        connection.close()


def _judge(status: int, retry_after: str, location: str) -> Outcome:
    if 200 <= status < 300:
        return Outcome()
    wait = _read_wait(retry_after)
    if 300 <= status < 400:
        return Outcome(
            f"it answers {status} and sends on to {show(location, 200) or 'nowhere'}, which is not followed", is_down=True
        )
    if status == GONE:
        return Outcome("it answers 410: it wants no more messages; take it out of notifications.targets", is_gone=True)
    return Outcome(f"it answers {status}", is_down=status >= 500 or status in OVERLOADED, wait_seconds=wait)


def _read_wait(text: str) -> float:
    """Return how many seconds a ``Retry-After`` asks for, at most a day."""
    seconds = 0.0
    if text.strip().isascii() and text.strip().isdigit():
        seconds = float(text.strip()[:9])
    else:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
    return min(max(seconds, 0.0), MOST_RETRY_AFTER)
