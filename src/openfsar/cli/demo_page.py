"""The report of the demo: what was found, as a page."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from openfsar.classifier import FewShotVideoClassifier
from openfsar.classifier.encode import read_clip
from openfsar.data.manifest import VideoRecord
from openfsar.engine.cost import Cost
from openfsar.engine.evaluate import Result
from openfsar.engine.page import Accuracy, Alignment, Curve, Named, Report, Score, Tile
from openfsar.engine.recipe import Recipe
from openfsar.engine.report import build_report
from openfsar.engine.train import TrainResult
from openfsar.matchers import frame_distances, otam, otam_path
from openfsar.methods.matching import changes

COMPARES = {
    "zero-shot": "the mean frame with the words",
    "protonet": "the mean frame with the examples",
    "otam": "what changes, frame by frame, with the examples",
    "clip-fsar": "the same; examples read their name, the whole tower trains",
    "ma-fsar": "the same; adapters in a frozen tower see time and names",
}
SIDE = 96
"""Pixels of the pictures on the page."""


@dataclass(frozen=True, eq=False)
class Found:
    """What was found of one system; training is absent for the untrained ones."""

    before: Result
    after: Result | None = None
    run: TrainResult | None = None
    cost: Cost | None = None


@dataclass(frozen=True, eq=False)
class Story:
    """Everything the demo found."""

    recipe: Recipe
    """Of the system that the classifier uses."""
    found: Mapping[str, Found]
    classifier: FewShotVideoClassifier
    examples: Sequence[VideoRecord]
    """What the classifier was fitted on, in its order."""
    fresh: Mapping[Path, str]
    """New videos and what they show."""
    chances: Float[np.ndarray, "Q N"]
    """Probabilities of the new videos."""


def tell(story: Story, path: Path, *, seconds: float) -> Path:
    """Write the page; ``seconds`` is how long the demo took."""
    found = story.found[story.recipe.method]
    assert found.after is not None and found.run is not None  # the classifier's system was trained
    before, after = found.before, found.after
    took = f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"
    train, validation = found.run.history.train, found.run.history.validation
    named = _named(story)
    right = sum(video.ranking[0][0] == video.truth for video in named)
    report = Report(
        title="What a few examples are worth",
        lead=(
            f"In {story.recipe.steps} steps adapters in a small CLIP learned to compare videos of 64 motions "
            f"frame by frame. Then it met {len(after.classes)} motions it had never seen, with {after.shot} "
            f"example each: of {after.way} it now picks the right one in {100 * after.accuracy:.0f} % of the "
            f"cases, before training in {100 * before.accuracy:.0f} %."
        ),
        tiles=[
            Tile(
                f"{_accuracy(after)} %",
                f"{after.way}-way {after.shot}-shot on unseen actions, after training",
            ),
            Tile(f"{_accuracy(before)} %", "the same system before training"),
            Tile(f"{right} of {len(named)}", "fresh videos named right by the fitted classifier"),
            Tile(took, "from nothing to this page"),
        ],
        task=(
            f"{after.way}-way {after.shot}-shot tasks from {len(after.classes)} unseen actions of "
            f"toy-motion, {after.episodes:,} episodes"
        ),
        scores=[
            Score(
                name, COMPARES[name], _accuracy(it.before), _accuracy(it.after) if it.after else None, it.cost
            )
            for name, it in story.found.items()
        ],
        chance=1 / after.way,
        loss=Curve([int(e["step"]) for e in train], [float(e["loss"]) for e in train]),
        accuracy=Curve(
            [int(e["step"]) for e in validation],
            [float(e["accuracy"]) for e in validation],
            [float(e["interval"]) for e in validation],
        ),
        confusion=after.confusion / after.confusion.sum(1, keepdim=True).clamp(min=1),
        classes=after.classes,
        alignments=_alignments(story),
        named=named,
        facts=_facts(story, after, found.run) | {"time": took},
    )
    return build_report(report, path)


def _accuracy(result: Result) -> Accuracy:
    return Accuracy(result.accuracy, result.interval)


def _pictures(video: Path, frames: int) -> UInt8[Tensor, "T C H W"]:
    return read_clip(video, frames=frames, size=SIDE, resize="aspect")


def _named(story: Story) -> list[Named]:
    labels = story.classifier.classes_.tolist()
    return [
        Named(video.name, truth, _pictures(video, 5), dict(zip(labels, chances, strict=True)))
        for (video, truth), chances in zip(story.fresh.items(), story.chances.tolist(), strict=True)
    ]


def _alignments(story: Story) -> list[Alignment]:
    """One fresh video of each of the first four actions, beside the example that is nearest to it."""
    classifier, method = story.classifier, story.classifier.method_
    videos = list({label: video for video, label in story.fresh.items()}.values())[:4]
    clips = [
        read_clip(v, frames=classifier.frames, size=method.encoder.image_size, resize=classifier.resize)
        for v in videos
    ]
    with torch.no_grad():
        queries = method.encode(torch.stack(clips).to(method.encoder.mean.device)).frames.cpu()
    tables = frame_distances(changes(queries), changes(classifier.examples_.features.frames))
    nearest = otam(tables).argmin(-1).tolist()
    return [
        Alignment(
            query=_pictures(video, classifier.frames),
            support=_pictures(story.examples[best].path, classifier.frames),
            distances=table[best],
            path=otam_path(table[best]),
            query_label=story.fresh[video],
            support_label=story.examples[best].label,
        )
        for video, table, best in zip(videos, tables, nearest, strict=True)
    ]


def _facts(story: Story, after: Result, run: TrainResult) -> dict[str, str]:
    recipe = story.recipe
    return {
        "versions": f"openfsar {version('openfsar')}, torch {torch.__version__}, "
        f"Python {platform.python_version()}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "data": f"toy-motion: {len(after.classes)} test classes, {recipe.frames} frames per video",
        "encoder": f"{recipe.encoder}, {after.trainable:,} trainable parameters in {recipe.method}",
        "training": (
            f"{recipe.steps} steps of one {recipe.way}-way {recipe.shot}-shot episode with {recipe.query} "
            f"queries per class, {recipe.optimizer}, learning rate {recipe.lr:g}, {recipe.schedule}"
        ),
        "selection": f"best of {len(run.history.validation)} evaluations on the {recipe.select} classes",
        "share of the names": str(run.text_share),
        "evaluation": f"{after.encodes} videos encoded in {after.seconds_encode:.1f} s, "
        f"{after.episodes:,} episodes matched in {after.seconds_match:.1f} s",
        "seed": str(recipe.seed),
        "episode list": after.episode_hash,
    }
