"""Who calls: the roles of a key, its name, and how many labels a minute it may send."""

from typing import Literal, NamedTuple

Role = Literal["predict", "label", "admin"]
ROLES: tuple[Role, ...] = ("predict", "label", "admin")
ALL_ROLES: frozenset[Role] = frozenset(ROLES)


class Caller(NamedTuple):
    """A key, or nobody's.

    Attributes
    ----------
    roles
        What it may do.
    name
        Stands as source beside the labels that it sends; empty if the key has no name, and without keys.
    labels_per_minute
        How many labels it may send; 0 for as many as it likes, None for what ``serving.labels_per_minute`` says.
    """

    roles: frozenset[Role]
    name: str = ""
    labels_per_minute: float | None = None


NOBODY = Caller(frozenset())
ANYBODY = Caller(ALL_ROLES)
