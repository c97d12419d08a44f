"""What the verbs print: one red line for an error, one line per finished stage, rows of an answer.

Lines go out by ``print``, which a progress bar of rich catches and shows above itself.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.text import Text


def complain(message: str) -> None:
    """One line on stderr, red where the terminal has colours."""
    _line(Text.assemble(("error: ", "bold red"), (" ".join(message.split()), "red")))


def warn(message: str) -> None:
    """One line on stderr, yellow where the terminal has colours."""
    _line(Text(" ".join(message.split()), "yellow"))


def note(message: str) -> None:
    """One plain line on stderr, where it is in the way of no output."""
    _line(Text(message))


def _line(text: Text) -> None:
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    with console.capture() as caught:
        console.print(text)
    print(caught.get(), end="", file=sys.stderr)


def show(thing: RenderableType, *, width: int | None = None) -> None:
    """A table so many characters wide, or a text that is left unbroken, on stdout."""
    console = Console(highlight=False, width=width, soft_wrap=width is None)
    with console.capture() as caught:
        console.print(thing)
    print(caught.get(), end="")


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
