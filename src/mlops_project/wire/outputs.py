"""Which parts of an answer a request wants, where it does not want the usual ones."""

from typing import Any

from mlops_project.contract import Contract
from mlops_project.errors import suggest
from mlops_project.wire.problems import shorten

NAME = "outputs"
LABEL, CLASS, INDEX, PROBABILITIES, VALUE = "label", "class", "index", "probabilities", "value"
OF_CLASSES = (LABEL, CLASS, INDEX, PROBABILITIES)

Outputs = tuple[str, ...]  # each of them once


def find_problem(asked: Any, contract: Contract) -> str | None:
    """Return what is wrong with the outputs that a request asks for; None if nothing is."""
    known = OF_CLASSES if contract.is_classification else (VALUE,)
    if type(asked) is not list or not asked or not all(type(name) is str for name in asked):
        return f"{NAME}: expected a list of names: {', '.join(known)}"
    for name in asked:
        if name not in known:
            return f"{NAME}: no {shorten(name)!r}; the model has {', '.join(known)}{suggest(name[:64], known)}"
    return f"{NAME}: one stands there twice; ask for each once" if len(set(asked)) < len(asked) else None
