"""``precision: auto``: the number format of a run, chosen by timing and not by the name of the chip.

A CPU without instructions for bfloat16 multiplies it a hundred times slower than float32, one with them six
times faster, and no flag of torch tells the two apart.
"""

from dataclasses import replace
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list

from openfsar.engine.cost import clock
from openfsar.engine.live import bar
from openfsar.engine.loop import join_processes
from openfsar.engine.recipe import Precision, Recipe, load_recipe

GAIN = 1.5
"""By how much products must be faster in 16 bits. Casting and what stays in float32 take some of it back: a
tower whose products were six times faster was three times as fast."""

ENOUGH = 0.005
"""Seconds of a product that is long enough to time."""


def settle(recipe: Recipe, kept: Path, *, resume: bool, progress: bool) -> Recipe:
    """The recipe with ``auto`` replaced by what is fastest here; a run that is continued keeps its own.

    In several processes the first one decides, for all of them.

    Args:
        kept: The recipe of the run so far, if there is one.
        progress: Say what was found, on stderr.
    """
    if recipe.precision != "auto":
        return recipe
    state = join_processes()
    name: Precision = "fp32"
    if state.is_main_process:
        if resume and kept.is_file():
            name, said = load_recipe(kept).precision, "as this run began"
        else:
            assert state.device is not None  # for pyright
            name, gain = fastest(state.device)
            said = f"16 bits multiply {gain:.2g} times as fast as fp32 here"
        if progress:
            bar(progress).console.print(f"precision {name}: {said}", highlight=False, soft_wrap=True)
    return replace(recipe, precision=broadcast_object_list([name])[0])


def fastest(device: torch.device) -> tuple[Precision, float]:
    """The format to train in, and how many times as fast as float32 the 16 bits of this device multiply.

    Takes a second at most. A CUDA device without bfloat16 of its own is asked for float16.
    """
    half: torch.dtype = torch.bfloat16
    name: Precision = "bf16"
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        half, name = torch.float16, "fp16"
    gain = product_rate(device, half) / product_rate(device, torch.float32)
    return (name if gain >= GAIN else "fp32"), gain


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating point operations per second of a product of two square matrices.

    They grow until a product takes long enough to be timed.
    """
    rate = 0.0
    for side in (256, 512, 1024, 2048, 4096):
        a, b = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(2))
        seconds = min(_seconds(a, b) for _ in range(3))
        rate = 2 * side**3 / seconds
        if seconds > ENOUGH:
            break
    return rate


def _seconds(a: torch.Tensor, b: torch.Tensor) -> float:
    began = clock(a.device)
    torch.mm(a, b)
    return clock(a.device) - began
