"""How far challengers are rolled out, as ``mlops sync`` last wrote it beside their models."""

import logging
from collections.abc import Mapping

from mlops_project.served_rollout import ServedRollout, read_served_rollout
from mlops_project.serving import metrics as names
from mlops_project.serving.metrics import ServerMetrics
from mlops_project.serving.model import ServedModel
from mlops_project.serving.settings import Settings

logger = logging.getLogger(__name__)


class Rollouts:
    """Follows the roll-outs of a server's models. ``follow`` may run in another thread than the readers.

    Attributes
    ----------
    current
        Model name → its roll-out and the challenger that is rolled out, where both models are loaded; replaced whole.
    """

    def __init__(self, settings: Settings, metrics: ServerMetrics) -> None:
        self.current: dict[str, tuple[ServedRollout, ServedModel]] = {}
        self._folder = settings.models_dir if settings.serving.is_rolled_out else None
        self._metrics = metrics

    def follow(self, champions: Mapping[str, ServedModel], challengers: Mapping[str, ServedModel]) -> None:
        """Read how far roll-outs are; one of other versions than those that are loaded does not count."""
        if self._folder is None:
            return
        found: dict[str, tuple[ServedRollout, ServedModel]] = {}
        for name, challenger in challengers.items():
            champion, rollout = champions.get(name), read_served_rollout(self._folder / name)
            if champion is None or rollout is None:
                continue
            if (champion.version, challenger.version) == (str(rollout.champion), str(rollout.version)):
                found[name] = rollout, challenger
        before, self.current = self.current, found
        self._tell(before, found)

    def _tell(
        self, before: Mapping[str, tuple[ServedRollout, ServedModel]], now: Mapping[str, tuple[ServedRollout, ServedModel]]
    ) -> None:
        for name, (rollout, _) in before.items():
            if name not in now or now[name][0].version != rollout.version:
                self._metrics.put(names.ROLLOUT_SHARE, 0.0, name, str(rollout.version))
        for name, (rollout, _) in now.items():
            self._metrics.put(names.ROLLOUT_SHARE, rollout.share, name, str(rollout.version))
            if name not in before or before[name][0].share != rollout.share:
                logger.info("%s: version %d answers %g %% of the requests", name, rollout.version, rollout.share * 100)
