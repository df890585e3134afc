"""From parts to the output, which appears whole: one CSV or Parquet file, or a folder of parts with a manifest."""

import csv
import gzip
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Literal, NamedTuple

import fsspec
import msgspec
import pyarrow as pa
from pyarrow.parquet import ParquetWriter

from mlops_project.errors import ConfigError, DataError
from mlops_project.scoring.formulas import neutralise
from mlops_project.scoring.parts import OPTIONS, Format
from mlops_project.scoring.sending import publish_folder, send_file
from mlops_project.scoring.stores import BadRow, FolderStore, Note, ObjectStore, remove
from mlops_project.scoring.table_output import fill_table
from mlops_project.scoring.units import Unit, open_parquet
from mlops_project.scoring.work import DIGEST_LENGTH, WorkFolder
from mlops_project.storage.files import replacing, sync
from mlops_project.storage.swap import swap
from mlops_project.tables.databases import describe_address, is_database
from mlops_project.tables.files import ENDINGS
from mlops_project.tables.locations import hide_credentials, is_glob

MANIFEST_FILE, BAD_ROWS_FILE = "_manifest.json", "_bad_rows.csv"
CSV_OUTPUTS = (".csv", ".csv.gz")
Kind = Literal["csv", "csv.gz", "parquet", "folder", "table"]


class Output(NamedTuple):
    """Where the results go.

    Attributes
    ----------
    path
        File or folder. Of an output elsewhere: where it is prepared on this machine.
    kind
        ``csv``, ``csv.gz`` or ``parquet`` for one file; ``folder`` for a folder of Parquet files; ``table`` in a database.
    url
        Of an output elsewhere; empty if it is on this machine.
    table
        Of an output in a database, whose SQLAlchemy URL ``url`` is.
    """

    path: Path
    kind: Kind
    url: str = ""
    table: str = ""

    @property
    def place(self) -> str:
        """Where it is, for people."""
        if self.table:
            return f"table {self.table} in {describe_address(self.url)}"
        return hide_credentials(self.url) if self.url else str(self.path)

    @property
    def format(self) -> Format:
        """How the parts are written."""
        return "csv" if self.kind.startswith("csv") else "parquet"

    @property
    def bad_rows_file(self) -> str:
        """Where the rows go that do not fit the model."""
        if self.table:
            return f"table {self.table}_bad_rows in {describe_address(self.url)}"
        return f"{self.place.rstrip('/')}/{BAD_ROWS_FILE}" if self.kind == "folder" else f"{self.place}.bad-rows.csv"


class Outcome(msgspec.Struct, frozen=True):
    """What became of one run, as ``_manifest.json`` has it.

    Attributes
    ----------
    input, model, version, digest
        What was read, and the model with its bundle's digest.
    key
        Of the run: the same for the same input, model and settings.
    rows, scored, bad_rows
        Read, written, left out; the first is the sum of the others.
    counts
        Scored rows per predicted class.
    parts
        Files of the folder with their rows and sizes.
    """

    input: str
    model: str
    version: str
    digest: str
    key: str
    rows: int
    scored: int
    bad_rows: int
    counts: dict[str, int]
    parts: tuple[dict[str, Any], ...] = ()


def find_output(text: str, staging: Path, table: str | None = None) -> Output:
    """Return where the results go, by the name's ending.

    Parameters
    ----------
    text
        Local path or fsspec URL.
    staging
        Folder in which an output elsewhere is prepared.
    table
        Of a database, whose SQLAlchemy URL the text is.

    Raises
    ------
    ConfigError
        If the name does not say how to write.
    """
    if is_database(text) or table is not None:
        return _find_table(text, staging, table)
    if text == "-":
        raise ConfigError("-: results go to a file, not to standard output: `mlops score INPUT scored.csv`")
    kind = _find_kind(text)
    if "://" not in text:
        return Output(Path(text).expanduser().absolute(), kind)
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]
    return Output(staging.absolute() / f"{digest}-{PurePosixPath(text).name}", kind, text)


