"""ActionCLIP's visual prompts inside the tower: blocks that see neighbouring frames, or all of them at once.

Wang et al., arXiv 2109.08472. Both bring no weights of their own; both hurt CLIP's features in the paper
(-5.4 and -2.7 points on Kinetics-400) and are here for comparison.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from openfsar.encoders.adapters.slots import AroundAdapter, Attend, BlockContext, TokenAdapter


class PatchShift(TokenAdapter):
    """Fills ``before`` of every block: some channels of the patches move by a frame (TSM, Lin et al., 2019).

    The first eighth of the channels comes from the next frame, the second from the previous one, and zeros
    enter at the ends of the video. Class tokens stay.
    """

    identity_at_init = False

    def forward(self, tokens: Float[Tensor, "B T X D"], context: BlockContext) -> Float[Tensor, "B T X D"]:
        patches = tokens[:, :, context.class_tokens :]
        eighth = tokens.shape[-1] // 8
        later, earlier, still = patches.split([eighth, eighth, tokens.shape[-1] - 2 * eighth], -1)
        later = F.pad(later[:, 1:], (0, 0, 0, 0, 0, 1))
        earlier = F.pad(earlier[:, :-1], (0, 0, 0, 0, 1, 0))
        shifted = torch.cat([later, earlier, still], -1)
        return torch.cat([tokens[:, :, : context.class_tokens], shifted], 2)


class JointSpaceTime(AroundAdapter):
    """Fills ``around`` of every block: one attention over the patches of all frames and one class token.

    The tokens keep their shape, so every frame carries the same class token: the first frame's enters the
    attention, and what becomes of it goes to all. Memory grows with the square of ``T``.
    """

    identity_at_init = False

    def forward(
        self, tokens: Float[Tensor, "B T X D"], attend: Attend, context: BlockContext
    ) -> Float[Tensor, "B T X D"]:
        first, frames = context.class_tokens, tokens.shape[1]
        patches = tokens[:, :, first:]
        sequence = torch.cat([tokens[:, 0, :first], patches.flatten(1, 2)], 1)[:, None]
        mixed = (sequence + attend(sequence))[:, 0]
        classes = mixed[:, None, :first].expand(-1, frames, -1, -1)
        return torch.cat([classes, mixed[:, first:].view_as(patches)], 2)
