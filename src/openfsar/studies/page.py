"""Tables beside the paper's, as Markdown: what was found, what was claimed, and whether it can be told."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from openfsar.data.files import whole_file
from openfsar.engine.tables import count
from openfsar.studies.numbers import Spread
from openfsar.studies.plan import FEW_SHOT, Expectation, Scale, Study, Table
from openfsar.studies.run import EPISODES, TOY_VIDEOS, Measured, job_of

Column = tuple[str, str]
"""A data set and a measure."""


@dataclass(frozen=True)
class Found:
    """A table's measurements, by row, data set and seed; what is not there was not measured."""

    table: Table
    scale: Scale
    runs: Mapping[tuple[str, str], Sequence[Measured]]
    """By row and data set, one per seed, in order."""

    @cached_property
    def columns(self) -> list[Column]:
        """Data sets and measures that any run has."""
        return [
            (data, measure)
            for data in self.table.data(self.scale)
            for measure in self.table.measures
            if any(measure in run.accuracy for row in self.table.rows for run in self.of(row, data))
        ]

    def of(self, row: str, data: str) -> Sequence[Measured]:
        """The runs of one cell."""
        return self.runs[row, data]

    def values(self, row: str, column: Column) -> dict[int, float]:
        """Accuracies in % by seed."""
        data, measure = column
        return {run.seed: run.accuracy[measure] for run in self.of(row, data) if measure in run.accuracy}

    def spread(self, row: str, column: Column) -> Spread | None:
        """Over seeds; None where nothing was measured."""
        values = self.values(row, column)
        return Spread.of(list(values.values())) if values else None

    def gain(self, more: str, less: str, column: Column) -> dict[int, float]:
        """By seed, of those that both rows have."""
        first, second = self.values(more, column), self.values(less, column)
        return {seed: first[seed] - second[seed] for seed in first if seed in second}

    def verdicts(self) -> list[tuple[str, Spread]]:
        """Each expectation in words, with the difference it is about."""
        found = []
        for expected in self.table.expect:
            for data, measure in self.columns:
                if expected.on and self.scale == "toy" and data != expected.on:
                    continue
                gains = self.gain(expected.more, expected.less, (data, measure))
                if expected.than:
                    other = self.gain(expected.more, expected.less, (expected.than, measure))
                    gains = {seed: gains[seed] - other[seed] for seed in gains if seed in other}
                if gains:
                    found.append(
                        (_words(expected, data, measure, len(self.columns)), Spread.of(list(gains.values())))
                    )
        return found


def _words(expected: Expectation, data: str, measure: str, columns: int) -> str:
    where = f" on {data}" if columns > 1 else ""
    if measure != FEW_SHOT:
        where += f" ({measure})"
    more = f" more than on {expected.than}" if expected.than else ""
    return f"{expected.more} > {expected.less}{where}{more}"


def gather(
    table: Table, measured: Mapping[str, Measured], *, scale: Scale, seeds: int, recipes: Path
) -> Found:
    """The measurements of a table among those of any runs, by their keys."""
    runs: dict[tuple[str, str], list[Measured]] = {}
    for row in table.rows:
        for data in table.data(scale):
            job = job_of(table, row, data, scale=scale, recipes=recipes)
            keys = [job.at(seed).key for seed in range(seeds)]
            runs[row, data] = [measured[key] for key in keys if key in measured]
    return Found(table, scale, runs)


def table_lines(found: Found) -> list[str]:
    """The table in Markdown, the paper's numbers to the right."""
    table = found.table
    papers = list(dict.fromkeys(name for row in table.rows.values() for name in row.published))
    heads = ["", *(data if measure == FEW_SHOT else f"{data}, {measure}" for data, measure in found.columns)]
    if table.costs:
        heads += ["trained", "memory", "s a step"]
    heads += [f"paper: {name}" for name in papers]
    lines = [_line(heads), "|---|" + "---:|" * (len(heads) - 1)]
    for name, row in table.rows.items():
        cells = [name, *(str(found.spread(name, column) or "") for column in found.columns)]
        if table.costs:
            cells += _costs(found, name)
        cells += [f"{row.published[paper]:.1f}" if paper in row.published else "" for paper in papers]
        lines.append(_line(cells))
    return lines


def _costs(found: Found, row: str) -> list[str]:
    """Of the first data set."""
    runs = found.of(row, found.table.data(found.scale)[0])
    first = runs[0] if runs else None  # the costs of other seeds are the same
    if first is None or first.memory is None:
        return ["", "", ""]
    seconds = "" if first.step_seconds is None else f"{first.step_seconds:.2f}"
    return [count(first.trainable), f"{first.memory / 1e6:,.0f} MB", seconds]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def verdict_lines(found: Found) -> list[str]:
    """What can be said of every expectation, each with its difference in points."""
    return [
        f"- {words}: **{spread.verdict}** ({_signed(spread)} points)" for words, spread in found.verdicts()
    ]


def _signed(spread: Spread) -> str:
    return f"{'+' if spread.mean >= 0 else ''}{spread}"


def section(found: Found, picture: str = "") -> str:
    """One table with its claim, its verdicts and its picture."""
    table = found.table
    parts = [f"### {table.title}", f"Claim: {' '.join(table.claim.split())}"]
    if not found.columns:
        parts.append("Not measured.")
    else:
        parts += ["\n".join(table_lines(found)), "\n".join(verdict_lines(found))]
    if picture:
        parts.append(f"![{table.title}]({picture})")
    if table.why:
        parts.append(" ".join(table.why.split()))
    return "\n\n".join(filter(None, parts))


def head(scale: Scale, seeds: int, seconds: float, workers: int) -> str:
    """What was done, in a few sentences.

    Args:
        seconds: Of all runs together.
        workers: How many of them ran at a time.
    """
    how = (
        "Every row was trained for few episodes on a toy set and measured as its last step left it"
        if scale == "toy"
        else "Every row was trained by its recipe, and the state that was best on validation classes measured"
    )
    drawn = f" ({TOY_VIDEOS} videos of each)" if scale == "toy" else ""
    spread = f"over {seeds} seeds, with Student's 95 % intervals" if seeds > 1 else "of one seed"
    return (
        f"# What the papers claim, at {scale} scale\n\n"
        f"{how}: {EPISODES[scale]:,} episodes of unseen classes{drawn}, the same for all rows, 5-way 1-shot "
        "unless a title says otherwise; or all held-out videos, where videos are named without examples. "
        f"Numbers are means {spread}; a difference is that at equal seeds. A claim **holds** where its "
        "difference is above zero by more than its interval. All runs together took "
        f"{seconds / 60:.0f} minutes, {workers} at a time, so about {seconds / 60 / workers:.0f} minutes."
    )


def page(studies: Iterable[tuple[Study, Sequence[Found]]], *, head: str, pictures: Mapping[str, str]) -> str:
    """All tables of some studies.

    Args:
        head: What stands above them.
        pictures: File of a table's picture by ``STUDY-TABLE``; tables without one are left without.
    """
    parts = [head]
    for study, tables in studies:
        parts.append(f"## {study.system}")
        parts.append(f"{study.paper}. Published numbers: {study.published}.")
        parts += [section(found, pictures.get(f"{study.name}-{found.table.name}", "")) for found in tables]
    return "\n\n".join(parts) + "\n"


def write_page(text: str, path: Path) -> None:
    """Whole or not at all."""
    with whole_file(path) as file:
        file.write(text.encode())
