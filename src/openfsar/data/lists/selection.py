"""The videos of a benchmark, by its lists."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from openfsar.data.lists.formats import (
    INDEXED,
    SNIFFED,
    Fault,
    Format,
    ListedVideo,
    ListError,
    VideoList,
)
from openfsar.data.lists.known import Finding, digest, findings, missing_classes
from openfsar.data.lists.order import Order, find_order
from openfsar.data.naming import VideoName, find_class, read_name
from openfsar.data.splits import SPLITS, load_split, read_facts

FITTING = 0.9
"""Share of a list's lines that a benchmark must explain before the others pass for mistakes."""


class SelectedVideo(NamedTuple):
    """A video of a benchmark."""

    split: str
    label: str
    """Its class, as ``load_split`` has it."""

    key: str
    """Tells it from all others, whatever its file is called; see ``openfsar.data.naming``."""

    name: str
    """Id or path as the list has it."""


@dataclass(frozen=True)
class Selection:
    """The videos of a benchmark, in label order, each once."""

    benchmark: str
    sources: tuple[Path, ...]
    format: Format
    videos: tuple[SelectedVideo, ...]
    faults: tuple[Fault, ...] = ()
    """Lines that were left out."""

    findings: tuple[Finding, ...] = ()

    @cached_property
    def hash(self) -> str:
        """16 hex digits that name this choice of videos and classes, whatever the files are called."""
        return hash_of(self.videos)


def hash_of(videos: Iterable[SelectedVideo]) -> str:
    """16 hex digits that name videos and their classes; the same on every machine, in any order."""
    return digest((f"{video.split}\t{video.label}\t{video.key}" for video in videos), 16)


def select(lists: Sequence[VideoList], benchmark: str, *, labels: dict[str, str] | None = None) -> Selection:
    """The videos of a benchmark, by its lists of train, val and test, or some of these.

    Args:
        lists: all numbered or all named.
        labels: Class of each video (by key) as official annotations have it, to confirm the label order.

    Raises:
        ListError: they list another benchmark, or the label order cannot be told.
    """
    form = lists[0].format
    sample = [video for part in lists for video in part.videos[:SNIFFED]]
    _check_fit(lists, benchmark, sum(read_name(benchmark, v.name) is not None for v in sample), len(sample))
    faults = [fault for part in lists for fault in part.faults]
    found: list[tuple[Path, ListedVideo, VideoName]] = []
    for part in lists:
        for video in part.videos:
            name = read_name(benchmark, video.name)
            if name is None:
                faults.append(
                    Fault(part.path, video.line, f"{video.name!r} is not what {benchmark} calls a video")
                )
            else:
                found.append((part.path, video, name))
    if form == INDEXED:
        order = find_order([(video, name) for _, video, name in found], benchmark, labels or {})
        home = _numbered(benchmark, order)
    else:
        order, home = Order({}), _named(benchmark)
    seen: dict[str, tuple[Path, int]] = {}
    kept: list[SelectedVideo] = []
    for path, video, name in found:
        split, label, reason = home(video)
        if not reason and name.key in seen:
            reason = f"{name.key} stands in {seen[name.key][0]}, line {seen[name.key][1]} already"
        if reason:
            faults.append(Fault(path, video.line, reason))
            continue
        seen[name.key] = path, video.line
        kept.append(SelectedVideo(split, label, name.key, video.name))
    _check_fit(lists, benchmark, len(kept), sum(len(part.videos) for part in lists))
    kept = _in_label_order(kept, benchmark)
    known = (
        *order.findings,
        *missing_classes(benchmark, ((video.split, video.label) for video in kept)),
        *findings(benchmark, [(video.split, video.label, video.key) for video in kept]),
    )
    return Selection(
        benchmark, tuple(part.path for part in lists), form, tuple(kept), tuple(faults), tuple(known)
    )


Home = Callable[[ListedVideo], tuple[str, str, str]]
"""From a line to split and class, or to what is wrong with it."""


def _numbered(benchmark: str, order: Order) -> Home:
    def home(video: ListedVideo) -> tuple[str, str, str]:
        label = order.classes.get((video.split, int(video.label)), "")
        if (video.split, label) != find_class(benchmark, label):
            return "", "", f"{benchmark} has no class {video.label} in split {video.split}"
        return video.split, label, ""

    return home


def _named(benchmark: str) -> Home:
    def home(video: ListedVideo) -> tuple[str, str, str]:
        place = find_class(benchmark, video.label)
        if place is None:
            return "", "", f"{benchmark} has no class {video.label!r}"
        split, label = place
        if video.split not in ("", split):
            return "", "", f"{label!r} is a class of split {split}, not of {video.split}"
        return split, label, ""

    return home


def _check_fit(lists: Sequence[VideoList], benchmark: str, right: int, lines: int) -> None:
    largest = _largest_class(lists) if benchmark.startswith("ssv2") and lists[0].format == INDEXED else 0
    small = read_facts("ssv2-small")["videos"]["test"][0]
    other = benchmark == "ssv2-full" and 0 < largest <= small or benchmark == "ssv2-small" and largest > small
    if other or right < FITTING * lines or not lines:
        about = (
            f"up to {largest} videos of a class, and ssv2-small has {small} of each, ssv2-full more"
            if other
            else f"{right} of {lines} lines name its videos and classes"
        )
        where = lists[0].path if len(lists) == 1 else f"{lists[0].path.parent} ({lists[0].format.name})"
        raise ListError(f"{where} is not {benchmark}: {about}")


def _largest_class(lists: Sequence[VideoList]) -> int:
    counts = Counter((video.split, video.label) for part in lists for video in part.videos)
    return max(counts.values(), default=0)


def _in_label_order(videos: list[SelectedVideo], benchmark: str) -> list[SelectedVideo]:
    classes = [(split, name) for split in SPLITS for name in load_split(benchmark, split).classes]
    rank = {place: i for i, place in enumerate(classes)}
    return sorted(videos, key=lambda video: rank[video.split, video.label])
