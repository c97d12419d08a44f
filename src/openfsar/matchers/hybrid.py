"""Hybrid matching: frames as a set, and ordered pairs of frames as a set.

Xing et al., "Boosting Few-shot Action Recognition with Graph-guided Hybrid Matching", ICCV 2023, arXiv
2308.09346, section 3.4. With s and q frames of two videos, P sinusoidal positions, and |.| Euclidean:

    D_frame = mean_i min_j |s_i - q_j| + mean_j min_i |s_i - q_j|
    pair i  = [s_i1 + P_i1 ; s_i2 + P_i2],  i1 < i2
    D_pair  = mean_i min_j |pair_i - pair_j| + mean_j min_i |pair_i - pair_j|
    D       = alpha D_pair + (1 - alpha) D_frame

The square of |pair_i - pair_j| is the sum of two squares between frames, so one table of frames serves all
pairs and no pair is ever put together. The paper's alpha is unknown, as is the weight of its positions: 0.5
prefers neither, 0.1 is TRX's. A video of one frame holds it, as in TRX.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from openfsar.matchers.hausdorff import bi_mhm
from openfsar.matchers.tuples import POSITION_WEIGHT, sinusoids


def hybrid(
    query: Float[Tensor, "*b Q T D"], prototypes: Float[Tensor, "*b N U D"], *, alpha: float = 0.5
) -> Float[Tensor, "*b Q N"]:
    """Distance of every query to every prototype, symmetric in the two; half precision in float32.

    ``alpha`` is the share of the pairs; at 0 they are not computed, at 1 nothing else is. The largest tensor
    holds less than ``Q N T^2 U^2 / 4`` numbers, 80 kB for 5 queries, 5 prototypes and 8 frames.
    """
    dtype = torch.promote_types(query.dtype, torch.float32)
    q, p = query.to(dtype), prototypes.to(dtype)
    centre = p.mean((-3, -2), keepdim=True)  # of no consequence but for rounding: features share a large mean
    q, p = q - centre, p - centre
    parts = []
    if alpha > 0:
        parts.append(alpha * _pairs(q, p))
    if alpha < 1:
        parts.append((1 - alpha) * bi_mhm(_root(_squares(q, p)), reduction="mean"))
    return torch.stack(parts).sum(0)


def _pairs(
    query: Float[Tensor, "*b Q T D"], prototypes: Float[Tensor, "*b N U D"]
) -> Float[Tensor, "*b Q N"]:
    """D_pair."""
    squares = _squares(*(_held(x) + POSITION_WEIGHT * sinusoids(_held(x)) for x in (query, prototypes)))
    rows, columns = (
        torch.combinations(torch.arange(n, device=squares.device), 2) for n in squares.shape[-2:]
    )
    firsts, seconds = (squares[..., rows[:, i], :][..., columns[:, i]] for i in (0, 1))
    return bi_mhm(_root(firsts + seconds), reduction="mean")


def _squares(
    query: Float[Tensor, "*b Q T D"], prototypes: Float[Tensor, "*b N U D"]
) -> Float[Tensor, "*b Q N T U"]:
    """Squared Euclidean distances of all pairs of frames."""
    q, p = query.flatten(-3, -2), prototypes.flatten(-3, -2)
    with torch.autocast(q.device.type, enabled=False):  # distances are differences of like numbers
        dots = q @ p.mT
    table = q.square().sum(-1)[..., :, None] + p.square().sum(-1)[..., None, :] - 2 * dots
    return table.unflatten(-1, prototypes.shape[-3:-1]).unflatten(-3, query.shape[-3:-1]).transpose(-3, -2)


def _root(squares: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """With a gradient of zero where two vectors are equal, up to rounding."""
    return squares.clamp_min(torch.finfo(squares.dtype).eps).sqrt()


def _held(frames: Float[Tensor, "*b T D"]) -> Float[Tensor, "*b _ D"]:
    return frames if frames.shape[-2] > 1 else frames.expand(*frames.shape[:-2], 2, -1)
