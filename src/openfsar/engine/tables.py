"""Tables of our results beside published ones: plain text, which the writers of markup.py escape."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from openfsar.engine.entries import Entry
from openfsar.engine.published import PROTOCOLS, SELECTIONS

UNKNOWN = "?"
WORDS = ("system", "backbone", "selected on", "transductive", "source")
"""Columns that stand flush left."""


@dataclass(frozen=True)
class Row:
    """Cells in the order of the columns."""

    cells: tuple[str, ...]
    ours: bool


@dataclass(frozen=True)
class Table:
    """Numbers of one protocol on one benchmark."""

    title: str
    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    """Which columns stand flush right."""
    rows: tuple[Row, ...]
    """Published ones first."""
    sources: tuple[str, ...]
    """A published row names its source by number, from 1; one of ours names lines of the table of results."""
    legend: tuple[str, ...]
    """What the words in the cells mean, one line each."""


def make_tables(
    entries: Iterable[Entry],
    *,
    benchmarks: Collection[str] = (),
    measures: Collection[str] = (),
    methods: Collection[str] = (),
) -> list[Table]:
    """A table per protocol, benchmark and way, with a column per measure; empty filters let all pass.

    Numbers of different protocols never stand in one table.

    Args:
        measures: Such as 1-shot.
        methods: Without variants, and without regard to case.
    """
    wanted = {name.lower() for name in methods}
    groups: dict[tuple[str, str, int], list[Entry]] = {}
    for entry in entries:
        if (
            (not benchmarks or entry.benchmark in benchmarks)
            and (not measures or entry.measure in measures)
            and (not wanted or entry.method.lower() in wanted)
        ):
            way = entry.way or 0 if entry.protocol == "episodic" else 0
            groups.setdefault((entry.protocol, entry.benchmark, way), []).append(entry)
    order = list(PROTOCOLS)
    keys = sorted(groups, key=lambda key: (order.index(key[0]), *key[1:]))
    return [_table(*key, groups[key]) for key in keys]


def _table(protocol: str, benchmark: str, way: int, entries: Sequence[Entry]) -> Table:
    rows = sorted(_rows(entries), key=lambda cells: _first(cells).ours)
    measures = sorted({head for cells in rows for head in cells}, key=_rank)
    sources = list(dict.fromkeys(entry.source for entry in entries if not entry.ours))
    lines = [_cells(cells, measures, sources) for cells in rows]
    columns = [name for name in lines[0] if any(line[name] for line in lines)]
    task = f"{way}-way episodes" if way else PROTOCOLS[protocol]
    return Table(
        title=f"{benchmark}, {task}, accuracy in %",
        columns=tuple(columns),
        numeric=tuple(name not in WORDS for name in columns),
        rows=tuple(
            Row(tuple(line[name] for name in columns), _first(cells).ours)
            for line, cells in zip(lines, rows, strict=True)
        ),
        sources=tuple(sources),
        legend=_legend(columns, entries),
    )


def _cells(cells: Mapping[str, Entry], measures: Sequence[str], sources: Sequence[str]) -> dict[str, str]:
    """The words of a row by column."""
    one = _first(cells)
    parts = [cells[head] for head in measures if head in cells]
    ours = " ".join(dict.fromkeys(part.source for part in parts))
    return {
        "system": one.system,
        "backbone": one.backbone,
        "selected on": one.select or UNKNOWN,
        "transductive": one.transductive or UNKNOWN,
        "trained": "" if one.trainable is None else count(one.trainable),
        "GFLOPs": "" if one.gflops is None else f"{one.gflops:.3g}",
        "eval s": " / ".join(part.seconds for part in parts if part.seconds),
        **{head: cells[head].accuracy if head in cells else "" for head in measures},
        "source": f"line {ours}" if one.ours else f"[{sources.index(one.source) + 1}]",
    }


def _first(cells: Mapping[str, Entry]) -> Entry:
    """Any number of a row; they agree in all that does not belong to one measure."""
    return next(iter(cells.values()))


def _rows(entries: Sequence[Entry]) -> list[dict[str, Entry]]:
    """By measure, the numbers of one system; one that was measured twice has two rows.

    How many classes there are to choose from belongs to the measure where no tasks are drawn.
    """
    rows: dict[Entry, list[dict[str, Entry]]] = {}
    for entry in entries:
        head = f"{entry.measure} ({entry.way})" if entry.protocol == "naming" and entry.way else entry.measure
        changes = {"source": ""} if entry.ours else {}
        alike = replace(entry, measure="", way=None, accuracy="", seconds="", **changes)
        cells = next((cells for cells in rows.setdefault(alike, []) if head not in cells), None)
        if cells is None:
            cells = {}
            rows[alike].append(cells)
        cells[head] = entry
    return [cells for same in rows.values() for cells in same]


def _legend(columns: Sequence[str], entries: Sequence[Entry]) -> tuple[str, ...]:
    """What the words of this table mean."""
    chosen = dict.fromkeys(entry.select for entry in entries)
    told = [f"{name or UNKNOWN} = {SELECTIONS[name]}" for name in SELECTIONS if name in chosen]
    lines = [f"selected on: {'; '.join(told)}"]
    if any(entry.accuracy.endswith("*") for entry in entries):
        lines.append("* run again by the authors of the source")
    if any("±" in entry.accuracy for entry in entries):
        lines.append(
            "±: half a 95 % interval, over episodes or videos, or over runs with different training seeds"
        )
    if "GFLOPs" in columns:
        lines.append("GFLOPs: billions of multiply-adds to encode one video")
    if any(entry.ours for entry in entries):
        lines.append("ours: the last rows, each a line or several of the table of results")
    return tuple(lines)


def count(parameters: int) -> str:
    """As people say it: 0, 843 k, 18.5 M."""
    if parameters < 1_000_000:
        return str(parameters) if parameters < 1000 else f"{parameters / 1e3:.0f} k"
    return f"{parameters / 1e6:.1f} M"


def _rank(measure: str) -> tuple[int, str]:
    """Shots in rising order; then known, new, harmonic."""
    shots = measure.partition("-shot")[0]
    if shots.isdecimal():
        return int(shots), ""
    return ("known", "new", "harmonic").index(measure.split()[0]), measure
