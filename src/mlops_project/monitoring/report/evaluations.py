"""Evaluated windows on a terminal: of each model the verdict, the window, and what drifted."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from mlops_project.formats import plain
from mlops_project.monitoring.report.summary import format_minute, judge
from mlops_project.monitoring.results import Evaluation

COLOURS = {"quiet": "green", "changed": "yellow", "alert": "red"}
SHOWN = 10  # features that drifted


def print_evaluations(evaluations: Sequence[Evaluation], skipped: Mapping[str, str]) -> None:
    """Print one window of each model.

    Parameters
    ----------
    skipped
        Model → why it has none.
    """
    console = Console(highlight=False)
    for item in evaluations:
        verdict = judge(item)
        console.print(f"[{COLOURS[verdict.level]} bold]{_show(item.model)}: {_show(verdict.title)}[/]")
        _print_indented(console, _show(verdict.text))
        window = f"{format_minute(item.start)} to {format_minute(item.end)} UTC"
        console.print(f"  [dim]version {_show(item.version)}, {item.rows:,} predictions, {window}[/]")
        for feature in [feature for feature in item.drift.features if feature.drifted][:SHOWN]:
            distance = f"distance {feature.jensen_shannon:.3f}, tolerated {feature.threshold:.3f}"
            _print_indented(console, f"- {_show(feature.name)}: {distance}, {feature.weight:.0%} of the importance")
    for model, reason in skipped.items():
        console.print(f"{_show(model)}: not evaluated: {_show(reason)}", soft_wrap=True)
    if not evaluations and not skipped:
        console.print(
            "the prediction log holds no closed segment yet; a segment is closed after prediction_log.segment_seconds"
        )


def _print_indented(console: Console, text: str) -> None:
    """Print a text two blanks in; a terminal's lines are folded between words, others are left whole."""
    if console.is_terminal:
        console.print(Padding(text, (0, 0, 0, 2)))
    else:
        console.print(f"  {text}", soft_wrap=True)


def _show(text: str) -> str:
    """Return text from elsewhere, escaped for rich's markup."""
    return escape(plain(text))
