"""A first configuration for a table, with what was seen of it as comments: the text that ``mlops init`` writes."""

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

from mlops_project.errors import ConfigError
from mlops_project.sections import DataConfig
from mlops_project.tables.databases import is_database
from mlops_project.tables.first_models import list_first_models, name_first_estimators
from mlops_project.tables.inspect import Inspection, inspect_table
from mlops_project.tables.layout import LayoutSettings
from mlops_project.tables.locations import find_local, hide_credentials

RARE_SHARE = 0.1
MAX_LISTED = 100
MAX_NAME = 64


class Draft(NamedTuple):
    """A first configuration.

    Attributes
    ----------
    text
        The file's content.
    found
        What was seen of the table.
    """

    text: str
    found: Inspection


def draft_config(
    source: str, target: str | None, *, query: str | None, folder: Path, settings: Mapping[str, Any] = MappingProxyType({})
) -> Draft:
    """Look at a table and return a commented configuration that trains as it is.

    Parameters
    ----------
    source
        As for ``data.source``; a relative path starts at the working directory.
    folder
        Where the configuration will lie; absolute.
    settings
        Further settings of ``data``: the task, and what the file's layout is.

    Raises
    ------
    ConfigError
        If no target is named, with likely ones; or if the address holds a password, which the file would keep.
    DataError
        If the table cannot be read, or no model can be made of it.
    """
    if "://" in source and hide_credentials(source) not in (source, _without_user(source)):
        raise ConfigError(
            f"{hide_credentials(source)}: the address holds a password or a token, and the file would keep it; leave it "
            "out (libraries find credentials in their own variables and files, such as PGPASSWORD, ~/.pgpass or AWS_PROFILE)"
        )
    found = inspect_table(DataConfig(source=source, target=target, query=query, **settings), [Path.cwd()])
    return Draft(write_config(found, source, query=query, folder=folder, settings=settings), found)


def write_config(found: Inspection, source: str, *, query: str | None, folder: Path, settings: Mapping[str, Any]) -> str:
    """Return the configuration for a table that was looked at; for the other parameters see ``draft_config``."""
    name = _model_name(source)
    written = _Writer(found)
    written.head(source)
    written.data(_place(source, folder), query, settings)
    written.model(name)
    written.gates()
    written.rest(name)
    return "\n".join(written.lines) + "\n"


def _without_user(source: str) -> str:
    """Return a database's address without its user's name, which is no secret there; elsewhere it may be a token."""
    return re.sub(r"://[^/:@]+@", "://", source) if is_database(source) else source


def _model_name(source: str) -> str:
    stem = PurePosixPath(re.sub(r"[*?\[\]]", "", source.partition("?")[0]).rstrip("/")).name.partition(".")[0]
    return re.sub(r"\W+", "-", stem.rpartition(":")[2]).strip("-_").lower() or "model"


def _place(source: str, folder: Path) -> str:
    """Return the address as seen from the configuration's folder: relative below it, else absolute."""
    if "://" in source:
        if is_database(source) and source.startswith("sqlite") and not source.partition(":///")[2].startswith("/"):
            return f"{source.partition(':///')[0]}:///{_place(source.partition(':///')[2], folder)}"
        return source
    if source.startswith("sklearn:"):
        return source
    path = Path(os.path.abspath(find_local(source, [Path.cwd()])))  # noqa: PTH100 - links stay what they are
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _yaml(value: Any) -> str:
    """Return a value in one line of YAML."""
    quotes = '"' if isinstance(value, str) and not value.isprintable() else None  # the only ones that escape a line's end
    text = yaml.safe_dump([value], default_flow_style=True, default_style=quotes, allow_unicode=not quotes, width=10**9)
    return text.strip()[1:-1]


