"""OTAM: ordered temporal alignment.

Cao et al., "Few-Shot Video Classification via Temporal Alignment", CVPR 2020.

A path through the table of frame distances visits the columns in order, each exactly once, except the
first, which may be held over several rows; from column to column the row stays or advances by one. It
starts and ends at any row for free. The distance of two videos is the soft minimum ``-smoothing * log sum
exp(-cost / smoothing)`` over all such paths. The rule treats rows and columns differently, so both
directions are summed.

The recursion is the one of the public implementations, which follow the paper but do not soften the first
row. Theirs fills the table cell by cell with bare exponentials and overflows at long distances; here each
step takes a whole column of every table in the batch, in logarithms. With scores ``s = -cost / smoothing``
and ``e`` for the entries, a step is ``s[l] = e[l] + logaddexp(s[l - 1], s[l])``.
"""

import math
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor


def otam(
    distances: Float[Tensor, "*b T U"], *, smoothing: float = 0.1, both_ways: bool = True
) -> Float[Tensor, "*b"]:
    """Soft cost of the best ordered alignment; below zero where many paths are cheap.

    Half precision is accumulated and returned in float32; float64 stays.

    Args:
        distances: Any number of tables; rows are the first video's frames, columns the second's.
        smoothing: Softness of the minimum, in units of distance; 0 takes the hard minimum.
        both_ways: Add the cost of the transposed tables.

    Raises:
        ValueError: ``smoothing`` is negative.
    """
    if not smoothing >= 0:
        raise ValueError(f"{smoothing=} must be 0 (hard minimum) or positive; 0.1 is the published value")
    table = distances.to(torch.promote_types(distances.dtype, torch.float32))
    # Columns first, then rows, then all tables side by side: every step runs over long contiguous lanes.
    forth, back = table.movedim((-1, -2), (0, 1)), table.movedim((-2, -1), (0, 1))
    if not both_ways:
        return _align(forth, smoothing)
    if forth.shape == back.shape:
        return _align(torch.stack((forth, back), 2), smoothing).sum(0)
    return _align(forth, smoothing) + _align(back, smoothing)


def _align(costs: Float[Tensor, "J R *b"], smoothing: float) -> Float[Tensor, "*b"]:
    """One direction, columns outermost."""
    join, twice = (torch.logaddexp, math.log(2)) if smoothing else (torch.maximum, 0.0)
    unit = -smoothing if smoothing else -1.0
    first, *others = (costs.contiguous() / unit).unbind()
    # The free entry left of the first column is reached from above and from the side: it counts twice.
    entry = first.new_tensor(twice)
    scores = torch.stack(list(accumulate(first.unbind(), lambda held, e: e + join(held, entry))))
    for column in others:
        scores = column + torch.cat((scores[:1], join(scores[:-1], scores[1:])))
    # Likewise the free exit right of the last column, along which a path that ended early reaches the corner.
    exits = torch.cat((scores[:-1] + twice, scores[-1:]))
    return unit * (exits.logsumexp(0) if smoothing else exits.amax(0))


def otam_path(distances: Float[Tensor, "T U"]) -> list[tuple[int, int]]:
    """Cells ``(row, column)`` of the hard minimum's best path, first column first: what a picture draws.

    One direction, rows against columns; hand over the transposed table for the other. Among equal paths the
    diagonal step is taken. Its cost is ``otam(distances, smoothing=0, both_ways=False)``.
    """
    rows, columns = range(distances.shape[0]), range(distances.shape[1])
    entries: list[list[float]] = distances.tolist()
    best = [(entries[row][0], [(row, 0)]) for row in rows]
    for row in rows[1:]:  # holding the first column pays only where costs are negative
        held, path = best[row - 1]
        if held < 0:
            best[row] = (held + best[row][0], [*path, (row, 0)])
    for column in columns[1:]:
        step = [min(best[max(row - 1, 0) : row + 1], key=lambda known: known[0]) for row in rows]
        best = [
            (cost + entries[row][column], [*path, (row, column)]) for row, (cost, path) in enumerate(step)
        ]
    return min(best, key=lambda known: known[0])[1]
