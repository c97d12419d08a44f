"""Published accuracies: facts in published.csv beside this module, each with the place it was read in.

Columns: ``method`` (a key of METHODS where the system is one of ours), ``variant``, ``backbone``,
``protocol``, ``benchmark``, ``measure``, ``way`` (empty: all classes), ``accuracy`` in %, ``rerun`` ("yes"
where the authors of the source ran somebody else's system again), ``select``, ``transductive`` ("yes", "no",
empty: unknown), ``trainable`` parameters, ``gflops`` of a video (multiply-adds), ``source``, ``note``.

Numbers that could not be seen in some source are not in the file. The same system has different numbers in
different papers: both stand there.
"""

import csv
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import Any

PROTOCOLS = {
    "episodic": "N-way K-shot episodes",
    "all-way": "K-shot, all classes at once",
    "naming": "named among all classes, without examples",
}
"""``all-way`` of most papers trains on the K examples of every class; ours only compares with them."""

SELECTIONS = {
    "val": "validation classes",
    "test": "the test classes themselves, by the released code",
    "test?": "perhaps the test classes: the released code measures on them in training, and on no others",
    "fixed": "nothing: the state after a fixed number of steps",
    "none": "nothing: nothing was trained",
    "": "unknown",
}
"""On what the reported model was chosen."""

MEASURE = re.compile(r"\d+-shot|known|new|harmonic")
"""Examples per class; or of naming: trained classes, new ones, and the harmonic mean of both."""


class PublishedError(ValueError):
    """A line of the file that says something impossible."""


@dataclass(frozen=True)
class Published:
    """One number."""

    method: str
    variant: str
    backbone: str
    protocol: str
    benchmark: str
    measure: str
    way: int | None
    accuracy: str
    """In %, as printed."""
    rerun: bool
    select: str
    transductive: str
    trainable: int | None
    gflops: float | None
    source: str
    note: str


def load_published() -> list[Published]:
    """Every line of the file.

    Raises:
        PublishedError: naming the line.
    """
    text = (files("openfsar.engine") / "published.csv").read_text(encoding="utf-8")
    return parse_published(text.splitlines(keepends=True))


def parse_published(lines: Iterable[str]) -> list[Published]:
    """``load_published`` of other lines."""
    found = []
    for number, row in enumerate(csv.DictReader(lines), 2):
        try:
            found.append(_entry(row))
        except (ValueError, TypeError, KeyError) as error:
            raise PublishedError(f"published.csv, line {number}: {error}") from error
    return found


def _entry(row: dict[str, str]) -> Published:
    columns = [field.name for field in fields(Published)]
    if list(row) != columns:
        raise ValueError(f"has the columns {', '.join(map(str, row))} instead of {', '.join(columns)}")
    for name, allowed in (
        ("protocol", PROTOCOLS),
        ("select", SELECTIONS),
        ("transductive", ("yes", "no", "")),
        ("rerun", ("yes", "")),
    ):
        if row[name] not in allowed:
            raise ValueError(f"{name} is {row[name]!r}, one of {', '.join(map(repr, allowed))} is allowed")
    if not MEASURE.fullmatch(row["measure"]):
        raise ValueError(
            f"measure is {row['measure']!r}; known, new, harmonic and such as 5-shot are allowed"
        )
    if not 0 < float(row["accuracy"]) < 100:
        raise ValueError(f"accuracy is {row['accuracy']!r}; it is a percentage")
    for name in ("method", "backbone", "benchmark", "source"):
        if not row[name].strip():
            raise ValueError(f"{name} is empty")
    values: dict[str, Any] = dict(row)
    values |= {
        "way": int(row["way"]) if row["way"] else None,
        "trainable": int(row["trainable"]) if row["trainable"] else None,
        "gflops": float(row["gflops"]) if row["gflops"] else None,
        "rerun": row["rerun"] == "yes",
    }
    return Published(**values)
