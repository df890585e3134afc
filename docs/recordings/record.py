"""Record real runs of ``make up`` and ``make demo`` as pictures for the README: ``make recordings``.

What a run prints is kept with the time of each line; Rich draws it, and in the picture the lines appear one after the other as
they did, with shorter pauses. Readers who asked for less motion see all lines at once.
"""

import io
import itertools
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KEPT = ROOT / "build" / "recordings"  # what the runs printed
WIDTH = 110  # characters
PAUSE_SECONDS = 0.5  # that a picture waits at most between two lines
STOP_SECONDS = 60.0  # that a run may take to end
PROJECT = Path("/tmp/project")  # a short name: what is printed has it  # noqa: S108 - made here, and refused if it is there


@dataclass(frozen=True)
class Recording:
    """What is recorded.

    Attributes
    ----------
    name, shown, command
        Of the picture; what a reader types; and what is run.
    last
        The line after which the run is ended, as by Ctrl-C.
    head, tail
        How many lines are shown of its beginning and of its end.
    folded
        Of lines in a row with this text, two are shown.
    """

    name: str
    shown: str
    command: tuple[str, ...]
    last: str
    head: int
    tail: int
    folded: str = ""


Line = tuple[float, str]  # seconds since the start, and what was printed, with colours
PYTHON = sys.executable
RECORDINGS = (
    Recording("up", "make up", (PYTHON, "-m", "mlops_project.up"), "Ctrl-C stops everything", head=12, tail=12),
    Recording(
        "demo",
        "make demo",
        (PYTHON, str(ROOT / "examples/demo/demo.py")),
        "recovered, and all is quiet",
        head=6,
        tail=26,
        folded="window of",
    ),
)


def run(recording: Recording, folder: Path) -> list[Line]:
    """Run a command in an empty project until its last line; return what it printed.

    Raises
    ------
    RuntimeError
        If it ended before.
    """
    (folder / "pyproject.toml").touch()
    master, slave = os.openpty()  # stdout is a terminal, for colours; stderr is not, so that progress is lines
    variables = {"COLUMNS": str(WIDTH), "PYTHONUNBUFFERED": "1", "TERM": "xterm-256color"}
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "MLOPS_"))}
    started = time.monotonic()
    process = subprocess.Popen(
        recording.command, cwd=folder, env=environment | variables, stdout=slave, stderr=subprocess.PIPE, start_new_session=True
    )
    os.close(slave)
    lines: list[Line] = []
    try:
        for text in read_lines(master, process):
            lines.append((time.monotonic() - started, text))
            if recording.last in text:
                return lines
        raise RuntimeError(f"{recording.shown} ended without {recording.last!r}: {lines[-5:]}")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(STOP_SECONDS)
        os.close(master)


def read_lines(terminal: int, process: "subprocess.Popen[bytes]") -> Iterator[str]:
    """Yield the lines of both streams as they come, until one of them ends."""
    assert process.stderr is not None
    rest = {terminal: b"", process.stderr.fileno(): b""}
    with selectors.DefaultSelector() as selector:
        for stream in rest:
            selector.register(stream, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                try:
                    read = os.read(key.fd, 65536)
                except OSError:  # the other side of a terminal was closed
                    return
                if not read:
                    return
                *whole, rest[key.fd] = (rest[key.fd] + read).split(b"\n")
                yield from (line.decode().rstrip("\r") for line in whole)


def fold(lines: list[Line], text: str) -> list[Line]:
    """Return the lines, of those in a row that hold the text only the first two, and how many followed."""
    kept: list[Line] = []
    for holds, group in itertools.groupby(lines, lambda line: bool(text) and text in line[1]):
        found = list(group)
        kept += found[:2] if holds else found
        if holds and len(found) > 2:
            kept.append((found[2][0], f"\x1b[2m         … {len(found) - 2} more of these …\x1b[0m"))
    return kept


def draw(recording: Recording, lines: list[Line]) -> str:
    """Return the picture, SVG."""
    total = lines[-1][0]
    lines = fold(lines, recording.folded)
    left_out = len(lines) - recording.head - recording.tail
    shown = [(0.0, f"\x1b[1;32m$\x1b[0m \x1b[1m{recording.shown}\x1b[0m"), *lines[: recording.head]]
    if left_out > 0:
        shown += [(lines[recording.head][0], f"\x1b[2m  … {left_out} more lines …\x1b[0m")]
    shown += lines[max(recording.head, len(lines) - recording.tail) :]
    shown += [(total, f"\x1b[2m  {total:.0f} s in all; pauses are shortened\x1b[0m")]
    console = Console(width=WIDTH, record=True, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    delays: list[float] = []
    delay, before = 0.0, 0.0
    for seconds, text in shown:
        delay, before = delay + min(seconds - before, PAUSE_SECONDS), seconds
        rows = Text.from_ansi(text).wrap(console, WIDTH)
        for row in rows or [Text()]:
            console.print(row, highlight=False)
            delays.append(delay)
    picture = console.export_svg(title=recording.shown, theme=MONOKAI, unique_id=recording.name)
    return animate(picture, recording.name, delays)


def animate(picture: str, name: str, delays: list[float]) -> str:
    """Let each line appear at its time, and ask no other server for a font."""
    picture = re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)
    picture = picture.replace("font-family: Fira Code, monospace", "font-family: 'Fira Code', Menlo, Consolas, monospace")
    rules = [
        "@keyframes appear { from { opacity: 0 } to { opacity: 1 } }",
        f".{name}-matrix text {{ animation: appear 1ms both }}",
    ]
    rules += [
        f"[clip-path='url(#{name}-line-{row})'] {{ animation-delay: {delay:.2f}s !important }}"
        for row, delay in enumerate(delays)
    ]
    rules += ["@media (prefers-reduced-motion: reduce) { text { animation: none !important } }"]
    return picture.replace("</style>", "\n    ".join(["", *rules]) + "\n    </style>", 1)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([recording.name for recording in RECORDINGS]))
@click.option("--redraw", is_flag=True, help="Draw what the last runs printed, and run nothing.")
def main(names: tuple[str, ...], redraw: bool) -> None:
    """Record all pictures, or those NAMED."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for recording in RECORDINGS:
        if names and recording.name not in names:
            continue
        if not redraw:
            PROJECT.mkdir()
            try:
                (KEPT / f"{recording.name}.json").write_text(json.dumps(run(recording, PROJECT)), encoding="utf-8")
            finally:
                shutil.rmtree(PROJECT)
        lines = [(seconds, text) for seconds, text in json.loads((KEPT / f"{recording.name}.json").read_text(encoding="utf-8"))]
        file = HERE / f"{recording.name}.svg"
        file.write_text(draw(recording, lines), encoding="utf-8")
        click.echo(f"{file.relative_to(ROOT)}: {len(lines)} lines in {lines[-1][0]:.0f} s")


if __name__ == "__main__":
    main()
