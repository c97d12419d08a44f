"""The videos of a benchmark on disk: found by what their names say, wherever they lie."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from openfsar.data.lists.formats import Format
from openfsar.data.lists.known import Finding, findings
from openfsar.data.lists.selection import SelectedVideo, Selection
from openfsar.data.manifest import VIDEO_SUFFIXES
from openfsar.data.naming import VideoName, find_class, loose, plain, read_name
from openfsar.data.splits import SPLITS, load_split
from openfsar.video.images import SUFFIXES as IMAGE_SUFFIXES

TREE = Format("folder per class", "UCF101, HMDB51", "a folder, or else the name, tells the class of a video")
WHOLE = ("ucf101", "hmdb51")
"""Benchmarks made of all videos of their classes: they need no lists."""


class Footage(NamedTuple):
    """A video on disk, or a folder of images."""

    path: Path
    name: VideoName | None
    """None where videos of the benchmark are not called so."""

    label: str
    """The class whose name a folder above it bears; empty if none does."""


@dataclass(frozen=True)
class Found:
    """Which videos of a selection are on disk."""

    selection: Selection
    root: Path
    """The folder they were looked for in."""

    paths: Mapping[SelectedVideo, Path]
    missing: tuple[SelectedVideo, ...]
    extra: Mapping[str, int]
    """How many more lie in the folder of each class."""

    others: int
    """How many more lie elsewhere."""

    findings: tuple[Finding, ...]


def find_footage(root: Path, benchmark: str) -> list[Footage]:
    """All videos below a folder, and folders of images that hold no video, in the order of their names.

    Links are followed; hidden files and folders are not looked at.
    """
    root = Path(root)
    found: list[Footage] = []
    for place, videos in _walk(root):
        label = _label(place, root, benchmark)
        found += (Footage(place / name, read_name(benchmark, name), label) for name in videos)
    return found


def _walk(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders, and the names of the videos in each."""
    visited: set[tuple[int, int]] = set()  # links may lead in circles
    for place, folders, files in os.walk(root, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if name[0] != ".")
        endings = {name: os.path.splitext(name)[1].lower() for name in files if name[0] != "."}
        videos = sorted(name for name, ending in endings.items() if ending in VIDEO_SUFFIXES)
        images = any(ending in IMAGE_SUFFIXES for ending in endings.values())
        if videos:
            yield Path(place), videos
        elif images and not folders:
            yield Path(place).parent, [Path(place).name]


def _label(place: Path, root: Path, benchmark: str) -> str:
    if not place.is_relative_to(root):
        return ""  # the root itself is a folder of images
    for folder in reversed(place.relative_to(root).parts):
        home = find_class(benchmark, folder)
        if home:
            return home[1]
    return ""


def select_all(footage: Sequence[Footage], benchmark: str, root: Path) -> Selection:
    """All videos of the classes, for benchmarks that consist of these; compared with the published ones."""
    homes = {label: split for split in SPLITS for label in load_split(benchmark, split).classes}
    chosen: dict[str, SelectedVideo] = {}
    torn: list[Path] = []
    for item in footage:
        if item.name is None:
            continue
        named = item.name.label
        if item.label and named and item.label != named:
            torn.append(item.path)
            continue
        label = item.label or named
        if label:
            chosen.setdefault(
                item.name.key, SelectedVideo(homes[label], label, item.name.key, item.path.stem)
            )
    rank = {label: i for i, label in enumerate(homes)}
    videos = tuple(sorted(chosen.values(), key=lambda video: (rank[video.label], video.key)))
    known: list[Finding] = []
    if len(videos) >= sum(sum(load_split(benchmark, split).videos) for split in SPLITS):  # else incomplete
        known += findings(benchmark, [(video.split, video.label, video.key) for video in videos])
    if torn:
        known.append(
            Finding(
                "misplaced",
                f"{len(torn)} videos lie in the folder of one class and are named after another, such as "
                f"{torn[0]}; they were left out.",
                trap=True,
            )
        )
    return Selection(benchmark, (root,), TREE, videos, findings=tuple(known))


def match(selection: Selection, footage: Sequence[Footage], root: Path) -> Found:
    """Find the files of a selection: by the key of each, else by letters and digits where unique."""
    groups: dict[str, list[Footage]] = defaultdict(list)
    vague: dict[str, list[Footage]] = defaultdict(list)
    wanted = Counter(loose(video.key) for video in selection.videos)
    keys = {video.key for video in selection.videos}
    for item in footage:
        if item.name is not None:
            groups[item.name.key].append(item)
            if item.name.key not in keys:
                vague[loose(item.name.key)].append(item)
    paths: dict[SelectedVideo, Path] = {}
    missing: list[SelectedVideo] = []
    doubles: list[Path] = []
    taken: set[int] = set()  # by identity: hundreds of thousands of paths are slow to hash
    recut: list[Path] = []
    renamed = 0
    for video in selection.videos:
        copies = groups.get(video.key, [])
        if not copies and wanted[loose(video.key)] == 1:
            like = vague.get(loose(video.key), [])
            copies = like if len({item.name for item in like}) == 1 else []
            renamed += bool(copies)
        if not copies:
            missing.append(video)
            continue
        best = copies[0] if len(copies) == 1 else min(copies, key=partial(_rank, video))
        paths[video] = best.path
        taken.update(map(id, copies))
        doubles += [item.path for item in copies if item is not best]
        if _recut(selection.benchmark, video, best):
            recut.append(best.path)
    left = [item for item in footage if id(item) not in taken]
    return Found(
        selection,
        root,
        paths,
        tuple(missing),
        Counter(item.label for item in left if item.label),
        sum(not item.label for item in left),
        tuple(_findings(doubles, recut, renamed)),
    )


def _recut(benchmark: str, video: SelectedVideo, file: Footage) -> bool:
    """Whether a file has other seconds of a film than the list says."""
    if file.name is None or not file.name.cut:
        return False
    listed = read_name(benchmark, video.name)
    return listed is not None and listed.cut not in ("", file.name.cut)


def _rank(video: SelectedVideo, item: Footage) -> tuple[bool, bool, int, str]:
    """Of several copies, the one in the folder the list names, or of its class; else the shortest path."""
    named = video.name.rpartition("/")[0]
    at = item.path.parent.as_posix()
    return (
        not (named and plain(at).endswith(plain(named))),
        item.label != video.label,
        len(item.path.parts),
        str(item.path),
    )


def _findings(doubles: Sequence[Path], recut: Sequence[Path], renamed: int) -> Iterable[Finding]:
    if doubles:
        yield Finding("copies", f"{len(doubles)} files are further copies of a video, such as {doubles[0]}.")
    if recut:
        yield Finding(
            "other cuts",
            f"{len(recut)} files have other first and last seconds than the list, such as {recut[0]}: "
            "another part of the same film, which may not show the action.",
            trap=True,
        )
    if renamed:
        yield Finding("renamed", f"{renamed} files were found by their letters and digits alone.")
