"""A receiver that really listens, and an outbox for it."""

from collections.abc import Callable, Iterator

import pytest

from mlops_project.notifications import sender
from tests.outboxes import KEPT, Post
from tests.receivers import Receiver, receiving


@pytest.fixture(autouse=True)
def no_sender_left() -> Iterator[None]:
    """End the processes that a test started."""
    yield
    for child in sender._children:
        child.kill()
        child.wait()
    sender._children.clear()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def make_post(tmp_path) -> Callable[..., Post]:
    return lambda url, **settings: Post(tmp_path, {"ops": {"url": url, "secret": KEPT}}, **settings)


@pytest.fixture
def box(receiver, make_post) -> Post:
    return make_post(receiver.url)
