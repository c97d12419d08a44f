"""A sheet of squared paper: everything is placed in cells, so a drawing needs no layout and no font metrics.

What follows the reader's light or dark page (ink, paper) is drawn in two reserved colours that the SVG's own
style sheet replaces; data wear colours that read on both.
"""

import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from torch import Tensor

from openfsar.engine.figures import INK, NEARNESS, ORANGE, SHARE, VERMILLION

PAPER = "#fdfefd"
"""Stands for the colour of the page, as INK stands for that of its text."""
BLUE = "#2b87c8"
"""Between the palette's two blues: reads on white and on black."""
SIZE = 10.5
"""Points of plain text."""
SHEET = """<style>
svg {{ color: #1f2328; --paper: #ffffff; font-family: system-ui, "DejaVu Sans", sans-serif }}
@media (prefers-color-scheme: dark) {{ svg {{ color: #e6edf3; --paper: #161b22 }} }}
</style>
<rect width="100%" height="100%" rx="8" style="fill: var(--paper)"/>
<title>{}</title>
"""

__all__ = ["BLUE", "INK", "NEARNESS", "ORANGE", "PAPER", "SHARE", "VERMILLION", "Board"]


class Board:
    """An empty sheet of ``width`` by ``height`` cells; x to the right, y downwards, both in cells.

    Args:
        cell: inches per cell.
    """

    def __init__(self, width: float, height: float, *, cell: float = 0.34) -> None:
        self.cell = cell
        self.figure = Figure(figsize=(width * cell, height * cell))
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(height, 0))
        self.axes.axis("off")

    def text(self, x: float, y: float, words: str, **style: Any) -> None:
        """Words, centred in height at y; left-aligned unless told otherwise."""
        style = {"fontsize": SIZE, "va": "center", "color": INK, **style}
        self.axes.text(x, y, words, **style)

    def strip(
        self,
        heights: Sequence[float],
        x: float,
        y: float,
        *,
        down: bool = False,
        colour: str = BLUE,
        marker: str = "o",
        side: float = 1.0,
        faded: Iterable[int] = (),
    ) -> None:
        """Frames of a tiny video from (x, y), each ``side`` wide: a ball at a height from 0 to 1."""
        pale = set(faded)
        for number, height in enumerate(heights):
            left, top = (x, y + side * number) if down else (x + side * number, y)
            seen = 0.25 if number in pale else 1.0
            self.bar(left + 0.07 * side, top + 0.07 * side, 0.86 * side, 0.86 * side, INK, alpha=0.08 * seen)
            middle = [left + 0.5 * side], [top + (0.77 - 0.54 * height) * side]
            self.dots(*middle, colour, marker, 330 * (side * self.cell) ** 2, seen)

    def dots(
        self,
        x: Sequence[float],
        y: Sequence[float],
        colour: str,
        marker: str = "o",
        size: float = 42,
        alpha: float = 1.0,
        **style: Any,
    ) -> None:
        """Marks of ``size`` square points, without an edge unless told otherwise."""
        style = {"linewidths": 0, "zorder": 4, "clip_on": False, **style}
        self.axes.scatter(x, y, s=size, color=colour, marker=marker, alpha=alpha, **style)

    def table(
        self,
        values: Tensor,
        x: float,
        y: float,
        *,
        top: float = 1.0,
        side: float = 1.0,
        cmap: Colormap = NEARNESS,
    ) -> None:
        """A heat map with square cells of ``side``; ``top`` wears the last colour, not-a-number nothing."""
        rows, columns = (~values.isnan()).nonzero().T
        colours = cmap(values[rows, columns].clamp(0, top).numpy() / top)
        middles = (x + side * (columns + 0.5)).tolist(), (y + side * (rows + 0.5)).tolist()
        square = (72 * self.cell * side - 0.7) ** 2
        self.axes.scatter(*middles, s=square, c=colours, marker="s", linewidths=0, clip_on=False)

    def path(
        self, cells: Sequence[tuple[int, int]], x: float, y: float, *, side: float = 1.0, colour: str = ORANGE
    ) -> None:
        """A line through cells ``(row, column)`` of a table."""
        points = side * (np.array([(column, row) for row, column in cells]) + 0.5) + (x, y)
        for ink, width in (("white", 4.5), (colour, 2.4)):
            self.axes.plot(
                *points.T, color=ink, linewidth=width, solid_joinstyle="round", zorder=3, clip_on=False
            )
        self.dots(*points.T.tolist(), colour, size=34, edgecolors="white", linewidths=1.2)

    def line(
        self, x: Sequence[float] | Tensor, y: Sequence[float] | Tensor, colour: str = INK, **style: Any
    ) -> None:
        """A line through points."""
        self.axes.plot(
            x, y, color=colour, **{"linewidth": 1.4, "solid_capstyle": "round", "clip_on": False, **style}
        )

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], colour: str = INK, **style: Any
    ) -> None:
        """An arrow from one place to another."""
        style = {"linewidth": 1.4, "mutation_scale": 9, "shrinkA": 0, "shrinkB": 0, "clip_on": False, **style}
        self.axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", color=colour, **style))

    def bar(self, x: float, y: float, width: float, height: float, colour: str, **style: Any) -> None:
        """A filled box; x and y are its upper left corner."""
        self.axes.add_patch(
            Rectangle((x, y), width, height, **{"color": colour, "linewidth": 0, "clip_on": False, **style})
        )

    def scale(self, x: float, y: float, *, ends: tuple[str, str] = ("near", "far")) -> None:
        """What dark and pale mean."""
        self.text(x - 0.25, y, ends[0], ha="right", fontsize=9, alpha=0.75)
        for number in range(6):
            self.bar(x + 0.4 * number, y - 0.2, 0.4, 0.4, mpl.colors.to_hex(NEARNESS(number / 5)))
        self.text(x + 2.65, y, ends[1], fontsize=9, alpha=0.75)

    def save(self, path: Path, label: str) -> None:
        """One SVG file without date, names itself to screen readers by ``label``."""
        page = io.StringIO()
        quiet = {"Date": None, "Creator": None}
        self.figure.savefig(page, format="svg", transparent=True, metadata=quiet)
        path.write_text(_tidy(page.getvalue(), label))


def _tidy(markup: str, label: str) -> str:
    """The reserved colours become the reader's; what nobody needs of fonts, groups and digits goes."""
    markup = re.sub(r"<metadata>.*?</metadata>\s*", "", markup[markup.index("<svg") :], flags=re.DOTALL)
    markup = re.sub(r"font-family: [^;\"]*; | transform=\"rotate\(-0 [^\"]*\"", "", markup)
    markup = re.sub(r'xmlns:xlink="[^"]*" |(?<= )xlink:(?=href)', "", markup)
    markup = re.sub(r'"[^"]*"', lambda text: re.sub(r"(?<=\d\.\d{2})\d+", "", text[0]), markup)
    markup = re.sub(
        r'<g id="(patch|line2d|text|PathCollection)_\d+">\s*(.*?)\s*</g>', r"\2", markup, flags=re.DOTALL
    )
    markup = re.sub(r"<!--.*?-->\s*", "", markup)
    markup = re.sub(r" *\n *", "\n", markup)
    head, body = markup.split(">", 1)
    head = f'{head} role="img" aria-label="{label}">\n' + SHEET.format(label)
    return (head + body.lstrip()).replace(INK, "currentColor").replace(PAPER, "var(--paper)")
