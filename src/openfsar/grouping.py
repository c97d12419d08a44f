"""Things with class labels, brought together class by class: what prototypes and metrics are made from."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def members(
    labels: Int[Tensor, "*e X"], way: int
) -> tuple[Int[Tensor, "*e N K"] | None, Bool[Tensor, "*e N K"]]:
    """Which things are of each class, in their order, padded with others to as many as the largest class has;
    and which places are no padding.

    None in place of the former where all lie class by class already and classes are of one size, as in
    episodes. Time and memory grow with the things, and with the classes times the largest of them.
    """
    count = labels.shape[-1]
    shots, rest = divmod(count, way)
    classes = torch.arange(way, device=labels.device)
    if not rest and bool((labels.unflatten(-1, (way, shots)) == classes[:, None]).all()):
        return None, labels.new_ones((), dtype=torch.bool).expand(*labels.shape[:-1], way, shots)
    sizes = labels.new_zeros(*labels.shape[:-1], way).scatter_add_(-1, labels, torch.ones_like(labels))
    place = torch.arange(int(sizes.max()), device=labels.device)
    starts = (sizes.cumsum(-1) - sizes)[..., None]
    order = labels.argsort(dim=-1, stable=True)[..., None, :].expand(*labels.shape[:-1], way, count)
    return order.gather(-1, (starts + place).clamp_max(count - 1)), place < sizes[..., None]


def by_class(
    values: Float[Tensor, "*e X D"], order: Int[Tensor, "*e N K"] | None, way: int
) -> Float[Tensor, "*e N K D"]:
    """The values that ``members`` names; a view where it names none."""
    if order is None:
        return values.unflatten(-2, (way, -1))
    return values.take_along_dim(order.flatten(-2)[..., None], -2).unflatten(-2, order.shape[-2:])
