"""Spreadsheets, JSON lines and Arrow files: training reads them, so they are scored, from a snapshot in Parquet."""

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from mlops_project.errors import DataError
from mlops_project.scoring.listing import identify, list_files, name_file
from mlops_project.scoring.snapshot import CHUNK_ROWS, Pieces, build_table
from mlops_project.tables.columnar import check_same_columns
from mlops_project.tables.files import Reading, find_kind, read_files
from mlops_project.tables.json_lines import split_json_lines
from mlops_project.tables.layout import LayoutSettings
from mlops_project.tables.locations import hide_credentials, read_folders
from mlops_project.tables.packed import check_packed, find_member, open_packed
from mlops_project.tables.unreadable import explain_refusal

KINDS = {"spreadsheet", "JSON lines", "Arrow"}


def find_whole_files(source: str, options: Mapping[str, Any], settings: LayoutSettings) -> Pieces | None:
    """Return the rows of files of these kinds; None where there is another.

    Parameters
    ----------
    source
        File, folder or glob; a local path or an fsspec URL.
    options
        For the fsspec file system.
    settings
        The layout of the file that the model was trained on.

    Raises
    ------
    DataError
        If nothing is there.
    """
    system, paths = list_files(source, options)
    if len(kinds := {find_kind(path) for path in paths}) > 1 or not kinds <= KINDS:
        return None
    key = "\n".join(identify(system, path) for path in paths)
    return Pieces(hide_credentials(source), key, lambda: _read(system, paths, options, settings))


def _read(
    system: Any, paths: list[str], options: Mapping[str, Any], settings: LayoutSettings
) -> Iterator[tuple[str, pa.Table]]:
    kind, first = str(find_kind(paths[0])), None
    for path in paths:
        file = name_file(system, path)
        try:
            for table in _READERS[kind](system, path, options, settings):
                named = _add_folders(table, path)
                first = first or named.column_names
                if kind != "JSON lines":  # whose lines may lack a key
                    check_same_columns(first, named.column_names, name_file(system, paths[0]), file, "files of a folder")
                yield file, named
        except (pa.ArrowException, OSError, EOFError) as error:
            raise DataError(f"{file}: cannot be read: {explain_refusal(error)}") from error


def _add_folders(table: pa.Table, path: str) -> pa.Table:
    for name, value in read_folders(path).items():
        if name not in table.column_names:
            table = table.append_column(name, pa.array([value] * len(table), pa.string()))
    return table


def _read_spreadsheet(system: Any, path: str, options: Mapping[str, Any], settings: LayoutSettings) -> Iterator[pa.Table]:
    every_row = settings._replace(skip_footer=settings.skip_footer or 0)  # one that is no row is named as one that does not fit
    frame, _ = read_files(name_file(system, path), options, reading=Reading(every_row))
    columns = {str(name): frame[name].astype(object).where(frame[name].notna(), None).tolist() for name in frame}
    yield build_table(columns)


def _read_json_lines(system: Any, path: str, _: Mapping[str, Any], settings: LayoutSettings) -> Iterator[pa.Table]:
    check_packed(system, path)
    member = find_member(system, path, settings.member, lambda name: find_kind(name) == "JSON lines")
    with open_packed(system, path, member) as stream:
        yield from map(build_table, split_json_lines(iter(stream), path, CHUNK_ROWS))


def _read_arrow(system: Any, path: str, *_: Any) -> Iterator[pa.Table]:
    with system.open(path, "rb") as stream, pa.ipc.open_file(stream) as file:
        schema = pa.schema([(field.name, _find_plain(field.type)) for field in file.schema])
        yield schema.empty_table()
        for place in range(file.num_record_batches):
            yield pa.Table.from_batches([file.get_batch(place)]).replace_schema_metadata(None).cast(schema)


def _find_plain(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values: each batch may have a dictionary of its own."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


_READERS = {"spreadsheet": _read_spreadsheet, "JSON lines": _read_json_lines, "Arrow": _read_arrow}
