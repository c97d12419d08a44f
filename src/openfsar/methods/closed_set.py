"""M2-CLIP's heads for a fixed list of classes: one that names a video, one that fills in its name."""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from openfsar.encoders.adapters import Bottleneck
from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.prompts import fill
from openfsar.methods.episodic import distinct
from openfsar.methods.masked_words import MaskedWords
from openfsar.objectives import cross_entropy

TEMPLATE = ("A video of {}",)


class ClosedSet(nn.Module):
    """Either head may be absent.

    Args:
        classes: Their names, or only their number, and then nothing can be asked.
        token: Width of the class tokens that ``classifier`` reads, normed.
        words: See ``MaskedWords``, as for ``ratio`` and ``adapters``.
        visual, masked: Which heads there are.

    Raises:
        ValueError: A name is empty or occurs twice, or ``words`` are too few.
    """

    def __init__(
        self,
        classes: Sequence[str] | int,
        encoder: ClipEncoder,
        token: int,
        *,
        words: int,
        ratio: float,
        adapters: tuple[Bottleneck | None, Bottleneck | None],
        visual: bool,
        masked: bool,
    ) -> None:
        super().__init__()
        sentences = [] if isinstance(classes, int) or not classes else fill(classes, TEMPLATE)
        names = () if isinstance(classes, int) else distinct(classes)
        count = classes if isinstance(classes, int) else len(sentences)
        if count < 0:
            raise ValueError(f"option {classes=} must be the names of the classes, or their number, or 0")
        self.names = tuple(names)
        """In the order of the classifier's outputs; empty where they are not known."""
        self.classifier = linear_classifier(token, count) if count and visual else None
        self.masked_words = (
            MaskedWords(
                sentences,
                words,
                dim=encoder.dim,
                width=encoder.text_tower.width,
                ratio=ratio,
                before=adapters[0],
                between=adapters[1],
            )
            if count and masked
            else None
        )

    def __len__(self) -> int:
        """How many heads there are."""
        return sum(head is not None for head in (self.classifier, self.masked_words))

    def numbers(self, names: Sequence[str]) -> Int[Tensor, " N"] | None:
        """The number of each name among the classes; None where one of them is another."""
        if not set(names) <= set(self.names):
            return None
        return torch.tensor([self.names.index(name) for name in names])

    def filled_in(
        self, encoder: ClipEncoder, names: Sequence[str], frames: Sequence[Float[Tensor, "_ _ D"]]
    ) -> Float[Tensor, ""]:
        """Cross entropy over all masked words of the sentences about the videos.

        Args:
            names: Of the class of each video.
            frames: Of the videos, those of one length together.
        """
        assert self.masked_words is not None
        rest, parts = iter(fill(names, TEMPLATE)), []
        for part in frames:
            parts.append(self.masked_words(encoder, list(itertools.islice(rest, len(part))), part))
        logits, targets = map(torch.cat, zip(*parts, strict=True))
        # none is left where all stand behind the longest text the tower reads
        return cross_entropy(logits, targets) if len(targets) else logits.sum()


def linear_classifier(width: int, classes: int) -> nn.Module:
    """As published: half of the channels are dropped in training, weights start at a deviation of 0.02."""
    linear = nn.Linear(width, classes)
    nn.init.normal_(linear.weight, std=0.02)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.Dropout(0.5), linear)
