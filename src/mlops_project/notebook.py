"""What notebooks show of a result: plain HTML tables, escaped."""

from collections.abc import Iterable, Sequence
from html import escape

from mlops_project.formats import plain


def write_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """Return a table as HTML.

    Parameters
    ----------
    title, note
        Above and below the table; a text that is empty is left out.
    columns
        Headings.
    rows
        A cell for each column.
    """
    head = "".join(f"<th>{_write(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_write(cell)}</td>' for cell in row)}</tr>" for row in rows)
    above = f"<p><b>{_write(title)}</b></p>" if title else ""
    below = f"<p>{_write(note)}</p>" if note else ""
    return f"<div>{above}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}</div>"


def _write(value: object) -> str:
    return escape(plain(str(value)))
