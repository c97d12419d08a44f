"""What sees: clips to frame features and feature maps, with the normalisation that belongs to the weights."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn


class VisualTower(nn.Module, ABC):
    """Normalised pixels to one vector per frame, or to the maps on the way there."""

    widths: tuple[int, ...]
    """Channels of each level of ``maps``, shallow to deep."""

    _checkpointed = False

    @property
    def pooling(self) -> nn.Module:
        """The part that only ``forward`` needs: what comes behind the deepest map, if it has parameters."""
        return nn.Identity()

    def checkpoint_blocks(self, enabled: bool = True) -> None:
        """Trade time for memory: keep only the input of each block and recompute it in the backward pass."""
        self._checkpointed = enabled

    @property
    def recomputes(self) -> bool:
        """Whether this pass is to keep the inputs of blocks alone."""
        return self._checkpointed and torch.is_grad_enabled()

    @abstractmethod
    def forward(
        self, pixels: Float[Tensor, "B T C H W"], text: Float[Tensor, "B _"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """One vector per frame, not normalised. ``text`` is for adapters that read it."""

    @abstractmethod
    def maps(self, pixels: Float[Tensor, "B T C H W"]) -> tuple[Float[Tensor, "B T _ _ _"], ...]:
        """Feature maps ``(B, T, channels, rows, columns)`` of four levels, shallow to deep."""


class VisualEncoder(nn.Module):
    """A visual tower and the statistics of the images it was trained on.

    Args:
        vision: The tower.
        name: What the weights were loaded from.
        pretrained: Whether they were learnt; False for seeded random ones.
        image_size: Side of the square images, in pixels.
        dim: Width of ``frames``.
        mean, std: Statistics of the training images per channel, on the scale 0..1.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        vision: VisualTower,
        *,
        name: str,
        pretrained: bool,
        image_size: int,
        dim: int,
        mean: Sequence[float],
        std: Sequence[float],
    ) -> None:
        super().__init__()
        self.name, self.pretrained = name, pretrained
        self.vision = vision
        self.image_size, self.dim = image_size, dim
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1), persistent=False)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level of ``maps``, shallow to deep."""
        return self.vision.widths

    def set_statistics(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Other statistics than those its weights came with: a tower trained further may have had its own."""
        self.mean, self.std = (self.mean.new_tensor(values).view(-1, 1, 1) for values in (mean, std))

    def normalise(self, clips: UInt8[Tensor, "B T C H W"]) -> Float[Tensor, "B T C H W"]:
        """Pixels 0..255 to what the tower was trained on, in the parameters' dtype.

        Raises:
            ValueError: The clips are not bytes, or not squares of ``image_size`` pixels.
        """
        if clips.dtype != torch.uint8 or clips.shape[-2:] != (self.image_size, self.image_size):
            raise ValueError(
                f"encoder {self.name!r} needs uint8 clips of {self.image_size}x{self.image_size} pixels, got "
                f"{clips.dtype} {list(clips.shape)}; resize them, and leave the normalisation to the encoder"
            )
        return torch.addcmul(-self.mean / self.std, clips.to(self.mean.dtype), 1 / (255 * self.std))

    def frames(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """One vector per frame, not normalised. ``text`` is for adapters that read it.

        Raises:
            ValueError: The clips are not bytes, or not squares of ``image_size`` pixels.
        """
        return self.vision(self.normalise(clips), text)

    def maps(self, clips: UInt8[Tensor, "B T C H W"]) -> tuple[Float[Tensor, "B T _ _ _"], ...]:
        """Feature maps ``(B, T, channels, rows, columns)`` of four levels, shallow to deep, ``widths`` wide.

        A ResNet gives its four stages, each half as fine as the one before; a transformer the patch tokens
        after a quarter, half, three quarters and all of its blocks, the last behind its final norm.

        Raises:
            ValueError: The clips are not bytes, or not squares of ``image_size`` pixels.
        """
        return self.vision.maps(self.normalise(clips))
