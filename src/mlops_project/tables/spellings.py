"""Labels that differ only by blanks or by capital letters: one class, written in several ways."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mlops_project.findings import Finding, accept

MAX_SHOWN = 5
CODE = "label-spellings"


def join_spellings(values: "pd.Series[Any]", accepted: Mapping[str, str]) -> "tuple[pd.Series[Any], Finding | None]":
    """Return a target of texts where spellings of one label are its most frequent one, without blanks around it.

    Parameters
    ----------
    values
        The target; other types are returned as they are.
    accepted
        ``checks.accept``: with a reason for ``label-spellings`` they are different labels, and stay as they are.
    """
    if not isinstance(values.dtype, pd.StringDtype) and values.dtype != object:
        return values, None
    counts = values[values.map(lambda value: isinstance(value, str))].value_counts()
    spellings: dict[str, dict[str, int]] = {}
    for text, rows in counts.items():
        spellings.setdefault(" ".join(str(text).split()).casefold(), {})[str(text)] = int(rows)
    several = {key: texts for key, texts in spellings.items() if len(texts) > 1}
    if not several:
        return values, None
    kept = {key: _choose(texts) for key, texts in several.items()}
    shown = [
        f"{kept[key]!r} is written {', '.join(f'{text!r} ({rows})' for text, rows in texts.items())}"
        for key, texts in several.items()
    ]
    finding = Finding(
        code="label-spellings",
        columns=(str(values.name),),
        seen=f"labels of {values.name!r} differ by blanks or capital letters: {'; '.join(shown[:MAX_SHOWN])}",
        why="as classes of their own they split what belongs together, so they were joined",
        cure="write each label in one way; if they are different labels, say so in checks.accept, and they stay apart",
    )
    (finding,) = accept([finding], accepted)
    if finding.accepted:
        return values, finding
    names = {text: kept[key] for key, texts in several.items() for text in texts}
    return values.map(lambda label: names.get(label, label)).astype(values.dtype), finding


def _choose(texts: Mapping[str, int]) -> str:
    rows: dict[str, int] = {}
    for text, count in texts.items():
        rows[text.strip()] = rows.get(text.strip(), 0) + count
    return max(rows, key=lambda text: rows[text])
