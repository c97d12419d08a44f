"""What the methods share that look at feature maps: ResNet systems that read no names."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from openfsar.encoders.norms import recomputing
from openfsar.encoders.trainable import freeze
from openfsar.encoders.visual import VisualEncoder
from openfsar.episode import FrameFeatures
from openfsar.methods.base import FewShotMethod
from openfsar.methods.episodic import Tune, tuned

Features = TypeVar("Features", bound=FrameFeatures)

_AT_ONCE = 4
"""Videos whose activations exist at once where they are computed again: 3 GB of ResNet-50's at 8 frames."""


class SpatialMethod(FewShotMethod):
    """A method that starts from the maps of its encoder.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names. What comes behind the deepest map
            (CLIP's projection) stays frozen: it is not used.
        tune: Which part of the visual tower trains.
    """

    _recomputes = False

    def __init__(self, encoder: VisualEncoder, *, tune: Tune) -> None:
        super().__init__()
        self.encoder = tuned(encoder, tune)
        freeze(encoder.vision.pooling)

    def text(self, names: Sequence[str]) -> None:
        return None

    def recompute_activations(self, enabled: bool = True) -> None:
        """Of all that ``encode`` does, a few videos at a time."""
        self._recomputes = enabled

    def by_parts(self, function: Callable[[Tensor], Features], clips: UInt8[Tensor, "B T C H W"]) -> Features:
        """``function`` of all clips; where activations are computed again, of a few videos at a time.

        Batch normalisation that learns then sees these few at a time, as it does on several machines.
        """
        if not (self._recomputes and torch.is_grad_enabled()):
            return function(clips)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), recomputing(self)

        parts = [
            checkpoint(function, part, use_reentrant=False, context_fn=contexts)
            for part in clips.split(_AT_ONCE)
        ]
        return type(parts[0]).cat(parts)
