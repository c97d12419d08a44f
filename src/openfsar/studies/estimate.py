"""What a study would cost before it is run: measured steps, counted videos, and what is not here yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from openfsar.data.manifest import read_manifest
from openfsar.data.splits import BENCHMARKS, load_split
from openfsar.encoders.trainable import trainable_parameters
from openfsar.encoders.weights import KNOWN
from openfsar.engine.cost import training_cost
from openfsar.engine.recipe import Recipe
from openfsar.episode import ClipBatch, Episode
from openfsar.methods.zoo import create
from openfsar.studies.run import Job, kept_file
from openfsar.toy.dataset import TOY_SETS

NAMES = ("waving", "running")
"""Classes of the step that is timed, with one example and one query each."""

FORWARD = 1 / 3
"""Of a training step: the operations of a pass without its gradients."""


@dataclass(frozen=True)
class Estimate:
    """Of the runs that are not done yet."""

    runs: int
    done: int
    seconds: float
    """One after another, on the device of this process; reading videos is not counted."""
    device: str
    parts: tuple[tuple[str, int, float], ...]
    """Method, encoder and frames; how many runs; seconds of computing a training video."""

    def __str__(self) -> str:
        lines = [f"{self.runs} runs, {self.done} of them done"]
        lines += [f"  {count:3d} x {what}: {each:.2f} s a training video" for what, count, each in self.parts]
        hours = self.seconds / 3600
        total = f"{hours:.1f} hours" if hours >= 1 else f"{self.seconds / 60:.0f} minutes"
        return "\n".join([*lines, f"about {total} of computing on {self.device}, one run after another"])


def missing(jobs: Sequence[Job]) -> list[str]:
    """What is not here and cannot be made or fetched, each with the way to it."""
    lacks = {}
    for data in dict.fromkeys(job.recipe.data for job in jobs):
        if data not in TOY_SETS and not Path(data).exists():
            name = Path(data).parent.name
            way = (
                f"openfsar data prepare {name} --videos DIR"
                if name in BENCHMARKS
                else "write that list of videos"
            )
            lacks[data] = f"{data} is not there; {way}"
    return list(lacks.values())


def fetched(jobs: Sequence[Job]) -> list[str]:
    """Weights that the runs take from the hub, unless its cache has them."""
    names = dict.fromkeys(job.recipe.encoder for job in jobs if job.recipe.pretrained)
    found = [(name, KNOWN[name]) for name in names if name in KNOWN]
    return [f"{name} = {known.hub} ({known.licence} licence)" for name, known in found if known.hub]


def estimate(jobs: Sequence[Job], folder: Path) -> Estimate:
    """From one timed step of each kind of method, with random weights of the recipe's sizes."""
    left = [job for job in jobs if not kept_file(folder, job).is_file()]
    kinds: dict[str, list[Job]] = {}
    for job in left:
        recipe = job.recipe
        tune = recipe.options.get("tune", "")
        kind = f"{recipe.method} ({tune or 'as it is'}) on {recipe.encoder}, {recipe.frames} frames"
        kinds.setdefault(kind, []).append(job)
    parts, total = [], 0.0
    for kind, same in kinds.items():
        each = _video_seconds(next((job for job in same if job.trained), same[0]).recipe)
        parts.append((kind, len(same), each))
        total += sum(each * _videos(job) for job in same)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    where = str(device or f"{torch.get_num_threads()} CPU threads")
    return Estimate(len(jobs), len(jobs) - len(left), total, where, tuple(parts))


def _video_seconds(recipe: Recipe) -> float:
    """Of one video in a training step."""
    stock = recipe.pretrained and recipe.encoder not in KNOWN
    options: dict[str, Any] = dict(recipe.options)
    if "classes" in options:
        options["classes"] = NAMES
    method = create(recipe.method, encoder=recipe.encoder, pretrained=stock, **options)
    if torch.accelerator.is_available():
        method.to(torch.accelerator.current_accelerator())
    if not trainable_parameters(method):
        return 0.0
    side = recipe.size or method.encoder.image_size
    clips = torch.randint(0, 256, (2, recipe.frames, 3, side, side), dtype=torch.uint8)
    labels = torch.arange(2)
    if recipe.training == "clips":
        return training_cost(method, ClipBatch(clips, labels, NAMES), repeats=3).seconds / 2
    return training_cost(method, Episode(clips, labels, clips, labels, NAMES), repeats=3).seconds / 4


def _videos(job: Job) -> float:
    """Training videos whose computing is that of the whole run."""
    recipe = job.recipe
    step = recipe.batch if recipe.training == "clips" else recipe.way * (recipe.shot + recipe.query)
    trained = recipe.steps * recipe.episodes_per_step * step if job.trained else 0
    looked = _count(recipe, "test")
    if job.trained and job.scale == "full":
        looked += _count(recipe, recipe.select) * (recipe.steps // recipe.eval_every + 1)
    return trained + FORWARD * 2 * looked  # as support and as query


def _count(recipe: Recipe, split: str) -> int:
    """Videos of a split, by the list where it is there and by the published one where it is not."""
    source = Path("data", recipe.data, "manifest.csv") if recipe.data in TOY_SETS else Path(recipe.data)
    if source.is_file():
        return sum(record.split == split for record in read_manifest(source).records)
    name = source.parent.name
    return sum(load_split(name, split).videos) if name in BENCHMARKS else 0
