"""Episodes in a file: which videos meet in which task, with the videos' names, for another day or program.

The file is a .npz, which NumPy reads alone:

    classes   int32 (E, N)      label of each class of each episode
    support   int32 (E, N, K)   row of each support video in ``videos``
    query     int32 (E, N, M)   row of each query video
    header    one string        JSON: format, data, split, seed, digest, classes (name of each label), videos
                                (path of each row, relative to the manifest's folder), labels (of each row)

A query of class n of an episode is right where it is given column n. The same episodes make the same bytes.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from openfsar.data.dataset import VideoDataset
from openfsar.data.episodes import EpisodeError, EpisodePlan, EpisodeSampler
from openfsar.data.files import whole_file

FORMAT = "openfsar episodes 1"


@dataclass(frozen=True, eq=False)
class FixedEpisodes:
    """A plan of episodes, and what its numbers mean."""

    plan: EpisodePlan
    videos: tuple[str, ...]
    """Path of each video, relative to the folder of its manifest where it lies below that."""
    labels: tuple[int, ...]
    """Label of each video."""
    classes: tuple[str, ...]
    """Name of each label."""
    data: str
    split: str
    seed: int
    """Of the sampler; -1 where another program drew the episodes."""

    @classmethod
    def draw(
        cls, dataset: VideoDataset, *, way: int, shot: int, query: int, episodes: int, seed: int = 0
    ) -> "FixedEpisodes":
        """The first episodes of the sampler with that seed.

        Raises:
            EpisodeError: the data set has too few classes or videos for them.
        """
        plan = EpisodeSampler.of(dataset, way=way, shot=shot, query=query, seed=seed).plan(episodes)
        labels = tuple(dataset.labels.tolist())
        return cls(plan, video_names(dataset), labels, dataset.classes, dataset.name, dataset.split, seed)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Way, shot, and queries per class."""
        way, shot = self.plan.support.shape[1:]
        return way, shot, self.plan.query.shape[2]

    def check(self, dataset: VideoDataset) -> None:
        """Refuse another data set, naming the first difference.

        Raises:
            EpisodeError: ``dataset`` has other videos, in another order, or of other classes.
        """
        theirs = [(name, self.classes[label]) for name, label in zip(self.videos, self.labels, strict=True)]
        names = video_names(dataset)
        ours = [(name, record.label) for name, record in zip(names, dataset.records, strict=True)]
        if theirs == ours:
            return
        home = f"the {len(theirs)} videos of {self.data} {self.split}".rstrip()
        here = f"{dataset.name} {dataset.split} with {len(ours)}".strip()
        raise EpisodeError(
            f"these episodes are of {home}, not of {here}: {_difference(theirs, ours)}; take the manifest "
            "and split they were drawn from, or draw new ones (openfsar data episodes)"
        )

    def arrays(self) -> dict[str, Any]:
        """What a file holds, by name."""
        header = {
            **{"format": FORMAT, "data": self.data, "split": self.split, "seed": self.seed},
            **{"classes": self.classes, "videos": self.videos, "labels": self.labels},
            "digest": self.plan.digest,
        }
        parts = {name: getattr(self.plan, name).cpu().numpy().astype(np.int32) for name in PARTS}
        return {**parts, "header": np.array(json.dumps(header))}

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        with whole_file(Path(path)) as file:
            np.savez_compressed(file, **self.arrays())

    @classmethod
    def load(cls, path: Path) -> "FixedEpisodes":
        """Episodes that ``save`` wrote, or that another program wrote in the same form.

        Raises:
            EpisodeError: the file is none, or its numbers are not those its header speaks of.
        """
        plan = EpisodePlan.load(path).map(lambda x: x.long())
        try:
            with np.load(path, allow_pickle=False) as parts:
                header = json.loads(parts["header"].item())
            if header["format"] != FORMAT:
                raise ValueError(f"its format is {header['format']!r}")
            videos, labels, classes = (tuple(header[name]) for name in ("videos", "labels", "classes"))
            found = cls(plan, videos, labels, classes, header["data"], header["split"], int(header["seed"]))
            _check_numbers(found, header["digest"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EpisodeError(
                f"{path} holds no episodes of the form {FORMAT!r} ({type(error).__name__}: {error}); write "
                "such a file with openfsar data episodes"
            ) from error
        return found


PARTS = ("classes", "support", "query")


def video_names(dataset: VideoDataset) -> tuple[str, ...]:
    """Path of each video of a data set, relative to the folder of its manifest where it lies below that."""
    home = os.path.abspath(dataset.manifest.root)
    names = []
    for record in dataset.records:
        place = Path(os.path.abspath(record.path))
        names.append((place.relative_to(home) if place.is_relative_to(home) else place).as_posix())
    return tuple(names)


def _check_numbers(found: FixedEpisodes, digest: str) -> None:
    """Refuse rows that do not exist or are of another class, and a plan that was changed."""
    plan = found.plan
    if len(found.videos) != len(found.labels):
        raise ValueError(f"{len(found.videos)} videos have {len(found.labels)} labels")
    if plan.digest != digest:
        raise ValueError(f"its numbers have the digest {plan.digest}, the header says {digest}")
    labels = np.array(found.labels)
    for name in PARTS[1:]:
        rows = getattr(plan, name).numpy()
        if rows.min(initial=0) < 0 or rows.max(initial=0) >= len(labels):
            raise ValueError(f"{name} has rows outside 0..{len(labels) - 1}")
        if (labels[rows] != plan.classes.numpy()[..., None]).any():
            raise ValueError(f"{name} has videos of another class than their column")
    both = plan.support.flatten(1)[:, :, None] == plan.query.flatten(1)[:, None]
    if both.any():
        raise ValueError(f"episode {int(both.flatten(1).any(1).nonzero()[0])} asks for a video it shows")


def _difference(theirs: Sequence[tuple[str, str]], ours: Sequence[tuple[str, str]]) -> str:
    """The first thing that two lists of (video, class) do not share."""
    there, here = dict(theirs), dict(ours)
    for video, label in theirs:
        if video not in here:
            missing = sum(name not in here for name in there)
            return f"{video!r} is missing here" + (f", and {missing - 1} more" if missing > 1 else "")
        if here[video] != label:
            return f"{video!r} is {label!r} there and {here[video]!r} here"
    new = [video for video, _ in ours if video not in there]
    if new:
        return f"{new[0]!r} is new here" + (f", and {len(new) - 1} more" if len(new) > 1 else "")
    return "the same videos stand in another order"
