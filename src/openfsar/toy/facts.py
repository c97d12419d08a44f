"""Heads that ask an image for the facts it shows: what both toy encoders learn from first."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.toy.captions import Subject


class Facts(nn.Module):
    """A free vector per value of every fact, to guess it from an image embedding; thrown away in the end.

    Contrast with captions alone gets stuck: as long as images do not show where things are, the text tower
    makes all words for places alike, and then images have nothing to gain from showing it. After 1,000 steps
    "on the left" and "at the top" were at a cosine of 0.999. Free vectors cannot fall together, and an image
    tower that has met them first gives the text tower something to read.
    """

    def __init__(self, subjects: list[Subject], width: int) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        for seen in subjects:
            for fact, value in seen.facts().items():
                self.values.setdefault(fact, []).append(value)
        self.values = {fact: sorted(set(values)) for fact, values in self.values.items()}
        self.guess = nn.ModuleDict({fact: nn.Linear(width, len(v)) for fact, v in self.values.items()})

    def truth(self, fact: str, subjects: list[Subject]) -> Int[Tensor, " B"]:
        """Number of the value each subject has; -100, which no loss counts, where the images the heads
        were made for never show it, or there is nothing to say."""
        numbers = {value: number for number, value in enumerate(self.values[fact])}
        return torch.tensor([numbers.get(seen.facts().get(fact, ""), -100) for seen in subjects])

    def loss(self, image: Float[Tensor, "B D"], subjects: list[Subject]) -> Float[Tensor, ""]:
        """Cross entropy of the guesses, the sum over facts."""
        losses = []
        for fact in self.values:
            truth = self.truth(fact, subjects).to(image.device)
            if (truth >= 0).any():
                losses.append(F.cross_entropy(self.guess[fact](image), truth))
        return torch.stack(losses).sum()

    def accuracy(self, image: Float[Tensor, "B D"], subjects: list[Subject]) -> dict[str, float]:
        """Per fact, the share of right guesses among the images that show it."""
        rates = {}
        for fact in self.values:
            truth = self.truth(fact, subjects).to(image.device)
            if (truth >= 0).any():
                right = self.guess[fact](image).argmax(1) == truth
                rates[fact] = right[truth >= 0].float().mean().item()
        return rates
