"""CLIP-FSAR's temporal transformer block (Wang et al., arXiv 2303.02982, section 3.3), as released.

    u = LN(x)     x1 = x + drop(W_o softmax(q k^T / sqrt(d/h)) v)     y = x1 + FF(x1)

One layer norm for queries, keys and values, whose maps have no bias; none in front of FF or behind it; no
position encoding and no mask.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class TemporalBlock(nn.Module):
    """Self-attention over the tokens of each video.

    Args:
        width: Feature width D.
        heads: Attention heads; must divide ``width``.
        hidden: Hidden width of the FF; published 2048 for every backbone.
        dropout: On the output of the attention.
        mlp_dropout: Twice inside the FF.

    Raises:
        ValueError: ``heads`` does not divide ``width``.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int = 8,
        hidden: int = 2048,
        dropout: float = 0.2,
        mlp_dropout: float = 0.05,
    ) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"option {heads=} must divide the feature width {width}")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.queries = nn.Linear(width, width, bias=False)
        self.keys = nn.Linear(width, width, bias=False)
        self.values = nn.Linear(width, width, bias=False)
        self.out = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Dropout(mlp_dropout),
            nn.Linear(hidden, width),
            nn.Dropout(mlp_dropout),
        )

    def forward(self, tokens: Float[Tensor, "*b X D"]) -> Float[Tensor, "*b X D"]:
        normed = self.norm(tokens)
        queries, keys, values = (
            layer(normed).unflatten(-1, (self.heads, -1)).transpose(-3, -2)
            for layer in (self.queries, self.keys, self.values)
        )
        found = F.scaled_dot_product_attention(queries, keys, values)
        mixed = tokens + self.out(found.transpose(-3, -2).flatten(-2))
        return mixed + self.mlp(mixed)
