"""Filling a frame cache: a few JPEGs of each video, extracted once, so that training never decodes it twice.

A build that is killed goes on where it stopped. Sampling later chooses among the stored frames, which are
evenly spaced: with 32 of them, a segment of an 8-frame clip has 4 frames to draw from.
"""

import io
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from openfsar.data.files import clear_partial, whole_file
from openfsar.data.manifest import Manifest, VideoRecord
from openfsar.data.pool import Crash, in_parallel
from openfsar.data.store import (
    QUALITY,
    CacheError,
    CacheSettings,
    Extract,
    FrameStore,
    key_of,
    pack,
    read_settings,
    stamp_of,
)
from openfsar.video import VideoError, read_frames
from openfsar.video.sampling import segments

SHARD_VIDEOS = 32
SHARD_BYTES = 64 * 2**20
"""A shard is closed at either; what is in an open one is lost when the build is killed."""

WINDOW = 256
"""Frames decoded at a time, so that a long video kept whole never lies in memory as pixels."""


def build_frame_cache(
    manifest: Manifest,
    folder: Path,
    *,
    short_side: int = 256,
    frames_per_video: int = 32,
    workers: int = 2,
    progress: bool = True,
) -> FrameStore:
    """Extract the frames of all videos that the folder does not hold yet, or that changed since.

    Broken videos are listed in ``broken`` of the result; reading one raises ``VideoError``. One build at a
    time may write to a folder.

    Args:
        short_side: frames are shrunk to it, never enlarged.
        frames_per_video: evenly spaced; 0 keeps all.
        workers: processes that decode; 0 decodes in this one.

    Raises:
        CacheError: the folder holds a cache with other settings, or cannot be written to (disk full).
    """
    if short_side < 1 or frames_per_video < 0:
        raise CacheError(f"{short_side=} must be at least 1, {frames_per_video=} at least 0")
    folder = Path(folder)
    root = _claim(folder, CacheSettings(os.path.abspath(manifest.root), short_side, frames_per_video))
    store = FrameStore(folder)
    todo = [record for record in manifest.records if not store.is_current(record.path)]
    extract = partial(_extract, short_side=short_side, frames_per_video=frames_per_video)
    made = in_parallel(extract, todo, workers=workers, title="extracting frames", progress=progress)
    with closing(made):  # ends the workers, whatever happens here
        for number, shard in enumerate(_shards(made, root), start=store.next_shard):
            _write(folder / f"shard-{number:05d}-{secrets.token_hex(4)}.safetensors", shard)
    return FrameStore(folder)


def _claim(folder: Path, settings: CacheSettings) -> str:
    """Write down what the folder is for, or refuse to mix two caches; returns the root of its names."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        clear_partial(folder)  # of a build that was killed
        if not (folder / "cache.json").exists():
            with whole_file(folder / "cache.json") as file:
                file.write(json.dumps(asdict(settings), indent=1).encode())
    except OSError as error:
        raise CacheError(
            f"{folder} cannot be written to ({error.strerror}); choose another folder"
        ) from error
    held = read_settings(folder)
    if held != replace(settings, root=held.root):
        raise CacheError(f"{folder} holds {held}, not {settings}; choose another folder or delete this one")
    return held.root


def _write(path: Path, shard: bytes) -> None:
    try:
        with whole_file(path) as file:
            file.write(shard)
    except OSError as error:
        raise CacheError(
            f"{path}: {len(shard) / 2**20:.1f} MiB cannot be written ({error.strerror}); "
            "make room and run the same again: what is finished is kept"
        ) from error


def _extract(record: VideoRecord, *, short_side: int, frames_per_video: int) -> Extract:
    stamp = stamp_of(record.path)
    total, kept = 0, []

    def choose(length: int) -> list[int]:
        nonlocal total, kept
        total, kept = length, segments(length, min(frames_per_video or length, length))
        return kept[:WINDOW]

    try:
        clip = read_frames(record.path, choose, short_side=short_side)
        seconds, pictures = clip.seconds.tolist(), [_jpeg(frame) for frame in clip.frames]
        for start in range(WINDOW, len(kept), WINDOW):
            clip = read_frames(record.path, kept[start : start + WINDOW], short_side=short_side)
            seconds += clip.seconds.tolist()
            pictures += [_jpeg(frame) for frame in clip.frames]
    except VideoError as error:
        return Extract(stamp, reason=error.reason)
    return Extract(stamp, total, kept, seconds, pictures)


def _jpeg(frame: UInt8[Tensor, "C H W"]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=QUALITY, subsampling=0)
    return file.getvalue()


def _shards(made: Iterable[tuple[VideoRecord, Extract | Crash]], root: str) -> Iterator[bytes]:
    """Shards as soon as they are full."""
    batch: dict[str, Extract] = {}
    size = 0
    for record, outcome in made:
        if isinstance(outcome, Crash):
            outcome = Extract(stamp_of(record.path), reason=outcome.reason)
        batch[key_of(record.path, root)] = outcome
        size += sum(map(len, outcome.pictures))
        if len(batch) == SHARD_VIDEOS or size >= SHARD_BYTES:
            yield pack(batch)
            batch, size = {}, 0
    if batch:
        yield pack(batch)