def _find_table(url: str, staging: Path, table: str | None) -> Output:
    if table is None:
        raise ConfigError(f"{describe_address(url)}: into which table? --table scores")
    if not is_database(url):
        raise ConfigError(f"--table {table}: OUTPUT is {url}; expected a database, such as postgresql://user@host/database")
    digest = hashlib.sha256(f"{describe_address(url)}\n{table}".encode()).hexdigest()[:DIGEST_LENGTH]
    return Output(staging.absolute() / f"{digest}-{table}", "table", url, table)


def _find_kind(text: str) -> Kind:
    name = PurePosixPath(text).name.lower()
    if text.endswith("/") or "." not in name or ("://" not in text and Path(text).expanduser().is_dir()):
        return "folder"
    if name.endswith(CSV_OUTPUTS):
        return "csv.gz" if name.endswith(".gz") else "csv"
    if name.endswith(ENDINGS["Parquet"]):
        return "parquet"
    raise ConfigError(f"{text}: cannot tell how to write it; expected an ending .csv, .csv.gz or .parquet, or a folder")


def check_output(output: Output, source: str, files: Sequence[str]) -> None:
    """See that writing the output neither replaces what is read, nor what `mlops score` did not write, nor becomes input.

    Parameters
    ----------
    source, files
        What is read, as the user named it and as it was found.

    Raises
    ------
    ConfigError
        If it would.
    """
    if output.table:
        return
    if output.url:
        if any(file == output.url or file.startswith(f"{output.url.rstrip('/')}/") for file in files):
            raise ConfigError(f"{output.place}: is what is read; name another output")
        return
    path = output.path
    read = {Path(item).resolve() for item in files}
    if path.resolve() in read:
        raise ConfigError(f"{path}: is what is read; name another output")
    if output.kind == "folder" and any(path.resolve() in file.parents for file in read):
        raise ConfigError(f"{path}: holds what is read; name another output")
    folder = Path(source).expanduser()
    if folder.is_dir() and path.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"{path}: lies in the folder that is read, so the next run would read it; name another place")
    if is_glob(source) and fnmatch(str(path), str(folder.absolute())):
        raise ConfigError(f"{path}: would be read by the next run, since {source} names it; name another place")
    if output.kind == "folder" and path.exists():
        if not path.is_dir():
            raise ConfigError(f"{path}: is a file; expected a folder, or a name that ends in .csv or .parquet")
        if any(path.iterdir()) and not (path / MANIFEST_FILE).exists():
            raise ConfigError(
                f"{path}: holds files that `mlops score` did not write, and would be replaced; name another folder"
            )


def write_output(
    output: Output,
    work: WorkFolder,
    done: Sequence[tuple[Unit, Note]],
    outcome: Outcome,
    schema: pa.Schema,
    options: Mapping[str, Any],
) -> None:
    """Put the parts together, and what was left out beside them; send them where the output is.

    Parameters
    ----------
    schema
        Of the output.
    options
        For the fsspec file system of an output elsewhere.

    Raises
    ------
    DataError
        If a part is not what its note says.
    OSError
        If the output cannot be written.
    """
    notes = [note for _, note in done]
    if sum(note.scored + len(note.bad) for note in notes) != outcome.rows or outcome.scored + outcome.bad_rows != outcome.rows:
        raise DataError(f"{output.path}: the parts do not add up to {outcome.rows} rows; run again")
    bad, store = list(_list_bad_rows(done)), work.store
    if output.kind == "folder":
        names, files = [note.part for note in notes if note.scored], _describe_parts(notes, outcome, bad)
        if isinstance(store, ObjectStore):
            publish_folder(store.locate(""), output.url, names, files, options)
        else:
            _finish_parts(store, names, files)
            _place_folder(store.parts, output.path)
        return
    if output.table and isinstance(store, FolderStore):
        run = f"{outcome.key}-{work.run:06x}"
        fill_table(output.url, output.table, run, store.parts, notes, schema, bad)
        return
    file = work.folder / "whole" if output.url else output.path
    left_out = file.with_name(f"{file.name}.bad-rows.csv")
    with replacing(file) as stream:
        if output.kind == "parquet":
            _join_parquet(stream, work, notes, schema, outcome.scored, options)
        else:
            _join_csv(stream, work, notes, schema, options, packed=output.kind == "csv.gz")
    if bad:
        with replacing(left_out) as stream:
            _write_bad_rows(stream, bad)
    else:  # of an earlier run
        left_out.unlink(missing_ok=True)
    if output.url:
        send_file(left_out if bad else None, f"{output.url}.bad-rows.csv", options)
        send_file(file, output.url, options)


