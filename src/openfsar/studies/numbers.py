"""Means over seeds, differences at equal seeds, and what three of them allow one to say."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""The 97.5 % quantile of Student's t by number of seeds."""


@dataclass(frozen=True)
class Spread:
    """Mean and half the 95 % interval over seeds; one seed has no interval."""

    mean: float
    half: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Student's interval.

        Args:
            values: One per seed, at most ten.
        """
        mean, count = statistics.fmean(values), len(values)
        if count == 1:
            return cls(mean, None)
        return cls(mean, STUDENT[count] * statistics.stdev(values) / count**0.5)

    @property
    def verdict(self) -> str:
        """Of a difference that is claimed to be above zero."""
        half = inf if self.half is None else self.half
        if self.mean - half > 0:
            return "holds"
        if self.mean + half < 0:
            return "the opposite holds"
        return "smaller than its interval" if self.half is not None else "one seed cannot tell"

    def __str__(self) -> str:
        return f"{self.mean:.1f}" if self.half is None else f"{self.mean:.1f} ± {self.half:.1f}"
