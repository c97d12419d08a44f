"""Finding the lists of a benchmark among the files that the user has."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from openfsar.data.lists.formats import (
    INDEXED,
    KINETICS,
    NAMED,
    SSV2,
    Format,
    ListError,
    VideoList,
    read_list,
)
from openfsar.data.lists.selection import Selection, select
from openfsar.data.naming import find_class, read_name
from openfsar.data.splits import SPLITS

SUFFIXES = (".txt", ".list", ".lst", ".csv", ".json")
"""Of list files in a folder; one that is named itself may have any."""


def choose_lists(place: Path, benchmark: str) -> Selection:
    """The lists of a benchmark in a folder, or in the folders below it, or in one file.

    Lists of other benchmarks are passed over. Official annotations choose no videos; they confirm in which
    order numbered lists have the classes.

    Raises:
        ListError: none fits, or several do that differ; the message says which and how.
    """
    place = Path(place)
    read: list[VideoList] = []
    strange: list[str] = []
    for path in _files(place):
        try:
            read.append(read_list(path))
        except ListError as error:
            strange.append(str(error))
    labels = _official_labels(read, benchmark)
    fitting: list[Selection] = []
    for group in _groups(read):
        try:
            fitting.append(select(group, benchmark, labels=labels))
        except ListError as error:
            strange.append(str(error))
    if not fitting:
        raise ListError(_none_fits(place, benchmark, read, strange))
    if len({selection.hash for selection in fitting}) > 1:
        raise ListError(_differing(benchmark, fitting))
    return fitting[0]


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise ListError(f"{place} does not exist; give a folder with lists, or one list")
    found = (path for path in place.rglob("*") if path.suffix.casefold() in SUFFIXES and path.is_file())
    return sorted(found)


def _groups(lists: Iterable[VideoList]) -> Iterator[list[VideoList]]:
    """Lists of one form in one folder belong together."""
    groups: dict[tuple[Path, Format], list[VideoList]] = defaultdict(list)
    for part in lists:
        if part.format in (INDEXED, NAMED):
            groups[part.path.parent, part.format].append(part)
    yield from groups.values()


def _official_labels(lists: Iterable[VideoList], benchmark: str) -> dict[str, str]:
    labels: dict[str, str] = {}
    for part in lists:
        if part.format in (SSV2, KINETICS):
            for video in part.videos:
                name, place = read_name(benchmark, video.name), find_class(benchmark, video.label)
                if name and place:
                    labels[name.key] = place[1]
    return labels


def _none_fits(place: Path, benchmark: str, read: Sequence[VideoList], strange: Sequence[str]) -> str:
    official = [part for part in read if part.format in (SSV2, KINETICS)]
    if official:
        counts = Counter(
            home[0] for part in official for v in part.videos if (home := find_class(benchmark, v.label))
        )
        listed = ", ".join(f"{counts[split]} of {split}" for split in SPLITS)
        strange = [
            f"the official annotations have {listed} classes' videos, of which {benchmark} is a selection "
            "that they do not tell",
            *strange,
        ]
    why = "; ".join(strange[:3]) or "it holds no list file"
    more = f"; and {len(strange) - 3} more files" if len(strange) > 3 else ""
    return (
        f"{place} holds no lists of {benchmark}: {why}{more}. Give the lists that CMN, TRX, FSAR-lib "
        f"or CLIP-FSAR publish: {INDEXED.line}, or {NAMED.line}"
    )


def _differing(benchmark: str, fitting: Sequence[Selection]) -> str:
    first = {(video.split, video.key) for video in fitting[0].videos}
    lines: list[str] = []
    for selection in fitting:
        own = {(video.split, video.key) for video in selection.videos}
        lost = Counter(split for split, _ in first - own)
        apart = ", ".join(f"{lost[split]} of {split}" for split in SPLITS)
        differs = f" (without {apart} of the former)" if selection is not fitting[0] else ""
        lines.append(f"{selection.sources[0].parent}: {len(own)} videos{differs}")
    return (
        f"there are several lists of {benchmark}, and they choose other videos: {'; '.join(lines)}. Results "
        "on one do not compare with results on another; give one of these folders as --lists"
    )
