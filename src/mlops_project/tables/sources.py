"""Where tables come from: scikit-learn, files (of any kind that ``files`` reads, any fsspec URL) and SQL queries."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
from sklearn import datasets

from mlops_project.config import Config
from mlops_project.contract import TEXT_TYPES, Label
from mlops_project.errors import ConfigError, DataError, suggest
from mlops_project.formats import count
from mlops_project.sections import DataConfig
from mlops_project.tables.databases import is_database, read_query
from mlops_project.tables.files import Reading, read_files
from mlops_project.tables.layout import LayoutSettings, Seen
from mlops_project.tables.locations import find_local, hide_credentials
from mlops_project.tables.missing import Options

SKLEARN = {
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "iris": datasets.load_iris,
    "digits": datasets.load_digits,
    "diabetes": datasets.load_diabetes,
}
PACKAGE = Path(__file__).parents[1]  # holds the built-in configuration, never data


@dataclass(frozen=True)
class RawTable:
    """A table as its source gave it, with clean names.

    Attributes
    ----------
    frame
        Every named column, types as read, rows numbered from 0.
    source
        Where it came from, without credentials.
    target
        The target column, where the source knows it.
    class_names
        Display name per label of that target.
    warnings
        What had to be assumed.
    is_text
        Whether it came from a file of texts, where words such as ``NA`` may stand for a missing value.
    decimal, thousands
        Signs in the numbers of that file.
    layout
        What is not plain in the file's layout.
    form
        In a few words, what kind of source it is.
    """

    frame: pd.DataFrame
    source: str
    target: str | None = None
    class_names: dict[Label, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    is_text: bool = False
    decimal: str | None = None
    thousands: str | None = None
    layout: tuple[Seen, ...] = ()
    form: str = ""


def read_table(config: Config, *, head: int | None = None) -> RawTable:
    """Read the table that ``config.data`` names, or about its first ``head`` rows.

    A relative path starts at the configuration file's folder, then at the project root; see ``read_source``.
    """
    folders = [folder for folder in (config.file.parent, config.root) if folder != PACKAGE]
    return read_source(config.data, folders, head=head)


def read_source(data: DataConfig, folders: list[Path], *, adopt: bool = False, head: int | None = None) -> RawTable:
    """Read the table that ``data`` names.

    Parameters
    ----------
    folders
        Where a relative path may start, the first that has the file wins.
    adopt
        Whether to go by a layout that is not certain as well.
    head
        Read only about so many rows of a file; None for all.

    Raises
    ------
    DataError
        If the source does not exist, cannot be reached or parsed, or is empty; never with a password in the message.
    """
    if data.query is not None:
        frame, source = read_query(data.source, data.query, folders)
        return replace(_named(frame, source), form="query")
    if data.source.startswith("sklearn:"):
        return _read_sklearn(data.source)
    if is_database(data.source):
        scheme = data.source.partition(":")[0]
        raise DataError(f"data.source: {scheme}:// is a database; say what to read with data.query")
    source = data.source if "://" in data.source else str(find_local(data.source, folders))
    reading = Reading(read_layout_settings(data), frozenset(_text_columns(data)), adopt, head)
    frame, warnings = read_files(source, data.storage_options, reading=reading)
    return replace(_named(frame, hide_credentials(source), warnings), layout=tuple(reading.seen), form=reading.form)


def read_layout_settings(data: DataConfig) -> LayoutSettings:
    """Return what a configuration says of a file's layout.

    Raises
    ------
    ConfigError
        If it counts from a row that there cannot be.
    """
    header = data.header if isinstance(data.header, tuple) else (data.header,)
    rows = data.skip_rows if isinstance(data.skip_rows, tuple) else ()
    if any(type(number) is int and number < 1 for number in (*header, *rows)) or list(header) != sorted(
        header, key=lambda at: at or 0
    ):
        raise ConfigError("data.header and data.skip_rows: rows are counted from 1, those above first; for none, header: false")
    if min(data.skip_footer or 0, data.skip_rows if isinstance(data.skip_rows, int) else 0) < 0:
        raise ConfigError("data.skip_footer and data.skip_rows: expected how many rows to leave out, 0 or more")
    return LayoutSettings(*(getattr(data, name) for name in LayoutSettings._fields))


def build_options(data: DataConfig, raw: RawTable) -> Options:
    """Return how a table's values are to be read."""
    return Options(raw.is_text, data.na_words, data.missing, data.dates, raw.decimal or data.decimal, raw.thousands)


def _text_columns(data: DataConfig) -> list[str]:
    """Return the columns that the settings want as they stand in the file."""
    return [*(name for name, kind in data.types.items() if kind in TEXT_TYPES), *data.text, *data.dates]


def _read_sklearn(source: str) -> RawTable:
    name = source.removeprefix("sklearn:")
    if name not in SKLEARN:
        known = ", ".join(SKLEARN)
        raise DataError(f"data.source: no scikit-learn table {name!r}{suggest(name, list(SKLEARN))}; known: {known}")
    loaded = SKLEARN[name](as_frame=True)
    names: dict[Label, str] = {label: str(text) for label, text in enumerate(loaded.get("target_names", ()))}
    return RawTable(loaded.frame, source, "target", names, form="table of scikit-learn")


def _named(frame: pd.DataFrame, source: str, warnings: list[str] | None = None) -> RawTable:
    """Give every column a name that is a unique, trimmed string; leave out the nameless."""
    notes = list(warnings or ())
    frame = frame.reset_index(drop=True)
    frame.columns = pd.Index([str(name).strip() for name in frame.columns], dtype="str")
    about, frame.attrs = frame.attrs, {}
    nameless = [name for name in frame.columns if name.startswith(("Unnamed: ", "__index_level_")) or not name]
    if nameless:
        empty = all(frame[name].isna().all() for name in nameless)
        why = "and no values either (separators at the end of the lines?)" if empty else "(a saved row index?)"
        many = "1 column has" if len(nameless) == 1 else f"{len(nameless)} columns have"
        notes.append(f"{many} no name {why}; left out")
        frame = frame.drop(columns=nameless)
    twice = sorted(set(frame.columns[frame.columns.duplicated()]))
    if twice:
        raise DataError(f"{source}: column names stand twice: {', '.join(twice)}; rename them")
    if not len(frame) or not len(frame.columns):
        raise DataError(f"{source}: the table has no rows ({count(len(frame.columns), 'column')}); name one that has")
    return RawTable(
        frame,
        source,
        warnings=tuple(notes),
        is_text=bool(about.get("text")),
        decimal=about.get("decimal"),
        thousands=about.get("thousands"),
    )
