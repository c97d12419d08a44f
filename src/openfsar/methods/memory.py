"""How much memory a training step takes, counted before any is taken, against what is free.

Counted on tensors without content, in a fraction of a second on any machine.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch
from torch import Tensor, UntypedStorage, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call

from openfsar.encoders.trainable import trainable_parameters
from openfsar.methods.base import FewShotMethod

SHARE = 0.6
"""Of free memory that may be planned for. Matching, the backward pass and data read ahead want some too, and
on a CPU a step with LoRA took 1.6 times what was counted; computing again costs a third more time, running
out of memory costs the run."""

_LIMITS = Path("/sys/fs/cgroup")
"""Where a container on Linux finds what it may use."""


@dataclass(frozen=True)
class Budget:
    """Of a training step that keeps all it computes, in bytes."""

    needed: int
    free: int

    @property
    def fits(self) -> bool:
        return self.needed <= SHARE * self.free

    def __str__(self) -> str:
        return f"{self.needed / 1e9:.1f} GB, and {self.free / 1e9:.1f} are free"


class Kept:
    """What a forward pass keeps for the backward pass; each storage counts once."""

    def __init__(self) -> None:
        self._storages: dict[int, UntypedStorage] = {}

    @property
    def bytes(self) -> int:
        return sum(storage.nbytes() for storage in self._storages.values())

    @contextmanager
    def counting(self, *, beside: Iterable[Tensor]) -> Iterator[None]:
        """Count what is kept inside, but for the tensors ``beside``: weights are there in any case."""
        known = [tensor.untyped_storage() for tensor in beside]
        there = {id(storage) for storage in known}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if id(storage) not in there:
                self._storages[id(storage)] = storage  # held, or a later one could have the same identity
            return tensor

        with saved_tensors_hooks(keep, _same):
            yield


class _Encoding(nn.Module):
    """``encode`` as a module, whose weights can be replaced for one call."""

    def __init__(self, method: FewShotMethod) -> None:
        super().__init__()
        self.method = method

    def forward(self, clips: Tensor) -> object:
        return self.method.encode(clips)


def training_budget(
    method: FewShotMethod,
    videos: int,
    frames: int,
    size: int = 0,
    *,
    device: torch.device,
    sharing: int = 1,
) -> Budget:
    """Whether a step on a batch of so many videos may keep its activations on this device.

    Args:
        size: Side of the frames in pixels; 0 is the encoder's own.
        sharing: Processes that divide the memory of a CPU among themselves.
    """
    return Budget(training_bytes(method, videos, frames, size), free_bytes(device, sharing))


def training_bytes(method: FewShotMethod, videos: int, frames: int, size: int = 0) -> int:
    """Bytes of weights, gradients, Adam's moments and what the tower keeps of the videos of one batch.

    In the weights' precision, and with the maps of attention, which fused kernels do not keep: a tenth to a
    third too much. The matcher, small beside the tower, is not in it.
    """
    side = size or method.encoder.image_size
    module = _Encoding(method)
    state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    empty = {
        name: torch.empty_like(tensor, device="meta").requires_grad_(tensor.requires_grad)
        for name, tensor in state.items()
    }
    clip = torch.empty(1, frames, 3, side, side, dtype=torch.uint8, device="meta")
    kept, mode = Kept(), method.training
    try:
        method.train()
        with torch.enable_grad(), kept.counting(beside=empty.values()):
            functional_call(module, empty, (clip,))
    finally:
        method.train(mode)
    trained = sum(x.nbytes for x in trainable_parameters(method).values())
    return sum(x.nbytes for x in state.values()) + 3 * trained + videos * kept.bytes


def free_bytes(device: torch.device, sharing: int = 1) -> int:
    """What one of ``sharing`` processes can still have of the device's memory; a GPU is each one's own."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # no such files, or no number in them: no limit
        most, used = (int((_LIMITS / name).read_text()) for name in ("memory.max", "memory.current"))
        free = min(free, most - used)
    return free // sharing


def _same(tensor: Tensor) -> Tensor:
    return tensor
