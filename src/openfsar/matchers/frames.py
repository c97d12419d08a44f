"""How far every frame of a query is from every frame of a prototype: the table all frame matchers read."""

import torch
from jaxtyping import Float
from torch import Tensor


def frame_distances(
    query: Float[Tensor, "*b Q T D"], prototypes: Float[Tensor, "*b N U D"], *, eps: float = 0.0
) -> Float[Tensor, "*b Q N T U"]:
    """Cosine distance ``1 - q.p / (|q||p| + eps)`` of all pairs of frames, in 0..2.

    A zero vector is at distance 1 from everything. Half precision is computed and returned in float32, also
    under autocast; float64 stays. The published OTAM and CLIP-FSAR code uses ``eps=0.01``.
    """
    dtype = torch.promote_types(query.dtype, torch.float32)
    q, p = query.to(dtype).flatten(-3, -2), prototypes.to(dtype).flatten(-3, -2)
    with torch.autocast(q.device.type, enabled=False):  # three digits would blur a soft minimum of 0.1
        dots = q @ p.mT
    norms = _norms(q)[..., :, None] * _norms(p)[..., None, :]
    distances = torch.addcdiv(
        torch.ones_like(dots[..., :1, :1]), dots, norms + eps if eps else norms, value=-1
    )
    return (
        distances.unflatten(-1, prototypes.shape[-3:-1]).unflatten(-3, query.shape[-3:-1]).transpose(-3, -2)
    )


def _norms(vectors: Float[Tensor, "*b X D"]) -> Float[Tensor, "*b X"]:
    """Lengths, with 1 for zero vectors: their products with anything are 0, and 0 / 1 is a cosine of 0."""
    lengths = torch.linalg.vector_norm(vectors, dim=-1)
    return lengths.masked_fill(lengths == 0, 1)


def squared_distances(
    query: Float[Tensor, "*b Q D"], prototypes: Float[Tensor, "*b N D"]
) -> Float[Tensor, "*b Q N"]:
    """Squared Euclidean distance of all pairs of pooled vectors; half precision is computed in float32."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    return (query.to(dtype)[..., :, None, :] - prototypes.to(dtype)[..., None, :, :]).square().sum(-1)
