"""Naming a video by words, and what examples and words say together: for every method on CLIP.

With p_examples the softmax of ``compare`` and p_text that of scaled cosines with the names, the score is

    product:  a log p_text + (1 - a) log p_examples          CLIP-FSAR, arXiv 2303.02982; the default
    sum:      log(a p_text + (1 - a) p_examples)             MA-FSAR, arXiv 2308.01532

with a = ``text_share``, to be chosen on validation classes (engine/fusion.py does). It is a matter of the
prediction alone: ``losses`` say themselves what names have to do with training.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, final

import torch
from jaxtyping import Float
from torch import Tensor

from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.prompts import TEMPLATES
from openfsar.episode import FrameFeatures, Task
from openfsar.matchers import frame_distances
from openfsar.methods.base import FewShotMethod
from openfsar.methods.episodic import distinct, share_of

Mix = Literal["product", "sum"]


@dataclass(frozen=True, eq=False, repr=False)
class RefinedFeatures(FrameFeatures):
    """Frames behind a temporal module, and those of the tower, which the names are compared with."""

    raw: Float[Tensor, "*b T D"]


class NamingMethod(FewShotMethod):
    """A method that can name a video by words, without any example."""

    templates: Sequence[str] = TEMPLATES["photo"]
    """What class names are put into."""

    closed_set: ClassVar[bool] = False
    """Whether an option ``classes`` takes the names of the training classes; training fills it in."""

    def read(self, names: Sequence[str], templates: Sequence[str] | None = None) -> Float[Tensor, "N D"]:
        """Text features of class names: one row per name, as wide as ``named`` wants it.

        Args:
            templates: In place of the method's own, see encoders/prompts.py.

        Raises:
            ValueError: Two names are equal.
        """
        return self.clip.text(distinct(names), templates or self.templates)

    @property
    def reads_names(self) -> bool:
        """Whether ``read`` can be called: some encoders know no words, and some options forbid it."""
        return isinstance(self.encoder, ClipEncoder)

    @property
    def clip(self) -> ClipEncoder:
        """The encoder, as one that reads words.

        Raises:
            ValueError: It does not.
        """
        if not isinstance(self.encoder, ClipEncoder):
            raise ValueError(
                f"encoder {self.encoder.name!r} reads no class names; leave them out of the method's options "
                "(such as text_share=0), or choose a CLIP for an encoder"
            )
        return self.encoder

    def text_scale(self) -> Float[Tensor, ""]:
        """Factor on cosines with names: CLIP's own."""
        return self.clip.logit_scale.exp()

    def named(
        self, videos: FrameFeatures, text: Float[Tensor, "*e N D"], *, eps: float = 0.0
    ) -> Float[Tensor, "*e Q N"]:
        """Logits of videos from the names alone: scaled cosines of the tower's mean frame."""
        frames = videos.raw if isinstance(videos, RefinedFeatures) else videos.frames
        distances = frame_distances(frames.mean(-2, keepdim=True), text[..., None, :], eps=eps)
        return self.text_scale() * (1 - distances[..., 0, 0])

    def classify(self, videos: FrameFeatures, names: Sequence[str]) -> dict[str, Float[Tensor, "B A"]]:
        """Logits of videos over a list of class names, without any example, by the head that gave them.

        The first is the method's own answer. "text" is always there; a method that learnt more about these
        very classes has other heads beside it.

        Raises:
            ValueError: Two names are equal.
        """
        return {"text": self.named(videos, self.read(names))}


class FusedMethod(NamingMethod):
    """A method that compares a video with examples, and can name it by words as well."""

    mix: ClassVar[Mix] = "product"
    """How the two are fused."""

    text_share: float = 0.0
    """Share of the names in the score, 0..1. At 0 no name is read unless the method itself needs it."""

    @abstractmethod
    def compare(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        """Logits of each query from the examples alone."""

    def text(self, names: Sequence[str]) -> Float[Tensor, "N D"] | None:
        return self.read(names) if self.text_share else None

    @final
    def score(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        """The logits of ``compare`` where the share is 0, logarithms of fused probabilities otherwise.

        Raises:
            ValueError: The names have a share, and the task has none.
        """
        return self.with_names(self.compare(query, task), query, task)

    @final
    def with_names(
        self, compared: Float[Tensor, "*e Q N"], query: FrameFeatures, task: Task
    ) -> Float[Tensor, "*e Q N"]:
        """``score`` of what ``compare`` has found already."""
        if self.text_share == 0:
            return compared
        if task.text is None:
            raise ValueError(
                f"option text_share={self.text_share} needs class names; give SupportSet(..., "
                "text=method.text(names)), or set text_share=0"
            )
        return fuse(compared, self.named(query, task.text), self.text_share, self.mix)

    def set_text_share(self, share: float) -> None:
        """Change the share, in what is saved of the method too."""
        self.text_share = share_of("text_share", share)
        self.spec = replace(self.spec, options={**self.spec.options, "text_share": share})


def fuse(
    compared: Float[Tensor, "*e Q N"],
    named: Float[Tensor, "*e Q N"],
    share: float | Float[Tensor, "*a"],
    mix: Mix,
) -> Float[Tensor, "*b Q N"]:
    """The score from both kinds of logits; a tensor of shares is broadcast against them."""
    near = compared.log_softmax(-1)
    text = named.log_softmax(-1).to(near.dtype)
    share = torch.as_tensor(share, dtype=near.dtype, device=near.device)
    if mix == "product":
        return share * text + (1 - share) * near
    return torch.logaddexp(text + share.log(), near + (1 - share).log())
