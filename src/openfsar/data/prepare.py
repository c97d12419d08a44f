"""A published benchmark from the videos on disk: what is usable, what is not, and a manifest."""

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from openfsar.data.availability import ClassReport, availability, count_classes
from openfsar.data.files import whole_file
from openfsar.data.footage import TREE, WHOLE, Footage, Found, find_footage, match, select_all
from openfsar.data.frames import build_frame_cache
from openfsar.data.lists.choosing import choose_lists
from openfsar.data.lists.formats import INDEXED, NAMED, ListError
from openfsar.data.lists.known import Finding
from openfsar.data.lists.selection import SelectedVideo, Selection, hash_of
from openfsar.data.manifest import Manifest, VideoRecord, write_manifest
from openfsar.data.naming import read_name
from openfsar.data.pool import Crash, in_parallel
from openfsar.data.probing import add_faults, probe_videos
from openfsar.data.splits import SPLITS, load_split, read_facts
from openfsar.data.store import FrameStore, key_of

JOURNAL = "probed.jsonl"
"""What is known of each video, in the folder of the manifest; a stopped run goes on from it."""

SAMPLE = 8
"""Videos that are timed, evenly spread, before the rest is begun."""


class PrepareError(ValueError):
    """A folder without videos of the benchmark, or too small a disk."""


@dataclass(frozen=True)
class Preparation:
    """A benchmark, ready to be trained and tested on."""

    manifest: Manifest
    hash: str
    """Names the videos of the manifest and their classes, whatever the files are called."""

    listed_hash: str
    """The same of all that are listed, or without lists published; equal where none is missing or broken."""

    found: Found
    classes: tuple[ClassReport, ...]

    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Estimate:
    """What is still to be done, from the first few videos."""

    videos: int
    seconds: float
    bytes: int
    free: int
    """Bytes that the disk has left."""


def find_benchmark(benchmark: str, videos: Path, lists: Path | None = None) -> Found:
    """Which videos belong to the benchmark, and where they lie.

    Args:
        videos: folder in which they lie anyhow.
        lists: folder of lists, or one list; UCF101 and HMDB51 consist of all their videos and need none.

    Raises:
        PrepareError: no video of the benchmark is there.
        ListError: no lists, or none that fit.
    """
    load_split(benchmark, "test")
    if lists is None and benchmark not in WHOLE:
        raise ListError(
            f"{benchmark} is a selection of videos that only its lists tell; give them as --lists: those "
            f"that CMN, TRX, FSAR-lib or CLIP-FSAR publish, in which {INDEXED.line}, or {NAMED.line}"
        )
    if not videos.is_dir():
        raise PrepareError(f"{videos} is no folder; give the one below which the videos lie")
    footage = find_footage(videos, benchmark)
    selection = select_all(footage, benchmark, videos) if lists is None else choose_lists(lists, benchmark)
    found = match(selection, footage, videos)
    if not found.paths:
        raise PrepareError(_nothing(benchmark, videos, footage, selection))
    return found


def prepare_benchmark(
    found: Found,
    out: Path,
    *,
    recordings: bool = False,
    workers: int = 2,
    progress: bool = True,
) -> Preparation:
    """Look at every video, and write ``manifest.csv`` and ``report.json``; a stopped run goes on.

    Args:
        out: where manifest and report go.
        recordings: note which film each clip was cut from, so that no task has one on both sides; published
            tasks do not know.
        workers: processes that look; 0 looks in this one.

    Raises:
        PrepareError: every video is broken, or recordings are asked for where names do not tell.
    """
    selection = found.selection
    chosen = [
        VideoRecord(path, video.label, video.split, _recording(selection.benchmark, path, video, recordings))
        for video, path in found.paths.items()
    ]
    out.mkdir(parents=True, exist_ok=True)
    faults = probe_videos(list(found.paths.values()), out / JOURNAL, workers=workers, progress=progress)
    good = tuple(record for record in chosen if not faults[record.path])
    if not good:
        raise PrepareError(
            f"none of {len(chosen)} videos can be read; {chosen[0].path} {faults[chosen[0].path]}"
        )
    classes = tuple(count_classes(found, faults))
    done = Preparation(
        Manifest(found.root, good),
        hash_of(video for video, path in found.paths.items() if not faults[path]),
        read_facts(selection.benchmark)["lists"]["arn"]["hash"]
        if selection.format == TREE
        else selection.hash,
        found,
        classes,
        (*selection.findings, *found.findings, *availability(selection.benchmark, classes)),
    )
    write_manifest(done.manifest, out / "manifest.csv")
    with whole_file(out / "report.json") as file:
        file.write(json.dumps(as_json(done), indent=1).encode())
    return done


