"""What notebooks show of a result: plain HTML tables, escaped, pictures, and a bar while it is made."""

import base64
import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

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


def write_pictures(files: Iterable[Path]) -> str:
    """Return PNG files as HTML that holds them."""
    coded = ((file, base64.b64encode(file.read_bytes()).decode()) for file in files)
    shown = (f'<img alt="{_write(file.stem)}" width="360" src="data:image/png;base64,{data}">' for file, data in coded)
    return f"<div>{''.join(shown)}</div>"


def is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return "ipykernel" in sys.modules and shell is not None


@contextlib.contextmanager
def show_bar(steps: int) -> "Iterator[Callable[[str], None]]":
    """Show a bar of so many steps below the cell, and take it away at the end.

    Yields
    ------
    step
        To be called at the beginning of each step with what it does.
    """
    import IPython.display as page

    html: Any = page.HTML
    shown: Any = page.display(html(""), display_id=True)  # type: ignore[no-untyped-call]  # IPython has no annotations
    done = iter(range(steps))

    def step(text: str) -> None:
        value = next(done, steps)
        shown.update(html(f'<progress value="{value}" max="{steps}"></progress> {_write(text)}'))

    try:
        yield step
    finally:
        shown.update(html(""))


def _write(value: object) -> str:
    return escape(plain(str(value)))
