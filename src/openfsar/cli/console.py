"""What the verbs print: one red line for an error, one line per finished stage."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text


def complain(message: str) -> None:
    """One line on stderr, red where the terminal has colours."""
    line = Text.assemble(("error: ", "bold red"), (" ".join(message.split()), "red"))
    Console(stderr=True, soft_wrap=True, highlight=False).print(line)


def warn(message: str) -> None:
    """One line on stderr, yellow where the terminal has colours."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(Text(" ".join(message.split()), "yellow"))


@contextmanager
def stage(title: str) -> Iterator[list[str]]:
    """Prints a line with the time a stage took; what is appended to the list is said behind the title."""
    said: list[str] = []
    start = time.perf_counter()
    yield said
    line = Text.assemble(
        (f"{time.perf_counter() - start:6.1f} s  ", "cyan"), title, "  ", (" ".join(said), "bold")
    )
    Console(file=sys.stdout, soft_wrap=True, highlight=False).print(line)
