"""How much of a benchmark is there, class by class, and what that does to a comparison."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from openfsar.data.footage import TREE, Found
from openfsar.data.lists.known import Finding
from openfsar.data.splits import SPLITS, load_split

FEWEST = 6
"""Videos of a class that a 5-shot task with one query takes."""


@dataclass(frozen=True)
class ClassReport:
    """What is there of one class."""

    split: str
    label: str
    listed: int
    """Videos that the lists have; without lists, that the published ones have."""

    good: int
    missing: int
    missing_names: tuple[str, ...]
    """Those that are missing, as the lists call them; without lists nothing tells their names."""

    broken: tuple[tuple[str, str], ...]
    """Those that cannot be read, each with the reason."""

    extra: int
    """Further videos in the folder of the class, or above the published number."""


def count_classes(found: Found, faults: Mapping[Path, str]) -> Iterator[ClassReport]:
    """What is there of each class, in label order.

    Args:
        faults: What is wrong with each file; empty if nothing is.
    """
    listed = Counter(video.label for video in found.selection.videos)
    missing: dict[str, list[str]] = defaultdict(list)
    broken: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for video in found.missing:
        missing[video.label].append(video.name)
    for video, path in found.paths.items():
        if faults[path]:
            broken[video.label].append((str(path), faults[path]))
    for split in SPLITS:
        facts = load_split(found.selection.benchmark, split)
        for label, published in zip(facts.classes, facts.videos, strict=True):
            here = listed[label]
            whole = published if found.selection.format == TREE else here
            yield ClassReport(
                split,
                label,
                listed=whole,
                good=here - len(missing[label]) - len(broken[label]),
                missing=len(missing[label]) + max(0, whole - here),
                missing_names=tuple(missing[label]),
                broken=tuple(broken[label]),
                extra=found.extra.get(label, 0) + max(0, here - whole),
            )


def availability(benchmark: str, classes: Sequence[ClassReport]) -> Iterator[Finding]:
    """How much of each split is there, and what that does."""
    for split in SPLITS:
        rows = [row for row in classes if row.split == split and row.listed]
        listed, good = sum(row.listed for row in rows), sum(row.good for row in rows)
        if good < listed:
            least = min(rows, key=lambda row: row.good / row.listed)
            why = (
                "clips vanish from YouTube, so that papers have tested on different remainders"
                if benchmark == "kinetics-100"
                else "all of them can be had, and published results are on all"
            )
            yield Finding(
                "availability",
                f"{good:,} of {listed:,} {split} videos can be used ({good / listed:.1%}), the "
                f"fewest of {least.label!r}, {least.good} of {least.listed}; {why}. Give these numbers "
                "with any result.",
                trap=True,
            )
    scarce = [row.label for row in classes if row.listed and row.good < FEWEST]
    if scarce:
        yield Finding(
            "few videos",
            f"{len(scarce)} classes have fewer than {FEWEST} videos, such as {scarce[0]!r}: too few for a "
            "5-shot task, which stops there; fetch more, or leave the class out and say so.",
            trap=True,
        )
