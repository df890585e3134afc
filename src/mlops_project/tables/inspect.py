"""A first look at a table: what ``mlops init`` finds out before it writes a configuration."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mlops_project.config import Config
from mlops_project.contract import FeatureType, Label, Task
from mlops_project.errors import ConfigError, DataError
from mlops_project.findings import Finding
from mlops_project.formats import count
from mlops_project.sections import DataConfig
from mlops_project.tables import checks
from mlops_project.tables.layout import Seen
from mlops_project.tables.missing import AS_TYPED, Options, mark_missing
from mlops_project.tables.sources import RawTable, build_options, read_source
from mlops_project.tables.spellings import CODE as SPELLINGS
from mlops_project.tables.spellings import join_spellings
from mlops_project.tables.table import hash_column
from mlops_project.tables.targets import MAX_CLASSES, find_target, order_classes, prepare_target
from mlops_project.tables.texts import find_prose
from mlops_project.tables.types import StrayValuesError, TypedColumn, convert_column

MAX_CATEGORIES = DataConfig().max_categories
MAX_CODES = 10  # an integer column with no more different values may hold codes
MAX_MARKS = 5  # more different texts among a column's numbers are no marks for missing values
INFINITE = ("inf", "-inf")
MARK = re.compile(  # reads like a missing value, so that it is none in a column of texts either
    r"(?i)n[./ ]*[adkv]\.?|k[./ ]*a\.?|s[./ ]*d\.?|"
    r"not? (available|applicable|known|reported|recorded|given|data|answer|response)|"
    r"unknown|missing|withheld|refused|suppressed|keine angabe|não informado|sem (dados|informação)|[-.*?]+"
)
TARGET_NAMES = ("target", "label", "class", "y", "outcome", "response", "result", "churn", "default", "survived", "species")


@dataclass
class Inspection:
    """What a look at a table shows.

    Attributes
    ----------
    source
        Without credentials.
    n_rows
        Rows with a target.
    target, task, classes, class_rows
        What is predicted; each class with its number of rows.
    columns
        Feature → type and a few words about its values.
    drop
        Columns that a model must not see, with the reason.
    types
        Types that are uncertain or not what the values suggest, with the reason.
    missing
        Values that stand for a missing one, with the column where they were found.
    notes
        What else was noticed.
    findings
        What a closer look says of the table and did not mend by itself, the gravest first.
    layout
        What is not plain in the file's layout, and the settings that say so.
    form
        In a few words, what kind of source it is.
    n_columns
        Of the table.
    other_task
        The task that the target would suit as well.
    group
        The column whose equal values stay on one side of the split, and why.
    options
        How values were read.
    """

    source: str
    n_rows: int
    target: str
    task: Task
    classes: tuple[Label, ...] = ()
    class_rows: dict[Label, int] = field(default_factory=dict)
    columns: dict[str, tuple[FeatureType, str]] = field(default_factory=dict)
    drop: dict[str, str] = field(default_factory=dict)
    types: dict[str, tuple[FeatureType, str]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    options: Options = AS_TYPED
    layout: tuple[Seen, ...] = ()
    form: str = ""
    n_columns: int = 0
    other_task: Task | None = None
    group: tuple[str, str] | None = None


def inspect_table(data: DataConfig, folders: list[Path]) -> Inspection:
    """Look at the table that ``data`` names.

    Raises
    ------
    ConfigError
        If ``data.target`` is not set: with the columns and likely targets.
    DataError
        If the table cannot be read, or no configuration can make a model of it.
    """
    raw = read_source(data, folders, adopt=True)
    if data.target is None and raw.target is None:
        raise ConfigError(_ask_for_target(raw))
    try:
        name = find_target(raw, data.target)
    except DataError as error:
        raise DataError(f"{error}{_say_layout(raw)}") from error
    found = Inspection(
        raw.source, len(raw.frame), name, "regression", notes=list(raw.warnings), options=build_options(data, raw)
    )
    found.layout, found.form, found.n_columns = raw.layout, raw.form, len(raw.frame.columns)
    found.notes = [note for note in found.notes if not any(seen.text in note for seen in raw.layout)]
    found.missing = _find_marks(raw.frame, found.options)
    frame, target = _inspect_target(raw, found, None if data.task == "auto" else data.task)
    features = {str(column): _inspect_type(frame[column], found) for column in frame.columns}
    usable = {column: typed for column, typed in features.items() if typed is not None}
    _find_drops(usable, target, found)
    found.drop = {str(name): found.drop[str(name)] for name in frame.columns if str(name) in found.drop}
    for column, typed in usable.items():
        if column not in found.drop:
            _describe(column, typed, found)
    if not found.columns:
        reasons = checks.joined(f"column {column!r} {reason}" for column, reason in found.drop.items())
        reasons = reasons or f"  - {name!r} is the only column"
        raise DataError(f"{raw.source}: no column is left to learn from\n{reasons}")
    return found


def adopt_findings(found: Inspection, findings: Iterable[Finding]) -> bool:
    """Go by what a closer look at a table found: drop leaks, keep rows of one person together; keep the rest for people.

    Returns
    -------
    changed
        Whether columns were dropped or the rows grouped, so that the table should be looked at again.
    """
    changed = False
    found.findings = []
    for finding in findings:
        columns = [name for name in finding.columns if name in found.columns]
        seen = finding.seen.removeprefix(f"column {finding.columns[0]!r} ") if finding.columns else finding.seen
        if finding.blocks and columns and len(columns) < len(found.columns):
            found.drop |= dict.fromkeys(columns, f"{seen}: {'a leak' if finding.code.startswith('leak') else finding.why}")
        elif finding.code == "repeated-identifier" and columns and found.group is None and len(found.columns) > 1:
            found.group = (columns[0], f"{seen}: such rows stay on one side of the split")
        else:
            if finding.severity != "note" and finding.code != SPELLINGS:  # these are told where labels are read
                found.findings.append(finding)
            continue
        changed = True
        for name in columns:
            del found.columns[name]
            found.types.pop(name, None)
    return changed


def _ask_for_target(raw: RawTable) -> str:
    columns = [str(name) for name in raw.frame.columns]
    near = [name for name in columns if name.lower() in TARGET_NAMES or name.lower().endswith(TARGET_NAMES[:3])]
    few = [name for name in columns if 1 < raw.frame[name].map(str).nunique() <= MAX_CODES]
    likely = list(dict.fromkeys([*near, *([columns[-1]] if columns[-1] in few else []), *few, columns[-1]]))[:5]
    return (
        f"{raw.source}: which column is to be predicted? Name it with --target, for example --target {likely[0]!r}\n"
        f"  likely: {', '.join(likely)}\n  columns: {', '.join(columns)}{_say_layout(raw)}"
    )


def _say_layout(raw: RawTable) -> str:
    """Return what was seen of a file's layout, as further lines of a message."""
    lines = [f"  {seen.explain()}" for seen in raw.layout if not seen.usual]
    if any(seen.key == "header" and seen.value is False for seen in raw.layout):
        first = raw.frame.iloc[0].items()
        lines.append("  first row: " + ", ".join(f"{name} = {str(value)[:20]}" for name, value in first))
    return "".join(f"\n{line}" for line in lines)


