"""Which parameters train: one call freezes, one releases, one collects them for optimiser and checkpoint."""

from dataclasses import dataclass
from typing import TypeVar

from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def freeze(module: Module) -> Module:
    """The same module with no trainable parameter."""
    return module.requires_grad_(False)


def unfreeze(module: Module) -> Module:
    """The same module with every parameter trainable."""
    return module.requires_grad_(True)


def trainable_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Every trainable parameter by its state-dict name; a shared one appears once. The rest is frozen."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def parameter_groups(module: nn.Module, **parts: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """The trainable parameters of ``module`` divided among named parts of it, each parameter in exactly one.

    Raises:
        ValueError: A trainable parameter of no part (it would be forgotten) or of two (stepped twice).
    """
    trainable = trainable_parameters(module)
    members = {part: {id(parameter) for parameter in child.parameters()} for part, child in parts.items()}
    groups: dict[str, dict[str, nn.Parameter]] = {part: {} for part in parts}
    for name, parameter in trainable.items():
        owners = [part for part, ids in members.items() if id(parameter) in ids]
        if len(owners) != 1:
            raise ValueError(
                f"trainable parameter {name!r} belongs to {owners or 'none'} of the parts {list(parts)}; "
                "freeze it, or name exactly one part that holds it"
            )
        groups[owners[0]][name] = parameter
    return groups


@dataclass(frozen=True)
class ParameterCount:
    """Numbers of scalars; the two add up to the whole module."""

    trainable: int
    frozen: int

    def __str__(self) -> str:
        total = self.trainable + self.frozen
        return f"{self.trainable:,} of {total:,} parameters trained ({self.trainable / max(total, 1):.1%})"


def count_parameters(module: nn.Module) -> ParameterCount:
    """How many scalars train and how many are frozen, shared ones counted once."""
    total = sum(parameter.numel() for parameter in module.parameters())
    trainable = sum(parameter.numel() for parameter in trainable_parameters(module).values())
    return ParameterCount(trainable, total - trainable)
