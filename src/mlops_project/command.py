"""What every command shares: the configuration argument, ``--set``, ``--debug``, and how an error becomes an exit code.

A workflow module holds its own click command, so ``mlops train`` and ``python -m mlops_project.train`` are one thing.
"""

import contextlib
import os
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec
from click.shell_completion import CompletionItem

from mlops_project.config import Config
from mlops_project.errors import MLOpsError
from mlops_project.formats import plain, plain_json
from mlops_project.notebook import is_notebook, show_bar
from mlops_project.sections import Section
from mlops_project.utils import load_config

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_VARIABLES = {
    "MLFLOW_DISABLE_TELEMETRY": "true",  # MLflow reports its use to its makers unless told not to
    # OpenMP's threads sleep while they wait for each other. By default they spin, and on busy cores keep each other from
    # working: gradient boosting on 400 rows, on two cores that others use, too, took 3.4 s of processor time, not 0.3 s.
    "OMP_WAIT_POLICY": "PASSIVE",
}


class WorkflowCommand(click.Command):
    """A command that prints an error as one message: exit 2 for the user's error, 1 for a fault.

    Attributes
    ----------
    examples
        Command lines that its help ends with; what follows two blanks and a ``#`` says what for.
    """

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples
        self.params.append(click.Option(["--debug"], is_flag=True, expose_value=False, help="Show the traceback of an error."))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"{'':>{formatter.current_indent}}{line}\n" for line in self.examples))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an ``MLOpsError`` ends it with that error's exit code, any other exception with 1."""
        for variable, value in DEFAULT_VARIABLES.items():
            os.environ.setdefault(variable, value)
        debug = "--debug" in ctx.obj if isinstance(ctx.obj, list) else "--debug" in sys.argv
        try:
            return super().invoke(ctx)
        except MLOpsError as error:
            fail(str(error), error.exit_code, debug=debug)
        except (click.ClickException, click.exceptions.Exit, click.Abort, KeyboardInterrupt, BrokenPipeError):
            raise
        except Exception as error:  # noqa: BLE001 - the process's edge: nothing may escape as a bare traceback
            fail(f"unexpected {type(error).__name__}: {error}; run again with --debug and report this", 1, debug=debug)


def fail(message: str, exit_code: int, *, debug: bool = False) -> None:
    """Print an error to stderr and leave with ``exit_code``.

    Parameters
    ----------
    message
        Without the leading ``error:``; may have several lines.
    exit_code
        2 for the user's error, 1 for a fault.
    debug
        Print the traceback of the exception that is being handled first.

    Raises
    ------
    SystemExit
        Always.
    """
    if debug:
        echo(*traceback.format_exc().splitlines(), err=True)
    click.secho("error: ", fg="red", bold=True, nl=False, err=True)
    echo(*message.split("\n"), err=True)
    raise SystemExit(exit_code)


def echo(*lines: str, err: bool = False, **style: Any) -> None:
    """Print lines, made safe by ``plain``; commands print text from elsewhere with it, ``print_json`` or ``print_table`` only.

    Parameters
    ----------
    err
        Print to stderr.
    style
        Colours and such, as ``click.style`` has them.
    """
    for line in lines:
        click.secho(plain(line), err=err, **style)


