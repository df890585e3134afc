"""What ``mlops init`` says on the terminal: what it saw of a table, what it chose, and how to choose otherwise."""

import textwrap
from collections.abc import Iterable

from mlops_project.contract import FeatureType
from mlops_project.tables.inspect import Inspection

WIDTH = 79
LABEL = 12  # characters of the first column
MAX_ITEMS = 4  # of a kind; the file lists all
MAX_CLASSES = 6
MAX_LINES = 3  # of an item
NOUNS: dict[FeatureType, tuple[str, str]] = {
    "float": ("number", "numbers"),
    "integer": ("whole number", "whole numbers"),
    "boolean": ("yes or no", "times yes or no"),
    "category": ("category", "categories"),
    "string": ("free text", "free texts"),
    "datetime": ("date", "dates"),
}


def summarise_inspection(found: Inspection) -> list[str]:
    """Return lines of at most ``WIDTH`` characters, usually no more than 20."""
    size = f"{found.n_rows:,} rows, {found.n_columns} columns"
    lines = _entry("read", [f"{size} of {found.source.rpartition('/')[2]} ({found.form})"])
    lines += _entry("layout", [item.explain() for item in found.layout if not item.usual])
    lines += _entry("predicts", _describe_target(found))
    lines += _entry("learns from", _describe_columns(found))
    lines += _entry("groups by", [f"{found.group[0]}: {found.group[1]} (data.group)"] if found.group else [])
    lines += _entry("leaves out", _list_drops(found))
    marks = ", ".join(f"{mark!r} ({name})" for mark, name in list(found.missing.items())[:MAX_ITEMS])
    lines += _entry("missing", [f"{marks} read as missing values (data.missing)"] if marks else [])
    warned = [f"{finding.seen}; {finding.cure}" for finding in found.findings]
    notes = (note.removeprefix(f"{found.source}: ") for note in found.notes)
    return lines + _entry("check", [*warned, *_list_choices(found), *notes])


def _list_drops(found: Inspection) -> list[str]:
    """Return what is left out, columns with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for name, reason in found.drop.items():
        reasons.setdefault(reason, []).append(name)
    return [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _entry(label: str, items: Iterable[str]) -> list[str]:
    """Return items beside their label, the first few of them."""
    items = [" ".join(item.split()) for item in items]
    more = [f"… and {len(items) - MAX_ITEMS} more, see the file"] if len(items) > MAX_ITEMS + 1 else []
    shown = items[: MAX_ITEMS if more else len(items)] + more
    lines = []
    for number, item in enumerate(shown):
        head = f"{label if not number else '':<{LABEL}}"
        indent = " " * (LABEL + 2)
        lines += textwrap.wrap(
            item,
            WIDTH,
            initial_indent=head,
            subsequent_indent=indent,
            break_on_hyphens=False,
            max_lines=MAX_LINES,
            placeholder=" …",
        )
    return lines


def _describe_target(found: Inspection) -> list[str]:
    if found.task == "regression":
        return [f"{found.target}, a number (regression)"]
    kind = "one of two classes" if found.task == "binary" else f"one of {len(found.classes)} classes"
    rows = ", ".join(f"{label} ({found.class_rows[label]:,} rows)" for label in found.classes[:MAX_CLASSES])
    more = ", …" if len(found.classes) > MAX_CLASSES else ""
    items = [f"{found.target}, {kind}: {rows}{more}"]
    if found.task == "binary":
        items.append(f"{found.classes[1]} is the positive class: precision and recall are about it")
    return items


def _describe_columns(found: Inspection) -> list[str]:
    kinds: dict[FeatureType, list[str]] = {}
    for name, (kind, _) in found.columns.items():
        kinds.setdefault(kind, []).append(name)
    return [
        f"{len(names)} {NOUNS[kind][len(names) > 1]}: {', '.join(name[:24] for name in names[:MAX_ITEMS])}"
        + (", …" if len(names) > MAX_ITEMS else "")
        for kind, names in kinds.items()
    ]


def _list_choices(found: Inspection) -> list[str]:
    """Return what might be meant otherwise, each with the setting that says so."""
    choices = []
    if found.other_task == "regression":
        choices.append(f"{found.target}: whole numbers taken for classes; if they are amounts: --task regression")
    elif found.other_task == "multiclass":
        choices.append(f"{found.target}: whole numbers taken for amounts; if they are classes: --task multiclass")
    if found.task == "binary":
        choices.append(f"if {found.classes[0]} is what you look for: decision.positive: {found.classes[0]}")
    dates = [name for name, (kind, _) in found.columns.items() if kind == "datetime"]
    if dates and "time-order" not in {finding.code for finding in found.findings}:
        choices.append(f"held-out rows are drawn at random; to hold out the newest instead: data.time: {dates[0]}")
    codes = [name for name, (kind, _) in found.types.items() if kind == "integer" and name in found.columns]
    if codes:
        named = ", ".join(codes[:MAX_ITEMS]) + (", …" if len(codes) > MAX_ITEMS else "")
        choices.append(f"{named}: few whole numbers, taken for amounts; if codes: data.types: {{{codes[0]}: category}}")
    texts = [(name, *seen) for name, seen in found.types.items() if seen[0] != "integer" and name in found.columns]
    return [*choices, *(f"{name}: {reason} (data.{'drop' if kind == 'string' else 'types'})" for name, kind, reason in texts)]
