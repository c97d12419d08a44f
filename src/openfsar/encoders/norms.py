"""Batch normalisation for videos that must not depend on the videos beside them."""

from collections.abc import Iterator
from contextlib import contextmanager

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class FixedNorm(nn.BatchNorm2d):
    """Statistics of the pre-training, for good; weight and bias may train.

    Published code for few-shot episodes lets them run: support and query videos, which pass the tower apart,
    are then normed by different statistics, and a video's features depend on its neighbours.
    """

    def forward(self, input: Float[Tensor, "_ D H W"]) -> Float[Tensor, "_ D H W"]:
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(input, mean, var, self.weight, self.bias, False, 0.0, self.eps)


class StageNorm(nn.BatchNorm2d):
    """Batch normalisation whose statistics learn exactly where its weights do.

    The plain one would learn in a frozen tower too as soon as somebody says ``train()``: frozen features
    would depend on the batch and drift with every step.
    """

    recomputing = False
    """While True the statistics stay: a checkpointed pass has counted its batch the first time."""

    def forward(self, input: Float[Tensor, "_ D H W"]) -> Float[Tensor, "_ D H W"]:
        learning = self.training and self.weight.requires_grad
        mean, var = self.running_mean, self.running_var
        if learning and self.recomputing and mean is not None and var is not None:
            mean, var = mean.clone(), var.clone()  # None would save fewer tensors than the first pass did
        elif learning and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        momentum = 0.0 if self.momentum is None else self.momentum
        return F.batch_norm(input, mean, var, self.weight, self.bias, learning, momentum, self.eps)


@contextmanager
def recomputing(module: nn.Module) -> Iterator[None]:
    """Inside, every ``StageNorm`` of ``module`` leaves its statistics alone."""
    norms = [child for child in module.modules() if isinstance(child, StageNorm)]
    for norm in norms:
        norm.recomputing = True
    try:
        yield
    finally:
        for norm in norms:
            norm.recomputing = False
