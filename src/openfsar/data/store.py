"""How a frame cache lies on disk, and reading from it.

A cache is a folder with ``cache.json`` (its settings) and shards of some dozen videos. A shard is one
safetensors file that appears whole: the pictures end to end, where each begins, and of each picture its
number and time in the video. Later shards supersede earlier ones.
"""

import io
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from openfsar.data.manifest import VideoRecord
from openfsar.episode import Clip
from openfsar.video import VideoError

QUALITY = 90
"""Of the JPEGs; colour at full resolution, for small moving things."""


class CacheError(ValueError):
    """A frame cache that is missing, damaged, out of date, or made for something else."""


@dataclass(frozen=True)
class CacheSettings:
    """What a cache was built with."""

    root: str
    """Folder that the names of its videos start from."""

    short_side: int
    """Of the stored frames in pixels; smaller videos keep their size."""

    frames_per_video: int
    """Evenly spaced; 0 stands for all."""

    quality: int = QUALITY
    version: int = 1


@dataclass(frozen=True)
class Extract:
    """What the cache keeps of one video."""

    stamp: tuple[int, int]
    """Size and modification time of its file."""

    total: int = 0
    """Frames of the video."""

    numbers: Sequence[int] = ()
    """Which of them are kept."""

    seconds: Sequence[float] = ()
    pictures: Sequence[bytes] = field(default=(), repr=False)
    reason: str = ""
    """Why there are none, for a broken video."""


