"""What the trainings of both toy encoders share beside their questions: pixels, pace, checkpoints."""

import math
import os
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from rich.progress import Progress, TimeRemainingColumn
from torch import Tensor, nn

MEAN, STD = 0.45, 0.25
"""The toy encoders' own normalisation, one value for all channels; written to preprocessor_config.json."""
CHECKPOINT = "checkpoint.pt"


def progress_bar() -> Progress:
    """A bar with the time left, then with the time it took."""
    return Progress(*Progress.get_default_columns()[:-1], TimeRemainingColumn(elapsed_when_finished=True))


def normalise(images: UInt8[Tensor, "B H W C"]) -> Float[Tensor, "B C H W"]:
    """Bytes (B, H, W, 3) to an encoder's input (B, 3, H, W)."""
    return ((images.float() / 255 - MEAN) / STD).permute(0, 3, 1, 2)


def pace(step: int, steps: int, warmup: int) -> float:
    """Share of the learning rate at ``step``: a linear rise, then half a cosine."""
    return min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps))


def adamw(learner: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW that decays matrices and kernels, not biases, norms and scales."""
    decay = [p for p in learner.parameters() if p.ndim > 1]
    rest = [p for p in learner.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=1e-6)


def resume(folder: Path, learner: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Load the run's last checkpoint, if there is one; the steps done and the seconds they took."""
    path = folder / CHECKPOINT
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True, map_location="cpu")
    learner.load_state_dict(state["learner"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["seconds"]


def save_checkpoint(
    folder: Path, learner: nn.Module, optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    """Everything ``resume`` needs; whoever is killed while it is written keeps the one before."""
    path = folder / CHECKPOINT
    state = {
        "learner": learner.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)
