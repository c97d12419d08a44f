"""Supervised parts of a data set: videos of known classes to learn from and to be tested on, and new classes.

A manifest whose splits divide the videos of the same classes is used as it is. One whose splits divide the
classes, as few-shot sets do, is divided once more: the classes of ``train`` become the base classes, of whose
recordings some are held out for ``val`` and as many for ``test``, and the classes of ``val`` and ``test`` are
new ones, to be named without having been trained on. What is held out depends on names and the seed alone.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import torch

from openfsar.data.dataset import seeded
from openfsar.data.manifest import Manifest, ManifestError, VideoRecord

HELD_OUT = ("test", "val")
"""Parts that are cut from the training videos where the manifest has none, in this order."""


def base_part(
    manifest: Manifest, part: str, *, held_out: float = 0.2, videos_per_class: int = 0, seed: int = 0
) -> Manifest:
    """The videos of the training classes that belong to ``part``: train, val or test.

    Args:
        held_out: Share of each class's videos, 0..1, that each of val and test gets where the manifest has no
            such split of these classes; whole recordings, at least one.
        videos_per_class: Of the part train, so many of each class alone (K-shot training); 0 takes all.
        seed: Decides which are held out, and which are taken.

    Raises:
        ManifestError: no split train, no such part, or a class with too few recordings or videos for that.
    """
    known = manifest.only(["train"])
    if not known.records:
        raise ManifestError(f"{manifest.root} has no split 'train'; supervised training needs one")
    if part not in ("train", *HELD_OUT):
        raise ManifestError(f"no part {part!r} of labelled videos; there are train, val, test")
    shared = {record.split for record in manifest.records if record.label in manifest.shared}
    if part != "train" and part in shared:
        return manifest.only([part])
    missing = [name for name in HELD_OUT if name not in shared]
    chosen: list[VideoRecord] = []
    for label, videos in _by_class(known).items():
        divided = _divided(label, videos, missing, held_out, seed)
        chosen += [replace(record, split=part) for record in _few(divided[part], videos_per_class, part)]
    return Manifest(manifest.root, tuple(chosen))


def first_classes(manifest: Manifest, count: int) -> Manifest:
    """Without the training classes behind the first ``count`` of the list, in any split; 0 takes all.

    Raises:
        ManifestError: there are fewer training classes.
    """
    training = list(dict.fromkeys(record.label for record in manifest.only(["train"]).records))
    if count > len(training):
        raise ManifestError(
            f"{manifest.root} has {len(training)} training classes, base_classes={count} asks for more; "
            "lower it, or take all with 0"
        )
    left_out = set(training[count:]) if count else set()
    return Manifest(manifest.root, tuple(r for r in manifest.records if r.label not in left_out))


def novel_part(manifest: Manifest, split: str) -> Manifest:
    """The videos of ``split``, none of whose classes is a training class.

    Raises:
        ManifestError: there is no such split, or its classes are those of training.
    """
    new = manifest.only([split])
    if not new.records:
        raise ManifestError(f"{manifest.root} has no split {split!r}, so that it has no new classes there")
    if set(manifest.shared) & {record.label for record in new.records}:
        raise ManifestError(
            f"the classes of split {split!r} of {manifest.root} are those of training; new classes need a "
            "manifest whose splits divide the classes"
        )
    return new


def _by_class(manifest: Manifest) -> dict[str, list[VideoRecord]]:
    videos: dict[str, list[VideoRecord]] = defaultdict(list)
    for record in sorted(manifest.records, key=lambda record: record.path.as_posix()):
        videos[record.label].append(record)
    return videos


def _divided(
    label: str, videos: list[VideoRecord], missing: Sequence[str], held_out: float, seed: int
) -> dict[str, list[VideoRecord]]:
    """The videos of one class by part; each of the missing parts gets whole recordings."""
    recordings: dict[str | int, list[VideoRecord]] = defaultdict(list)
    for i, record in enumerate(videos):
        recordings[record.group or i].append(record)
    if len(recordings) <= len(missing):
        raise ManifestError(
            f"class {label!r} has {len(recordings)} recordings in split 'train', too few to hold some "
            f"out for {' and '.join(missing)}; give it {len(missing) + 1}, or leave it out"
        )
    order = torch.randperm(len(recordings), generator=seeded(seed, *label.encode())).tolist()
    piles = [list(recordings.values())[i] for i in order]
    parts: dict[str, list[VideoRecord]] = {}
    for name in missing:
        later = len(missing) - len(parts)  # recordings that the other parts need at least
        parts[name] = piles.pop()
        while len(parts[name]) < round(held_out * len(videos)) and len(piles) > later:
            parts[name] = parts[name] + piles.pop()
    return parts | {"train": [record for pile in piles for record in pile]}


def _few(videos: list[VideoRecord], count: int, part: str) -> list[VideoRecord]:
    if not count or part != "train":
        return videos
    if len(videos) < count:
        raise ManifestError(
            f"class {videos[0].label!r} has {len(videos)} videos to train on, videos_per_class={count} "
            "asks for more; lower it, or hold fewer out"
        )
    return videos[:count]