class FrameStore:
    """A frame cache to read from; shards are memory-mapped. Copies in other processes open it anew.

    Raises:
        CacheError: no cache lies there, or a shard is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.settings = read_settings(self.folder)
        self._shards = [_Shard(path) for path in sorted(self.folder.glob("shard-*.safetensors"))]
        self._places = {
            key: (number, row)
            for number, shard in enumerate(self._shards)
            for row, key in enumerate(shard.keys)
        }

    def __reduce__(self) -> tuple[type["FrameStore"], tuple[Path]]:
        return FrameStore, (self.folder,)

    def __len__(self) -> int:
        return len(self._places)

    @property
    def broken(self) -> dict[str, str]:
        """Why there are no frames, for each broken video."""
        reasons = {key: self._shards[shard].reasons[row] for key, (shard, row) in self._places.items()}
        return {key: reason for key, reason in reasons.items() if reason}

    @property
    def next_shard(self) -> int:
        return 1 + max((int(shard.path.name.split("-")[1]) for shard in self._shards), default=-1)

    def is_current(self, path: Path) -> bool:
        """Whether the video is here, and its file as it was."""
        place = self._places.get(key_of(path, self.settings.root))
        return place is not None and self._shards[place[0]].stamp(place[1]) == stamp_of(path)

    def check(self, *, frames: int, size: int) -> None:
        """Refuse clips that the stored frames are too few or too small for."""
        kept, side = self.settings.frames_per_video, self.settings.short_side
        if 0 < kept < frames:
            raise CacheError(
                f"{self.folder} keeps {kept} frames per video, {frames=} need more; build another"
            )
        if side < size:
            raise CacheError(
                f"{self.folder} keeps frames of {side} pixels, {size=} needs more; build another"
            )

    def rows(self, records: Sequence[VideoRecord], root: Path) -> list[tuple[int, int]]:
        """Where the frames of each video lie, for ``read``.

        Videos that have vanished since are served from the cache; videos that changed are not.

        Raises:
            CacheError: some are missing, or their files changed since.
        """
        keys = [key_of(record.path, root) for record in records]
        keys = [
            key if key in self._places else key_of(record.path, self.settings.root)
            for key, record in zip(keys, records, strict=True)
        ]
        build = f"build it again: openfsar data cache MANIFEST {self.folder}"
        missing = [key for key in keys if key not in self._places]
        if missing:
            raise CacheError(f"{self.folder} lacks {len(missing)} videos, such as {missing[0]}; {build}")
        places = [self._places[key] for key in keys]
        for record, (shard, row) in zip(records, places, strict=True):
            if stamp_of(record.path) not in (self._shards[shard].stamp(row), ABSENT):
                raise CacheError(f"{record.path} has changed since {self.folder} was built; {build}")
        return places

    def kept(self, place: tuple[int, int]) -> tuple[int, list[int]]:
        """How many frames the video has, and which of them are stored."""
        return self._shards[place[0]].kept(place[1])

    def read(self, place: tuple[int, int], choose: Callable[[int], Sequence[int]]) -> Clip:
        """The stored frames that ``choose`` picks, given how many there are.

        Raises:
            VideoError: the video was broken when the cache was built.
        """
        return self._shards[place[0]].read(place[1], choose)


class _Shard:
    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = safe_open(path, "numpy")
            names = ("stamps", "totals", "first", "offsets", "numbers", "seconds")
            self._stamps, self._totals, self._first, self._offsets, self._numbers, self._seconds = (
                self._file.get_tensor(name) for name in names
            )
            texts = self._file.metadata()
            self.keys: list[str] = json.loads(texts["keys"])
            self.reasons: list[str] = json.loads(texts["reasons"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise CacheError(
                f"{path} is damaged ({error}); delete it and build the cache again: its videos are made anew"
            ) from error

    def stamp(self, row: int) -> tuple[int, int]:
        size, time = self._stamps[row].tolist()
        return size, time

    def kept(self, row: int) -> tuple[int, list[int]]:
        stored = slice(*self._first[row : row + 2])
        return int(self._totals[row]), self._numbers[stored].tolist()

    def read(self, row: int, choose: Callable[[int], Sequence[int]]) -> Clip:
        if self.reasons[row]:
            raise VideoError(
                self.keys[row],
                self.reasons[row],
                "mend it and build the cache again, or leave it out (see openfsar data check)",
            )
        first, last = self._first[row : row + 2].tolist()
        wanted = [first + i for i in choose(last - first)]
        pictures = {i: self._picture(i) for i in set(wanted)}
        return Clip(torch.stack([pictures[i] for i in wanted]), torch.from_numpy(self._seconds[wanted]))

    def _picture(self, i: int) -> UInt8[Tensor, "C H W"]:
        data = self._file.get_slice("pictures")[self._offsets[i] : self._offsets[i + 1]]
        with Image.open(io.BytesIO(data)) as image:
            return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def pack(batch: dict[str, Extract]) -> bytes:
    extracts = batch.values()
    pictures = [picture for extract in extracts for picture in extract.pictures]

    def ends(lengths: Iterable[int]) -> np.ndarray:
        return np.cumsum([0, *lengths], dtype=np.int64)

    return save(
        {
            "stamps": np.array([extract.stamp for extract in extracts], np.int64),
            "totals": np.array([extract.total for extract in extracts], np.int64),
            "first": ends(len(extract.pictures) for extract in extracts),
            "numbers": np.array([number for extract in extracts for number in extract.numbers], np.int64),
            "seconds": np.array([second for extract in extracts for second in extract.seconds], np.float32),
            "offsets": ends(map(len, pictures)),
            "pictures": np.frombuffer(b"".join(pictures), np.uint8),
        },
        {"keys": json.dumps(list(batch)), "reasons": json.dumps([extract.reason for extract in extracts])},
    )


ABSENT = (-1, -1)
"""Stamp of a file that is not there."""


def stamp_of(path: Path) -> tuple[int, int]:
    """Size and modification time; of a folder of images, the time one was last added or taken away."""
    try:
        status = os.stat(path)
    except OSError:
        return ABSENT
    return status.st_size, status.st_mtime_ns


def key_of(path: Path, root: Path | str) -> str:
    """Name of a video in a cache: below the root if possible, so that both can move together."""
    absolute = Path(os.path.abspath(path))
    home = os.path.abspath(root)
    return (absolute.relative_to(home) if absolute.is_relative_to(home) else absolute).as_posix()


def read_settings(folder: Path) -> CacheSettings:
    try:
        return CacheSettings(**json.loads((folder / "cache.json").read_text()))
    except FileNotFoundError as error:
        raise CacheError(
            f"{folder} holds no frame cache; build it: openfsar data cache MANIFEST {folder}"
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise CacheError(
            f"{folder / 'cache.json'} is damaged ({error}); delete the folder and build it again"
        ) from error
