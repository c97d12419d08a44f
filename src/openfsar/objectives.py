"""Losses and training figures as pure functions of logits and labels."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Float[Tensor, "Q N"], labels: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """Mean over the queries, in float32 at least."""
    return F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels)


def multi_positive_kl(
    logits: Float[Tensor, "B N"], match: Bool[Tensor, "B N"], *, sharpness: float = 10.0
) -> Float[Tensor, ""]:
    """ActionCLIP's loss (arXiv 2109.08472, section 3.2): KL from targets to softmax, both ways, averaged.

    The target of a row is ``softmax(sharpness * match)`` over the columns, and likewise down each column, so
    that several videos of one name all count as right. Mean per row and per column, in float32 at least.
    """
    values = logits.to(torch.promote_types(logits.dtype, torch.float32))
    target = sharpness * match.to(values.dtype)
    ways = [
        F.kl_div(v.log_softmax(-1), t.log_softmax(-1), reduction="batchmean", log_target=True)
        for v, t in ((values, target), (values.mT, target.mT))
    ]
    return (ways[0] + ways[1]) / 2


def accuracy(logits: Float[Tensor, "Q N"], labels: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """Fraction of queries whose highest logit is their label, 0..1, without gradient."""
    return (logits.argmax(-1) == labels).float().mean()
