"""Optimiser, parameter groups and learning rate of a recipe."""

from math import cos, pi
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from openfsar.encoders.trainable import trainable_parameters
from openfsar.engine.recipe import Recipe


def optimizer_groups(module: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one group, by weight decay and by factor on the learning rate.

    Of several beginnings in ``lr_factors`` that fit a name the longest counts.

    Raises:
        ValueError: if nothing trains, or a beginning fits no trainable parameter.
    """
    parameters = trainable_parameters(module)
    if not parameters:
        raise ValueError(
            f"{recipe.label}: no parameter is trainable; choose an option such as options.tune=full"
        )
    for start in recipe.lr_factors:
        if not any(name.startswith(start) for name in parameters):
            parts = sorted({name.split(".")[0] for name in parameters})
            raise ValueError(
                f"{recipe.label}: lr_factors names {start!r}, and no trainable parameter begins so; they "
                f"begin with {', '.join(parts)}"
            )
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        fitting = [start for start in recipe.lr_factors if name.startswith(start)]
        factor = recipe.lr_factors[max(fitting, key=len)] if fitting else 1.0
        groups.setdefault((parameter.ndim > 1 or recipe.decay_vectors, factor), []).append(parameter)
    return [
        {"params": members, "weight_decay": recipe.weight_decay if decayed else 0.0, "factor": factor}
        for (decayed, factor), members in groups.items()
    ]


def build_optimizer(module: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser over the trainable parameters of ``module``."""
    groups = optimizer_groups(module, recipe)
    match recipe.optimizer:
        case "adam":
            return Adam(groups, lr=recipe.lr, betas=recipe.betas)
        case "adamw":
            return AdamW(groups, lr=recipe.lr, betas=recipe.betas)
        case "sgd":
            return SGD(groups, lr=recipe.lr, momentum=recipe.momentum)


def learning_rate(step: int, recipe: Recipe) -> float:
    """The rate of optimiser step ``step`` (from 0): a pure function, so resuming needs no scheduler."""
    if step < recipe.warmup_steps:
        return recipe.lr * (step + 1) / recipe.warmup_steps
    match recipe.schedule:
        case "constant":
            return recipe.lr
        case "cosine":
            length = max(1, recipe.steps - recipe.warmup_steps)
            return recipe.lr * (1 + cos(pi * (step - recipe.warmup_steps) / length)) / 2
        case "steps":
            return recipe.lr * recipe.gamma ** sum(step >= milestone for milestone in recipe.milestones)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """One rate for all groups, times the factor of each."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
