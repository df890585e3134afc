"""Who calls: the roles of a key, its name, and how many labels a minute it may send."""

from typing import Literal, NamedTuple

Role = Literal["predict", "label", "admin"]
ROLES: tuple[Role, ...] = ("predict", "label", "admin")
BRIEF = "brief"  # stands beside the roles of a key that is not to see columns
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
    brief
        Whether it is not to see the model's columns, in errors or elsewhere.
    """

    roles: frozenset[Role]
    name: str = ""
    labels_per_minute: float | None = None
    brief: bool = False


NOBODY = Caller(frozenset())
ANYBODY = Caller(ALL_ROLES)
