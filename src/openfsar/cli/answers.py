"""What is told about videos that have been named: a record each, a row on the terminal, a file of all."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, BinaryIO

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from openfsar.cli.console import show
from openfsar.cli.journal import Record

if TYPE_CHECKING:
    from openfsar.classifier import Labelled

DIGITS = 6
"""Of a probability, behind the point."""


def record_of(answer: "Labelled", labels: Sequence[str]) -> Record:
    """One video as plain data; everything but file and error is None where it could not be read.

    ``label`` is "none of these" where the video was rejected, ``nearest`` the likeliest action even so, and
    ``probability`` is that of ``nearest``.
    """
    if answer.probabilities is None:
        nothing = dict.fromkeys(("label", "nearest", "probability", "probabilities"))
        return {"file": str(answer.video), **nothing, "error": str(answer.error)}
    chances = [round(float(p), DIGITS) for p in answer.probabilities]
    best = int(answer.probabilities.argmax())
    return {
        "file": str(answer.video),
        "label": answer.label,
        "nearest": labels[best],
        "probability": chances[best],
        "probabilities": dict(zip(labels, chances, strict=True)),
        "error": None,
    }


def write_csv(file: BinaryIO, records: Iterable[Record], labels: Sequence[str]) -> None:
    """A row per video, a column ``p(label)`` per action."""
    columns = ("file", "label", "nearest", "probability")
    _row(file, [*columns, *(f"p({label})" for label in labels), "error"])
    for record in records:
        chances = record["probabilities"] or {}
        first = [record[column] for column in columns]
        _row(file, [*first, *(chances.get(label) for label in labels), record["error"]])


def _row(file: BinaryIO, cells: Sequence[object]) -> None:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    file.write(text.getvalue().encode("utf-8", "surrogateescape"))  # names of files as they are


def write_json(file: BinaryIO, records: Iterable[Record], labels: Sequence[str]) -> None:
    """One list, an object per line."""
    before = "[\n"
    for record in records:
        file.write((before + json.dumps(record)).encode())
        before = ",\n"
    file.write(b"\n]\n")


def write_lines(file: BinaryIO, records: Iterable[Record], labels: Sequence[str]) -> None:
    """JSON lines."""
    for record in records:
        file.write(json.dumps(record).encode() + b"\n")


WRITERS: Mapping[str, Callable[[BinaryIO, Iterable[Record], Sequence[str]], None]] = {
    ".csv": write_csv,
    ".json": write_json,
    ".jsonl": write_lines,
}


class Rows:
    """A table that is printed row by row, so that every answer is seen at once and none is kept."""

    def __init__(self, videos: Sequence[Path], labels: Sequence[str]) -> None:
        from openfsar.classifier import NONE

        self.none = NONE
        self.label = max(cell_len(label) for label in (*labels, NONE))
        self.file = max(cell_len(shown(str(video))) for video in videos)
        wanted = self.file + self.label + cell_len("probability") + self.label + len(" 100%") + 6
        self.width = wanted
        if sys.stdout.isatty() and get_terminal_size().columns < wanted:
            self.width = get_terminal_size().columns
            self.file = max(20, self.file - (wanted - self.width))
        self._print("file", "label", "probability", "next best", style="bold")

    def add(self, record: Record) -> None:
        """Show a video, unless it could not be read."""
        if record["error"] is not None:
            return
        order = sorted(record["probabilities"].items(), key=lambda item: -item[1])
        rejected = record["label"] == self.none
        label, chance = order[0] if rejected else order[1]
        self._print(
            shown(record["file"]),
            Text(record["label"], "yellow" if rejected else "bold"),
            "" if rejected else f"{record['probability']:.0%}",
            Text(f"{label} {chance:.0%}", "dim"),
        )

    def _print(self, *cells: str | Text, style: str = "") -> None:
        table = Table(box=None, show_header=False, pad_edge=False)
        table.add_column(width=self.file, overflow="fold")
        table.add_column(width=self.label)
        table.add_column(width=len("probability"), justify="right")
        table.add_column()
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells), style=style)
        show(table, width=self.width)


def shown(file: str) -> str:
    """A file name that every terminal can show, whatever bytes it is made of."""
    return os.fsencode(file).decode("utf-8", "replace")
