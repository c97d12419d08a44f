"""Losses and training figures as pure functions of logits and labels."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Float[Tensor, "Q N"], labels: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """Mean over the queries, in float32 at least."""
    return F.cross_entropy(logits.to(torch.promote_types(logits.dtype, torch.float32)), labels)


def accuracy(logits: Float[Tensor, "Q N"], labels: Int[Tensor, " Q"]) -> Float[Tensor, ""]:
    """Fraction of queries whose highest logit is their label, 0..1, without gradient."""
    return (logits.argmax(-1) == labels).float().mean()
