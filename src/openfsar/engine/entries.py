"""Numbers for a table: published ones, and lines of results.csv, with what has to be said beside each."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from openfsar.engine.paired import student_interval
from openfsar.engine.published import Published
from openfsar.engine.results import COLUMNS, ResultsError


@dataclass(frozen=True)
class Entry:
    """One number of one system, and all that has to be said beside it."""

    system: str
    method: str
    backbone: str
    protocol: str
    benchmark: str
    measure: str
    way: int | None
    accuracy: str
    """In %, with its interval where that is known."""
    select: str
    transductive: str
    trainable: int | None
    gflops: float | None
    seconds: str
    """That the evaluation took."""
    source: str
    """The paper or page; of ours, the lines of results.csv."""
    ours: bool
    recipe: str = ""
    """Of ours, the recipe's label; "" for an untrained system."""


def published_entries(found: Iterable[Published]) -> list[Entry]:
    """Published numbers as entries; those that others ran again bear a star."""
    return [
        Entry(
            system=f"{it.method} ({it.variant})" if it.variant else it.method,
            method=it.method,
            backbone=it.backbone,
            protocol=it.protocol,
            benchmark=it.benchmark,
            measure=it.measure,
            way=it.way,
            accuracy=f"{it.accuracy}{'*' * it.rerun}",
            select=it.select,
            transductive=it.transductive,
            trainable=it.trainable,
            gflops=it.gflops,
            seconds="",
            source=f"{it.source}; {it.note}" if it.note else it.source,
            ours=False,
        )
        for it in found
    ]


Lines = Sequence[tuple[int, Mapping[str, str]]]
"""Lines of results.csv with their numbers."""


def read_lines(path: Path) -> tuple[Lines, list[str]]:
    """Lines of a table of results, and a complaint about each that is none.

    Raises:
        ResultsError: the file has other columns.
    """
    good, bad = [], []
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        header = next(rows, [])
        if header != list(COLUMNS):
            raise ResultsError(f"{path} is no table of results, its first line is {','.join(header)!r}")
        for row in rows:
            place = f"{path}, line {rows.line_num}"
            line = dict(zip(COLUMNS, row, strict=False))
            if len(row) != len(COLUMNS):
                bad.append(
                    f"{place}: {len(row)} cells where the header has {len(COLUMNS)} (a cell with a comma "
                    "needs quotes)"
                )
            elif not all(
                _is_number(line[name]) for name in ("way", "accuracy", "interval", "seconds", "trainable")
            ):
                bad.append(f"{place}: way, accuracy, interval, seconds and trainable have to be numbers")
            else:
                good.append((rows.line_num, line))
    return good, bad


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def our_entries(lines: Lines) -> list[Entry]:
    """Lines of results.csv as entries. Lines that differ in their seeds alone are one.

    Runs of several training seeds have Student's interval over these; one run has that over its episodes.
    Where the same seeds were measured twice, both stand in the table.
    """
    piles: dict[tuple[str, ...], list[dict[tuple[str, str], tuple[int, Mapping[str, str]]]]] = {}
    for number, line in lines:
        seeds = line["train_seed"], line["seed"]
        key = tuple(line[name] for name in SAME)
        for pile in piles.setdefault(key, []):
            if seeds not in pile:
                pile[seeds] = number, line
                break
        else:
            piles[key].append({seeds: (number, line)})
    return [_ours(list(pile.values())) for alike in piles.values() for pile in alike]


SAME = "recipe method encoder data split way shot query episodes protocol select trainable".split()
"""What lines share that are of one system and one task."""


def _ours(lines: Lines) -> Entry:
    """One entry of lines that differ in their seeds alone."""
    first = lines[0][1]
    naming = " classes, " in first["protocol"]
    protocol = "naming" if naming else "all-way" if "all-way" in first["protocol"] else "episodic"
    numbers = ", ".join(str(number) for number, _ in lines)
    return Entry(
        system=_system(first, naming=naming),
        method=first["method"],
        backbone=first["encoder"],
        protocol=protocol,
        benchmark=first["data"],
        measure=first["protocol"].split()[0] if naming else f"{first['shot']}-shot",
        way=int(first["way"]),
        accuracy=_accuracy([line for _, line in lines]),
        select=first["select"] or "none",
        transductive="yes" if "transductive" in first["protocol"] else "no",
        trainable=int(first["trainable"]) if first["recipe"] else 0,
        gflops=None,
        seconds=f"{sum(float(line['seconds']) for _, line in lines) / len(lines):.0f}",
        source=numbers,
        ours=True,
        recipe=first["recipe"],
    )


def _system(line: Mapping[str, str], *, naming: bool) -> str:
    """The method, and what is unusual about it."""
    _, space, changed = line["recipe"].partition(" ")
    words = [changed.strip("()")] if space else []
    if not line["recipe"] and line["method"] != "zero-shot":
        words.append("untrained")
    if naming:
        words.append(line["protocol"].split(", ", 1)[1])
    if line["protocol"].startswith("paper"):
        words.append("frames drawn anew")
    if line["split"] != "test":
        words.append(f"split {line['split']}" if line["split"] else "all videos")
    return f"{line['method']} ({'; '.join(words)})" if words else line["method"]


def _accuracy(lines: Sequence[Mapping[str, str]]) -> str:
    """Mean and interval: over training seeds, over pooled episodes of one run, or as the one line says."""
    runs: dict[str, list[float]] = {}
    for line in lines:
        runs.setdefault(line["train_seed"], []).append(float(line["accuracy"]))
    if len(runs) > 1:
        mean, half = student_interval([sum(values) / len(values) for values in runs.values()])
        return f"{mean:.1f} ± {half:.1f} ({len(runs)} runs)"
    mean = sum(float(line["accuracy"]) for line in lines) / len(lines)
    half = sum(float(line["interval"]) ** 2 for line in lines) ** 0.5 / len(lines)
    return f"{mean:.2f} ± {half:.2f}"
