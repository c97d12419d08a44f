"""The examples a classifier knows: features, labels, where each came from and what it looks like."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from openfsar.episode import FrameFeatures


@dataclass(frozen=True)
class Examples:
    """Any number of labelled videos, already encoded, on the CPU; the fields have one entry per video."""

    features: FrameFeatures
    """As support videos: ``(S, U, D)``."""
    asked: FrameFeatures
    """As queries; the same record unless the method reads the class name of support videos."""
    names: tuple[str, ...]
    """The label of each."""
    sources: tuple[str, ...]
    """The path each came from, or "clip" for frames in memory."""
    strips: tuple[bytes, ...]
    """A film strip of each, JPEG."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def classes(self) -> Shaped[np.ndarray, " N"]:
        """Every label once, sorted."""
        return np.unique(np.array(self.names, dtype=np.str_))

    @property
    def labels(self) -> Int[Tensor, " S"]:
        """The number of each video's label among ``classes``."""
        number = {name: i for i, name in enumerate(self.classes.tolist())}
        return torch.tensor([number[name] for name in self.names], dtype=torch.long)

    def __add__(self, more: "Examples") -> "Examples":
        one_role = self.asked is self.features and more.asked is more.features
        kind = type(self.features)
        features = kind.cat([self.features, more.features])
        return Examples(
            features,
            features if one_role else kind.cat([self.asked, more.asked]),
            self.names + more.names,
            self.sources + more.sources,
            self.strips + more.strips,
        )

    def take(self, numbers: Sequence[int]) -> "Examples":
        """Some of them, in this order."""
        index = torch.tensor(numbers, dtype=torch.long)
        features = self.features[index]
        return Examples(
            features,
            features if self.asked is self.features else self.asked[index],
            tuple(self.names[i] for i in numbers),
            tuple(self.sources[i] for i in numbers),
            tuple(self.strips[i] for i in numbers),
        )
