"""Which model answers a request: the champion, or the challenger for its share of the requests."""

import logging
import math
import random
import struct
from typing import NamedTuple

from mlops_project.contract import DATETIME_PARTS
from mlops_project.errors import ContractError
from mlops_project.runtime import MISSING_TEXT
from mlops_project.served_rollout import ServedRollout, find_place
from mlops_project.serving.model import ServedModel
from mlops_project.serving.models import LoadedModels
from mlops_project.serving.settings import Settings
from mlops_project.serving.wires import READ, Question

SHADOW_SHARE = 0.1  # unless `serving.challenger_share` says another

logger = logging.getLogger(__name__)


class Draw(NamedTuple):
    """How a request took part in a roll-out; all of it is logged, and the monitor judges by it.

    Attributes
    ----------
    rollout
        Which, and its step.
    unit
        Digest of the key that the request was drawn by; empty if it was drawn by itself.
    failed
        Whether the challenger was drawn and could not answer: then the champion has.
    """

    rollout: ServedRollout
    unit: str = ""
    failed: bool = False


class Choice(NamedTuple):
    """The challenger, if it is to answer, and how that was drawn; no draw outside of roll-outs."""

    challenger: ServedModel | None = None
    draw: Draw | None = None


CHAMPION = Choice()


def describe_draw(draw: Draw, seconds: float) -> bytes:
    """Return what the log's record of a prediction says of a draw, as the beginning of members of a JSON object."""
    rollout, microseconds = draw.rollout, round(seconds * 1e6)
    said = b'"rollout":"%b","step":%d,"microseconds":%d,' % (rollout.id.encode(), rollout.step, microseconds)
    said += b'"unit":"%b",' % draw.unit.encode() if draw.unit else b""
    return said + (b'"failed":"%d",' % rollout.version if draw.failed else b"")


def note_failure(challenger: ServedModel, error: Exception, draw: Draw | None) -> Draw | None:
    """Return a draw whose challenger could not answer; log why, unless the request does not fit it."""
    if not isinstance(error, ContractError):
        logger.error("%s: challenger version %s failed", challenger.name, challenger.version, exc_info=error)
    return None if draw is None else draw._replace(failed=True)


class Variants:
    """Chooses for one worker. Safe to use from several threads.

    Parameters
    ----------
    settings, models
        The server's.

    Attributes
    ----------
    shadow_share
        Share of the requests that a shadow scores.
    """

    def __init__(self, settings: Settings, models: LoadedModels) -> None:
        self._models = models
        self._is_canary = settings.serving.challenger == "canary"
        self._share = settings.serving.challenger_share
        self.shadow_share = SHADOW_SHARE if self._share is None else self._share
        self._header, self._column = settings.rollout.key_header, settings.rollout.key_column
        self._random = random.Random()  # noqa: S311 - a share, no secret

    def is_open(self, champion: ServedModel) -> bool:
        """Whether some of this champion's requests are for a challenger now."""
        if not self._is_canary:
            return False
        if self._share is None:
            return champion.name in self._models.rollouts.current
        return champion.name in self._models.challengers

    def choose(self, champion: ServedModel, question: Question) -> Choice:
        """Choose who answers. A request that names a version gets that version."""
        if not self._is_canary or question.pinned or champion.role != "champion":
            return CHAMPION
        if self._share is not None:
            return Choice(self._models.challengers.get(champion.name)) if self._draw(question) < self._share else CHAMPION
        rollout, challenger = self._models.rollouts.current.get(champion.name, (None, None))
        if rollout is None or champion.version != str(rollout.champion):  # it was replaced since the request came
            return CHAMPION
        unit = ""
        if self._header or self._column:
            key = question.sticky if self._header else self._read_column(champion, question)
            if not key:
                return CHAMPION
            place, unit = find_place(rollout.id, key)
        elif question.key is not None:
            place, unit = find_place(rollout.id, question.key)
        else:
            place = self._random.random()
        return Choice(challenger if place < rollout.share else None, Draw(rollout, unit))

    def _draw(self, question: Question) -> float:
        """Return where a request lies in [0, 1); one that may come again lies at the same place each time."""
        return self._random.random() if question.key is None else int.from_bytes(question.key[:6], "big") / 2**48

    def _read_column(self, champion: ServedModel, question: Question) -> bytes | None:
        """Return what the first row has in the key's column; None if it has nothing there, or cannot be read."""
        try:
            rows, _ = READ[question.wire](champion, question)
        except ContractError:  # the champion says what is wrong
            return None
        position = 0
        for feature in champion.contract.numbers:
            if feature.name == self._column:
                number = float(rows.numbers[0, position])
                return None if math.isnan(number) else struct.pack("<d", number + 0.0)  # -0.0 is 0.0
            position += len(DATETIME_PARTS) if feature.type == "datetime" else 1
        for place, feature in enumerate(champion.contract.texts):
            if feature.name == self._column:
                text = str(rows.texts[0, place])
                return None if text == MISSING_TEXT else text.encode()
        return None
