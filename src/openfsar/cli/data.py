"""``openfsar data``: make, check and prepare data sets of videos."""

from pathlib import Path
from typing import Literal

from openfsar.cli.console import stage, warn


def make_toy(
    kind: Literal["toy-motion", "toy-scene"],
    folder: Path,
    *,
    videos: int = 30,
    seed: int = 0,
    workers: int = 2,
) -> None:
    """Write a toy data set of real mp4 files, with a manifest.

    In toy-motion only the order of the frames tells the actions apart, in toy-scene only what is seen. Both
    have 64 / 12 / 24 classes for training, validation and test. An interrupted run is completed.

    Args:
        kind: Which toy world.
        folder: Where to write it.
        videos: Videos per class.
        seed: The same seed gives the same pixels.
        workers: Processes that write.

    Example:
        openfsar data make-toy toy-motion data/toy-motion
    """
    from openfsar.toy.dataset import make_toy as make

    with stage(f"wrote {kind}") as said:
        said.append(str(make(kind, folder, videos_per_class=videos, seed=seed, workers=workers)))


def check(source: Path, *, out: Path | None = None, workers: int = 2) -> None:
    """Decode every video once, list the broken ones, and write a clean manifest.

    A video counts as broken where any of it cannot be decoded. Their list is written beside the manifest.

    Args:
        source: A manifest, a folder per class, or a folder that holds either.
        out: The clean manifest; by default manifest.clean.csv beside the videos.
        workers: Processes that decode.

    Example:
        openfsar data check videos/
        openfsar data check data/manifest.csv -o data/clean.csv --workers 8
    """
    from openfsar.data.check import check_videos
    from openfsar.data.files import whole_file
    from openfsar.data.manifest import read_manifest, write_manifest

    manifest = read_manifest(source)
    clean = out or (source if source.is_dir() else source.parent) / "manifest.clean.csv"
    broken = clean.with_suffix(".broken.txt")
    with stage("checked") as said:
        report = check_videos(manifest, workers=workers, progress=True)
        said.append(f"{len(report.clean.records)} good, {len(report.broken)} broken")
    lines = [f"{record.path}: {reason}" for record, reason in report.broken]
    for line in lines:
        warn(line)
    write_manifest(report.clean, clean)
    with whole_file(broken) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())
    print(f"clean manifest -> {clean}\nlist of broken files -> {broken}")


def cache(source: Path, folder: Path, *, short_side: int = 256, frames: int = 32, workers: int = 2) -> None:
    """Extract the frames that training needs once, so that it never decodes a video twice.

    Args:
        source: A manifest, a folder per class, or a folder that holds either.
        folder: Where the cache goes.
        short_side: Shorter side of the cached frames in pixels.
        frames: Frames kept per video, evenly spread.
        workers: Processes that decode.

    Example:
        openfsar data cache videos/ cache/
    """
    from openfsar.data.frames import build_frame_cache
    from openfsar.data.manifest import read_manifest

    manifest = read_manifest(source)
    with stage("cached") as said:
        store = build_frame_cache(
            manifest, folder, short_side=short_side, frames_per_video=frames, workers=workers, progress=True
        )
        said.append(f"{len(manifest.records) - len(store.broken)} videos -> {folder}")
    for path, reason in store.broken.items():
        warn(f"{path}: {reason}")