def _find_marks(frame: pd.DataFrame, options: Options) -> dict[str, str]:
    """Return the few texts among columns' numbers that read like a missing value, or that no column of texts has as a value."""
    strays: dict[str, tuple[str, ...]] = {}
    for name in frame.columns:
        try:
            convert_column(frame[name], None, MAX_CATEGORIES, options)
        except StrayValuesError as error:
            strays[str(name)] = error.values
        except DataError:
            continue
    texts = [frame[name] for name in frame.columns if str(name) not in strays and not _is_number(frame[name])]
    marks: dict[str, str] = {}
    for name, values in strays.items():
        unlike = [value for value in values if not MARK.fullmatch(value.strip())]
        if len(values) <= MAX_MARKS and (not unlike or not any(_uses(column, unlike) for column in texts)):
            marks = dict.fromkeys(values, name) | marks
    return marks


def _is_number(column: "pd.Series[Any]") -> bool:
    return bool(pd.api.types.is_numeric_dtype(column.dtype)) or column.dtype.kind == "M"


def _uses(column: "pd.Series[Any]", values: Iterable[str]) -> bool:
    return len(mark_missing(column, values).dropna()) < len(column.dropna())


def _inspect_target(raw: RawTable, found: Inspection, wanted: Task | None) -> "tuple[pd.DataFrame, pd.Series[Any]]":
    """Name the task and its classes; return the rows that have a target."""
    frame = raw.frame
    typed = _inspect_type(frame[found.target], found, MAX_CLASSES)
    if typed is None:
        raise DataError(f"{raw.source}: the target {found.target!r} {found.drop[found.target]}")
    present = typed.values.notna()
    if not present.all():
        words = f" ({typed.warning})" if typed.warning else ""
        found.notes.append(f"{int((~present).sum()):,} of {len(frame):,} rows have no {found.target!r} and are left out{words}")
    frame = frame[present]
    if len(frame) < checks.MIN_ROWS:
        raise DataError(f"{raw.source}: {count(len(frame), 'row')} with a {found.target!r}; {checks.MIN_ROWS} is the least")
    column = mark_missing(frame.pop(found.target), found.missing)
    options = found.options._replace(trim=False)
    typed = convert_column(column, typed.type if found.target in found.types else None, MAX_CLASSES, options)
    values, spellings = join_spellings(typed.values, {})
    typed = typed._replace(values=values)
    found.notes += [] if spellings is None else [f"{spellings.seen}; they are joined"]
    try:
        target, found.task = prepare_target(typed, wanted, n_absent=int((~present).sum()))
    except DataError as error:
        if wanted or typed.type not in ("float", "integer"):
            raise DataError(f"{raw.source}: {_find_stray(column, found) or error}") from error
        target, found.task = prepare_target(typed, "regression")
        found.notes.append(f"{found.target!r} has whole numbers, some of them in too few rows to be classes")
    found.n_rows = len(frame)
    if wanted is None and typed.type in ("float", "integer") and typed.values.nunique() > 2:
        few = typed.type == "integer" and typed.values.nunique() <= MAX_CLASSES
        found.other_task = "regression" if found.task != "regression" else "multiclass" if few else None
    if found.task != "regression":
        found.classes = order_classes(target, Config())
        counts = target.value_counts()
        found.class_rows = {label: int(counts[label]) for label in found.classes}
    return frame, target


