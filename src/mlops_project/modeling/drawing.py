"""How charts look and become files, whatever they show: the same input gives the same bytes."""

import contextlib
import textwrap
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.textpath import text_to_path
from PIL import Image

from mlops_project.names import shorten
from mlops_project.palette import OKABE_ITO
from mlops_project.storage.files import name_unfinished, replacing

COLOURS = (*OKABE_ITO, "#000000")
INK, SOFT, FAINT = "#33373d", "#6b7280", "#c9ced6"
STYLE: Any = {  # the stubs list every key
    "text.parse_math": False,  # a column may be called price_$
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "grid.alpha": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.fontsize": 9,
    "legend.edgecolor": "none",
}
# Looked for where DejaVu Sans, which comes with matplotlib, lacks a character.
FALLBACK_FONTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Hiragino Sans",
    "PingFang SC",
    "Microsoft YaHei",
)
DPI = 144  # 1.5 pixels of the file and more per pixel of the report, on a wide screen
COMPRESSION = 6  # a tenth larger than with 9, in an eighth of its time
PALETTE = 256  # colours of a file: none is off by more than 4 of 255, and a file has a third of its size


def use_style() -> "contextlib.AbstractContextManager[None]":
    """Return a context in which charts look as ours do."""
    return mpl.rc_context(STYLE | {"font.family": _families()})


def save(figure: Figure, file: Path) -> Path:
    """Write a figure as PNG."""
    canvas: Any = FigureCanvasAgg(figure)  # its methods have no types
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    with replacing(file, name_unfinished(file)) as stream:
        picture.quantize(PALETTE, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            stream, "PNG", compress_level=COMPRESSION
        )
    return file


def _families() -> list[str]:
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return ["DejaVu Sans", *(name for name in FALLBACK_FONTS if name in installed)]


@cache
def _drawable() -> frozenset[int]:
    """Return the code points that the fonts have; matplotlib warns of others and draws boxes."""
    fonts = [font_manager.get_font(font_manager.findfont(name)) for name in _families()]
    return frozenset().union(*(font.get_charmap() for font in fonts))


def label_names(names: Sequence[str], limit: int = 24) -> list[str]:
    """Shorten names in their middle; those that then look alike, or that cannot be written, get their number from 1."""
    lines = [" ".join(name.split()) for name in names]
    drawn = ["".join(char if ord(char) in _drawable() and char.isprintable() else "□" for char in line) for line in lines]
    short = [shorten(text, limit) for text in drawn]
    often = Counter(short)
    return [
        text if often[text] == 1 and drawn[index] == lines[index] else f"{text} #{index + 1}"
        for index, text in enumerate(short)
    ]


def start_chart(
    title: str, note: str, x: str, y: str, *, size: tuple[float, float] = (4.8, 3.4), left: float = 0.75, bottom: float = 0.55
) -> tuple[Figure, Axes]:
    """Return empty axes of that size, in inches, with margins for the labels: layout engines take twice the time."""
    lines = textwrap.wrap(note, int(13.5 * size[0]))
    width, height = left + size[0] + 0.25, bottom + size[1] + 0.45 + 0.17 * len(lines)
    figure = Figure(figsize=(width, height), dpi=DPI)
    axes = figure.add_axes((left / width, bottom / height, size[0] / width, size[1] / height))
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", pad=10 + 12 * len(lines))
    axes.annotate(
        "\n".join(lines), (0, 1), xytext=(0, 7), xycoords="axes fraction", textcoords="offset points", fontsize=9, color=SOFT
    )
    axes.set(xlabel=x, ylabel=y)
    return figure, axes


def measure_labels(labels: Sequence[str], size: float) -> float:
    """Return the width of the longest label, in inches."""
    font = font_manager.FontProperties(size=size)
    return float(max(text_to_path.get_text_width_height_descent(label, font, ismath=False)[0] for label in labels)) / 72