def _list_bad_rows(done: Sequence[tuple[Unit, Note]]) -> Iterator[tuple[str, int, str]]:
    """Yield file, row (from 1, the header not counted) and reason of each row that was left out."""
    file, before = "", 0
    for unit, note in done:
        if unit.file != file:
            file, before = unit.file, 0
        yield from ((file, before + item.position + 1, item.reason) for item in note.bad)
        before += note.rows


def locate(done: Sequence[tuple[Unit, Note]], bad: BadRow) -> tuple[str, int]:
    """Return file and row, from 1, of a bad row of the last of these units."""
    last = done[-1][0]
    return last.file, sum(note.rows for unit, note in done[:-1] if unit.file == last.file) + bad.position + 1


def _write_bad_rows(stream: BinaryIO, bad: Sequence[tuple[str, int, str]]) -> None:
    text = io.TextIOWrapper(stream, "utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "row", "reason"))
    writer.writerows((neutralise(file), row, neutralise(reason)) for file, row, reason in bad)
    text.flush()
    text.detach()


def _join_parquet(
    stream: BinaryIO, work: WorkFolder, notes: Sequence[Note], schema: pa.Schema, scored: int, options: Mapping[str, Any]
) -> None:
    written = 0
    with ParquetWriter(stream, schema, **OPTIONS) as writer:
        for note in notes:
            with open_parquet(work.store.locate(note.part), options) as part:
                for group in range(part.num_row_groups):
                    rows = part.read_row_group(group)
                    writer.write_table(rows, max(1, len(rows)))
                    written += len(rows)
    if written != scored:
        raise DataError(f"the parts hold {written} rows, expected {scored}; delete {work.folder} and run again")


def _join_csv(
    stream: BinaryIO,
    work: WorkFolder,
    notes: Sequence[Note],
    schema: pa.Schema,
    options: Mapping[str, Any],
    *,
    packed: bool,
) -> None:
    target: Any = gzip.GzipFile("", "wb", 6, stream, mtime=0) if packed else stream
    header = io.StringIO()
    csv.writer(header, quoting=csv.QUOTE_ALL, lineterminator="\n").writerow([neutralise(name) for name in schema.names])
    target.write(header.getvalue().encode())
    for note in notes:
        with fsspec.open(work.store.locate(note.part), "rb", **options) as part:
            while piece := part.read(1 << 20):
                target.write(piece)
    if packed:
        target.close()


def _describe_parts(notes: Sequence[Note], outcome: Outcome, bad: Sequence[tuple[str, int, str]]) -> dict[str, bytes]:
    """Return what a folder holds beside its parts: name → content, the manifest last."""
    files: dict[str, bytes] = {}
    if bad:
        stream = io.BytesIO()
        _write_bad_rows(stream, bad)
        files[BAD_ROWS_FILE] = stream.getvalue()
    listed = tuple({"name": note.part, "rows": note.scored, "bytes": note.size_bytes} for note in notes if note.scored)
    files[MANIFEST_FILE] = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(outcome, parts=listed)), indent=1)
    return files


def _finish_parts(store: FolderStore, names: Sequence[str], files: Mapping[str, bytes]) -> None:
    """Make a whole output of the folder of the parts."""
    for file in store.parts.iterdir():
        if file.name not in names:
            remove(file)
    for name, content in files.items():
        with replacing(store.parts / name) as stream:
            stream.write(content)


def _place_folder(folder: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        swap(folder, target)
    else:
        folder.rename(target)
    sync(target.parent)
