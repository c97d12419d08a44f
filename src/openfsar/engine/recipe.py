"""A training run as data: one flat file, every value present, every mistake named.

jsonargparse checks and converts the values (``1e-5``, which YAML 1.1 reads as a string, arrives as a number);
the keys are compared here, because the nearest valid key and the file belong into the message.
"""

import re
from argparse import ArgumentError
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser

from openfsar.data.dataset import Sampling
from openfsar.data.files import whole_file
from openfsar.video.transforms import Resize

Precision = Literal["auto", "fp32", "bf16", "fp16"]


class RecipeError(ValueError):
    """A recipe that cannot be run as written; the message names file, key and remedy."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run. A file spells out every field; the defaults serve Python."""

    method: str
    """A key of ``METHODS``."""
    data: str
    """A toy data set by name (made on first use), a manifest, or a folder of videos."""
    encoder: str = "toyclip"
    """What ``load_encoder`` takes: a known name, a local folder or a hub name."""
    pretrained: bool = True
    """False trains from seeded random weights."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of the method."""
    cache: str = ""
    """Folder of the frame cache, filled on first use; "" decodes the videos every time."""
    frames: int = 8
    """Frames per video."""
    size: int = 0
    """Side of the square image in pixels; 0 is the encoder's own."""
    resize: Resize = "aspect"
    """Whether the shrunk image keeps its proportions."""
    sampling: Sampling = "segments"
    """Which frames of a video are taken."""
    stride: int = 1
    """Frames from one to the next, of the sampling "strided" alone."""
    mirror: bool = False
    """Whether half of the training clips are mirrored; not where left and right matter."""
    training: Literal["episodes", "clips"] = "episodes"
    """What a step learns from: few-shot tasks, or labelled clips of all training classes at once."""
    batch: int = 32
    """Clips per step, where training is by clips."""
    held_out: float = 0.2
    """By clips: share of each class's training videos that val and test get where the data has none of these
    classes there."""
    videos_per_class: int = 0
    """By clips: so many training videos of each class alone; 0 takes all."""
    base_classes: int = 0
    """So many of the training classes alone, the first of the list; 0 takes all."""
    way: int = 5
    """Classes per training episode."""
    shot: int = 1
    """Support videos per class."""
    query: int = 5
    """Query videos per class."""
    seed: int = 0
    """Decides the episodes or batches, frames, crops, dropout, what is held out, and random weights."""
    steps: int = 1000
    """Optimiser steps."""
    episodes_per_step: int = 1
    """Episodes, or batches of clips, whose gradients are averaged in a step; several processes divide them
    among themselves."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    """adam adds weight decay to the gradient, adamw decays the weights themselves."""
    lr: float = 1e-5
    """Highest learning rate."""
    lr_factors: dict[str, float] = field(default_factory=dict)
    """Factor on the learning rate of the parameters whose names begin so, such as ``head: 10``."""
    weight_decay: float = 0.0
    """Applied to matrices; to vectors only where ``decay_vectors``."""
    decay_vectors: bool = False
    """Whether biases, norm weights and other vectors and scalars decay too."""
    momentum: float = 0.0
    """Of sgd."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of adam and adamw."""
    schedule: Literal["constant", "cosine", "steps"] = "constant"
    """cosine falls to zero at the last step; steps multiplies by ``gamma`` at every milestone."""
    warmup_steps: int = 0
    """Steps over which the learning rate rises linearly to ``lr``."""
    milestones: tuple[int, ...] = ()
    """Of the schedule ``steps``, in optimiser steps."""
    gamma: float = 0.1
    """Factor of the schedule ``steps``."""
    clip_norm: float = 0.0
    """Longest gradient vector over all parameters; 0 leaves gradients as they are."""
    precision: Precision = "fp32"
    """Of the forward pass; weights and optimiser stay in float32. auto times products of matrices where the
    run starts, takes the fastest and says so; the recipe in the run's folder names it."""
    recompute_blocks: bool | Literal["auto"] = "auto"
    """Keep the input of each block of the visual tower alone and compute the rest again in the backward pass:
    a third more time, a fraction of the memory, equal gradients. auto does where keeping all does not fit
    into free memory. Methods that start from feature maps compute a few videos at a time again; batch norms
    that learn then see these few at a time, so that full-scale recipes of such methods say true."""
    eval_every: int = 100
    """Optimiser steps between evaluations; the untrained and the last state are evaluated in any case."""
    eval_episodes: int = 1000
    """Episodes of each evaluation, always the same ones. Training by clips is evaluated on all videos."""
    eval_way: int = 5
    """Classes per evaluation episode."""
    eval_shot: int = 1
    """Support videos per class."""
    eval_query: int = 1
    """Query videos per class."""
    patience: int = 0
    """Evaluations without a new best after which training stops early; 0 never does."""
    select: Literal["val", "test"] = "val"
    """Split that picks the best model: its few-shot tasks, or its videos of the training classes. test is for
    comparing with papers that did so; results say it."""
    choose_text_share: bool = False
    """Whether the share of the class names in the best model's predictions is chosen anew when training ends,
    on the classes of ``select``."""
    checkpoint_every: int = 50
    """Optimiser steps between checkpoints; every evaluation writes one too."""
    workers: int = 2
    """Processes that read episodes ahead of training; 0 reads in the training process."""
    tracker: Literal["", "tensorboard"] = ""
    """Where curves are sent besides the run folder."""

    def __post_init__(self) -> None:
        least = dict(
            frames=1,
            stride=1,
            batch=2,
            videos_per_class=0,
            base_classes=0,
            way=2,
            shot=1,
            query=1,
            steps=1,
            episodes_per_step=1,
            eval_every=1,
        )
        least |= dict(eval_episodes=2, eval_way=2, eval_shot=1, eval_query=1, checkpoint_every=1)
        least |= dict.fromkeys(["size", "seed", "weight_decay", "momentum", "warmup_steps", "clip_norm"], 0)
        least |= dict.fromkeys(["patience", "workers"], 0)
        given = {key: getattr(self, key) for key in least}
        wrong = [
            f"{key}={given[key]} (at least {least[key]})" for key in least if not given[key] >= least[key]
        ]
        if not self.lr > 0:
            wrong.append(f"lr={self.lr} (above 0)")
        if not 0 < self.held_out < 0.5:
            wrong.append(f"held_out={self.held_out} (between 0 and 0.5)")
        wrong += [f"lr_factors.{name}={x} (above 0)" for name, x in self.lr_factors.items() if not x > 0]
        if self.stride > 1 and self.sampling != "strided":
            wrong.append(f"stride={self.stride} with sampling={self.sampling} (only strided has one)")
        if self.choose_text_share and self.training == "clips":
            wrong.append(
                "choose_text_share=true with training=clips (openfsar eval --choose-text-share does)"
            )
        if self.warmup_steps > self.steps:
            wrong.append(f"warmup_steps={self.warmup_steps} (at most steps={self.steps})")
        if (self.schedule == "steps") != bool(self.milestones):
            wrong.append(
                f"milestones={list(self.milestones)} with schedule={self.schedule} (give both or neither)"
            )
        if list(self.milestones) != sorted(set(self.milestones)):
            wrong.append(f"milestones={list(self.milestones)} (in rising order)")
        if self.momentum and self.optimizer != "sgd":
            wrong.append(f"momentum={self.momentum} with optimizer={self.optimizer} (only sgd has one)")
        if wrong:
            raise RecipeError("a recipe cannot have " + "; ".join(wrong))

    @property
    def label(self) -> str:
        """Method and data, as in ``otam/toy-motion``: where the file lies and what results call it."""
        path = Path(self.data)
        return f"{self.method}/{path.parent.name if path.stem == 'manifest' else path.stem}"

    @property
    def videos_at_once(self) -> int:
        """Videos of one batch, whose activations exist together."""
        return self.batch if self.training == "clips" else self.way * (self.shot + self.query)

    def save(self, path: Path) -> None:
        """Write a file that ``load_recipe`` reads back as an equal recipe."""
        values = {
            key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()
        }
        text = yaml.dump(values, Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True)
        with whole_file(path) as file:
            file.write(text.encode())


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe; ``overrides`` replace values, as in ``shot=5`` or ``options.smoothing=0.2``.

    Raises:
        RecipeError: for a file that cannot be read, an unknown or missing key, a value of the wrong type, or
            values in contradiction.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = sorted(str(p) for p in path.parent.rglob("*.yaml"))
        hint = _nearest(str(path), known) if known else "recipes/ of a checkout holds some to copy"
        raise RecipeError(f"{path} cannot be read ({type(error).__name__}); {hint}") from None
    values = _read(text, str(path))
    for override in overrides:
        _override(values, override)
    known = [entry.name for entry in fields(Recipe)]
    for key in values:
        if key not in known:
            raise RecipeError(f"{path}: unknown key {key!r}; {_nearest(str(key), known)}")
    missing = [key for key in known if key not in values]
    if missing:
        raise RecipeError(f"{path}: lacks {', '.join(missing)}; a recipe gives every value")
    empty = [key for key, value in values.items() if value is None]
    if empty:
        raise RecipeError(f'{path}: {empty[0]} has no value; write "" for no name and 0 for off')
    try:
        return Recipe(**vars(_parser().parse_object(values)))
    except ArgumentError as error:  # says 'Parser key "steps":\n  Expected a <class 'int'>. Got value: abc'
        raise RecipeError(f"{path}: {' '.join(str(error).removeprefix('Parser ').split())}") from None
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None


