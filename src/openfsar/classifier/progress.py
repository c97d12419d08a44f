"""How far a long run has come: a bar on a terminal, a line now and then where there is none."""

import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

EVERY = 30.0
"""Seconds between two lines."""
MEMORY = 300.0
"""Seconds that the speed on the bar is averaged over; long, for a batch may take half a minute."""


def batches(total: int, size: int, title: str, *, shown: bool) -> Iterator[int]:
    """The number of the first video of each batch, while stderr says how far it is and how long to go."""
    starts = range(0, total, size)
    console = Console(stderr=True)
    if not shown:
        yield from starts
    elif console.is_terminal:
        columns = (title, BarColumn(), MofNCompleteColumn(), "videos", _Speed(), TimeRemainingColumn())
        with Progress(
            *columns,
            console=console,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # else what is piped away would come out above the bar
            speed_estimate_period=MEMORY,
        ) as bar:
            task = bar.add_task(title, total=total)
            for start in starts:
                yield start
                bar.update(task, completed=min(start + size, total))
    else:
        began = said = time.monotonic()
        for start in starts:
            yield start
            now, done = time.monotonic(), min(start + size, total)
            if now - said >= EVERY and done < total:
                said = now
                print(told(title, done, total, now - began), file=sys.stderr, flush=True)


def told(title: str, done: int, total: int, seconds: float) -> str:
    """The bar in words, ``seconds`` after the start."""
    speed, left = done / seconds, (total - done) * seconds / done
    clock = (
        f"{left / 3600:.1f} h" if left >= 5400 else f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
    )
    return f"{title}: {done:,} of {total:,} videos, {_pace(speed)}, {clock} left"


class _Speed(ProgressColumn):
    """Videos a second, once there is anything to tell."""

    def render(self, task: Task) -> Text:
        return Text(_pace(task.speed) if task.speed else "", "cyan")


def _pace(speed: float) -> str:
    return f"{speed:.2f}/s" if speed < 1 else f"{speed:.1f}/s"
