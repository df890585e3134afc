"""Lines of a text file on their way to pandas: without quotes around each, cut at fixed places, without the last ones."""

import io
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from mlops_project.errors import DataError
from mlops_project.tables.text_format import TextFormat, cut, unquote


class LineReader(io.TextIOBase):
    """A text stream whose lines are rewritten as a format says.

    Parameters
    ----------
    stream
        The file, open for reading in binary.
    form
        How it is written.

    Attributes
    ----------
    left_out
        The lines at the end that were left out, once all is read.
    """

    def __init__(self, stream: BinaryIO, form: TextFormat) -> None:
        super().__init__()
        self._form = form
        self._text = io.TextIOWrapper(stream, form.encoding, newline=None)
        self._lines = self._rewrite(self._text)
        self.left_out: deque[str] = deque()

    def readable(self) -> bool:
        """Return true."""
        return True

    def close(self) -> None:
        """Let go of the file, which stays open."""
        if not self.closed:
            self._text.detach()
        super().close()

    def read(self, size: int | None = -1) -> str:
        """Return about ``size`` characters, at least one line; all of the rest for -1."""
        parts, length = [], 0
        for line in self._lines:
            parts.append(line)
            length += len(line)
            if size is not None and 0 <= size <= length:
                break
        return "".join(parts)

    def _rewrite(self, lines: io.TextIOWrapper) -> Iterator[str]:
        form = self._form
        for number, line in enumerate(self._without_footer(lines)):
            if form.quoted:
                yield unquote(line) + "\n"
            elif form.places:
                yield self._cut(line.rstrip("\n"), number) + "\n"
            else:
                yield line

    def _without_footer(self, lines: io.TextIOWrapper) -> Iterator[str]:
        """Hold back the last lines that are not empty."""
        filled = 0
        for line in lines:
            self.left_out.append(line)
            filled += bool(line.strip())
            while filled > self._form.footer:
                first = self.left_out.popleft()
                filled -= bool(first.strip())
                yield first

    def _cut(self, line: str, number: int) -> str:
        """Return the fields of a line of fixed width, separated by tabs."""
        wrong = [place for place in self._form.places[1:] if line[place - 1 : place] not in ("", " ")]
        if wrong:
            raise DataError(
                f"line {number + 1}: a value stands across place {wrong[0]}, where a column begins in the lines above; "
                "save it as CSV"
            )
        return "\t".join('"' + field.replace('"', '""') + '"' if field else "" for field in cut(line, self._form.places))
