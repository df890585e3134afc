"""What a run reads: which files, whether they fit the model, and how they are cut into units of work."""

import io
import itertools
import lzma
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zipfile import BadZipFile

import fsspec
import pyarrow as pa

from mlops_project.contract import Contract
from mlops_project.errors import ConfigError, DataError, explain_os, suggest
from mlops_project.scoring.csv_blocks import read_header, split
from mlops_project.scoring.forms import find_form
from mlops_project.scoring.listing import check_kinds, identify, list_files, name_file
from mlops_project.scoring.parts import ID_COLUMN, Format, find_csv_type, list_results
from mlops_project.scoring.units import Table, Unit, open_parquet
from mlops_project.tables.files import PACKED, find_kind
from mlops_project.tables.layout import LayoutSettings
from mlops_project.tables.locations import hide_credentials, read_folders
from mlops_project.tables.packed import check_packed, find_member, list_members, open_packed
from mlops_project.tables.text_format import SAMPLE_BYTES, SEPARATORS, TextFormat
from mlops_project.tables.unreadable import explain_refusal, find_other_kind
from mlops_project.wire.columns import Rules
from mlops_project.wire.rows import RowReader

UNIT_ROWS = 1 << 16
MAX_UNITS_PER_GROUP = 8  # a row group is read from its start for each of its units
MAX_NAMED, MAX_SHOWN = 3, 60  # columns in a message, characters of each


