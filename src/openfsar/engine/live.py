"""What a person sees while they wait: numbers and the time left, or a log line where nobody watches."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from openfsar.engine.checkpoint import Entry

LOG_SECONDS = 30.0
"""Between two log lines."""


def bar(progress: bool, *columns: ProgressColumn) -> Progress:
    """A progress display on stderr that vanishes when done; silent unless ``progress`` and on a terminal."""
    console = Console(stderr=True)
    base = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(
        *base,
        TimeRemainingColumn(),
        *columns,
        console=console,
        transient=True,
        disable=not (progress and console.is_terminal),
    )


class TrainingDisplay:
    """Step, loss, accuracy, speed and time left; a context manager.

    Args:
        unit, per_step: What speed is counted in, and how many of these a step has.
    """

    def __init__(self, start: int, steps: int, unit: str, per_step: int, *, progress: bool) -> None:
        self.start, self.steps, self.unit, self.per_step = start, steps, unit, per_step
        self.progress = progress
        self.bar = bar(progress, TextColumn("{task.fields[said]}"))
        self.task = self.bar.add_task("training", total=steps, completed=start, said="")
        self.began = self.logged = time.monotonic()
        self.away = 0.0

    def __enter__(self) -> "TrainingDisplay":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def show(self, step: int, entry: Entry) -> None:
        """The numbers of one training step; its accuracy, where it has one, is a fraction."""
        now = time.monotonic()
        pace = (step - self.start) / max(now - self.began - self.away, 1e-9)  # steps per second of training
        words = [f"loss {entry['loss']:.3f}"]
        if "accuracy" in entry:
            words.append(f"accuracy {100 * entry['accuracy']:.1f} %")
        line = "  ".join([*words, f"{pace * self.per_step:.1f} {self.unit}/s"])
        self.bar.update(self.task, completed=step, said=line)
        watched = self.bar.console.is_terminal
        if not watched and (now - self.logged > LOG_SECONDS or step == self.steps):
            self.logged = now
            left = int((self.steps - step) / pace)
            self.say(f"step {step}/{self.steps}  {line}  {left // 60}:{left % 60:02d} left")

    def say(self, line: str) -> None:
        """A line that stays, above the bar or in the log."""
        if self.progress:
            self.bar.print(line, highlight=False, soft_wrap=True)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Make room for another display; the time it takes does not count as training."""
        self.bar.stop()
        left = time.monotonic()
        yield
        self.away += time.monotonic() - left
        self.bar.start()