def _find_stray(target: "pd.Series[Any]", found: Inspection) -> str | None:
    """Return which values of a target that almost holds numbers are none, with their rows; None if it does not."""
    try:
        convert_column(target, None, MAX_CLASSES, found.options)
    except StrayValuesError as error:
        return f"the target {str(error).partition('; mend them')[0]}; mend them, or leave them empty to leave those rows out"
    except DataError:
        return None
    return None


def _inspect_type(column: "pd.Series[Any]", found: Inspection, max_categories: int = MAX_CATEGORIES) -> TypedColumn | None:
    """Convert a column; where its values do not agree, as text; None (and a reason to drop it) where nothing helps."""
    name = str(column.name)
    column = mark_missing(column, found.missing)
    options = found.options._replace(trim=name != found.target)
    try:
        return convert_column(column, None, max_categories, options)
    except StrayValuesError as error:
        kind: FeatureType = "category" if column.nunique() <= max_categories else "string"
        shown = ", ".join(repr(value) for value in error.values[:3])
        found.types[name] = (kind, f"mostly numbers or dates, but also {shown}: mend them, or name them in missing")
        return convert_column(column, kind, max_categories, options)
    except DataError as error:
        found.drop[name] = str(error).removeprefix(f"column {name!r} ").removeprefix(f"column {name!r}: ")
        return None


def _find_drops(usable: dict[str, TypedColumn], target: "pd.Series[Any]", found: Inspection) -> None:
    columns = {name: typed.values for name, typed in usable.items()}
    unusable = checks.find_unusable(columns, {name: hash_column(column) for name, column in columns.items()})
    found.drop |= {name: finding.seen.removeprefix(f"column {name!r} ") for name, finding in unusable.items()}
    for finding in checks.find_infinite(columns):
        (name,) = finding.columns
        found.missing |= dict.fromkeys(INFINITE, name)
        found.notes.append(f"{finding.seen}; read as missing")
        columns[name] = mark_missing(columns[name], INFINITE)
    for finding in checks.find_huge(columns):
        (name,) = finding.columns
        marks = checks.list_huge(columns[name])
        found.notes.append(f"{finding.seen}; {'read as missing' if len(marks) <= MAX_MARKS else 'left out'}")
        if len(marks) <= MAX_MARKS:
            found.missing |= dict.fromkeys(marks, name)
            columns[name] = mark_missing(columns[name], marks)
        else:
            found.drop[name] = finding.seen.removeprefix(f"column {name!r} ")
    rest = {name: column for name, column in columns.items() if name not in found.drop}
    leaks = [finding.columns[0] for finding in checks.find_leaks(rest, target, found.task)]
    found.drop |= dict.fromkeys(leaks, f"equals the target {found.target!r} in other words: a leak")
    rest = {name: column for name, column in rest.items() if name not in found.drop}
    for name, finding in find_prose(rest, {name: usable[name].type for name in rest}, ()).items():
        found.drop[name] = f"{finding.seen.removeprefix(f'column {name!r} ')}; {finding.cure}"
        del rest[name]
    for finding in checks.find_identifiers(rest, {name: usable[name].type for name in rest}):
        (name,) = finding.columns
        seen = found.types[name][1] if name in found.types else usable[name].warning
        found.drop[name] = (seen or finding.seen).removeprefix(f"column {name!r} ")


def _describe(name: str, typed: TypedColumn, found: Inspection) -> None:
    kind, values, warning = typed.type, typed.values, typed.warning
    distinct, n_missing = int(values.nunique()), int(values.isna().sum())
    gaps = f", {n_missing} missing" if n_missing else ""
    if kind in ("category", "string"):
        texts = ", ".join(f"{str(text)[:20]!r}" for text in values.value_counts().index[:3])
        summary = f"{distinct} different texts: {texts}{', …' if distinct > 3 else ''}"
    else:
        form = {"float": ".6g", "integer": ".0f"}.get(kind, "")
        summary = f"{values.min():{form}} … {values.max():{form}}"
    found.columns[name] = (kind, summary + gaps)
    if warning:
        found.notes.append(warning)
    if name in found.types:
        return
    if kind == "integer" and 2 < distinct <= MAX_CODES:
        shown = ", ".join(f"{value:.0f}" for value in sorted(values.dropna().unique()))
        found.types[name] = (kind, f"only {shown}: if these are codes, not amounts, write category")
    elif kind == "string":
        found.types[name] = (kind, f"{distinct} different texts, each of which becomes the target's mean; useless? drop it")
