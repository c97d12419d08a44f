"""The picture of benchmarks/growth.py: a column per panel, time above memory, theory as lines."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
from growth import Axis, Point, Work
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from openfsar.engine.figures import BLUE, ORANGE, STYLE, VERMILLION, svg
from openfsar.studies.figure import GREY

COLOURS = {"otam": BLUE, "ma-fsar": ORANGE, "trx": ORANGE, "protonet": VERMILLION}
"""No panel has both of one colour."""
MARKS = {BLUE: "o", ORANGE: "s", VERMILLION: "D"}
NAMES = {
    ("encode", "otam"): "plain",
    ("encode", "ma-fsar"): "MA-FSAR",
    ("match", "otam"): "OTAM",
    ("match", "trx"): "TRX",
    ("match", "protonet"): "ProtoNet",
}
SEEN = 0.1
"""MB; where the axis of memory begins: less is not measured."""
LABEL = "Time and memory of encoding and of matching by size, measured as dots and counted as lines"


def draw(panels: Mapping[tuple[Work, Axis], Mapping[str, Sequence[Point]]]) -> str:
    """One ``<svg>`` element that is read on white and on black."""
    with mpl.rc_context(STYLE | {"font.size": 8, "axes.titlesize": 8, "axes.grid.axis": "both"}):
        figure = Figure(figsize=(1.95 * len(panels), 3.9), layout="constrained")
        above, below = figure.subplots(2, len(panels), sharex="col")
        for time, memory, ((work, axis), curves) in zip(above, below, panels.items(), strict=True):
            for method, curve in curves.items():
                seconds = [point.cost.median for point in curve]
                # only the slope of operations is known: the line begins where the dots do
                scale = seconds[0] / curve[0].operations
                name = NAMES[work, method]
                _curve(time, curve, name, seconds, [scale * point.operations for point in curve])
                grown = [point.cost.memory / 1e6 for point in curve]
                _curve(memory, curve, name, grown, [point.held / 1e6 for point in curve])
            time.set_title(f"{work}, by {axis}")
            time.legend(fontsize=7, handlelength=0.8, handletextpad=0.4, borderpad=0, loc="best")
            sizes = sorted({point.case.size for curve in curves.values() for point in curve})
            memory.set_xlabel("pixels of a side" if axis == "resolution" else axis)
            _logarithmic(time, sizes)
            _logarithmic(memory, sizes, bottom=SEEN)
        above[0].set_ylabel("ms")
        below[0].set_ylabel("MB")
        return svg(figure, LABEL).replace("currentColor", GREY)


def _curve(
    axes: Axes, curve: Sequence[Point], name: str, measured: Sequence[float], counted: Sequence[float]
) -> None:
    sizes, colour = [point.case.size for point in curve], COLOURS[curve[0].case.method]
    axes.plot(sizes, counted, color=colour, lw=1, alpha=0.7)
    axes.plot(sizes, measured, MARKS[colour], color=colour, ms=4, label=name)


def _logarithmic(axes: Axes, sizes: Sequence[int], *, bottom: float | None = None) -> None:
    """Both axes; what was measured is what is named."""
    axes.set(xscale="log", yscale="log")
    axes.set_ylim(bottom=bottom)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(10, subs=(1, 3) if high < 100 * low else (1,), numticks=6))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
