"""Which connections a worker keeps when clients open more than it has places for. No request is answered here.

Opening a connection costs a client nothing, so one client could take every place. Of too many, those are closed that wait for
their client: only of the address with the most connections, the longest waiting first. Some places are for probes only.
"""

from collections import Counter
from typing import Any, Protocol

from mlops_project.sections import ServingConfig
from mlops_project.serving.errors import RefusedError

GRACE_SECONDS = 1.0  # a client that has just connected may be about to send
RESCAN_SECONDS = 0.1  # looking through a thousand connections takes half a millisecond
MAX_LINGERING = 256  # refused clients that are still given time to read why


class Connection(Protocol):
    """What this module uses of a connection."""

    address: str
    transport: Any

    @property
    def waits(self) -> bool:
        """Whether the client is to send the rest of a request, or its first."""

    @property
    def waiting_since(self) -> float:
        """Loop time since which the client is to send something."""

    def idle_seconds(self, now: float) -> float:
        """Return for how long the client has sent no further request."""

    def make_room(self, refusal: RefusedError) -> None:
        """End the connection."""

    def refuse(self, refusal: RefusedError) -> None:
        """Read no more, and answer with the refusal."""


def busy() -> RefusedError:
    """Return the refusal of a connection that has no place."""
    return RefusedError(503, "connections", "too many connections; try again soon")


class ConnectionPlaces:
    """The places of one worker's connections.

    Parameters
    ----------
    settings
        The server's.
    connections
        uvicorn's set of open connections.

    Attributes
    ----------
    reserved
        Connections in the places for probes, oldest first.
    lingering
        Refused connections that are read until their client has had time to read the refusal.
    """

    def __init__(self, settings: ServingConfig, connections: set[Connection]) -> None:
        self._settings, self._connections = settings, connections
        self._next_scan = 0.0
        self._in_vain: set[str] = set()  # addresses for which no room was found since the last scan
        self.reserved: dict[Connection, None] = {}
        self.lingering: set[Connection] = set()

    def enter(self, connection: Connection, now: float) -> None:
        """Give a new connection an ordinary place, or one for probes; if those are full, the oldest that waits is refused."""
        if self.has_room(connection, now):
            return
        self.reserved[connection] = None
        if len(self.reserved) > self._settings.probe_connections:
            oldest = next((held for held in self.reserved if held.waits), connection)
            oldest.refuse(busy())

    def linger(self, connection: Connection) -> bool:
        """Return whether a refused connection may stay until its client has read the refusal."""
        self.reserved.pop(connection, None)
        if len(self.lingering) < MAX_LINGERING:
            self.lingering.add(connection)
        return connection in self.lingering

    def leave(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self.reserved.pop(connection, None)
        self.lingering.discard(connection)

    def promote(self, connection: Connection, now: float) -> bool:
        """Move a connection from the places for probes to an ordinary one, if one is free; return whether it was moved."""
        del self.reserved[connection]
        if self.has_room(connection, now):
            return True
        self.reserved[connection] = None
        return False

    def has_room(self, connection: Connection, now: float) -> bool:
        """Return whether this open connection fits into the ordinary places; others are closed for it where that is allowed."""
        n_over = len(self._connections) - len(self.reserved) - len(self.lingering) - self._settings.max_connections
        if n_over <= 0:
            return True
        if now >= self._next_scan:
            self._in_vain.clear()
            self._next_scan = now + RESCAN_SECONDS
        if connection.address in self._in_vain:
            return False
        chosen = choose_waiting(self._connections - self.reserved.keys() - self.lingering - {connection}, connection, now)
        if not chosen:
            self._in_vain.add(connection.address)
        for held in chosen[: n_over + self._settings.max_connections // 20]:
            held.make_room(busy())
        return len(chosen) >= n_over

    def sweep(self, now: float) -> None:
        """Refuse what one address holds half open beyond its share, and what waits too long in the places for probes."""
        late = [held for held in self.reserved if held.waits and now - held.waiting_since > GRACE_SECONDS]
        for held in late + choose_excess(self._connections - self.lingering, self._settings.max_half_open, now):
            held.refuse(busy())


def choose_waiting(connections: set[Connection], newcomer: Connection, now: float) -> list[Connection]:
    """Return which connections may be closed for a new one: those that wait for their client, the longest waiting first.

    Only those of the address with most connections are chosen. If that is the newcomer's own address, only those that have
    waited for ``GRACE_SECONDS``, since the others may be as new as it is.

    Parameters
    ----------
    connections
        Those in ordinary places, without the newcomer.
    newcomer
        The new connection.
    now
        Loop time, in seconds.
    """
    counts = Counter(held.address for held in connections)
    if not counts:
        return []
    heaviest, _ = counts.most_common(1)[0]
    grace = GRACE_SECONDS if heaviest == newcomer.address else 0.0
    own = [held for held in connections if held.address == heaviest and not held.transport.is_closing()]
    waiting = [
        held for held in own if (held.waits and now - held.waiting_since >= grace) or held.idle_seconds(now) > GRACE_SECONDS
    ]
    return sorted(waiting, key=lambda held: (not held.waits, held.waiting_since))


def choose_excess(connections: set[Connection], limit: int, now: float) -> list[Connection]:
    """Return the connections of each address that are half open beyond the limit: those that have waited longest.

    Parameters
    ----------
    connections
        All that are not closing.
    limit
        How many of one address may be half open for more than ``GRACE_SECONDS``.
    now
        Loop time, in seconds.
    """
    by_address: dict[str, list[Connection]] = {}
    for held in connections:
        if held.waits and now - held.waiting_since > GRACE_SECONDS:
            by_address.setdefault(held.address, []).append(held)
    excess = [sorted(own, key=lambda held: held.waiting_since)[:-limit] for own in by_address.values() if len(own) > limit]
    return [held for own in excess for held in own]
