"""From a recipe to a run folder."""

from dataclasses import dataclass
from pathlib import Path

from openfsar import hub
from openfsar.data.dataset import VideoDataset
from openfsar.data.frames import build_frame_cache
from openfsar.data.manifest import read_manifest
from openfsar.encoders.towers import VisionTower
from openfsar.engine.checkpoint import History
from openfsar.engine.fusion import TextShare, choose_text_share
from openfsar.engine.loop import Loop, join_processes
from openfsar.engine.recipe import Recipe, RecipeError
from openfsar.methods.base import FewShotMethod
from openfsar.methods.fusion import FusedMethod
from openfsar.methods.zoo import create
from openfsar.toy.dataset import TOY_SETS, make_toy


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
    method = create(
        recipe.method,
        encoder=recipe.encoder,
        pretrained=recipe.pretrained,
        seed=recipe.seed,
        **recipe.options,
    )
    with join_processes().local_main_process_first():  # the others find what the first has made
        training = open_videos(recipe, method, "train", progress=progress)
        selection = open_videos(recipe, method, recipe.select, progress=progress)
    return fit(method, recipe, training, selection, out, resume=resume, progress=progress)


def open_videos(recipe: Recipe, method: FewShotMethod, split: str, *, progress: bool = False) -> VideoDataset:
    """The recipe's videos of one split; toy videos and frame cache are made on first use.

    Frames are drawn at random in the split ``train`` and fixed in the others.
    """
    source = Path(recipe.data)
    if recipe.data in TOY_SETS:
        source = Path("data", recipe.data, "manifest.csv")
        if not source.exists():
            make_toy(recipe.data, source.parent, workers=max(1, recipe.workers), progress=progress)
    manifest = read_manifest(source)
    if recipe.cache:
        build_frame_cache(manifest, Path(recipe.cache), workers=recipe.workers, progress=progress)
    return VideoDataset(
        manifest,
        split,
        frames=recipe.frames,
        size=recipe.size or method.encoder.image_size,
        resize=recipe.resize,
        sampling=recipe.sampling,
        train=split == "train",
        seed=recipe.seed,
        cache=Path(recipe.cache) if recipe.cache else None,
    )


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
    tower = method.encoder.vision
    if recipe.recompute_blocks and not isinstance(tower, VisionTower):
        raise RecipeError(
            f"recompute_blocks=true needs the blocks of a transformer, and encoder {method.encoder.name!r} "
            "has none; set it to false"
        )
    if isinstance(tower, VisionTower):
        tower.checkpoint_blocks(recipe.recompute_blocks)
    loop = Loop(method, recipe, training, selection, out, progress=progress)
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
