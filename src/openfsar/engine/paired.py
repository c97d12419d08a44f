"""Is one system better than another on the same episodes? Tests and intervals of paired differences."""

from collections.abc import Sequence
from math import atan, cos, pi, sin, sqrt
from statistics import fmean, stdev

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

LEAST_P = 1e-12
"""Smaller probabilities are lost among rounding errors."""


def sign_flip_test(differences: Int[Tensor, " E"]) -> float:
    """Two-sided p-value of the sign-flip (paired permutation) test of integer differences; exact.

    If the two systems were interchangeable, each difference could as well have the other sign. The p-value is
    the share of all 2^E choices of signs whose sum is at least as far from 0 as the one found. No choice is
    drawn: the sums are integers, and their distribution is the inverse Fourier transform of the product of
    ``cos(|d| t)``.

    The test assumes that episodes are independent draws. They are, from these videos; but they share the
    videos, so that it says nothing of other videos or classes: see ``jackknife``.

    Args:
        differences: How many more queries of each episode the first system named right.

    Returns:
        From ``LEAST_P`` to 1.
    """
    sizes = torch.bincount(differences.abs()).numpy()
    furthest = int(sizes @ np.arange(len(sizes)))
    observed = abs(int(differences.sum()))
    if observed == 0:
        return 1.0
    period = 1 << (2 * furthest + 1).bit_length()
    angles = 2 * np.pi * np.arange(period // 2 + 1) / period
    spectrum = np.ones_like(angles)
    for size, count in enumerate(sizes):
        if size and count:
            spectrum *= np.cos(size * angles) ** int(count)
    chances = np.fft.irfft(spectrum, period)
    return float(np.clip(2 * chances[observed : furthest + 1].sum(), LEAST_P, 1))


def jackknife(values: Float[Tensor, " E"], units: Int[Tensor, "E _"]) -> float | None:
    """Half the 95 % interval of the mean over episodes, were their units (classes, or videos) drawn anew.

    Each unit is left out in turn, with all episodes that hold it; Student's t over the units. An episode is
    left out once for each of its m units, so that the chance of its draw is counted about m times; all but
    one of these are taken off again. Never narrower than the interval over episodes is.

    Args:
        units: Which units each episode holds, each once.

    Returns:
        None where a unit is in every episode, or there are fewer than two units.
    """
    numbers, index = units.unique(return_inverse=True)
    count, size = len(numbers), units.shape[1]
    values = values.double()
    held = torch.bincount(index.flatten(), minlength=count)
    left = len(values) - held
    if count < 2 or not left.all():
        return None
    sums = torch.zeros(count, dtype=torch.float64)
    sums.index_add_(0, index.flatten(), values.repeat_interleave(size))
    without = (values.sum() - sums) / left
    spread = (count - 1) / count * (without - without.mean()).square().sum().item()
    chance = values.var().item() / len(values)
    times = (count - 1) * size / (count - size)
    return student_quantile(count - 1) * sqrt(max(spread - (times - 1) * chance, chance))


def student_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean of a few independent values, such as runs of several seeds, and half its 95 % interval.

    Raises:
        ValueError: for fewer than two values.
    """
    if len(values) < 2:
        raise ValueError(f"an interval over seeds needs at least two, got {len(values)}")
    return fmean(values), student_quantile(len(values) - 1) * stdev(values) / sqrt(len(values))


def student_quantile(freedom: int) -> float:
    """Student's two-sided 95 % quantile: 12.706 at one degree of freedom, 4.303 at two, 1.960 at infinity."""
    low, high = 1.9, 13.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _inside(middle, freedom) < 0.95 else (low, middle)
    return (low + high) / 2


def _inside(t: float, freedom: int) -> float:
    """Probability that Student's variable lies between -t and t: a finite sum."""
    angle = atan(t / sqrt(freedom))
    odd = freedom % 2
    term = cos(angle) if odd else 1.0
    total = 0.0
    for k in range(1 + odd, freedom, 2):
        total += term
        term *= cos(angle) ** 2 * k / (k + 1)
    total = total * sin(angle)
    return 2 / pi * (angle + total) if odd else total
