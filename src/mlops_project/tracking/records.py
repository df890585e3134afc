"""Records in a registered model's tags: alias moves and events."""

import functools
import logging
from datetime import datetime
from typing import TypeVar

import msgspec

from mlops_project.formats import plain

logger = logging.getLogger(__name__)

UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)  # what decoding a text of others may raise
Record = TypeVar("Record", bound=msgspec.Struct)


def decode_records(name: str, tags: dict[str, str], prefix: str, kind: type[Record]) -> list[Record]:
    """Return the records among a registered model's tags, by key; one that cannot be read is left out, with a warning.

    Anybody who may write to the registry may write a tag. The record's own model name is not taken: models can be renamed.

    Parameters
    ----------
    prefix, kind
        Of the tags' keys, and what they hold: a ``Move`` or an ``Event``.
    """
    found = []
    for key in sorted(key for key in tags if key.startswith(prefix)):
        try:
            record = msgspec.json.decode(tags[key], type=kind)
            if datetime.fromisoformat(record.at).utcoffset() is None:  # type: ignore[attr-defined] # both kinds have it
                raise msgspec.ValidationError("its time has no zone")
        except (*UNREADABLE, ValueError) as error:
            _warn_once(f"{name}: tag {key} is left out, it cannot be read: {error}; delete it on the model's page in MLflow")
        else:
            found.append(msgspec.structs.replace(record, model=name))
    return found


@functools.lru_cache(maxsize=1000)  # a monitor reads the same tags every few seconds
def _warn_once(text: str) -> None:
    logger.warning("%s", plain(text))
