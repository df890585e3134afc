"""Packed CSV files are read whole or refused; libraries stop without a word where they meet what they do not know."""

import bz2
import lzma
from pathlib import PurePosixPath
from typing import Any, BinaryIO
from zipfile import ZipFile

from mlops_project.errors import DataError

STEP_BYTES = 1 << 20
LITTER = ("__MACOSX/",)  # what macOS adds to every archive
DECODERS: dict[str, Any] = {".bz2": bz2.BZ2Decompressor, ".xz": lzma.LZMADecompressor}


def check_packed(system: Any, file: str) -> None:
    """Refuse an archive of several files, and a packed file of which something would be left out.

    gzip's own reader refuses what follows its members; bzip2's and xz's take it for the end.

    Raises
    ------
    DataError
        If it is one.
    """
    ending = PurePosixPath(file.lower().partition("?")[0]).suffix
    if ending == ".zip":
        with system.open(file, "rb") as stream:
            _check_archive(stream, file)
    elif ending in DECODERS:
        with system.open(file, "rb") as stream:
            _check_streams(stream, file, DECODERS[ending])


def _check_archive(stream: BinaryIO, file: str) -> None:
    names = [name for name in ZipFile(stream).namelist() if not name.endswith("/") and not name.startswith(LITTER)]
    if len(names) != 1:
        shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
        raise DataError(
            f"{file}: the archive holds {len(names)} files ({shown}), expected one table; unpack it into a folder and name that"
        )


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
