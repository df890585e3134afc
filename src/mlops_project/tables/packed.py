"""Packed CSV files are read whole or refused; libraries stop without a word where they meet what they do not know."""

import bz2
import lzma
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, BinaryIO, cast
from zipfile import BadZipFile, ZipFile

from mlops_project.errors import DataError, suggest

STEP_BYTES = 1 << 20
LITTER = ("__MACOSX/",)  # what macOS adds to every archive
DECODERS: dict[str, Any] = {".bz2": bz2.BZ2Decompressor, ".xz": lzma.LZMADecompressor}


def find_member(system: Any, file: str, wanted: str | None, is_table: Callable[[str], bool]) -> str | None:
    """Return which member of an archive is the table; None if the file is no archive.

    Raises
    ------
    DataError
        If the wanted one is not there, or several are tables and none is wanted.
    """
    if not _is_archive(file):
        if wanted is not None:
            raise DataError(f"{file}: data.member names {wanted!r}, and the file is no zip archive; leave data.member out")
        return None
    names = list_members(system, file)
    shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
    if wanted is not None:
        if wanted not in names:
            raise DataError(f"{file}: data.member: the archive holds no {wanted!r}{suggest(wanted, names)}; it holds: {shown}")
        return wanted
    tables = [name for name in names if is_table(name)] if len(names) > 1 else names
    if len(tables) != 1:
        what, example = f"{len(tables)} tables" if tables else "no table", (tables or ["t.csv"])[0]
        raise DataError(
            f"{file}: the archive holds {what} ({shown}); name one with data.member (`mlops init --member {example}`)"
        )
    return tables[0]


def list_members(system: Any, file: str) -> list[str]:
    """Return the names of the files in an archive; none if the file is no archive.

    Raises
    ------
    DataError
        If it is damaged.
    """
    if not _is_archive(file):
        return []
    try:
        with system.open(file, "rb") as stream, ZipFile(stream) as archive:
            return [name for name in archive.namelist() if not name.endswith("/") and not name.startswith(LITTER)]
    except BadZipFile as error:
        raise DataError(f"{file}: the packed file is damaged or cut off; copy it again") from error


@contextmanager
def open_packed(system: Any, file: str, member: str | None) -> Iterator[BinaryIO]:
    """Open a file for reading in binary, unpacked; of an archive one member."""
    if member is None:
        with system.open(file, "rb", compression="infer") as stream:
            yield stream
    else:
        with system.open(file, "rb") as packed, ZipFile(packed) as archive, archive.open(member) as stream:
            yield cast("BinaryIO", stream)


def _is_archive(file: str) -> bool:
    return PurePosixPath(file.lower().partition("?")[0]).suffix == ".zip"


def check_packed(system: Any, file: str) -> None:
    """Refuse a packed file of which something would be left out.

    gzip's own reader refuses what follows its members; bzip2's and xz's take it for the end.

    Raises
    ------
    DataError
        If it is one.
    """
    ending = PurePosixPath(file.lower().partition("?")[0]).suffix
    if ending in DECODERS:
        with system.open(file, "rb") as stream:
            _check_streams(stream, file, DECODERS[ending])


def _check_streams(stream: BinaryIO, file: str, new: Any) -> None:
    """Decompress all, in little memory, and see that nothing but whole streams is there."""
    decoder, data = new(), stream.read(STEP_BYTES)
    try:
        while data:
            if decoder.eof:
                decoder = new()
            decoder.decompress(data, STEP_BYTES)
            while not decoder.eof and not decoder.needs_input:
                decoder.decompress(b"", STEP_BYTES)
            rest = decoder.unused_data
            data = rest.lstrip(b"\0") or stream.read(STEP_BYTES)  # xz allows zeros between streams
    except (OSError, lzma.LZMAError, ValueError, EOFError) as error:
        raise DataError(f"{file}: the packed file is damaged, or something follows its end; pack it again") from error
    if not decoder.eof:
        raise DataError(f"{file}: the packed file is cut off; copy it again")
