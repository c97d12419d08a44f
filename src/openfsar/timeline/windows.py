"""Windows that slide over a video and share its frames.

Time is cut into steps of ``window / frames`` seconds, one frame stands for each, and a window is ``frames``
of them in a row. Windows begin a whole number of steps apart, so that they see the very same frames where
they overlap:

    time      | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 |        frames = 4, hop = 2
    windows   [---------------]
                      [---------------]
                          [---------------]                the last one ends with the video
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Windows:
    """How long windows are, how far apart, and of how many frames.

    Raises:
        ValueError: A number that no window can have.
    """

    window: float
    """Seconds."""
    frames: int
    hop: int
    """Steps from one window's start to the next."""

    def __post_init__(self) -> None:
        if not 0.01 <= self.window <= 3600:
            raise ValueError(
                f"window={self.window:g} must be seconds, 0.01 to 3600; about as long as an action"
            )
        if self.frames < 1:
            raise ValueError(f"frames={self.frames} must be at least 1")
        if not 1 <= self.hop <= self.frames:
            raise ValueError(
                f"windows of {self.window:g} s cannot be {self.stride:g} s apart without gaps; the stride "
                f"must be {self.step:g} s (one frame) to {self.window:g} s"
            )

    @classmethod
    def of(cls, window: float, stride: float | None, frames: int) -> "Windows":
        """With the stride in seconds, rounded to whole steps; None is a quarter of the window."""
        wanted = window / 4 if stride is None else stride
        hop = round(wanted * frames / window) if window > 0 else 1
        return cls(window, frames, max(1, hop) if wanted > 0 else hop)

    @property
    def step(self) -> float:
        """Seconds that one frame stands for."""
        return self.window / self.frames

    @property
    def stride(self) -> float:
        """Seconds from one window's start to the next."""
        return self.hop * self.step

    def slide(self, items: Iterable[Item]) -> Iterator[tuple[int, list[Item]]]:
        """Every window of the items, with the number of its first one; holds ``frames`` of them at a time.

        The last window ends with the items. Fewer items than a window needs are repeated evenly, in order.
        """
        held: deque[Item] = deque(maxlen=self.frames)
        start = -self.frames
        for item in items:
            held.append(item)
            start += 1
            if start >= 0 and start % self.hop == 0:
                yield start, list(held)
        if held and start < 0:
            yield 0, [held[i * len(held) // self.frames] for i in range(self.frames)]
        elif start % self.hop:
            yield start, list(held)


def in_groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of ``size``; the last one may be shorter."""
    rest = iter(items)
    while group := list(islice(rest, size)):
        yield group
