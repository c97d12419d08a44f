"""MA-FSAR's adapted attention: time first, along the class tokens; then space, with what was found there.

Xing et al., "Multimodal Adaptation of CLIP for Few-Shot Action Recognition", arXiv 2308.01532, figure 3:

    c_t = c + A_T(attention_along_time(c))        c: the class tokens of the video's frames
    z   = [x ; c_t ; TextFC(text)]                the text token for support videos only
    x'  = first tokens of (z + A_M(attention_in_frame(z)))

The frozen attention (with its layer norm) serves both steps; only the axis differs. Support and query pass
the same adapters, with and without the text token.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from openfsar.encoders.adapters.bottleneck import Bottleneck
from openfsar.encoders.adapters.slots import AroundAdapter, Attend, BlockContext, TokenAdapter
from openfsar.interpolation import stretch


class MultimodalAdapter(AroundAdapter):
    """Fills ``around``. Any part may be absent; without all of them it is the plain attention step.

    Args:
        temporal: Adapter of the temporal step, without a skip, so that a zero one adds nothing to ``c``.
        local: Adapter of the attention inside a frame, with a skip, so that a zero one leaves the attention.
        text: From the width of text features to that of tokens.
    """

    identity_at_init = False  # even with zero adapters the extra tokens take part in the softmax

    def __init__(
        self, *, temporal: Bottleneck | None, local: Bottleneck | None, text: nn.Linear | None
    ) -> None:
        super().__init__()
        self.temporal, self.local, self.text = temporal, local, text

    def forward(
        self, tokens: Float[Tensor, "B T X D"], attend: Attend, context: BlockContext
    ) -> Float[Tensor, "B T X D"]:
        extra = []
        if self.temporal is not None:
            # SigLIP has no class token; the mean of a frame's patches stands for the frame
            frame = tokens[:, :, 0] if context.class_tokens else tokens.mean(2)
            extra.append(frame + self.temporal(attend(frame)))
        if self.text is not None and context.text is not None:
            extra.append(self.text(context.text)[:, None].expand(-1, tokens.shape[1], -1))
        wider = torch.cat([tokens, torch.stack(extra, 2)], 2) if extra else tokens
        # what attention makes of the extra tokens themselves is dropped, so it is not adapted either
        found = attend(wider)[:, :, : tokens.shape[2]]
        return tokens + (found if self.local is None else self.local(found))


class TemporalPosition(TokenAdapter):
    """Fills ``before`` of the first block: adds a learnt vector per frame to its tokens, zero at first.

    AIM (Yang et al., 2023) has one; MA-FSAR's published parameter count closes only with one.

    Args:
        frames: Rows learnt; videos of another length get interpolated ones.
        patches_only: Whether class tokens stay as they are (ActionCLIP's joint attention).
    """

    identity_at_init = True

    def __init__(self, frames: int, width: int, *, patches_only: bool = False) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(frames, width))
        self.patches_only = patches_only

    def forward(self, tokens: Float[Tensor, "B T X D"], context: BlockContext) -> Float[Tensor, "B T X D"]:
        added = stretch(self.table, tokens.shape[1])[:, None]
        if not self.patches_only:
            return tokens + added
        first = context.class_tokens
        return torch.cat([tokens[:, :, :first], tokens[:, :, first:] + added], 2)


class Scaled(TokenAdapter):
    """An adapter whose output is multiplied by a fixed number."""

    identity_at_init = True  # as the adapter it holds: see there

    def __init__(self, adapter: TokenAdapter, factor: float) -> None:
        super().__init__()
        self.adapter, self.factor = adapter, factor

    def forward(self, tokens: Float[Tensor, "*b X D"], context: BlockContext) -> Float[Tensor, "*b X D"]:
        return self.factor * self.adapter(tokens, context)
