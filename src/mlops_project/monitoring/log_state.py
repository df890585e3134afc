"""What is wrong with the prediction log itself, for ``/status`` and for the head of every report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from mlops_project.errors import StackError
from mlops_project.monitoring.clocks import AHEAD
from mlops_project.monitoring.windows import PATIENCE, Pending
from mlops_project.prediction_log.records import Losses

MAX_NAMED = 5


class ClockError(StackError):
    """A clock is wrong, or was."""


@dataclass(frozen=True)
class LogState:
    """What is missing of the log, and why.

    Attributes
    ----------
    damaged
        Segment → what of it could not be read.
    unreadable
        Segment, file of the Parquet log or evaluation → why it cannot be read and is left out.
    vanished
        Closed segments that were deleted before they were read, since the monitor's start.
    late, ahead
        Rows since the monitor's start that came too late for their window, and rows from a time that was still to come.
    behind
        Host → by how many seconds its clock is behind.
    dropped
        Time in the name of the newest segment whose rows were deleted for the log's size; empty if none were.
    """

    damaged: Mapping[str, Losses] = field(default_factory=dict)
    unreadable: Mapping[str, str] = field(default_factory=dict)
    vanished: Sequence[str] = ()
    late: int = 0
    ahead: int = 0
    behind: Mapping[str, float] = field(default_factory=dict)
    dropped: str = ""

    def describe(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        damaged = {name: {"records": lost.records, "bytes": lost.bytes} for name, lost in self.damaged.items()}
        rows = {"late_rows": self.late, "ahead_rows": self.ahead}
        return {"damaged": damaged, "unreadable": dict(self.unreadable), "vanished": list(self.vanished), **rows} | {
            "clocks_behind_seconds": dict(self.behind),
            "dropped_until": self.dropped,
        }

    def notes(self) -> list[str]:
        """Return a sentence for each thing that is wrong."""
        notes = []
        if self.damaged:
            records, size = (sum(getattr(lost, name) for lost in self.damaged.values()) for name in ("records", "bytes"))
            said = f"At least {records:,} records ({size:,} bytes) of the prediction log are damaged, and in no window"
            notes.append(f"{said}: {_name(self.damaged)}.")
        if self.unreadable:
            reasons = [f"{name} ({reason})" for name, reason in self.unreadable.items()]
            notes.append(f"Left out because they cannot be read: {_name(reasons)}.")
        if self.vanished:
            notes.append(f"Deleted by someone before the monitor had read them: {_name(self.vanished)}.")
        if self.behind:
            hosts = [f"{host} (by {seconds:,.0f} s)" for host, seconds in self.behind.items()]
            notes.append(f"Servers whose clock is behind, so that windows wait for their rows: {_name(hosts)}. Set it by NTP.")
        if self.dropped:
            said = "The Parquet log reached monitoring.log_max_bytes: rows of segments up to"
            notes.append(f"{said} {self.dropped} UTC were deleted before monitoring.log_retention_days.")
        return notes


def _name(names: "Mapping[str, Any] | Sequence[str]") -> str:
    shown = ", ".join([*names][:MAX_NAMED])
    return f"{shown} and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else shown


def check_clocks(pending: Pending, behind: Mapping[str, timedelta]) -> None:
    """Compare the segments' names, which tell when they were begun, with this machine's clock.

    Parameters
    ----------
    behind
        Host → how far its clock is behind.

    Raises
    ------
    ClockError
        If one was begun later than now, or a host's clock is behind by more than ``AHEAD``.
    """
    slow = {host: lag for host, lag in behind.items() if lag > AHEAD}
    if slow:
        host = max(slow, key=lambda item: slow[item])
        waits = "windows wait for its rows" if slow[host] <= PATIENCE else "its rows come too late for their windows"
        raise ClockError(f"the clock of {host} is {slow[host].total_seconds():,.0f} s behind: {waits}; set it by NTP")
    ahead = {name: begun for name, (begun, _) in pending.begun.items() if begun - pending.at > AHEAD}
    if ahead:
        name = max(ahead, key=lambda item: ahead[item])
        seconds = (ahead[name] - pending.at).total_seconds()
        said = f"segment {name} was begun {seconds:.0f} s from now: its server's clock was ahead, or this machine's is behind"
        raise ClockError(f"{said}; set both by NTP")
