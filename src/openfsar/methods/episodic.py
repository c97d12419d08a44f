"""What the methods that learn from episodes alone have in common, as small parts each of them composes."""

import math
from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from openfsar.encoders.trainable import freeze, unfreeze
from openfsar.encoders.visual import VisualEncoder
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.objectives import accuracy, cross_entropy

Tune = Literal["full", "none"]
"""Which part of the visual tower trains. The text tower stays frozen."""

Encoder = TypeVar("Encoder", bound=VisualEncoder)


def one_of(name: str, value: str, *allowed: str) -> str:
    """``value`` if it is allowed.

    Raises:
        ValueError: It is not; the message names the option and what it may be.
    """
    if value not in allowed:
        raise ValueError(f"option {name}={value!r} is unknown; use one of {', '.join(map(repr, allowed))}")
    return value


def distinct(names: Sequence[str]) -> Sequence[str]:
    """``names`` if no two are equal.

    Raises:
        ValueError: Two classes of one name cannot be told apart by words.
    """
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise ValueError(f"class name {twice[0]!r} occurs twice; give every class a name of its own")
    return names


def share_of(name: str, value: float) -> float:
    """``value`` if it is a share, 0..1.

    Raises:
        ValueError: It is not; the message names the option.
    """
    if not 0 <= value <= 1:
        raise ValueError(f"option {name}={value!r} must lie in 0..1: the share of the class names")
    return value


def tuned(encoder: Encoder, tune: Tune) -> Encoder:
    """The same encoder, frozen but for the part of its visual tower that ``tune`` names."""
    freeze(encoder)
    if one_of("tune", tune, "full", "none") == "full":
        unfreeze(encoder.vision)
    return encoder


class Scale(nn.Module):
    """A positive factor that turns distances into logits, stored as its logarithm.

    Args:
        start: The factor; after training with ``learn`` only where it began.
        learn: Whether it trains.
    """

    def __init__(self, start: float, *, learn: bool) -> None:
        super().__init__()
        if not 0 < start < math.inf:
            raise ValueError(f"option scale={start!r} must be a positive number")
        self.log = nn.Parameter(torch.tensor(math.log(start)), requires_grad=learn)

    def forward(self, values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        return values * self.log.exp()


def prototype_task(prototypes: Float[Tensor, "*e N U D"], support: SupportSet) -> Task:
    """A task with one exemplar per class, in the order of the classes."""
    labels = torch.arange(support.way, device=support.labels.device)
    return Task(FrameFeatures(prototypes), labels.expand(prototypes.shape[:-2]), support.way, support.text)


def episode_only(batch: Episode | ClipBatch) -> Episode:
    """``batch`` if it is an episode.

    Raises:
        TypeError: It is a batch of labelled clips, which has no support set to compare with.
    """
    if not isinstance(batch, Episode):
        raise TypeError(
            f"this method learns from episodes, got a {type(batch).__name__}; give it openfsar.Episode"
        )
    return batch


def labelled(
    batch: Episode | ClipBatch,
) -> tuple[tuple[str, ...], list[UInt8[Tensor, "_ _ C H W"]], Int[Tensor, " B"]]:
    """All names, clips (those of one length together), and the number of each clip's name.

    An episode is read as one batch of clips, support first, labelled among its vocabulary.
    """
    if isinstance(batch, ClipBatch):
        return batch.vocabulary, [batch.clips], batch.labels
    names = batch.vocabulary or batch.classes
    labels = torch.cat([batch.support_labels, batch.query_labels])
    number = torch.tensor([names.index(name) for name in batch.classes], device=labels.device)
    alike = batch.support.shape[1:] == batch.query.shape[1:]
    clips = [torch.cat([batch.support, batch.query])] if alike else [batch.support, batch.query]
    return names, clips, number[labels]


def vocabulary_labels(episode: Episode, classes: int) -> tuple[Int[Tensor, " S"], Int[Tensor, " Q"]]:
    """Labels of support and query videos among the whole vocabulary, for a layer that knows ``classes``.

    Raises:
        ValueError: The vocabulary lacks a class of the episode, or has more names than ``classes``.
    """
    names = episode.vocabulary
    if not set(episode.classes) <= set(names) or len(names) > classes:
        raise ValueError(
            f"option classes={classes} needs episodes whose vocabulary holds their classes and at most that "
            f"many, got {len(names)} names; give Episode the names of all training classes as vocabulary, "
            "always in the same order, or set classes=0"
        )
    labels = episode.support_labels
    numbers = torch.tensor([names.index(name) for name in episode.classes], device=labels.device)
    return numbers[labels], numbers[episode.query_labels]


def classification(logits: Float[Tensor, "Q N"], labels: Int[Tensor, " Q"]) -> dict[str, Tensor]:
    """Cross entropy as ``loss``, with the accuracy it was reached at."""
    return {"loss": cross_entropy(logits, labels), "accuracy": accuracy(logits, labels)}