@dataclass(frozen=True)
class Inputs:
    """The files of a run.

    Attributes
    ----------
    source
        As the user named it, without credentials.
    files
        With file system, in the order of their names.
    identity
        For each file what changes when it does: path, size, time of its last change or its tag in the object store.
    table
        What they have in common.
    schema
        Arrow names and types of the output.
    form, member
        CSV: how the files are written, None for Parquet; which table of an archive is read, if there are several.
    size_bytes
        Of all files; 0 if they are packed, and so larger than that.
    rows
        Parquet: of all files; None for CSV.
    shown_as
        What people call the files of a snapshot, which they know nothing of.
    """

    source: str
    files: tuple[str, ...]
    identity: tuple[str, ...]
    table: Table
    schema: pa.Schema
    form: TextFormat | None
    size_bytes: int
    rows: int | None
    member: str | None = None
    shown_as: Mapping[str, str] = field(default_factory=dict)

    def plan(self) -> Iterator[Unit]:
        """Yield the units of work, the same ones each time."""
        units = self._plan_csv(self.form) if self.form is not None else self._plan_parquet()
        for index, unit in enumerate(units):
            yield Unit(index, *unit)

    def _plan_parquet(self) -> Iterator[tuple[Any, ...]]:
        for file in self.files:
            with open_parquet(file, self.table.options) as opened:
                metadata = opened.metadata
                sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            for groups, rows in _join_groups(sizes):
                n_units = min(MAX_UNITS_PER_GROUP, -(-rows // UNIT_ROWS)) if len(groups) == 1 else 1
                edges = [rows * place // n_units for place in range(n_units + 1)]
                yield from ((file, start, end, groups) for start, end in itertools.pairwise(edges))

    def _plan_csv(self, form: TextFormat) -> Iterator[tuple[Any, ...]]:
        for file in self.files:
            try:
                with _open_text(file, form, self.table.options, self.member) as stream:
                    _read_names(stream, form)
                    for block in split(stream, form.separator):
                        yield file, block.start, block.end, (), block.text
            except UnicodeDecodeError as error:
                raise DataError(f"{file}: byte {error.start} is not text in {form.encoding}; save the file in UTF-8") from error
            except (DataError, OSError, EOFError) as error:
                raise _named(file, error) from error


def _named(file: str, error: Exception) -> DataError:
    """Return an error that names its file, once."""
    return error if isinstance(error, DataError) and str(error).startswith(file) else DataError(f"{file}: {error}")


def _join_groups(sizes: list[int]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Yield row groups, small ones together, with their number of rows."""
    groups: list[int] = []
    rows = 0
    for group, size in enumerate(sizes):
        if rows and rows + size > UNIT_ROWS:
            yield tuple(groups), rows
            groups, rows = [], 0
        groups.append(group)
        rows += size
    if rows:
        yield tuple(groups), rows


class Wanted(NamedTuple):
    """Columns of the output, beside the answers.

    Attributes
    ----------
    keep
        Of the input; None for all.
    added
        Names of those that scoring adds because it is asked to.
    folders
        Whether the names of folders may give columns.
    """

    keep: tuple[str, ...] | None = None
    added: tuple[str, ...] = ()
    folders: bool = True


def find_inputs(
    source: str,
    contract: Contract,
    rules: Rules,
    form: Format,
    wanted: Wanted,
    options: Mapping[str, Any],
    settings: LayoutSettings,
) -> Inputs:
    """Find the files of a run, and check their columns, before a row is scored.

    Parameters
    ----------
    source
        File, folder or glob; a local path or an fsspec URL.
    contract, rules
        The model's inputs, and how strictly they are read.
    form
        Of the output.
    wanted
        Columns of the output.
    options
        For the fsspec file system.
    settings
        The layout of the file that the model was trained on.

    Raises
    ------
    DataError, ConfigError
        If nothing is there, files cannot be read or have other columns, or a column is missing.
    """
    system, paths = list_files(source, options)
    shown = hide_credentials(source)
    check_kinds(paths, shown)
    try:
        identity = tuple(identify(system, item) for item in paths)
        packed = any(item.lower().endswith(PACKED[1:]) for item in paths)
        size = 0 if packed else sum(int(system.size(item) or 0) for item in paths)
    except OSError as error:
        raise DataError(f"{shown}: cannot be read: {explain_os(error)}") from error
    files = tuple(name_file(system, item) for item in paths)
    reader = RowReader(contract, rules)
    if find_kind(files[0]) == "Parquet":
        table, schema, rows = _look_at_parquet(files, reader, form, wanted, options)
        return Inputs(shown, files, identity, table, schema, None, size, rows)
    table, schema, csv_form = _look_at_csv(files, reader, form, wanted, options, settings)
    return Inputs(shown, files, identity, table, schema, csv_form, size, None, settings.member)


# --- Parquet ---


def _look_at_parquet(
    files: tuple[str, ...], reader: RowReader, form: Format, wanted: Wanted, options: Mapping[str, Any]
) -> tuple[Table, pa.Schema, int]:
    first, rows, kept = pa.schema([]), 0, tuple[str, ...]()
    names, folders = tuple[str, ...](), tuple[str, ...]()
    for place, file in enumerate(files):
        try:
            with open_parquet(file, options) as opened:
                schema, rows = opened.schema_arrow.remove_metadata(), rows + opened.metadata.num_rows
        except (pa.ArrowException, OSError, ValueError) as error:
            raise DataError(f"{file}: cannot be read: {explain_refusal(error)}") from error
        if not place:
            first, names, folders = schema, tuple(schema.names), _list_folders(file, schema.names, wanted)
            _check_columns((*names, *folders), reader, file)
            kept = _choose_kept((*names, *folders), wanted, reader.contract)
            first = pa.schema([*first, *((name, pa.string()) for name in folders)])
            _check_flat(first, kept, form, file)
        _check_same(names, tuple(schema.names), files[0], file)
        _check_same(folders, _list_folders(file, schema.names, wanted), files[0], file)
        for name in kept:
            if name not in folders and not schema.field(name).type.equals(first.field(name).type):
                kinds = f"{schema.field(name).type} in {file}, {first.field(name).type} in {files[0]}"
                raise DataError(f"column {name!r} is {kinds}; leave it out with --keep, or write the files with one type")
    fields = [*((name, first.field(name).type) for name in kept), *list_results(reader.contract)]
    return Table("parquet", names, kept, folders, options=dict(options)), pa.schema(fields), rows


# --- CSV ---


@contextmanager
def _open_table(file: str, options: Mapping[str, Any], member: str | None) -> Iterator[Any]:
    """Open a text file, or the table in an archive, for reading in binary.

    Raises
    ------
    DataError
        If it is damaged, or the archive holds several tables.
    """
    system, path = fsspec.core.url_to_fs(file, **options)
    wanted = member if member in list_members(system, path) else None
    try:
        with open_packed(system, path, find_member(system, path, wanted, lambda name: find_kind(name) == "CSV")) as stream:
            yield stream
    except (BadZipFile, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{file}: the packed file is damaged: {error}; copy it again") from error


@contextmanager
def _open_text(file: str, form: TextFormat, options: Mapping[str, Any], member: str | None) -> Iterator[Any]:
    with _open_table(file, options, member) as stream:
        yield io.TextIOWrapper(stream, form.encoding, newline="")


def _look_at_csv(
    files: tuple[str, ...],
    reader: RowReader,
    form: Format,
    wanted: Wanted,
    options: Mapping[str, Any],
    settings: LayoutSettings,
) -> tuple[Table, pa.Schema, TextFormat]:
    try:
        with _open_table(files[0], options, settings.member) as stream:
            sample = stream.read(SAMPLE_BYTES)
    except (OSError, EOFError) as error:
        raise DataError(f"{files[0]}: cannot be read: {explain_refusal(error)}") from error
    if not sample.strip():
        raise DataError(f"{files[0]}: the file is empty; copy or export it again")
    if (other := find_other_kind(sample)) is not None:
        raise DataError(f"{files[0]}: {other}")
    found = find_form(sample, reader.contract, settings)
    _check_form(found, files[0])
    names, folders, kept = tuple[str, ...](), tuple[str, ...](), tuple[str, ...]()
    for place, file in enumerate(files):
        try:
            check_packed(*fsspec.core.url_to_fs(file, **options))
            with _open_text(file, found, options, settings.member) as stream:
                own = tuple(_read_names(stream, found))
        except (DataError, OSError, EOFError, UnicodeDecodeError) as error:
            raise _named(file, error) from error
        if not place:
            names, folders = own, _list_folders(file, own, wanted)
            _check_columns((*names, *folders), reader, file)
            kept = _choose_kept((*names, *folders), wanted, reader.contract)
        _check_same(names, own, files[0], file, in_order=True)
        _check_same(folders, _list_folders(file, own, wanted), files[0], file)
    fields = [(name, find_csv_type(name, reader.contract, reader, form)) for name in kept]
    table = Table("csv", names, kept, folders, found.separator, found.decimal, found.thousands, dict(options))
    return table, pa.schema([*fields, *list_results(reader.contract)]), found


def _check_form(form: TextFormat, file: str) -> None:
    """Refuse what is no plain CSV with a header above its rows."""
    layout = form.layout
    is_plain = form.separator in SEPARATORS and len(layout.header) == 1 and not layout.names
    if not is_plain or form.rewrites_lines or form.trailing or max(layout.skip, default=-1) > layout.header[0]:
        seen = "; ".join(item.text for item in form.seen) or form.describe()
        raise DataError(f"{file}: only plain CSV with one line of names above the rows is scored in pieces; here: {seen}")


def _read_names(stream: Any, form: TextFormat) -> list[str]:
    return read_header(stream, form.separator, form.layout.header[0])


# --- columns ---


def _check_columns(names: tuple[str, ...], reader: RowReader, file: str) -> None:
    own = [found for name in names if (found := reader.find_name(name)) is not None]
    twice = sorted({name for name in own if own.count(name) > 1})
    if twice:
        raise DataError(f"{file}: columns stand there twice: {', '.join(twice)}; rename them")
    absent = [name for name in reader.names if name not in own]
    if absent:
        shown = ", ".join(f"{name!r}{suggest(name, names)}" for name in absent[:MAX_NAMED])
        more = f" and {len(absent) - MAX_NAMED} more" if len(absent) > MAX_NAMED else ""
        named = ", ".join(map(repr, names[:MAX_NAMED])) + (", …" if len(names) > MAX_NAMED else "")
        there = "" if own else f"; there is: {named}; name the columns as in training"
        raise DataError(f"{file}: {len(absent)} of the model's {len(reader.names)} columns are missing: {shown}{more}{there}")


def _choose_kept(names: tuple[str, ...], wanted: Wanted, contract: Contract) -> tuple[str, ...]:
    keep, added = wanted.keep, [*(name for name, _ in list_results(contract)), ID_COLUMN, *wanted.added]
    if keep is None:  # results of an earlier run are replaced
        return tuple(name for name in names if name and name not in added)
    for name in keep:
        if name not in names:
            raise ConfigError(f"--keep: no column {name!r} there{suggest(name, names)}")
        if name in added:
            raise ConfigError(f"--keep: {name!r} is the name of a column that scoring adds; rename the one in the file")
    return tuple(dict.fromkeys(keep))


def _list_folders(file: str, names: Sequence[str], wanted: Wanted) -> tuple[str, ...]:
    """Return the columns that a file's folders give and the file has not."""
    return tuple(sorted(name for name in read_folders(file) if name not in names)) if wanted.folders else ()


def _check_flat(schema: pa.Schema, kept: tuple[str, ...], form: Format, file: str) -> None:
    nested = [name for name in kept if form == "csv" and pa.types.is_nested(schema.field(name).type)]
    if nested:
        kind = schema.field(nested[0]).type
        raise ConfigError(
            f"{file}: column {nested[0]!r} ({kind}) has no place in CSV; leave it out with --keep, or write Parquet"
        )


def _check_same(first: tuple[str, ...], other: tuple[str, ...], first_file: str, file: str, *, in_order: bool = False) -> None:
    if len(other) == 1 < len(first) and other[0] not in first:
        raise DataError(
            f"{file}: its header is one column, {_list_names(other)}, unlike {first_file}; write both in one layout"
        )
    lacking, added = ([name for name in one if name not in two] for one, two in ((first, other), (other, first)))
    if lacking or added:
        said = [f"lacks {_list_names(lacking)}" if lacking else "", f"has {_list_names(added)} as well" if added else ""]
        raise DataError(
            f"{file}: {', '.join(filter(None, said))}, unlike {first_file}; files of a folder need the same columns"
        )
    if in_order and first != other:
        raise DataError(
            f"{file}: its columns are those of {first_file} in another order: {_list_names(other)}; write both in one"
        )


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{', '.join(repr(name[:MAX_SHOWN]) for name in names[:MAX_NAMED])}{more}"
