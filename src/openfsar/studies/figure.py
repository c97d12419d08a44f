"""A picture per table: accuracy by row over seeds, or over training episodes, beside the paper's."""

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from openfsar.engine.figures import BLUE, ORANGE, STYLE, VERMILLION, svg
from openfsar.studies.page import Found
from openfsar.studies.plan import FEW_SHOT

COLOURS = (BLUE, VERMILLION, ORANGE)


GREY = "#7a7f87"
"""Ink that is read on white and on black: a picture in a file cannot ask the page for its colour."""


def draw(found: Found) -> str:
    """One ``<svg>`` element; a panel per data set and measure, and one per benchmark of the paper."""
    with mpl.rc_context(STYLE):
        drawn = _curves(found) if found.table.budgets else _dots(found)
    return drawn.replace("currentColor", GREY)


def _dots(found: Found) -> str:
    """Dots and not bars: these axes do not begin at zero."""
    rows = list(found.table.rows)
    papers = list(dict.fromkeys(name for row in found.table.rows.values() for name in row.published))
    panels = len(found.columns) + len(papers)
    figure = Figure(figsize=(1.6 + 1.9 * panels, 0.55 + 0.27 * len(rows)), layout="constrained")
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    for axis, column in zip(axes, found.columns, strict=False):
        spreads = [found.spread(row, column) for row in rows]
        means = [spread.mean if spread else float("nan") for spread in spreads]
        halves = [(spread.half or 0.0) if spread else 0.0 for spread in spreads]
        axis.errorbar(means, rows, xerr=halves, color=BLUE, fmt="o", ms=5, lw=1.4, capsize=2)
        ends = [mean + side * half for mean, half in zip(means, halves, strict=True) for side in (-1, 1)]
        data, measure = column
        _panel(axis, data if measure == FEW_SHOT else f"{data}\n{measure}", ends)
    for axis, paper in zip(axes[len(found.columns) :], papers, strict=True):
        values = [row.published.get(paper, float("nan")) for row in found.table.rows.values()]
        axis.plot(values, rows, "D", color=ORANGE, ms=5)
        _panel(axis, f"paper: {paper}", values)
    axes[0].set_ylim(len(rows) - 0.5, -0.5)
    return svg(figure, found.table.title)


def _panel(axis: Axes, title: str, values: Sequence[float]) -> None:
    axis.set_title(title)
    axis.grid(visible=True, axis="both")
    axis.tick_params(axis="y", length=0)
    known = [value for value in values if value == value]
    if known:
        room = 0.1 * (max(known) - min(known)) + 1
        axis.set_xlim(min(known) - room, max(known) + room)
    axis.set_xlabel("accuracy, %")


def _curves(found: Found) -> str:
    figure = Figure(figsize=(1.2 + 3.2 * len(found.columns), 2.6), layout="constrained")
    axes = figure.subplots(1, len(found.columns), squeeze=False)[0]
    systems = list(dict.fromkeys(row.rpartition(", ")[0] for row in found.table.rows))
    for axis, column in zip(axes, found.columns, strict=True):
        for system, colour in zip(systems, COLOURS, strict=False):
            points = [
                (float(row.rpartition(", ")[2]), spread)
                for row in found.table.rows
                if row.rpartition(", ")[0] == system and (spread := found.spread(row, column))
            ]
            x, y = [budget for budget, _ in points], [spread.mean for _, spread in points]
            halves = [spread.half or 0.0 for _, spread in points]
            axis.errorbar(x, y, yerr=halves, color=colour, marker="o", ms=3, lw=1.4, capsize=2, label=system)
        axis.set_title(column[0])
        axis.set_xlabel("training episodes")
        axis.set_ylabel("accuracy, %")
        axis.legend()
    return svg(figure, found.table.title)
