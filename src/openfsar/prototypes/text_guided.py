"""MA-FSAR's text-guided prototype construction (TPCM), and the two designs its paper compares it with.

arXiv 2308.01532, figure 4, for a video's frames F and the text t of its class:

    q = F + t      kv = [t ; F]      u = q + MHA(q, kv, kv)      out = u + FFN(u)

Without text, as for every query: ``q = kv = F`` with the same weights. ``"multimodal"`` gives the text to the
keys and values alone, ``"unimodal"`` to nothing. One layer, shared: the ablation's 3.15 M parameters are one
layer of width 512 with a four times wider FFN and two layer norms. Where those norms sit is drawn nowhere:
here in front of attention and FFN, so that frames reach the matcher along an unnormed path and start near
CLIP's.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Guidance = Literal["text-guided", "multimodal", "unimodal"]


class TextGuidance(nn.Module):
    """One transformer layer over the frames of each video, guided by a text where there is one.

    Args:
        width: Feature width D.
        guidance: What the text enters.
        heads: Attention heads; must divide ``width``.
        expansion: Hidden width of the FFN as a multiple of ``width``.

    Raises:
        ValueError: ``heads`` does not divide ``width``.
    """

    def __init__(
        self, width: int, *, guidance: Guidance = "text-guided", heads: int = 8, expansion: int = 4
    ) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"option {heads=} must divide the feature width {width}")
        self.guidance = guidance
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width)
        )

    def forward(
        self, frames: Float[Tensor, "*b T D"], text: Float[Tensor, "*b D"] | None = None
    ) -> Float[Tensor, "*b T D"]:
        """Frames of the same shape; ``text`` is the feature of each video's class."""
        flat = frames.reshape(-1, *frames.shape[-2:])
        queries, seen = flat, flat
        if text is not None and self.guidance != "unimodal":
            token = text.reshape(-1, 1, text.shape[-1])
            seen = torch.cat([token, flat], 1)
            if self.guidance == "text-guided":
                queries = flat + token
        keys = self.norm_attention(seen)
        found, _ = self.attention(self.norm_attention(queries), keys, keys, need_weights=False)
        mixed = queries + found
        return (mixed + self.mlp(self.norm_mlp(mixed))).view_as(frames)
