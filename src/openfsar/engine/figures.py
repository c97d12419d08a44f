"""Figures of the report: matplotlib to inline SVG, in one style, readable on light and on dark pages.

Every figure is a function from data to an ``<svg>`` string. Ink that should follow the page (text, axes) is
drawn in one reserved colour and rewritten to ``currentColor``; data wear the Okabe-Ito palette, which the
colour-blind can tell apart on both backgrounds.
"""

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray
from torch import Tensor

from openfsar.engine.page import Alignment, Curve

BLUE, ORANGE, VERMILLION = "#0072b2", "#e69f00", "#d55e00"
INK = "#010203"
"""Stands for the colour of the page's text until the SVG is written."""

STYLE: Any = {  # matplotlib names the type of its keys in its newest releases only
    "font.family": "sans-serif",
    "font.size": 9,
    "svg.fonttype": "none",  # text stays text, in the font of the page
    "svg.hashsalt": "openfsar",  # the same data give the same file
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
}

NEARNESS = LinearSegmentedColormap.from_list("nearness", ["#123a5c", "#3f7fb0", "#a9cbe3", "#eef4f8"])
"""Near is dark, far is pale."""

SHARE = LinearSegmentedColormap.from_list("share", ["#0072b200", "#0072b2"])
"""From the page itself to full blue."""


def svg(figure: Figure, label: str) -> str:
    """The figure as one ``<svg>`` element that scales with the page and names itself to screen readers."""
    text = io.StringIO()
    quiet = {"Date": None, "Creator": None}
    figure.savefig(text, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.04, metadata=quiet)
    markup = text.getvalue()
    markup = markup[markup.index("<svg") :].replace(INK, "currentColor")
    return markup.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def loss_curve(curve: Curve) -> str:
    """Training loss of every step (pale) and its running mean."""
    with mpl.rc_context(STYLE):
        figure, axes = _panel(curve.steps[-1])
        axes.plot(curve.steps, curve.values, color=BLUE, linewidth=0.6, alpha=0.35)
        axes.plot(curve.steps, _smooth(curve.values), color=BLUE, linewidth=1.6)
        axes.set(title="training loss (nats)", ylim=(min(0.0, *curve.values), None))
        return svg(figure, "training loss over the training steps")


def accuracy_curve(curve: Curve, *, chance: float) -> str:
    """Accuracy on the validation classes; the band is the 95 % interval."""
    with mpl.rc_context(STYLE):
        figure, axes = _panel(curve.steps[-1])
        values, half = np.asarray(curve.values), np.asarray(curve.intervals)
        if half.size:
            axes.fill_between(
                curve.steps, values - half, values + half, color=VERMILLION, alpha=0.2, linewidth=0
            )
        axes.plot(curve.steps, values, color=VERMILLION, linewidth=1.6, marker="o", markersize=3.5)
        axes.axhline(chance, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.6)
        axes.annotate("chance", (1, chance), (0, 3), ("axes fraction", "data"), "offset points", ha="right")
        axes.set(title="accuracy on validation classes (%)", ylim=(0, 1))
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=""))
        return svg(figure, "validation accuracy over the training steps")


def _panel(last: int) -> tuple[Figure, Axes]:
    """An empty plot over the training steps up to the last."""
    figure = Figure(figsize=(4.3, 2.7), layout="constrained")
    axes = figure.subplots()
    axes.set(xlabel="training step", xlim=(0, last))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return figure, axes


