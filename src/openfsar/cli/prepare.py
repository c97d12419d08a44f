"""``openfsar data prepare``: a published benchmark from your videos."""

import time
from collections.abc import Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from openfsar.cli.console import note, show, warn

if TYPE_CHECKING:
    from openfsar.data.availability import ClassReport
    from openfsar.data.lists import Selection
    from openfsar.data.prepare import Estimate, Preparation

Benchmark: TypeAlias = Literal["ssv2-full", "ssv2-small", "kinetics-100", "ucf101", "hmdb51"]

FAULTS = 10
"""Lines of a list that are complained of one by one."""


def prepare(
    benchmark: Benchmark,
    *,
    videos: Path = Path("videos"),
    lists: Path | None = None,
    out: Path | None = None,
    recordings: bool = False,
    no_cache: bool = False,
    workers: int = 2,
    json: bool = False,
) -> None:
    """Make a published benchmark ready: find its videos, report what is missing, write manifest and frames.

    Videos may lie anywhere below one folder, converted to another format and renamed, as long as their names
    hold the number, the id or the name that the benchmark gives them. UCF101 and HMDB51 consist of all their
    videos; the others are a selection, whose lists you give. What is known to spoil comparisons with papers
    is detected and said. A run that was stopped goes on where it was.

    Writes manifest.csv and report.json into --out, and the frames beside it (OUT-frames), where the recipes
    of the benchmark look for both.

    Args:
        benchmark: Which one.
        videos: The folder below which the videos lie.
        lists: A folder with the lists of CMN, TRX, FSAR-lib or CLIP-FSAR for train, val and test.
        out: Where manifest and report go; by default data/BENCHMARK.
        recordings: Note which film a clip was cut from (UCF101, HMDB51), so that no task has clips of one
            film on both sides. Published results do not keep them apart.
        no_cache: Do not extract frames.
        workers: Processes that read videos.
        json: Print JSON instead of text.

    Example:
        openfsar data prepare hmdb51 --videos HMDB51/
        openfsar data prepare kinetics-100 --videos k400/ --lists CMN/kinetics-100 -o data/kinetics-100
    """
    from openfsar.data.prepare import (
        as_json,
        cache_frames,
        estimate_cache,
        find_benchmark,
        prepare_benchmark,
    )

    place = out or Path("data") / benchmark
    frames = place.with_name(f"{place.name}-frames")
    with Console(stderr=True).status(f"looking for {benchmark} below {videos}"):
        found = find_benchmark(benchmark, videos, lists)
    _tell_lists(found.selection)
    if not no_cache:
        note(_expected(estimate_cache(found, frames, workers=workers), frames))
    done = prepare_benchmark(found, place, recordings=recordings, workers=workers, progress=True)
    if not json:
        _tell(done, place)
    if not no_cache:
        looked, start = done, time.perf_counter()
        done = cache_frames(done, place, frames, workers=workers, progress=True)
        kept = {record.path for record in done.manifest.records}
        for record in looked.manifest.records:
            if record.path not in kept:
                warn(f"broken, and taken from the manifest: {record.path}")
        note(f"frames of {len(kept):,} videos -> {frames} ({time.perf_counter() - start:.1f} s)")
    if json:
        print(dumps(as_json(done), indent=2))


def _tell_lists(selection: "Selection") -> None:
    where = sorted({str(path.parent if path.is_file() else path) for path in selection.sources})
    note(f"{', '.join(where)}: {selection.format}")
    for fault in selection.faults[:FAULTS]:
        warn(f"skipped: {fault}")
    if len(selection.faults) > FAULTS:
        warn(f"skipped: {len(selection.faults) - FAULTS} more lines; report.json has them all")


def _expected(work: "Estimate | None", frames: Path) -> str:
    if work is None:
        return "time and disk cannot be estimated: one of the first videos ended the process that decoded it"
    if not work.videos:
        return f"{frames} has the frames of all videos"
    minutes = work.seconds / 60
    time = f"{minutes / 60:.1f} h" if minutes >= 90 else f"{minutes:.0f} min"
    return (
        f"frames of {work.videos:,} videos: about {time if minutes >= 1 else 'a minute'} and "
        f"{_size(work.bytes)} in {frames}, where {_size(work.free)} are free"
    )


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _tell(done: "Preparation", place: Path) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    for name in ("listed", "usable", "missing", "broken", "extra"):
        table.add_column(name, justify="right")
    listed = [row for row in done.classes if row.listed]
    for split in dict.fromkeys(row.split for row in listed):
        rows = [row for row in listed if row.split == split]
        complete = sum(row.good == row.listed for row in rows)
        _add(table, Text(f"{split}: {complete} of {len(rows)} classes complete", "bold"), rows)
        absent = [row for row in rows if not row.good]
        for row in rows:
            if row.good != row.listed and row not in absent:
                _add(table, Text(f"  {row.label}"), [row])
        if absent:
            _add(table, Text(f"  {len(absent)} classes without any usable video"), absent)
    show(table)
    broken = [pair for row in done.classes for pair in row.broken]
    for path, reason in broken[:FAULTS]:
        warn(f"broken: {path}: {reason}")
    if len(broken) > FAULTS:
        warn(f"broken: {len(broken) - FAULTS} more; report.json has them all")
    if done.found.others:
        print(f"{done.found.others:,} more videos lie in no folder of a class, and were left alone")
    for finding in done.findings:
        (warn if finding.trap else note)(str(finding))
    whole = "complete" if done.hash == done.listed_hash else f"complete it would be {done.listed_hash}"
    print(f"hash of the videos: {done.hash} ({whole})\nmanifest -> {place / 'manifest.csv'}")


def _add(table: Table, name: Text, rows: "Sequence[ClassReport]") -> None:
    counts = (
        sum(row.listed for row in rows),
        sum(row.good for row in rows),
        sum(row.missing for row in rows),
        sum(len(row.broken) for row in rows),
        sum(row.extra for row in rows),
    )
    table.add_row(name, *(f"{count:,}" for count in counts))
