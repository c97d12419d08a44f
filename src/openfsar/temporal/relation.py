"""HyRSM's hybrid relations (Wang et al., CVPR 2022, arXiv 2204.13423), as released.

Inside a video, over its frames f, with one layer norm for queries, keys and values:

    f' = relu(f + drop(W_o attention(LN(f))))

Between the videos of a task, for each query on its own, over N + 1 tokens z, the mean frames of the class
prototypes and of the query:

    z' = relu(LN(z + drop(W_o attention(z))))       f'' = W_j [f' ; z']     for every frame f' of that video

The features of a class thus depend on the query they are compared with; those of a query on no other query.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class FrameRelation(nn.Module):
    """Self-attention over the frames of each video.

    Args:
        width: Feature width D.
        heads: Attention heads; must divide ``width``.
        dropout: On the output of the attention.

    Raises:
        ValueError: ``heads`` does not divide ``width``.
    """

    def __init__(self, width: int, *, heads: int = 8, dropout: float = 0.2) -> None:
        super().__init__()
        self.heads = _dividing(heads, width)
        self.norm = nn.LayerNorm(width)
        self.queries, self.keys, self.values = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Float[Tensor, "*b T D"]) -> Float[Tensor, "*b T D"]:
        found = _attention(self.norm(frames), (self.queries, self.keys, self.values), self.heads, 0.0)
        return F.relu(frames + self.dropout(self.out(found)))


class TaskRelation(nn.Module):
    """Attention among the classes of a task and one query, mixed into all their frames.

    Half precision stays as it is. The largest result has queries x classes x frames x D numbers: 2 MB in
    float32 for 25 queries, 5 classes, 8 frames and a width of 512.

    Args:
        width: Feature width D.
        heads: Attention heads; must divide ``width``.
        attention_dropout: On the weights of the attention.
        dropout: On its output.

    Raises:
        ValueError: ``heads`` does not divide ``width``.
    """

    def __init__(
        self, width: int, *, heads: int = 8, attention_dropout: float = 0.1, dropout: float = 0.05
    ) -> None:
        super().__init__()
        self.heads = _dividing(heads, width)
        self.queries, self.keys, self.values = (nn.Linear(width, width, bias=False) for _ in range(3))
        for layer in (self.queries, self.keys, self.values):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / (width + width // heads)))
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.join = nn.Linear(2 * width, width)
        self.attention_dropout = attention_dropout
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, query: Float[Tensor, "*e Q T D"], prototypes: Float[Tensor, "*e N U D"]
    ) -> tuple[Float[Tensor, "*e Q T D"], Float[Tensor, "*e Q N U D"]]:
        """Frames of the queries, and of the classes as each query sees them."""
        videos = query.mean(-2)[..., None, :]
        classes = prototypes.mean(-2)[..., None, :, :].expand(*videos.shape[:-2], -1, -1)
        tokens = self.tokens(torch.cat([classes, videos], -2))
        # W_j [f ; z] = W_f f + W_z z: a frame is mapped once, not once for each query
        of_frame, of_token = self.join.weight.chunk(2, 1)
        added = F.linear(tokens, of_token, self.join.bias)
        seen = F.linear(prototypes, of_frame)[..., None, :, :, :] + added[..., :-1, None, :]
        return F.linear(query, of_frame) + added[..., -1:, :], seen

    def tokens(self, tokens: Float[Tensor, "*b X D"]) -> Float[Tensor, "*b X D"]:
        """The attention alone."""
        dropout = self.attention_dropout if self.training else 0.0
        found = _attention(tokens, (self.queries, self.keys, self.values), self.heads, dropout)
        return F.relu(self.norm(tokens + self.dropout(self.out(found))))


def _attention(
    tokens: Float[Tensor, "*b X D"], maps: Sequence[nn.Linear], heads: int, dropout: float
) -> Float[Tensor, "*b X D"]:
    """``maps`` to queries, keys and values."""
    queries, keys, values = (layer(tokens).unflatten(-1, (heads, -1)).transpose(-3, -2) for layer in maps)
    found = F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
    return found.transpose(-3, -2).flatten(-2)


def _dividing(heads: int, width: int) -> int:
    if heads < 1 or width % heads:
        raise ValueError(f"option {heads=} must divide the feature width {width}")
    return heads
