"""From a recipe to a run folder."""

from dataclasses import dataclass
from pathlib import Path

import torch

from openfsar import hub
from openfsar.data.batches import ClipDataset
from openfsar.data.dataset import VideoDataset
from openfsar.data.episodes import EpisodeDataset, EpisodeSampler
from openfsar.encoders.clip import ClipEncoder
from openfsar.engine.checkpoint import History
from openfsar.engine.evaluate import evaluate
from openfsar.engine.fusion import TextShare, choose_text_share
from openfsar.engine.loop import Batches, Loop, Measure, join_processes
from openfsar.engine.memory import settle_recomputing
from openfsar.engine.open import make_method, open_base, open_manifest, open_videos
from openfsar.engine.precision import settle
from openfsar.engine.recipe import Recipe, RecipeError
from openfsar.engine.supervised import name_videos
from openfsar.methods.base import FewShotMethod
from openfsar.methods.fusion import FusedMethod, NamingMethod


@dataclass(frozen=True)
class TrainResult:
    """Where a run left its models, and how it went."""

    best: Path
    """Model folder: the state that was best on the ``select`` classes."""
    last: Path
    """Checkpoint of the last step."""
    history: History
    select: str
    """"test" warns that ``accuracy`` was selected on the classes it is measured on."""
    text_share: TextShare | None
    """How much class names count in the best model; None where the recipe does not choose."""

    @property
    def accuracy(self) -> float:
        """Of the best model on the ``select`` classes, as a fraction."""
        return max(entry["accuracy"] for entry in self.history.validation)


def train(recipe: Recipe, out: Path, *, resume: bool = True, progress: bool = True) -> TrainResult:
    """Train by a recipe; ``out`` receives ``best`` (a model), ``last.pt``, ``history.json``, ``recipe.yaml``,
    and ``text-share.json`` where the recipe chooses one.

    Args:
        resume: Go on from ``last.pt`` if there is one; False starts over.
        progress: Show loss, accuracy, speed and time left; a log line now and then without a terminal.

    Raises:
        RecipeError: if the recipe names what does not exist here.
        CheckpointError: if ``out`` holds a run of another recipe.
        TrainingError: if the loss or the gradient stops being finite; the episode is saved in ``out``.
    """
    with join_processes().local_main_process_first():  # the others find what the first has made
        manifest = open_manifest(recipe, progress=progress)
        method = make_method(recipe, manifest)
        opened = open_videos if recipe.training == "episodes" else open_base
        training = opened(recipe, method, "train", progress=progress)
        selection = opened(recipe, method, recipe.select, progress=progress)
    return fit(method, recipe, training, selection, out, resume=resume, progress=progress)


def fit(
    method: FewShotMethod,
    recipe: Recipe,
    training: VideoDataset,
    selection: VideoDataset,
    out: Path,
    *,
    resume: bool = True,
    progress: bool = True,
) -> TrainResult:
    """``train`` with a method and data sets that exist already; the recipe's keys about them are not read."""
    if recipe.choose_text_share and not isinstance(method, FusedMethod):
        raise RecipeError(
            f"choose_text_share=true needs a method that fuses names with examples, and {recipe.method} is "
            "none; set it to false"
        )
    if recipe.choose_text_share and not isinstance(method.encoder, ClipEncoder):
        raise RecipeError(
            f"choose_text_share=true needs class names, and encoder {method.encoder.name!r} reads none; set "
            "it to false, or choose a CLIP"
        )
    recipe = settle(recipe, out / "recipe.yaml", resume=resume, progress=progress)
    settle_recomputing(method, recipe, progress=progress)
    by = _by_clips if recipe.training == "clips" else _by_episodes
    batches, measure, unit = by(method, recipe, training, selection, progress)
    loop = Loop(method, recipe, batches, measure, out, unit=unit, progress=progress)
    loop.run(resume=resume)
    share = None
    if recipe.choose_text_share and loop.leads:
        best = hub.load(out / "best")
        assert isinstance(best, FusedMethod)  # as method is
        share = choose_text_share(
            best,
            selection,
            way=recipe.eval_way,
            shot=recipe.eval_shot,
            query=recipe.eval_query,
            episodes=recipe.eval_episodes,
            device=loop.accelerator.device,
            progress=progress,
        )
        hub.save(best, out / "best")
        share.save(out / "text-share.json")
    return TrainResult(out / "best", loop.last, loop.history, recipe.select, share)


_Work = tuple[Batches, Measure, tuple[str, int]]
"""What the loop learns from, how it measures the model, and in what it counts its speed."""


def _by_episodes(
    method: FewShotMethod, recipe: Recipe, training: VideoDataset, selection: VideoDataset, progress: bool
) -> _Work:
    """Few-shot tasks, measured on those of other classes."""
    sampler = EpisodeSampler.of(
        training, way=recipe.way, shot=recipe.shot, query=recipe.query, seed=recipe.seed
    )

    def measure(device: torch.device) -> tuple[float, float]:
        result = evaluate(
            method,
            selection,
            way=recipe.eval_way,
            shot=recipe.eval_shot,
            query=recipe.eval_query,
            episodes=recipe.eval_episodes,
            device=device,
            progress=progress,
        )
        return result.accuracy, result.interval

    count = recipe.steps * recipe.episodes_per_step
    return EpisodeDataset(training, sampler, count), measure, ("episodes", 1)


def _by_clips(
    method: FewShotMethod, recipe: Recipe, training: VideoDataset, selection: VideoDataset, progress: bool
) -> _Work:
    """Labelled clips, measured by naming other videos of the same classes among all of these."""
    if not isinstance(method, NamingMethod):
        raise RecipeError(
            f"training=clips needs a method that names videos without examples, and {recipe.method} is none; "
            "use training=episodes"
        )
    names = training.classes

    def measure(device: torch.device) -> tuple[float, float]:
        found = name_videos(method, selection, names=names, device=device, progress=progress)
        first = next(iter(found.values()))
        return first.accuracy, first.interval

    count = recipe.steps * recipe.episodes_per_step
    batches = ClipDataset(training, recipe.batch, count, seed=recipe.seed)
    return batches, measure, ("clips", recipe.batch)