def _smooth(values: Sequence[float]) -> NDArray[np.floating]:
    """Centred running mean over a twentieth of the curve, honest at the ends."""
    width = max(1, len(values) // 20)
    window = np.ones(width)
    return np.convolve(values, window, "same") / np.convolve(np.ones(len(values)), window, "same")


def confusion(shares: Float[Tensor, "A A"], classes: Sequence[str]) -> str:
    """Row-normalised confusion: of the videos of each class (row), the share given each name (column)."""
    values, count = shares.numpy(), len(classes)
    with mpl.rc_context(STYLE | {"font.size": 8, "axes.grid": False}):
        figure = Figure(figsize=(8.2, 1.0 + 0.245 * count), layout="constrained")
        axes = figure.subplots()
        picture = axes.imshow(values, cmap=SHARE, vmin=0, vmax=1, aspect="auto", interpolation="none")
        axes.set_xticks(range(count), [str(i + 1) for i in range(count)])
        axes.set_yticks(range(count), [f"{name}  {i + 1}" for i, name in enumerate(classes)])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_xticks(np.arange(-0.5, count), minor=True)
        axes.set_yticks(np.arange(-0.5, count), minor=True)
        axes.grid(True, which="minor", axis="both", linewidth=0.5)
        axes.tick_params(which="minor", length=0)
        for i, j in np.argwhere(values >= 0.05):
            colour = "white" if values[i, j] > 0.55 else INK
            axes.text(j, i, f"{100 * values[i, j]:.0f}", ha="center", va="center", color=colour, fontsize=7)
        axes.set(xlabel="named as (number of the class)", ylabel="true class")
        bar = figure.colorbar(picture, ax=axes, shrink=0.5, aspect=30, pad=0.01, format=PercentFormatter(1))
        bar.outline.set_visible(False)
        bar.set_label("share of the class")
        return svg(figure, "confusion matrix over the test classes")


def alignment(strip: Alignment) -> str:
    """Support frames along the top, query frames down the side, between them distances and the path."""
    rows, columns = strip.distances.shape
    with mpl.rc_context(STYLE | {"axes.grid": False, "image.composite_image": False}):
        figure = Figure(figsize=(5.2, 5.2 * (rows + 1.9) / (columns + 2.4)), layout="constrained")
        axes = figure.subplots()
        picture = draw_alignment(axes, strip.support, strip.query, strip.distances, strip.path)
        axes.set_xlabel("time in the support video →", loc="right")
        axes.set_ylabel("← time in the query video", loc="bottom")
        bar = figure.colorbar(picture, ax=axes, shrink=0.45, aspect=22, pad=0.02)
        bar.outline.set_visible(False)
        bar.set_label("distance of frames (1 − cosine)")
        return svg(figure, "distances between the frames of a query and a support video, with the path")


def draw_alignment(
    axes: Axes,
    across: UInt8[Tensor, "U C H W"],
    down: UInt8[Tensor, "T C _ _"],
    distances: Float[Tensor, "T U"],
    path: Sequence[tuple[int, int]],
) -> AxesImage:
    """One video along the top, one down the side, and the path of (row, column) through their distances."""
    rows, columns = distances.shape
    gap = 0.22
    for j, frame in enumerate(across):
        _frame(axes, frame, x=float(j), y=-1 - gap)
    for i, frame in enumerate(down):
        _frame(axes, frame, x=-1 - gap, y=float(i))
    picture = axes.imshow(
        distances.numpy(), cmap=NEARNESS, extent=(0, columns, rows, 0), interpolation="none"
    )
    places = np.array([(column, row) for row, column in path]) + 0.5
    for colour, width in (("white", 4.5), (ORANGE, 2.2)):
        axes.plot(places[:, 0], places[:, 1], color=colour, linewidth=width, solid_joinstyle="round")
    axes.scatter(places[:, 0], places[:, 1], s=26, color=ORANGE, edgecolors="white", linewidths=1.2, zorder=3)
    axes.set(xlim=(-1 - gap, columns), ylim=(rows, -1 - gap), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    return picture


def _frame(axes: Axes, frame: UInt8[Tensor, "C H W"], *, x: float, y: float) -> None:
    inset = 0.03
    extent = (x + inset, x + 1 - inset, y + 1 - inset, y + inset)
    axes.imshow(frame.permute(1, 2, 0).numpy(), extent=extent, interpolation="none")
