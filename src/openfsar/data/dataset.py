"""Labelled videos as clips of one size: numbered, and each a pure function of (seed, video, draw)."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Generator, Tensor

from openfsar.data.manifest import Manifest, ManifestError, VideoRecord
from openfsar.data.store import FrameStore
from openfsar.episode import Clip
from openfsar.video import read_frames
from openfsar.video.sampling import clip_fsar_uniform, segments, strided, trx_linspace
from openfsar.video.transforms import CROP_MARGIN, Resize, eval_transform, train_transform

Sampling = Literal["segments", "clip-fsar-uniform", "strided", "trx"]

SAMPLINGS: dict[str, Callable[..., list[int]]] = {
    "segments": segments,
    "clip-fsar-uniform": clip_fsar_uniform,
    "strided": strided,
    "trx": trx_linspace,
}

DECODED_SIDE = 256
"""Frames are shrunk to this short side while decoding, as in the frame cache, unless a crop needs more."""


@dataclass(frozen=True, eq=False)
class VideoDataset:
    """The videos of a manifest, or of one split of it, sorted by class and path.

    In training, frames are drawn within their segments and crops at random, one draw per clip; nothing is
    mirrored unless asked for, since that would turn "left" into "right". Otherwise segment centres and centre
    crops are taken, or several views of a video: ``views`` places in time, and at each ``crops`` places along
    the longer side, all evenly spaced.

    Raises:
        ManifestError: for a split the manifest lacks.
        CacheError: for a frame cache that does not fit.
    """

    manifest: Manifest
    split: str = ""
    """train, val, test, or empty for all videos."""

    frames: int = field(default=8, kw_only=True)
    size: int = field(default=64, kw_only=True)
    """Side of the square crops in pixels."""

    resize: Resize = field(default="aspect", kw_only=True)
    sampling: Sampling = field(default="segments", kw_only=True)
    train: bool = field(default=False, kw_only=True)
    random_crops: bool = field(default=True, kw_only=True)
    """In training; False keeps the centre crop, as published test code does while it draws its frames."""

    mirror: bool = field(default=False, kw_only=True)
    """In training: half of the clips are mirrored."""

    stride: int = field(default=1, kw_only=True)
    """Frames from one to the next; of the sampling "strided" alone."""

    views: int = field(default=1, kw_only=True)
    """Outside training: places in time."""

    crops: int = field(default=1, kw_only=True)
    """Outside training: places along the longer side, at each of those in time."""

    seed: int = field(default=0, kw_only=True)
    cache: Path | None = field(default=None, kw_only=True)
    """Folder of a frame cache; without one, videos are decoded."""

    def __post_init__(self) -> None:
        for name in ("frames", "size", "stride", "views", "crops"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.sampling not in SAMPLINGS:
            raise ValueError(f"sampling={self.sampling!r} does not exist; use {', '.join(SAMPLINGS)}")
        if self.sampling == "trx" and self.views > 1:
            raise ValueError(
                f"sampling='trx' takes one view of a video, got views={self.views}; use segments"
            )
        if not self.records:
            splits = sorted({record.split for record in self.manifest.records}) or ["no video at all"]
            raise ManifestError(
                f"no video in split {self.split!r}; the manifest has {', '.join(map(repr, splits))}"
            )
        if self._store is not None:
            self._store.check(frames=self.frames, size=self.size)
            _ = self._rows  # what is missing or out of date is said now, not at the first clip

    @cached_property
    def records(self) -> tuple[VideoRecord, ...]:
        """Video i is ``records[i]``."""
        chosen = [record for record in self.manifest.records if self.split in ("", record.split)]
        return tuple(sorted(chosen, key=lambda record: (record.label, record.path.as_posix())))

    @property
    def name(self) -> str:
        return self.manifest.root.resolve().name

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Label i means ``classes[i]``."""
        return tuple(sorted({record.label for record in self.records}))

    @cached_property
    def labels(self) -> Int[Tensor, " V"]:
        number = {name: i for i, name in enumerate(self.classes)}
        return torch.tensor([number[record.label] for record in self.records])

    @cached_property
    def groups(self) -> Int[Tensor, " V"] | None:
        """Which recording each video was cut from; None if nothing is known of any.

        A video without a group is a recording of its own.
        """
        if not any(record.group for record in self.records):
            return None
        numbers: dict[str | int, int] = {}
        keys = [record.group or i for i, record in enumerate(self.records)]
        return torch.tensor([numbers.setdefault(key, len(numbers)) for key in keys])

    def __len__(self) -> int:
        return len(self.records)

    def clip(self, i: int, draw: int = 0, view: int = 0) -> Clip:
        """Video i as ``frames`` crops of ``size`` x ``size``.

        Args:
            draw: In training another number looks elsewhere; otherwise it changes nothing.
            view: Outside training, from 0 to ``views * crops - 1``, crops innermost.

        Raises:
            VideoError: the video cannot be read. Another one never takes its place.
        """
        generator = seeded(self.seed, i, draw) if self.train else None
        choose = partial(SAMPLINGS[self.sampling], frames=self.frames, generator=generator)
        place, crop = divmod(view, self.crops)
        if self.sampling == "strided":
            choose = partial(choose, stride=self.stride)
        if generator is None and self.sampling != "trx":
            choose = partial(choose, at=(place + 0.5) / self.views)
        if self._store is not None:
            clip = self._store.read(self._rows[i], choose)
        else:
            side = max(DECODED_SIDE, round(self.size * CROP_MARGIN))
            clip = read_frames(self.records[i].path, choose, short_side=side)
        if generator is None or not self.random_crops:
            at = 0.5 if self.crops == 1 else crop / (self.crops - 1)
            frames = eval_transform(clip.frames, self.size, resize=self.resize, at=at)
        else:
            frames = train_transform(
                clip.frames, self.size, generator=generator, resize=self.resize, flip=self.mirror
            )
        return Clip(frames, clip.seconds)

    def at(self, **changes: Any) -> "VideoDataset":
        """The same videos in another form: ``dataset.at(size=224, train=True)``."""
        return replace(self, **changes)

    def subset(self, classes: Collection[str]) -> "VideoDataset":
        """The videos of some classes only.

        Raises:
            ManifestError: for a class that has none.
        """
        missing = sorted(set(classes) - set(self.classes))
        if missing:
            raise ManifestError(f"no video of class {missing[0]!r}; there are {', '.join(self.classes)}")
        records = tuple(record for record in self.records if record.label in classes)
        return replace(self, manifest=Manifest(self.manifest.root, records))

    @cached_property
    def _store(self) -> FrameStore | None:
        return None if self.cache is None else FrameStore(self.cache)

    @cached_property
    def _rows(self) -> list[tuple[int, int]]:
        assert self._store is not None
        return self._store.rows(self.records, self.manifest.root)


def seeded(*numbers: int) -> Generator:
    """A generator that depends on all the numbers and on nothing else."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(numbers).generate_state(1)[0]))
