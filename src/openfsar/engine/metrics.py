"""Accuracy, its uncertainty and its breakdown by class, as pure functions of predictions."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the normal distribution."""


def mean_interval(values: Float[Tensor, " E"] | Bool[Tensor, " E"]) -> tuple[float, float]:
    """Mean over episodes, and half the width of its 95 % confidence interval, in the unit of the values.

    Raises:
        ValueError: for fewer than two values, which have no spread.
    """
    if len(values) < 2:
        raise ValueError(f"an interval needs at least two episodes, got {len(values)}")
    values = values.double()
    return values.mean().item(), Z95 * values.std().item() / sqrt(len(values))


def pooled(found: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Of equally many episodes of each of several seeds, with half intervals: all episodes as one list.

    Right for one model on independent lists; runs that were trained apart differ by more than their episodes
    (see ``student_interval``).
    """
    return fmean(mean for mean, _ in found), sqrt(sum(half**2 for _, half in found)) / len(found)


def harmonic_mean(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Of two accuracies with their half intervals, measured on different videos; errors propagated linearly.

    It is 0 where either is: new classes must not be bought with the known ones, nor the other way round.
    """
    (a, da), (b, db) = first, second
    if a + b == 0:
        return 0.0, 0.0
    return 2 * a * b / (a + b), 2 * sqrt((b * b * da) ** 2 + (a * a * db) ** 2) / (a + b) ** 2


def episode_accuracy(correct: Bool[Tensor, "E Q"]) -> Float[Tensor, " E"]:
    """Share of correct queries in each episode, 0..1."""
    return correct.double().mean(-1)


def confusion_matrix(
    truth: Int[Tensor, " Q"], predicted: Int[Tensor, " Q"], classes: int
) -> Int[Tensor, "A A"]:
    """How often each class (row) was given each name (column)."""
    return torch.bincount(truth * classes + predicted, minlength=classes * classes).view(classes, classes)


def class_accuracy(confusion: Int[Tensor, "A A"]) -> Float[Tensor, " A"]:
    """Share of each class's queries that were named right, 0..1; NaN for a class that was never asked."""
    return confusion.diagonal().double() / confusion.sum(1)
