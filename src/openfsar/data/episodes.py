"""Few-shot episodes: drawn by number, so that any worker, process or later run draws the same ones."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int, Int64
from torch import Tensor
from torch.utils.data import Dataset

from openfsar.data.dataset import VideoDataset, seeded
from openfsar.data.files import whole_file
from openfsar.episode import Episode, Record

WORDS = 4
"""Numbers of 64 bits that Philox makes of one count."""


class EpisodeError(ValueError):
    """Episodes that cannot be drawn from these videos, or a file that holds none."""


@dataclass(frozen=True, eq=False, repr=False)
class EpisodePlan(Record):
    """Which videos meet in which episode. ``plan[a:b]`` is a stretch of it."""

    classes: Int[Tensor, "E N"]
    """Label of each class in the data set; the episode's own label is its column."""

    support: Int[Tensor, "E N K"]
    """Video numbers."""

    query: Int[Tensor, "E N M"]
    """Video numbers."""

    def __len__(self) -> int:
        return len(self.classes)

    def __getitem__(self, index: slice | Int[Tensor, " E"]) -> "EpisodePlan":
        return self.map(lambda x: x[index])

    @property
    def digest(self) -> str:
        """16 hex digits that name this plan; the same on every machine."""
        sha = hashlib.sha256()
        for part in (self.classes, self.support, self.query):
            sha.update(str(list(part.shape)).encode())
            sha.update(part.cpu().numpy().astype("<i8").tobytes())
        return sha.hexdigest()[:16]

    def save(self, path: Path) -> None:
        """Write the plan as .npz."""
        with whole_file(Path(path)) as file:
            np.savez(file, classes=self.classes.cpu(), support=self.support.cpu(), query=self.query.cpu())

    @classmethod
    def load(cls, path: Path) -> "EpisodePlan":
        """A plan that ``save`` wrote.

        Raises:
            EpisodeError: for any other file.
        """
        try:
            with np.load(path, allow_pickle=False) as parts:
                return cls(*(torch.from_numpy(parts[name]) for name in ("classes", "support", "query")))
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EpisodeError(f"{path} holds no episode plan ({error}); write one with plan.save") from error


