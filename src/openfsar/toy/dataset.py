"""Writes the toy data sets as real H.264 files with a manifest.

``toy-motion``: 64/12/24 actions; only the order of the frames tells them apart.
``toy-scene``: 64/12/24 kinds of object on a scene; the order says nothing.
"""

import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress, TimeRemainingColumn

from openfsar.data.manifest import Manifest, VideoRecord, write_manifest
from openfsar.toy.captions import SCENE_CLASSES
from openfsar.toy.motions import MOTION_CLASSES
from openfsar.toy.world import Shot, motion_shot, render, scene_shot
from openfsar.video import write_video

FPS = 16
SECONDS = (2.0, 4.0)
VERSION = 2
"""Raised whenever the same seed would give other pixels."""


class ToyError(ValueError):
    """A toy data set that does not exist, or a folder that holds another one."""


@dataclass(frozen=True)
class ToySet:
    """Class names per split, and how a shot of one class is drawn."""

    classes: Mapping[str, tuple[str, ...]]
    shot: Callable[[str, int, np.random.Generator], Shot]


TOY_SETS = {
    "toy-motion": ToySet(MOTION_CLASSES, motion_shot),
    "toy-scene": ToySet(SCENE_CLASSES, scene_shot),
}


@dataclass(frozen=True)
class _Job:
    kind: str
    split: str
    label: str
    number: int
    seed: int
    path: Path


def toy_shot(kind: str, split: str, label: str, number: int, *, seed: int = 0) -> Shot:
    """The ``number``-th shot of a class: a pure function of its arguments, on any machine."""
    toy = TOY_SETS[kind]
    place = [list(TOY_SETS).index(kind), list(toy.classes).index(split), toy.classes[split].index(label)]
    rng = np.random.default_rng([seed, *place, number])
    return toy.shot(label, int(rng.uniform(*SECONDS) * FPS), rng)


def _write(job: _Job) -> None:
    if job.path.exists():  # files appear whole, so what is there is finished
        return
    torch.set_num_threads(1)
    job.path.parent.mkdir(parents=True, exist_ok=True)
    frames = render(toy_shot(job.kind, job.split, job.label, job.number, seed=job.seed))
    write_video(job.path, torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous(), fps=FPS)


def make_toy(
    kind: str,
    folder: Path,
    *,
    videos_per_class: int | Mapping[str, int] = 30,
    seed: int = 0,
    workers: int = 2,
    progress: bool = True,
) -> Path:
    """Write a toy data set; an interrupted or smaller one is completed, finished files are kept.

    Args:
        kind: "toy-motion" or "toy-scene".
        videos_per_class: one number, or one per split ("train", "val", "test"); the others are not written.
        seed: the same seed gives the same pixels. A folder holds one seed only.

    Returns:
        The manifest: columns path, label, split.

    Raises:
        ToyError: for an unknown kind or split, or a folder that holds something else.
    """
    if kind not in TOY_SETS:
        raise ToyError(f"no toy data set {kind!r}; there are {', '.join(TOY_SETS)}")
    classes = TOY_SETS[kind].classes
    counts = (
        dict.fromkeys(classes, videos_per_class) if isinstance(videos_per_class, int) else videos_per_class
    )
    unknown = sorted(set(counts) - set(classes))
    if unknown:
        raise ToyError(f"no split {', '.join(unknown)} in {kind}; there are {', '.join(classes)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, {"kind": kind, "seed": seed, "version": VERSION})
    jobs = [
        _Job(kind, split, label, number, seed, folder / split / _slug(label) / f"{number:04d}.mp4")
        for split, count in counts.items()
        for label in classes[split]
        for number in range(count)
    ]
    columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn(elapsed_when_finished=True))
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        Progress(*columns, disable=not progress) as bar,
    ):
        for _ in bar.track(pool.map(_write, jobs, chunksize=8), len(jobs), description=f"writing {kind}"):
            pass
    records = tuple(VideoRecord(path=job.path, label=job.label, split=job.split) for job in jobs)
    write_manifest(Manifest(root=folder, records=records), folder / "manifest.csv")
    return folder / "manifest.csv"


def _claim(folder: Path, what: dict[str, str | int]) -> None:
    """Write down what the folder holds, or refuse to mix two data sets in it."""
    marker = folder / "toy.json"
    if marker.exists():
        held = json.loads(marker.read_text())
        if held != what:
            raise ToyError(f"{folder} holds {held}, not {what}; choose another folder or delete this one")
    else:
        marker.write_text(json.dumps(what))


def _slug(label: str) -> str:
    return re.sub(r"[^a-z]+", "-", label.lower()).strip("-")