@cache
def _parser() -> ArgumentParser:
    """Built once: that takes as long as reading a recipe."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Recipe)
    return parser


class _Loader(yaml.SafeLoader):
    """YAML with the numbers people write (``1e-5``) and without keys that silently replace earlier ones."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise RecipeError(f"key {key!r} occurs twice; keep one")
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _read(text: str, source: str) -> dict[Any, Any]:
    try:
        values = yaml.load(text, _Loader)
    except (yaml.YAMLError, RecipeError) as error:
        raise RecipeError(f"{source}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{source}: a recipe is a list of 'key: value' lines, got {type(values).__name__}")
    return values


def _override(values: dict[Any, Any], override: str) -> None:
    """Replace one value in place; only the keys inside ``options`` and ``lr_factors`` may be new."""
    key, equals, text = override.partition("=")
    if not equals:
        raise RecipeError(
            f"{override!r} replaces nothing; write key=value, such as shot=5 or options.smoothing=0.2"
        )
    *path, last = key.strip().split(".", 1)  # the beginnings of parameters' names have dots of their own
    if ("." in last and path != ["lr_factors"]) or (path and not isinstance(values.get(path[0]), Mapping)):
        raise RecipeError(
            f"{override!r}: {key!r} leads nowhere; only the entries of options and lr_factors have "
            "dotted names"
        )
    target = values[path[0]] if path else values
    if not path and last not in values:
        raise RecipeError(f"{override!r}: unknown key {last!r}; {_nearest(last, list(values))}")
    target[last] = _read(f"value: {text}", override)["value"] if text.strip() else ""


def _nearest(key: str, known: Sequence[str]) -> str:
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"valid keys are {', '.join(known)}"
