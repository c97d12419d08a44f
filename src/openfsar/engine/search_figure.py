"""The cell that a search found, drawn: levels as nodes, the weight of every operation on every edge.

Matplotlib is loaded here and by whoever draws, so that a search runs without it.
"""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from openfsar.data.files import whole_file
from openfsar.engine.figures import BLUE, ORANGE, STYLE, VERMILLION
from openfsar.engine.search import Found

COLOURS = (BLUE, ORANGE, VERMILLION)
"""One per operation."""

DARK = "#222222"


def draw_cell(found: Found, path: Path) -> None:
    """Write an SVG, which appears whole or not at all.

    The nodes stand in a row, shallow to deep, the output behind them. An edge has the colour of its heaviest
    operation, and is the thicker the more that outweighs an even mixture; beside it the weights of all.
    """
    ink = {key: DARK for key, value in STYLE.items() if value == "#010203"}
    with mpl.rc_context(STYLE | ink | {"axes.grid": False}):
        figure = Figure(figsize=(8.6, 3.5), layout="constrained")
        axes = figure.subplots()
        nodes = 1 + max(later for _, later in found.edges)
        for (earlier, later), row in zip(found.edges, found.weights, strict=True):
            _edge(axes, earlier, later, row)
        for node in range(nodes):
            axes.scatter([node], [0], s=420, color="white", edgecolors=DARK, zorder=3)
            axes.annotate(str(node), (node, 0), ha="center", va="center", zorder=4)
            axes.annotate(f"level {node}", (node, -0.25), ha="center", fontsize=8)
            axes.annotate(f"{found.mix[node]:.2f}", (node, -0.42), ha="center", fontsize=8)
        axes.annotate(
            f"in the output: the states by these weights, the deepest level by {found.mix[-1]:.2f}"
            + ("" if found.long_share is None else f"; long-term module by {found.long_share:.2f}"),
            (0, -0.72),
            ha="left",
            fontsize=8,
        )
        for number, (name, colour) in enumerate(zip(found.operations, COLOURS, strict=True)):
            axes.annotate(name, (number * 0.35, 1.35), color=colour, weight="bold", fontsize=9)
        axes.set(xlim=(-0.5, nodes - 0.5), ylim=(-0.85, 1.5), xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        quiet = {"Date": None, "Creator": None}
        with whole_file(path) as file:
            figure.savefig(file, format="svg", facecolor="white", metadata=quiet)


def _edge(axes: Axes, earlier: int, later: int, row: tuple[float, ...]) -> None:
    best = max(range(len(row)), key=row.__getitem__)
    bend = 0.0 if later == earlier + 1 else -0.45
    arrow = FancyArrowPatch(
        (earlier, 0),
        (later, 0),
        connectionstyle=f"arc3,rad={bend}",
        arrowstyle="-|>",
        mutation_scale=11,
        shrinkA=12,
        shrinkB=12,
        linewidth=1 + 4 * max(0.0, row[best] - 1 / len(row)),
        color=COLOURS[best],
    )
    axes.add_patch(arrow)
    height = 0.08 if bend == 0 else 0.05 + abs(bend) * (later - earlier) / 2
    words = "  ".join(f"{weight:.2f}" for weight in row)
    axes.annotate(words, ((earlier + later) / 2, height), ha="center", va="bottom", fontsize=7)