def cache_frames(
    done: Preparation, out: Path, folder: Path, *, workers: int = 2, progress: bool = True
) -> Preparation:
    """Extract the frames of all videos; one that turns out to be broken leaves manifest and report."""
    store = build_frame_cache(done.manifest, folder, workers=workers, progress=progress)
    broken, root = store.broken, store.settings.root
    keys = {record.path: key_of(record.path, root) for record in done.manifest.records}
    faults = {path: broken[key] for path, key in keys.items() if key in broken}
    if not faults:
        return done
    add_faults(out / JOURNAL, faults)
    recordings = any(record.group for record in done.manifest.records)
    return prepare_benchmark(done.found, out, recordings=recordings, workers=0, progress=False)


def estimate_cache(found: Found, folder: Path, *, workers: int = 2) -> Estimate | None:
    """Extract the frames of a few videos, and say what the rest will take; None if one ended its process.

    Raises:
        PrepareError: the disk has no room for the rest.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records = [VideoRecord(path, video.label, video.split) for video, path in found.paths.items()]
    store = FrameStore(folder) if (folder / "cache.json").exists() else None
    todo = [record for record in records if store is None or not store.is_current(record.path)]
    sample = Manifest(found.root, tuple(todo[:: max(1, len(todo) // SAMPLE)][:SAMPLE]))
    before = _size(folder)
    time_one = partial(_time_frames, folder=folder)
    tries = in_parallel(time_one, [sample], workers=min(1, workers), title="timing", progress=False)
    ((_, seconds),) = tries
    if isinstance(seconds, Crash):
        return None
    share = (len(todo) - len(sample.records)) / max(1, len(sample.records))
    need, free = round(share * (_size(folder) - before)), shutil.disk_usage(folder).free
    left = len(todo) - len(sample.records)
    if need > free:
        raise PrepareError(
            f"the frames of {left} videos take about {need / 2**30:.1f} GiB, and {folder} has "
            f"{free / 2**30:.1f} GiB left; make room, choose another --out, or do without by --no-cache"
        )
    return Estimate(left, share * seconds / max(1, workers), need, free)


def _time_frames(sample: Manifest, *, folder: Path) -> float:
    """Seconds for extracting the frames, without those of starting a process."""
    start = time.perf_counter()
    build_frame_cache(sample, folder, workers=0, progress=False)
    return time.perf_counter() - start


def as_json(done: Preparation) -> dict[str, object]:
    """The report of a preparation as plain values."""
    selection = done.found.selection
    return {
        "benchmark": selection.benchmark,
        "hash": done.hash,
        "listed_hash": done.listed_hash,
        "lists": [str(path) for path in selection.sources],
        "format": str(selection.format),
        "videos": {split: sum(row.good for row in done.classes if row.split == split) for split in SPLITS},
        "classes": [asdict(row) for row in done.classes],
        "others": done.found.others,
        "faults": [str(fault) for fault in selection.faults],
        "findings": [asdict(finding) for finding in done.findings],
    }


def _recording(benchmark: str, path: Path, video: SelectedVideo, wanted: bool) -> str:
    if not wanted:
        return ""
    name = read_name(benchmark, path.name)
    if name is None or not name.recording:
        raise PrepareError(
            f"{benchmark}: the name of {path} does not tell which film it is cut from; leave out --recordings"
        )
    return f"{video.label} {name.recording}"


def _nothing(benchmark: str, videos: Path, footage: Sequence[Footage], selection: Selection) -> str:
    if not footage:
        return f"{videos} holds no video at all; give the folder below which those of {benchmark} lie"
    wanted = f"{selection.videos[0].name!r}" if selection.videos else "what they are called there"
    return (
        f"none of {len(footage)} videos below {videos} is one of {benchmark}: no name is like {wanted} "
        f"(folder and ending do not matter), but like {footage[0].path.name!r}"
    )


def _size(folder: Path) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())
