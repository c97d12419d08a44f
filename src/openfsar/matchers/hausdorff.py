"""Bi-MHM, HyRSM's bidirectional mean Hausdorff metric (Wang et al., CVPR 2022): frames matched as sets."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


def bi_mhm(
    distances: Float[Tensor, "*b T U"], *, reduction: Literal["sum", "mean"] = "sum"
) -> Float[Tensor, "*b"]:
    """Every frame to its nearest frame of the other video, both ways; the order of frames plays no part.

    ``sum_t min_u d + sum_u min_t d`` as in the published code, or with means in place of the two sums as in
    the paper, which keeps the scale when the number of frames changes. Half precision is reduced in
    float32.
    """
    if reduction not in ("sum", "mean"):
        raise ValueError(f"{reduction=} is unknown; use 'sum' or 'mean'")
    table = distances.to(torch.promote_types(distances.dtype, torch.float32))
    reduce = torch.sum if reduction == "sum" else torch.mean
    return reduce(table.amin(-1), -1) + reduce(table.amin(-2), -1)
