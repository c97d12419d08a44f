"""The picture that ``openfsar explain`` draws: a video beside the example it is most like."""

import io
from collections.abc import Iterable
from textwrap import fill
from typing import cast

import matplotlib as mpl
import numpy as np
import torch
from jaxtyping import UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from PIL import Image
from torch import Tensor

from openfsar.classifier import NONE, Explanation
from openfsar.engine.figures import BLUE, ORANGE, STYLE, draw_alignment

CLASSES = 8
"""Bars at most, likeliest first."""
WIDTH, BAR, TEXT, DPI = 5.2, 0.34, 2.5, 150
"""Inches of half the picture, of a bar and of the text below; pixels per inch."""
GREY = "#9aa3ab"

READING = (
    "How to read it: along the top are frames of the video, down the side those of the example of “{label}” "
    "that is most like it, {source}",
    "A dark field says that two frames are alike. The line is the best match of the two videos that keeps "
    "the order of time; it is steep or flat where one of them is faster than the other.",
)
LINE = 56
"""Letters."""


def draw(found: Explanation, name: str, kind: str) -> bytes:
    """The picture as the content of a file; ``kind`` is "png" or "svg"."""
    rows, columns = found.distances.T.shape
    table = WIDTH * (rows + 1.25) / (columns + 1.25)
    bars = BAR * min(CLASSES, len(found.probabilities)) + 0.5
    height = max(table, bars + TEXT)
    style = STYLE | {"axes.grid": False, "image.composite_image": False, "font.size": 10}
    with mpl.rc_context(style):
        figure = Figure(figsize=(2 * WIDTH, height + 0.7), layout="constrained")
        _title(figure, found, name)
        left, right = _parts(figure.subfigures(1, 2, width_ratios=(1.1, 0.9)))
        _alignment(left.subplots(), found)
        upper, lower = _parts(right.subfigures(2, 1, height_ratios=(bars, height - bars)))
        _bars(upper.subplots(), found)
        words = {"label": _cut(found.label, LINE), "source": _cut(found.source, LINE)}
        said = "\n\n".join(fill(part.format(**words), LINE) for part in READING)
        lower.text(0.03, 0.92, _plain(said), va="top", linespacing=1.5)
        file = io.BytesIO()
        quiet = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, dpi=DPI, facecolor="white", metadata=quiet)
        return file.getvalue()


def _parts(made: object) -> Iterable[SubFigure]:
    """Subfigures as what they are; matplotlib types several as one."""
    return cast("Iterable[SubFigure]", made)


def frames_of(strip: bytes, count: int) -> UInt8[Tensor, "T C H W"]:
    """The frames of a film strip."""
    row = torch.from_numpy(np.array(Image.open(io.BytesIO(strip)).convert("RGB")))
    width = row.shape[1] // count
    return row[:, : width * count].unflatten(1, (count, width)).permute(1, 3, 0, 2)


def _title(figure: Figure, found: Explanation, name: str) -> None:
    said = f"{found.label} ({found.probabilities[found.label]:.0%})"
    if not found.known:
        said = f"{NONE}; the nearest is {found.label}"
    figure.suptitle(
        _plain(f"{_cut(name, 40)}:  {_cut(said, 60)}"), fontsize=14, fontweight="bold", x=0.015, ha="left"
    )


def _alignment(axes: Axes, found: Explanation) -> None:
    rows, columns = found.distances.T.shape
    picture = draw_alignment(
        axes,
        frames_of(found.query_strip, columns),
        frames_of(found.support_strip, rows),
        found.distances.T,
        [(u, t) for t, u in found.path],
    )
    axes.text(-0.26, -0.95, "video →", ha="right", va="center")
    axes.text(-0.72, -0.28, "example ↓", ha="center", va="center")
    axes.set_anchor("NW")
    bar = axes.figure.colorbar(picture, ax=axes, shrink=0.3, aspect=16, pad=0.02)
    bar.outline.set_visible(False)
    low, high = picture.get_clim()
    bar.set_ticks([low, high], labels=["alike", "unlike"])
    bar.ax.tick_params(length=0)


def _bars(axes: Axes, found: Explanation) -> None:
    order = sorted(found.probabilities.items(), key=lambda item: -item[1])[:CLASSES]
    places = range(len(order))
    colours = [(ORANGE if found.known else GREY) if name == found.label else BLUE for name, _ in order]
    axes.barh(places, [chance for _, chance in order], color=colours, height=0.66)
    for place, (_, chance) in zip(places, order, strict=True):
        axes.text(chance + 0.02, place, f"{chance:.0%}", va="center")
    axes.set_yticks(places, [_plain(_cut(name, 28)) for name, _ in order])
    axes.set(xlim=(0, 1.15), ylim=(len(order) - 0.4, -0.6), xticks=[], title="how likely each action is")
    axes.tick_params(length=0)
    axes.spines["bottom"].set_visible(False)


def _cut(text: str, length: int) -> str:
    """The end of a long text, for names of files differ there."""
    return text if len(text) <= length else f"…{text[1 - length :]}"


def _plain(text: str) -> str:
    """As it is: matplotlib would take what stands between two dollars for mathematics."""
    return text.replace("$", r"\$")
