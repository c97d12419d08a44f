"""What a run needs to go on after a kill at any moment, in one file that is whole or absent."""

import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from openfsar.data.files import whole_file

FORMAT = 1
_DAMAGE = (
    pickle.UnpicklingError,
    RuntimeError,
    OSError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
)
"""What reading bytes that are no checkpoint may raise."""

Entry = dict[str, int | float]
"""Named numbers of one step or one evaluation."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or belongs to another run."""


@dataclass
class History:
    """What happened so far. One entry per optimiser step, one per evaluation, in order."""

    train: list[Entry] = field(default_factory=list)
    """``step`` (1 is the first), ``loss`` and whatever else the method reports, ``lr``, ``grad_norm``."""
    validation: list[Entry] = field(default_factory=list)
    """``step`` (0 is untrained), ``accuracy`` and ``interval`` (95 %, half width), as fractions."""

    @property
    def best(self) -> Entry | None:
        """The evaluation with the highest accuracy, the earliest of equals; None before the first."""
        return max(self.validation, key=lambda entry: entry["accuracy"], default=None)

    @property
    def stale(self) -> int:
        """Evaluations since the best one."""
        best = self.best
        return sum(entry["step"] > best["step"] for entry in self.validation) if best else 0


@dataclass
class Checkpoint:
    """The state between two optimiser steps. Random numbers need none: they derive from seed and episode."""

    step: int
    """Optimiser steps done."""
    weights: dict[str, Tensor]
    optimizer: dict[str, Any]
    scaler: dict[str, Any]
    """Of float16's loss scaling; empty otherwise."""
    history: History
    recipe: dict[str, Any]
    """To refuse resuming another run."""


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """Everything training can change: trainable parameters and buffers, not the frozen weights."""
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    return {name: value for name, value in module.state_dict().items() if name not in frozen}


def load_trained_state(module: nn.Module, state: dict[str, Tensor]) -> None:
    """The inverse of ``trained_state``; frozen weights stay.

    Raises:
        CheckpointError: if the names differ from what trains in ``module``.
    """
    odd = sorted(set(state) ^ set(trained_state(module)))
    if odd:
        raise CheckpointError(
            f"the checkpoint and the model disagree about {', '.join(odd[:3])}; train afresh"
        )
    module.load_state_dict(state, strict=False)


def save_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Replace ``path`` in one step; whoever is killed or runs out of disk leaves it as it was."""
    # not asdict(checkpoint): that would deep-copy every tensor
    content = vars(checkpoint) | {"history": asdict(checkpoint.history), "format": FORMAT}
    with whole_file(path) as file:
        torch.save(content, file)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read what ``save_checkpoint`` wrote, onto the CPU.

    Raises:
        CheckpointError: if the file is damaged or of another format.
        OSError: if it cannot be opened.
    """
    with path.open("rb") as file:
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
            if content.pop("format") != FORMAT:
                raise ValueError("another format")
            return Checkpoint(**content | {"history": History(**content["history"])})
        except _DAMAGE as error:
            reason = str(error).split("\n")[0]
            raise CheckpointError(
                f"{path} is not a checkpoint of this version ({reason}); train afresh"
            ) from error
