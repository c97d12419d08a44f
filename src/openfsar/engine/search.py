"""The search for SloshNet's cell: the weights of the network and those of its architecture, together.

``joint``, as the released code does it: both learn from the same episodes of the training classes, each by
an optimiser of its own, the recipe's and Adam (3e-3, betas 0.5 and 0.999, weight decay 1e-3 as part of the
gradient). ``bi-level``, as DARTS does it to first order (Liu et al., ICLR 2019, arXiv 1806.09055): the
classes of the training split are divided in two halves by the seed, and in every step first the architecture
learns from episodes of one, then the weights from episodes of the other. DARTS divides examples; here whole
classes, because it is classes that are new in a few-shot test. So a step takes twice as many episodes, and
the weights see half of the classes.

Neither looks at other classes than those of training: nothing is selected. The validation classes only say
how good the mixture is, and what is left of it when only the heaviest operation of every edge stays and
nothing is trained again.

The state of a search is that of a training run (see loop.py): a search that was killed goes on where its last
checkpoint is, as if nothing had been. One process, in float32 or bfloat16.
"""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from openfsar import hub
from openfsar.data.dataset import VideoDataset, seeded
from openfsar.data.files import whole_file
from openfsar.encoders.fusion import OPERATIONS, FusionCell
from openfsar.engine.evaluate import evaluate
from openfsar.engine.memory import settle_recomputing
from openfsar.engine.open import make_method, open_manifest, open_videos
from openfsar.engine.precision import settle
from openfsar.engine.recipe import Recipe, RecipeError
from openfsar.engine.search_loop import SearchLoop
from openfsar.methods.sloshnet import SloshNet

Mode = Literal["joint", "bi-level"]

RATE = 3e-3
"""Of the architecture's Adam, as published."""


@dataclass(frozen=True)
class Found:
    """What a search found."""

    operations: tuple[str, ...]
    """What the columns of ``weights`` stand for."""
    edges: tuple[tuple[int, int], ...]
    """What the rows of ``weights`` stand for: from level, to level."""
    weights: tuple[tuple[float, ...], ...]
    cell: tuple[str, ...]
    """The heaviest operation of each edge."""
    mix: tuple[float, ...]
    """Weights of the states and of the deepest level in the output."""
    long_share: float | None
    """Weight of the long-term module; None where there is only one of the two."""
    accuracy: dict[str, tuple[float, float]]
    """On the validation classes, as fractions with half the 95 % interval: "mixture", and "derived" without
    training again."""

    def options(self) -> dict[str, Any]:
        """Those of SloshNet with the derived cell, which starts from the output weights that were found."""
        share = {} if self.long_share is None else {"long_share": self.long_share}
        return {"fusion": "fixed", "cell": list(self.cell), "mix": list(self.mix), **share}


def search(
    recipe: Recipe,
    out: Path,
    *,
    mode: Mode = "joint",
    rate: float = RATE,
    resume: bool = True,
    progress: bool = True,
) -> Found:
    """Search a cell by a recipe of SloshNet.

    ``out`` receives ``search.yaml``, ``search.pt`` (the checkpoint), ``search.json`` (what was found, and the
    curve), ``mixture`` (a model: the network of the last step, which is what the paper tests), and
    ``fixed.yaml``, the recipe that trains what was found.

    Args:
        rate: Learning rate of the architecture.
        resume: Go on from ``search.pt`` if there is one; False starts over.
        progress: Show loss, accuracy, speed and time left; a log line now and then without a terminal.

    Raises:
        RecipeError: if the recipe is of another method, or names what does not exist here.
        CheckpointError: if ``out`` holds another search.
        TrainingError: if the loss stops being finite.
    """
    recipe = settle(recipe, out / "search.yaml", resume=resume, progress=progress)
    if recipe.method != "sloshnet" or recipe.training != "episodes" or recipe.precision == "fp16":
        raise RecipeError(
            "a search needs method=sloshnet, training=episodes and precision=fp32 or bf16, got "
            f"method={recipe.method}, training={recipe.training}, precision={recipe.precision}"
        )
    if not rate > 0:
        raise RecipeError(f"{rate=} must be positive; {RATE} is published")
    recipe = replace(recipe, options=recipe.options | {"fusion": "searched"})
    method = make_method(recipe, open_manifest(recipe, progress=progress))
    assert isinstance(method, SloshNet)  # by its name
    training = open_videos(recipe, method, "train", progress=progress)
    selection = open_videos(recipe, method, "val", progress=progress)
    return find(
        method, recipe, training, selection, out, mode=mode, rate=rate, resume=resume, progress=progress
    )


def find(
    method: SloshNet,
    recipe: Recipe,
    training: VideoDataset,
    selection: VideoDataset,
    out: Path,
    *,
    mode: Mode = "joint",
    rate: float = RATE,
    resume: bool = True,
    progress: bool = True,
) -> Found:
    """``search`` with a method, whose fusion is searched, and data sets that exist already."""
    settle_recomputing(method, recipe, progress=progress)
    parts = [training] if mode == "joint" else halves(training, recipe)
    run = SearchLoop(method, recipe, parts, out, rate=rate)
    run.go(resume=resume, progress=progress)
    found = _found(method)
    mixture = _cell(method)
    derived = FusionCell(len(method.align.levels), operations=found.cell)
    derived.mix = mixture.mix
    for name, method.cell in (("mixture", mixture), ("derived", derived)):
        result = evaluate(
            method,
            selection,
            way=recipe.eval_way,
            shot=recipe.eval_shot,
            query=recipe.eval_query,
            episodes=recipe.eval_episodes,
            device=run.device,
            progress=progress,
        )
        found.accuracy[name] = result.accuracy, result.interval
    method.cell = mixture
    hub.save(method, out / "mixture")
    replace(recipe, options=recipe.options | found.options()).save(out / "fixed.yaml")
    content = {"mode": mode, "rate": rate, **asdict(found), "train": run.history.train}
    with whole_file(out / "search.json") as file:
        file.write(json.dumps(content).encode())
    return found


def halves(dataset: VideoDataset, recipe: Recipe) -> list[VideoDataset]:
    """The videos of half of the classes for the weights, those of the other half for the architecture.

    Raises:
        RecipeError: a half has fewer classes than an episode.
    """
    order = torch.randperm(len(dataset.classes), generator=seeded(recipe.seed)).tolist()
    names = [dataset.classes[i] for i in order]
    middle = (len(names) + 1) // 2
    if len(names) - middle < recipe.way:
        raise RecipeError(
            f"a bi-level search divides the {len(names)} training classes in two halves, and "
            f"way={recipe.way} does not fit into {len(names) - middle}; lower the way, or take mode=joint"
        )
    return [dataset.subset(names[:middle]), dataset.subset(names[middle:])]


def _found(method: SloshNet) -> Found:
    """What the architecture of a method says, to four digits."""
    cell, both = _cell(method), method.temporal.balance is not None
    return Found(
        OPERATIONS,
        tuple(cell.edges),
        tuple(tuple(_four(w) for w in row) for row in cell.operation_weights().tolist()),
        tuple(cell.chosen()),
        tuple(_four(share) for share in cell.mix.softmax(-1).tolist()),
        _four(method.temporal.shares()[0].item()) if both else None,
        {},
    )


def _cell(method: SloshNet) -> FusionCell:
    if method.cell is None or not method.cell.searched:
        raise RecipeError(f"there is no cell to search in fusion={method.fusion!r}; use 'searched'")
    return method.cell


def _four(value: float) -> float:
    return float(f"{value:.4g}")
