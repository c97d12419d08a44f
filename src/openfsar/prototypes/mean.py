"""Means over the members of each class: of features they are prototypes, of distances the merged shots."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


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
    """Summed by one product with the membership table, in float32 at least; returned in the values' dtype."""
    dtype = torch.promote_types(values.dtype, torch.float32)
    members = (labels[..., None, :] == torch.arange(way, device=labels.device)[:, None]).to(dtype)
    with torch.autocast(values.device.type, enabled=False):
        sums = members @ values.to(dtype)
    return (sums / members.sum(-1, keepdim=True)).to(values.dtype)
