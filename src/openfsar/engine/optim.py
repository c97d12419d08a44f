"""Optimiser, parameter groups and learning rate of a recipe."""

from math import cos, pi
from typing import Any

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from openfsar.encoders.trainable import trainable_parameters
from openfsar.engine.recipe import Recipe


def decay_groups(module: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Every trainable parameter in exactly one of two groups: with weight decay and without.

    Raises:
        ValueError: if nothing trains.
    """
    parameters = list(trainable_parameters(module).values())
    if not parameters:
        raise ValueError(
            f"{recipe.label}: no parameter is trainable; choose an option such as options.tune=full"
        )
    decayed = [p for p in parameters if p.ndim > 1 or recipe.decay_vectors]
    spared = [p for p in parameters if not (p.ndim > 1 or recipe.decay_vectors)]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": spared, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(module: nn.Module, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser over the trainable parameters of ``module``."""
    groups = decay_groups(module, recipe)
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
    """One rate for all groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate
