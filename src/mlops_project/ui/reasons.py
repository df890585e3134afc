"""The monitor's reasons in a visitor's language."""

from collections.abc import Sequence

from mlops_project.monitoring.reasons import ENGLISH, Words
from mlops_project.monitoring.results import Reason
from mlops_project.ui.language import TEXTS, Translate, name_metric

REASONS: dict[str, dict[str, str]] = {"en": ENGLISH, "pt": TEXTS["pt"]["reasons"]}


def explain(reasons: Sequence[Reason], text: str, t: Translate) -> str:
    """Return reasons in the visitor's language.

    Parameters
    ----------
    text
        What an evaluation of an earlier release says in English instead: it holds no reasons.
    """
    words = Words(REASONS[t.code], t.localise, lambda metric: name_metric(t, metric))
    return words.say(*reasons) if reasons else text
