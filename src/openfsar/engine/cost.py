"""What a method costs to train: parameters, memory and time of one episode, the same way for all methods."""

import statistics
import time
from dataclasses import dataclass
from itertools import chain

import torch

from openfsar.encoders.trainable import trainable_parameters
from openfsar.episode import ClipBatch, Episode
from openfsar.methods.base import FewShotMethod
from openfsar.methods.memory import Kept


@dataclass(frozen=True)
class Cost:
    """Of one training step of one batch."""

    trainable: int
    """Parameters that train."""
    memory: int
    """Bytes that training adds to the model and its input: what the forward pass keeps for the backward pass,
    and per trainable parameter its gradient and the two moments of Adam, in the parameter's type."""
    seconds: float
    """Forward and backward pass, median of the repeats; 0 without any."""

    def __str__(self) -> str:
        return (
            f"{self.trainable:,} trainable parameters, {self.memory / 1e6:,.0f} MB, "
            f"{self.seconds:.2f} s per episode"
        )


def training_cost(method: FewShotMethod, batch: Episode | ClipBatch, *, repeats: int = 3) -> Cost:
    """Measured where ``method`` is, in training mode. Gradients are dropped; mode and generator are restored.

    The bytes are counted, not measured: every storage that autograd keeps counts once, weights not at all, so
    the number is that of any device, up to the kernels it chooses.

    Raises:
        ValueError: nothing trains.
    """
    trained = trainable_parameters(method)
    if not trained:
        raise ValueError("nothing trains in this method, so that training costs nothing")
    kept = Kept()
    mode = method.training
    device = next(iter(trained.values())).device
    times = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        method.train()
        try:
            with kept.counting(beside=chain(method.parameters(), method.buffers())):
                loss = method(batch.to(device))["loss"]
            bytes_kept = kept.bytes
            del kept, loss
            for _ in range(repeats):
                began = clock(device)
                method(batch.to(device))["loss"].backward()
                times.append(clock(device) - began)
                method.zero_grad()
        finally:
            method.train(mode)
    state = sum(3 * x.numel() * x.element_size() for x in trained.values())
    count = sum(x.numel() for x in trained.values())
    return Cost(count, bytes_kept + state, statistics.median(times) if times else 0.0)


def clock(device: torch.device) -> float:
    """Seconds, once the device has done all it was asked."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter()