class EpisodeSampler:
    """Draws N-way K-shot episodes with M queries per class; episode i depends on ``seed`` and i alone.

    Classes are drawn evenly, then the queries evenly among the videos of their class, then the support among
    those that are left. With groups, what is left excludes the recordings of the queries.

    Args:
        labels: class of each video.
        way, shot, query: N, K and M.
        groups: recording of each video.
        names: of the classes, for messages.

    Raises:
        EpisodeError: fewer classes than ``way``, or a class with too few videos or recordings.
    """

    def __init__(
        self,
        labels: Int[Tensor, " V"],
        *,
        way: int,
        shot: int,
        query: int,
        seed: int = 0,
        groups: Int[Tensor, " V"] | None = None,
        names: Sequence[str] = (),
    ) -> None:
        for what, value, least in (
            ("way", way, 2),
            ("shot", shot, 1),
            ("query", query, 1),
            ("seed", seed, 0),
        ):
            if value < least:
                raise EpisodeError(f"{what} must be at least {least}, got {value}")
        self.way, self.shot, self.query, self.seed = way, shot, query, seed
        label = labels.cpu().numpy()
        group = np.arange(len(label)) if groups is None else groups.cpu().numpy()
        self._videos = np.lexsort((group, label))  # class by class, recording by recording
        self._labels, self._first, self._sizes = np.unique(
            label[self._videos], return_index=True, return_counts=True
        )
        # Of each video in that order: where its recording starts, and how many videos it has.
        _, first, recording, length = np.unique(
            np.stack([label, group])[:, self._videos],
            axis=1, return_index=True, return_inverse=True, return_counts=True,
        )  # fmt: skip
        self._start, self._length = first[recording.ravel()], length[recording.ravel()]
        if way > len(self._labels):
            raise EpisodeError(
                f"{way=} classes are asked for, there are {len(self._labels)}; lower the way or add classes"
            )
        for number in range(len(self._labels)):
            self._check_class(number, names, grouped=groups is not None)

    @classmethod
    def of(cls, dataset: VideoDataset, *, way: int, shot: int, query: int, seed: int = 0) -> "EpisodeSampler":
        """A sampler of the videos of a data set, whose recordings it keeps apart."""
        return cls(
            dataset.labels,
            way=way,
            shot=shot,
            query=query,
            seed=seed,
            groups=dataset.groups,
            names=dataset.classes,
        )

    def plan(self, count: int, start: int = 0) -> EpisodePlan:
        """Episodes ``start`` to ``start + count - 1``; fast enough to plan 10,000 at once."""
        way, shot, query = self.way, self.shot, self.query
        uniform = self._uniform(count, start, way * (1 + shot + query))
        classes = _draw(uniform[:, :way], np.full(count, len(self._labels)))
        rows = classes.ravel()
        uniform = uniform[:, way:].reshape(count * way, shot + query)
        first, sizes = self._first[rows, None], self._sizes[rows]
        queries = _draw(uniform[:, :query], sizes)
        start_of, length_of = self._start[first + queries] - first, self._length[first + queries]
        supports = _draw(uniform[:, query:], sizes, start_of, length_of)

        def videos(ranks: Int64[np.ndarray, "R J"]) -> Tensor:
            return torch.from_numpy(self._videos[first + ranks].reshape(count, way, ranks.shape[1]))

        return EpisodePlan(torch.from_numpy(self._labels[classes]), videos(supports), videos(queries))

    def _uniform(self, count: int, start: int, width: int) -> Float64[np.ndarray, "E J"]:
        """Numbers in [0, 1): each episode owns a stretch of one counter-based stream."""
        blocks = -(-width // WORDS)
        stream = np.random.Philox(key=self.seed, counter=start * blocks)
        words = stream.random_raw(count * blocks * WORDS).reshape(count, blocks * WORDS)
        return (words[:, :width] >> np.uint64(11)) * 2.0**-53

    def _check_class(self, number: int, names: Sequence[str], *, grouped: bool) -> None:
        label, size = int(self._labels[number]), int(self._sizes[number])
        videos = slice(self._first[number], self._first[number] + size)
        lengths = np.unique(np.stack([self._start[videos], self._length[videos]]), axis=1)[1]
        left = size - int(np.sort(lengths)[::-1][: self.query].sum())
        if left >= self.shot:
            return
        name = repr(names[label]) if names else label
        if not grouped:
            raise EpisodeError(
                f"class {name} has {size} videos, but shot={self.shot} and query={self.query} need "
                f"{self.shot + self.query}; lower them, or add videos or leave the class out"
            )
        raise EpisodeError(
            f"class {name} has {size} videos in {len(lengths)} groups: with query={self.query} only {left} "
            f"of other groups may be left for shot={self.shot}; lower them, or do without the class"
        )


class EpisodeDataset(Dataset[Episode]):
    """Episodes in pixels: item i is episode ``start + i`` of the sampler, the same on any worker.

    Batches are made already: use ``DataLoader(..., batch_size=None)``.
    """

    def __init__(self, dataset: VideoDataset, sampler: EpisodeSampler, count: int, start: int = 0) -> None:
        self.dataset, self.sampler, self.count, self.start = dataset, sampler, count, start

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: int) -> Episode:
        if not 0 <= item < self.count:
            raise IndexError(f"episode {item} of {self.count}")
        number = self.start + item
        plan = self.sampler.plan(1, number)
        # A method that leans on the order of the support set must fail in training already.
        order = torch.randperm(plan.support[0].numel(), generator=seeded(self.sampler.seed, number))
        label = torch.arange(self.sampler.way)[:, None]
        return Episode(
            support=self._clips(plan.support.flatten()[order], number),
            support_labels=label.expand_as(plan.support[0]).flatten()[order],
            query=self._clips(plan.query.flatten(), number),
            query_labels=label.expand_as(plan.query[0]).flatten(),
            classes=tuple(self.dataset.classes[i] for i in plan.classes[0].tolist()),
            vocabulary=self.dataset.classes,
        )

    def _clips(self, videos: Int[Tensor, " S"], number: int) -> Tensor:
        return torch.stack([self.dataset.clip(video, draw=number).frames for video in videos.tolist()])


def _draw(
    uniform: Float64[np.ndarray, "R J"],
    sizes: Int64[np.ndarray, " R"],
    starts: Int64[np.ndarray, "R _"] | None = None,
    lengths: Int64[np.ndarray, "R _"] | None = None,
) -> Int64[np.ndarray, "R J"]:
    """Row by row, distinct numbers below ``sizes`` outside the taken stretches, evenly among the free.

    A draw counts free numbers only, then steps over every stretch at or before it: nothing is rejected.
    Equal stretches count once.
    """
    if starts is None or lengths is None:
        starts = lengths = np.empty((len(uniform), 0), np.int64)
    else:
        starts, lengths = _sorted(starts, lengths)
        lengths = lengths * (np.diff(starts, axis=1, prepend=-1) > 0)
    drawn = []
    for u in uniform.T:
        number = (u * (sizes - lengths.sum(1))).astype(np.int64)
        for start, length in zip(starts.T, lengths.T, strict=True):
            number += np.where(number >= start, length, 0)
        drawn.append(number)
        starts, lengths = _sorted(
            np.column_stack([starts, number]), np.column_stack([lengths, np.ones_like(number)])
        )
    return np.stack(drawn, axis=1)


def _sorted(
    starts: Int64[np.ndarray, "R J"], lengths: Int64[np.ndarray, "R J"]
) -> tuple[Int64[np.ndarray, "R J"], Int64[np.ndarray, "R J"]]:
    order = np.argsort(starts, axis=1, kind="stable")
    return np.take_along_axis(starts, order, 1), np.take_along_axis(lengths, order, 1)
