"""How far long videos have come: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from openfsar.cli.console import note

EVERY = 30.0
"""Seconds between two lines."""

Tell: TypeAlias = "Callable[[int, float], None]"
"""Told how many videos are done, and how much of the next, 0..1."""


@contextmanager
def progress(title: str, videos: int, *, shown: bool = True) -> Iterator[Tell]:
    """A bar with the time left on a terminal, a line now and then elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if not shown or not console.is_terminal:
        yield _Lines(title, videos) if shown else lambda done, share: None
        return
    columns = (title, BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    # on a terminal, tables appear above the bar; what is piped away must not
    with Progress(*columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty()) as bar:
        task = bar.add_task(title, total=videos)
        yield lambda done, share: bar.update(task, completed=done + share)


class _Lines:
    """Says on stderr how far it is, twice a minute."""

    def __init__(self, title: str, videos: int) -> None:
        self.title, self.videos = title, videos
        self.began = self.said = time.monotonic()

    def __call__(self, done: int, share: float) -> None:
        now, part = time.monotonic(), (done + share) / self.videos
        if now - self.said >= EVERY and 0 < part < 1:
            self.said = now
            left = (now - self.began) * (1 / part - 1)
            note(f"{self.title}: {part:.0%}, {clock(left)} left")


def clock(seconds: float) -> str:
    """1:02:03.4, without hours where there are none."""
    tenths = round(seconds * 10)
    hours, rest = divmod(tenths, 36_000)
    minutes = f"{rest // 600:02d}" if hours else f"{rest // 600}"
    return f"{f'{hours}:' if hours else ''}{minutes}:{rest % 600 // 10:02d}.{rest % 10}"