def echo_wrapped(*lines: str) -> None:
    """Print lines as ``echo`` does, on a terminal wrapped at blanks."""
    width = min(shutil.get_terminal_size().columns, READABLE) if sys.stdout.isatty() else 0
    for line in lines:
        parts = (
            textwrap.wrap(line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False) if width else []
        )
        echo(*(parts or [line]))


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Print a value as JSON to stdout, on one line unless indented."""
    text = msgspec.json.encode(value)
    lines = (text if indent is None else msgspec.json.format(text, indent=indent)).decode().split("\n")
    click.echo("\n".join(plain_json(line) for line in lines))


def print_next(commands: Iterable[tuple[str, str]]) -> None:
    """Print what to do next: a command on a line of its own, to be copied, with what it is for."""
    echo("", "next:")
    for command, purpose in commands:
        echo(f"  {command}", f"      {purpose}")


Step = Callable[[str], None]  # called at the beginning of each step with what it does
WIDE = 10_000  # columns
READABLE = 100  # characters; longer lines of text are hard to read
FLOWING, PADDING = 24, 3  # characters: longer cells may be wrapped; blanks between two columns


@contextlib.contextmanager
def show_progress(steps: int, *, hidden: bool = False, bar: int = 40) -> Iterator[Step]:
    """Show a progress bar of ``steps`` steps on stderr, or in a notebook; a line per step if stderr is no terminal.

    Parameters
    ----------
    hidden
        Show nothing.
    bar
        Its width, in characters.

    Yields
    ------
    Step
        To be called at the beginning of each step with what it does.
    """
    if is_notebook() and not hidden:
        with show_bar(steps) as step:
            yield step
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, quiet=hidden, highlight=False)
    if not console.is_terminal:
        yield lambda text: console.print(f"- {plain(text)}", markup=False)
        return
    columns = (BarColumn(bar), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=steps)
        done = iter(range(steps))
        yield lambda text: progress.update(task, description=plain(text), completed=next(done, steps))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], droppable: Sequence[str] = ()) -> None:
    """Print a table to stdout. No cell is ever cut; outside a terminal none is wrapped either.

    Parameters
    ----------
    droppable
        Columns that may be left out of a narrow terminal, in this order; a line below names those that were.
    """
    from rich.box import SIMPLE_HEAD
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table

    columns, rows = [plain(name) for name in columns], [[plain(cell) for cell in row] for row in rows]
    console = Console(markup=False, highlight=False)
    if not console.is_terminal:
        console.width = WIDE
    widths = [max(map(cell_len, (name, *cells))) for name, *cells in zip(columns, *rows, strict=True)]
    left_out = choose_left_out(columns, widths, droppable, console.width)
    kept = [place for place, name in enumerate(columns) if name not in left_out]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place in kept:
        table.add_column(columns[place], overflow="fold", min_width=min(widths[place], FLOWING))
    for row in rows:
        table.add_row(*(row[place] for place in kept))
    console.print(table)
    if left_out:
        console.print(f"left out here: {', '.join(left_out)}; all of it with --json")


def print_entries(columns: Sequence[str], rows: Sequence[Sequence[str]], droppable: Sequence[str] = ()) -> None:
    """Print a table whose last column is a text. On a terminal that is too narrow for it, the text is folded below its row.

    Parameters
    ----------
    droppable
        As of ``print_table``.
    """
    from rich.cells import cell_len, set_cell_size
    from rich.console import Console

    console = Console(markup=False, highlight=False)
    columns, rows = [plain(name) for name in columns], [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, (name, *cells))) for name, *cells in zip(columns, *rows, strict=True)]
    if not console.is_terminal or sum(widths) + PADDING * len(widths) <= console.width:
        print_table(columns, rows, droppable)
        return
    kept, left_out = {*range(len(columns) - 1)}, list[str]()
    while sum(widths[place] + 2 for place in kept) > console.width + 2 and len(left_out) < len(droppable):
        left_out.append(droppable[len(left_out)])
        kept.discard(columns.index(left_out[-1]))
    fold = textwrap.TextWrapper(min(console.width, READABLE), initial_indent="    ", subsequent_indent="    ")
    for row in (columns, *rows):
        cells = [set_cell_size(row[place], widths[place]) for place in sorted(kept)]
        click.echo("  ".join(cells).rstrip())
        click.echo("\n".join(fold.wrap(row[-1])) + ("\n" if row is not columns else ""))
    if left_out:
        click.echo(f"left out here: {', '.join(left_out)}; all of it with --json")


def choose_left_out(columns: Sequence[str], widths: Sequence[int], droppable: Sequence[str], width: int) -> list[str]:
    """Return which columns of a table do not fit into the width; a long cell may be wrapped.

    Parameters
    ----------
    columns
        Names of all columns.
    widths
        Longest cell or heading of each column, in characters.
    droppable
        Names of columns that may be left out, in the order in which they are.
    width
        Of the terminal, in characters.
    """
    needed = {name: min(cell, FLOWING) + PADDING for name, cell in zip(columns, widths, strict=True)}
    left_out: list[str] = []
    for name in droppable:
        if sum(needed.values()) <= width + PADDING - 2:  # a blank at each edge
            break
        del needed[name]
        left_out.append(name)
    return left_out


def config_options(function: F) -> F:
    """Add the configuration file argument and ``--set``; the function receives ``config: Config``."""
    argument = click.argument(
        "config", required=False, type=click.Path(path_type=Path), metavar="[CONFIG.yaml]", callback=_load
    )
    option = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        is_eager=True,
        expose_value=False,
        callback=_remember,
        shell_complete=_complete_setting,
        help="Override a setting, e.g. --set model.params.max_depth=5. May be repeated.",
    )
    return argument(option(function))


def _complete_setting(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem[str]]:
    """Return the settings that begin so, for a shell."""
    return [CompletionItem(f"{place}=") for place in _list_settings(Config, "") if place.startswith(incomplete)]


def _list_settings(section: type[Section], place: str) -> Iterator[str]:
    for field in msgspec.structs.fields(section):
        if isinstance(field.type, type) and issubclass(field.type, Section):
            yield from _list_settings(field.type, f"{place}{field.name}.")
        else:
            yield f"{place}{field.name}"


def _remember(ctx: click.Context, _: click.Parameter, value: tuple[str, ...]) -> None:
    ctx.meta["overrides"] = value


def _load(ctx: click.Context, _: click.Parameter, value: Path | None) -> Config | None:
    if ctx.resilient_parsing:
        return None
    try:
        return load_config(value, overrides=ctx.meta.get("overrides", ()))
    except MLOpsError as error:
        fail(str(error), error.exit_code)
    return None
