"""What libraries warn of while a model is made: collected, put into plain words where they are known, each said once."""

import contextlib
import re
import warnings
from collections.abc import Iterable, Iterator

# Addressed to programmers; a person who trains a model can do nothing about them.
FOR_PROGRAMMERS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning, ResourceWarning, BytesWarning)
MAX_LENGTH = 300  # characters
LOG_PREFIX = re.compile(r"^\[[\d:]+\] WARNING: \S+\s*")  # of XGBoost: time, file and line

TOO_LARGE = "some numbers were too large or too small to compute with: look for a column with values such as 1e300"
NOT_CONVERGED = "the estimator stopped before it had found its best weights: raise model.params.max_iter"
FEW_IN_CLASS = "a class has fewer rows than there are folds, so some folds did not see it: merge rare classes, or add rows"
# How a message begins, or what it holds → the same in plain words. First match wins.
KNOWN: tuple[tuple[str, str], ...] = (
    (r"lbfgs failed to converge|failed to converge|did not converge|ConvergenceWarning|max_iter was reached", NOT_CONVERGED),
    (r"Ill-conditioned matrix|Singular matrix", "columns repeat each other, so that weights are not unique: drop the copies"),
    (r"overflow encountered|invalid value encountered|divide by zero encountered|underflow encountered", TOO_LARGE),
    (r"least populated class|is greater than the number of members", FEW_IN_CLASS),
    (
        r"^Features? .* (?:are|is) constant|constant features",
        "a column is constant in the rows of a fold: it was not used there",
    ),
    (r"Skipping features without any observed values", "a column has no value in the rows of a fold: it was not used there"),
    (r"Found unknown categories", "rows of a fold hold categories that its training rows lack: they count as unknown there"),
)


class LibraryWarnings:
    """Warnings that were kept from the terminal."""

    def __init__(self, caught: list[warnings.WarningMessage]) -> None:
        self._caught = caught

    @property
    def notes(self) -> list[str]:
        """Those so far, in words."""
        return translate(item for item in self._caught if not issubclass(item.category, FOR_PROGRAMMERS))


@contextlib.contextmanager
def collect_library_warnings() -> Iterator[LibraryWarnings]:
    """Keep warnings from the terminal while the block runs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        warnings.filterwarnings(
            "ignore", "X has feature names, but"
        )  # a pipeline that was fitted on arrays is asked with frames
        warnings.filterwarnings("ignore", "Bins whose width are too small")  # tenths of the rows that are one value are one bin
        yield LibraryWarnings(caught)


def translate(caught: Iterable[warnings.WarningMessage]) -> list[str]:
    """Return warnings in plain words where they are known, else what the library says; each once."""
    return list(dict.fromkeys(_say(str(item.message)) for item in caught))


def _say(message: str) -> str:
    line = " ".join(LOG_PREFIX.sub("", message.strip()).split())
    known = next((words for pattern, words in KNOWN if re.search(pattern, line)), None)
    return known or (line if len(line) <= MAX_LENGTH else f"{line[: MAX_LENGTH - 1]}…")
