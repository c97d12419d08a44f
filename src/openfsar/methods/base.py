"""The contract every system keeps: heavy ``encode`` per video, light ``prepare`` and ``score`` per task.

The seam between ``encode`` and ``score`` is where the speed comes from: a video is encoded once (once per
role where its features depend on its class name), and ten thousand episodes are then matched from those
features.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from openfsar.encoders.visual import VisualEncoder
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task

DIGEST_BYTES = 4 * 2**30
"""The most that features with what ``digest`` adds may take; more videos go without."""


@dataclass(frozen=True)
class MethodSpec:
    """What it takes to build a method again, before any weights are loaded."""

    method: str
    """Key of ``METHODS``."""
    encoder: str
    """Name the encoder was loaded by."""
    pretrained: bool
    """Whether the encoder's weights come with that name; otherwise they were random."""
    options: Mapping[str, Any]
    """Every option of the method, defaults included, so that a later default changes no saved method."""


class FewShotMethod(nn.Module, ABC):
    """A few-shot action recogniser. Subclasses are final and state paper, equations and departures."""

    transductive: bool = False
    """Whether the score of one query may depend on the other queries; such results are not comparable."""

    support_reads_text: ClassVar[bool] = False
    """Whether ``encode`` of a support video reads the name of its class; then it is encoded once per role."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Sets of options by name, each complete with the defaults."""

    encoder: VisualEncoder
    """The tower or towers; its ``image_size`` is what ``encode`` wants."""

    spec: MethodSpec
    """How the method was built. Set by ``create`` and ``build``."""

    learnt: frozenset[str]
    """Names of the parameters built to train. A checkpoint holds them even when they are frozen by then."""

    origin: str = ""
    """Name of the published file that its parameters were read from; empty for all others."""

    @abstractmethod
    def text(self, names: Sequence[str]) -> Float[Tensor, "N D"] | None:
        """Text features of class names, computed once per vocabulary; None for systems that read no names."""

    @abstractmethod
    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> FrameFeatures:
        """Videos to frame features; heavy, independent per video.

        ``text`` is the feature of each video's own class, given for support videos only and read only where
        ``support_reads_text``.
        """

    def digest(self, features: FrameFeatures) -> FrameFeatures:
        """The features of videos with what else of ``prepare`` and ``score`` depends on each video alone, so
        that it is not computed again for every task. Both give the same with and without it.
        """
        return features

    @final
    def digested(self, features: FrameFeatures, videos: int) -> FrameFeatures:
        """``digest``, unless that of so many videos would take more than ``DIGEST_BYTES``."""
        fits = videos * self.digest(features[:1]).nbytes <= DIGEST_BYTES
        return self.digest(features) if fits else features

    @abstractmethod
    def prepare(self, support: SupportSet) -> Task:
        """Everything that needs no query, once per task. Accepts many tasks at once (leading axes ``*e``)."""

    @abstractmethod
    def score(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        """Logits of each query, one column per class; higher is nearer. Light, and batched over ``*e``."""

    @abstractmethod
    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        """Named scalars of one training batch: ``loss`` is the sum to minimise, other keys are reported."""

    @property
    def frames_first(self) -> bool:
        """Whether the encoder sees each frame alone, so that frames that videos share need no second look:
        see ``FrameFirst``."""
        return False

    def recompute_activations(self, enabled: bool = True) -> None:
        """Trade time for memory in training: keep the inputs of large parts alone, and compute them again."""
        self.encoder.vision.checkpoint_blocks(enabled)

    @final
    def forward(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        """``losses``; called by the training loop so that wrappers see the call."""
        return self.losses(batch)

    @final
    def embed(self, episode: Episode) -> tuple[FrameFeatures, Task]:
        """``encode`` and ``prepare``: what ``score`` takes, for people who hold tensors."""
        text = self.text(episode.classes)
        if self.support_reads_text and text is not None:
            support = self.encode(episode.support, text[episode.support_labels])
            query = self.encode(episode.query)
        elif episode.support.shape[1:] == episode.query.shape[1:]:  # one tower pass for both
            both = self.encode(torch.cat([episode.support, episode.query]))
            support, query = both[: len(episode.support)], both[len(episode.support) :]
        else:
            support, query = self.encode(episode.support), self.encode(episode.query)
        return query, self.prepare(SupportSet(support, episode.support_labels, episode.way, text))

    @final
    def logits(self, episode: Episode) -> Float[Tensor, "Q N"]:
        """``embed`` and ``score`` in one call."""
        return self.score(*self.embed(episode))


class FrameFirst(FewShotMethod):
    """A method whose heavy part sees each frame alone: ``encode`` is ``refine`` of the encoder's frames.

    Overlapping windows of one video then share the frames of the encoder, and differ in ``refine`` alone.
    """

    @property
    def frames_first(self) -> bool:
        return True

    @abstractmethod
    def refine(self, raw: Float[Tensor, "B T D"]) -> FrameFeatures:
        """What becomes of the encoder's frames once they stand together as a video; light."""

    @final
    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> FrameFeatures:
        return self.refine(self.encoder.frames(clips))

    @final
    def both(self, episode: Episode) -> tuple[FrameFeatures, FrameFeatures]:
        """Support and query videos; in one pass of the tower where they are of one length."""
        parts = (episode.support, episode.query)
        if parts[0].shape[1:] != parts[1].shape[1:]:
            return self.encode(parts[0]), self.encode(parts[1])
        raw = self.encoder.frames(torch.cat(parts)).split([len(part) for part in parts])
        return self.refine(raw[0]), self.refine(raw[1])
