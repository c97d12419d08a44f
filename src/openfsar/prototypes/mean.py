"""Means over the members of each class: of features they are prototypes, of distances the merged shots."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openfsar.grouping import by_class, members


def class_means(
    features: Float[Tensor, "*e S U D"], labels: Int[Tensor, "*e S"], way: int
) -> Float[Tensor, "*e N U D"]:
    """Prototypes: the mean of each class's support videos, frame position by frame position.

    Classes may differ in size; labels lie in 0..way-1 with every class present (``SupportSet`` checks both).
    """
    return _means(features.flatten(-2), labels, way).unflatten(-1, features.shape[-2:])


def merge_shots(
    distances: Float[Tensor, "*e Q X"], labels: Int[Tensor, "*e X"], way: int
) -> Float[Tensor, "*e Q N"]:
    """Distance to a class: the mean of the distances to its exemplars."""
    return _means(distances.mT, labels, way).mT


def _means(values: Float[Tensor, "*e X D"], labels: Int[Tensor, "*e X"], way: int) -> Float[Tensor, "*e N D"]:
    """In float32 at least; returned in the values' dtype."""
    order, present = members(labels, way)
    parts = by_class(values.to(torch.promote_types(values.dtype, torch.float32)), order, way)
    if order is None:
        return parts.mean(-2).to(values.dtype)
    sums = parts.masked_fill(~present[..., None], 0).sum(-2)
    return (sums / present.sum(-1, keepdim=True)).to(values.dtype)