def _comment(text: str) -> str:
    """Return a text in one line, without the signs that YAML does not allow and those that rearrange a line."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


class _Writer:
    """The configuration's lines, section by section."""

    def __init__(self, found: Inspection) -> None:
        self.found = found
        self.lines: list[str] = []

    def add(self, text: str, comment: str = "") -> None:
        self.lines.append(f"{text:<26} # {_comment(comment)}" if comment else text)

    def head(self, source: str) -> None:
        found = self.found
        self.add(f"# Written by `mlops init` for {_comment(hide_credentials(source))}: {found.n_rows:,} rows,")
        self.add(f"# {len(found.columns)} columns to learn {_comment(found.target)} from. Every setting: docs/configuration.md")
        for note in (*(f"{finding.seen}; {finding.cure} [{finding.code}]" for finding in found.findings), *found.notes):
            self.add(f"# Note: {_comment(note)}")
        self.add("")
        self.add("test_size: 0.2", "share of rows held out for evaluation")
        self.add("random_state: 42", "seed of everything random")
        self.add("")

    def data(self, source: str, query: str | None, settings: Mapping[str, Any]) -> None:
        found = self.found
        self.add("data:")
        self.add(f"  source: {_yaml(source)}")
        if query is not None:
            self.add(f"  query: {_yaml(query)}")
        self._layout(settings)
        self.add(f"  target: {_yaml(found.target)}", self._describe_target())
        self.add(f"  task: {found.task}")
        if found.task == "binary":
            positive, rows = found.classes[1], found.class_rows[found.classes[1]]
            self.add(f"  positive_class: {_yaml(positive)}", f"{rows:,} rows; precision, recall and curves are about this one")
        if found.group:
            self.add(f"  group: {_yaml(found.group[0])}", found.group[1])
        self._mapping("drop", [f"- {_yaml(name)}" for name in found.drop], list(found.drop.values()))
        self._mapping(
            "missing", [f"- {_yaml(mark)}" for mark in found.missing], [f"in {name}" for name in found.missing.values()]
        )
        kinds = [f"{_yaml(name)}: {kind}" for name, (kind, _) in found.types.items() if name not in found.drop]
        self._mapping("types", kinds, [reason for name, (_, reason) in found.types.items() if name not in found.drop])
        dates = [name for name, (kind, _) in found.columns.items() if kind == "datetime"]
        if dates:
            self.add(f"  # time: {_yaml(dates[0])}", "hold out the newest rows, if the model is to predict later ones")
        self._list_columns()
        self.add("")

    def _layout(self, settings: Mapping[str, Any]) -> None:
        """Write how the file is laid out: what was asked for, and what was seen."""
        seen = {item.key: item for item in self.found.layout if item.key}
        for key in LayoutSettings._fields:
            if key in seen:
                self.add(f"  {key}: {_yaml(seen[key].value)}", "; ".join(filter(None, (seen[key].text, seen[key].hint))))
            elif settings.get(key) is not None:
                value = settings[key]
                self.add(f"  {key}: {_yaml([*value] if isinstance(value, tuple) else value)}")

    def _describe_target(self) -> str:
        found = self.found
        rows = [f"{label} ({found.class_rows[label]:,} rows)" for label in found.classes[:6]]
        return ", ".join(rows) + (f" and {len(found.classes) - 6} more" if len(found.classes) > 6 else "")

    def _mapping(self, key: str, entries: list[str], reasons: list[str]) -> None:
        if entries:
            self.add(f"  {key}:")
        for entry, reason in zip(entries, reasons, strict=True):
            self.add(f"    {entry}", reason)

    def _list_columns(self) -> None:
        columns = list(self.found.columns.items())
        self.add("  # What the model learns from, as it was read (types changes a type, drop leaves a column out):")
        width = min(MAX_NAME // 2, max(len(_comment(name)) for name, _ in columns))
        for name, (kind, summary) in columns[:MAX_LISTED]:
            self.add(f"  #   {_comment(name)[:MAX_NAME]:<{width}}  {kind:<9} {_comment(summary)}")
        if len(columns) > MAX_LISTED:
            self.add(f"  #   … and {len(columns) - MAX_LISTED} more")

    def model(self, name: str) -> None:
        found = self.found
        named = name_first_estimators(found.task, found.n_rows)
        self.add("model:")
        self.add(f"  name: {_yaml(name)}", "in the model registry")
        self.add("  estimator: auto", f"cross-validates {', '.join(named)} and keeps the simplest of the best; or name one")
        fixed = list_first_models(found.task, found.n_rows)[-1]
        self.add(f"  # estimator: {fixed.estimator}")
        self.add(f"  # params: {_yaml(fixed.params)}")
        if found.task != "regression":
            self.add("  # calibration: sigmoid", "if probabilities are to be taken literally")
        self.add("")

    def gates(self) -> None:
        found = self.found
        example = {"binary": "{roc_auc: 0.8}", "multiclass": "{accuracy: 0.8}", "regression": "{r2: 0.5}"}[found.task]
        share = min(found.class_rows.values()) / found.n_rows if found.class_rows else 1.0
        self.add("gates:", "before a model becomes champion")
        self.add("  minimum: {}", f"what it must show at least, for example {example}; set it after the first training")
        if share < RARE_SHARE:
            self.add(
                "  metric: pr_auc", f"the rarest class has {share:.1%} of the rows: accuracy and ROC AUC look good too easily"
            )
        self.add("  tolerance: 0.01", "not worse than the champion by more than this")
        self.add("")

    def rest(self, name: str) -> None:
        self.add("paths:")
        self.add(f"  exported_model_dir: artifacts/{name}", "one directory per model, so that two do not replace each other")
