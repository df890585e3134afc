"""How much memory loaded models take, and what they take while they are loaded; which of them leaves for another one."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from mlops_project.bundle import MODEL_FILE
from mlops_project.errors import BundleError
from mlops_project.serving.model import ServedModel
from mlops_project.serving.sources import Key
from mlops_project.storage.locks import locked

LARGE_FILE_BYTES = 32 << 20  # reading a model takes four times its file's size, for a moment, and so does its proof


def is_large(bundle: Path) -> bool:
    """Whether loading the model takes so much memory for a moment that others of that kind have to wait."""
    try:
        return (bundle / MODEL_FILE).stat().st_size >= LARGE_FILE_BYTES
    except OSError:
        return False


def take_turn(bundle: Path, folder: Path) -> contextlib.AbstractContextManager[None]:
    """Return what is held while a model is loaded: of large ones, all workers that share the folder load one at a time."""
    return locked(folder / "large.lock") if is_large(bundle) else contextlib.nullcontext()


class ModelMemory:
    """Keeps loaded models within a limit.

    Parameters
    ----------
    limit_bytes
        0 for none.
    evict
        Takes the models of a place out of memory; called with ``lock`` held.

    Attributes
    ----------
    lock
        Held while models come and go.
    """

    def __init__(self, limit_bytes: int, evict: Callable[[str], None]) -> None:
        self.lock = threading.RLock()
        self._limit, self._evict = limit_bytes, evict
        self._coming: dict[Key, int] = {}

    def make_room(self, key: Key, n_bytes: int, loaded: Callable[[], Mapping[Key, ServedModel]], kept: set[str]) -> None:
        """Evict models, those asked for longest ago first, until one more fits; it counts from now on.

        Parameters
        ----------
        key, n_bytes
            What is about to be loaded.
        loaded
            Returns what is in memory.
        kept
            Places that are never evicted.

        Raises
        ------
        BundleError
            If it does not fit even so.
        """
        with self.lock:
            stay = {other: model for other, model in loaded().items() if other[0] in kept or other[0] == key[0]}
            left = self._limit - self.count(stay)
            if self._limit and n_bytes > left:  # then nobody leaves in vain
                raise BundleError(
                    f"it takes {n_bytes >> 20} MiB, and {max(0, left) >> 20} MiB of serving.models.memory_bytes are left "
                    "beside models that stay; raise the setting, or preload less"
                )
            while self._limit and self.count(loaded()) + n_bytes > self._limit:
                ages: dict[str, float] = {}
                for (place, _), model in loaded().items():
                    if place not in kept and place != key[0]:
                        ages[place] = max(ages.get(place, 0.0), model.used_at)
                self._evict(min(ages, key=ages.__getitem__))
            self._coming[key] = n_bytes

    def settle(self, key: Key) -> None:
        """Note that what was about to be loaded is loaded, or failed."""
        with self.lock:
            self._coming.pop(key, None)

    def count(self, loaded: Mapping[Key, ServedModel]) -> int:
        """Return what loaded models take, and those that are about to be."""
        return sum(model.memory_bytes for model in loaded.values()) + sum(self._coming.values())
