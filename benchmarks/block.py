"""What each step of an adapted transformer block costs, against the operations it needs.

    python benchmarks/block.py [--encoder clip-vit-b-16] [--videos 8] [--frames 8]

Inference in float32, one block in the middle of the tower, random weights and tokens; support videos, so that
MA-FSAR's text token is there. "Share" is that of the fastest product of two matrices in the same process, and
steps that only move numbers have their bytes instead: read once and written once, against a plain copy.
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from machine import copy_rate, matrix_peak, name_of
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from openfsar import create
from openfsar.cli.heap import keep_freed_memory
from openfsar.encoders.adapters import AfterAttention, MultimodalAdapter, Ted
from openfsar.encoders.adapters.slots import AdaptedBlock, BlockContext
from openfsar.encoders.towers import VisionTower
from openfsar.methods.base import FewShotMethod

Steps = dict[str, Callable[[], Tensor]]
"""By what they do, in their order."""


def plain_steps(block: AdaptedBlock, tokens: Tensor) -> Steps:
    """Those of a block without adapters."""
    return {
        "norm and attention in each frame": lambda: attend(block, tokens),
        "norm and MLP": lambda: block.layer.mlp(block.layer.layer_norm2(tokens)),
    }


def ma_fsar_steps(block: AdaptedBlock, tokens: Tensor, context: BlockContext) -> Steps:
    """What MA-FSAR's adapters add or replace."""
    around, beside = cast(MultimodalAdapter, block.around), block.beside
    assert around.temporal is not None and around.local is not None and around.text is not None
    temporal, local, text = around.temporal, around.local, around.text
    assert beside is not None and context.text is not None
    read = context.text
    first = tokens[:, :, 0]
    extra = first[:, :, None].expand(-1, -1, 2, -1)
    wider = torch.cat([tokens, extra], 2)
    return {
        "class tokens along time, adapted": lambda: first + temporal(attend(block, first)),
        "text token": lambda: text(read)[:, None].expand(-1, tokens.shape[1], -1),
        "both joined to the sequence (moved)": lambda: torch.cat([tokens, extra], 2),
        "norm and attention in each frame, two tokens more": lambda: attend(block, wider),
        "local adapter": lambda: tokens + local(tokens),
        "joint adapter": lambda: beside(tokens, context),
    }


def m2_clip_steps(block: AdaptedBlock, tokens: Tensor, context: BlockContext) -> Steps:
    """What M2-CLIP's TED adds."""
    ted = cast(Ted, cast(AfterAttention, block.around).adapter)
    changes = tokens[:, :, 1:].flatten(0, 1).unflatten(1, context.grid)
    return {
        "temporal enhancement": lambda: ted.enhancement(tokens),
        "temporal difference": lambda: ted.difference(changes),
        "all of TED": lambda: ted(tokens, context),
    }


def steps(system: str, block: AdaptedBlock, tokens: Tensor, text: Tensor, tower: VisionTower) -> Steps:
    """What is of interest in a system's block, and the whole of it, which comes last."""
    context = BlockContext(text, tower.grid, tower.class_tokens)
    if system == "ma-fsar":
        parts = ma_fsar_steps(block, tokens, context)
    elif system == "m2-clip":
        parts = m2_clip_steps(block, tokens, context)
    else:
        parts = plain_steps(block, tokens)
    return parts | {"the whole block": lambda: block(tokens, context)}


def attend(block: AdaptedBlock, x: Tensor) -> Tensor:
    """As the block does, with the stock attention."""
    folded = block.layer.layer_norm1(x).flatten(0, -3)
    return block.layer.self_attn(folded)[0].view_as(x)


def operations(step: Callable[[], Tensor]) -> int:
    """Of a step on tensors without content."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def seconds(step: Callable[[], Tensor], repeats: int) -> float:
    """Median, after one call that does not count."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def middle(method: FewShotMethod) -> AdaptedBlock:
    """A block of the tower."""
    tower = cast(VisionTower, method.encoder.vision)
    return cast(AdaptedBlock, tower.blocks[len(tower.blocks) // 2])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="clip-vit-b-16")
    parser.add_argument("--videos", type=int, default=8)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    keep_freed_memory()  # as the commands do
    torch.set_num_threads(options.threads)
    peak, copied = matrix_peak("cpu", torch.float32), copy_rate("cpu")
    size = f"{options.videos} videos of {options.frames} frames"
    table = Table(
        title=f"One block of {options.encoder}, {size}; {name_of('cpu', options.threads)}, "
        f"{peak / 1e12:.3g} TFLOP/s, {copied / 1e9:.0f} GB/s copied"
    )
    for column in ("system", "step", "ms", "GFLOP", "share"):
        table.add_column(column, justify="left" if column in ("system", "step") else "right")
    settings: dict[str, dict[str, Any]] = {
        "otam": {},
        "ma-fsar": {},
        "m2-clip": {"classes": ["waving", "running"]},
    }
    whole: dict[str, tuple[float, int]] = {}
    for system, given in settings.items():
        method = create(system, encoder=options.encoder, pretrained=False, **given).eval()
        tower = cast(VisionTower, method.encoder.vision)
        tokens = torch.randn(
            options.videos, options.frames, tower.class_tokens + tower.grid[0] * tower.grid[1], tower.width
        )
        text = torch.randn(options.videos, method.encoder.dim)
        block = middle(method)

        with torch.inference_mode():
            without = copy.deepcopy(block).to("meta")
            counted = steps(system, without, tokens.to("meta"), text.to("meta"), tower)
            for name, step in steps(system, block, tokens, text, tower).items():
                took, count = seconds(step, options.repeats), operations(counted[name])
                share = count / took / peak if count else 2 * step().nbytes / took / copied
                kind = "" if count else " of a copy"
                table.add_row(system, name, f"{1e3 * took:,.1f}", f"{count / 1e9:,.2f}", f"{share:.0%}{kind}")
                whole[system] = took, count  # the last step is the whole block
        table.add_section()
    Console(width=130).print(table)
    base = whole.pop("otam")
    for system, (took, count) in whole.items():
        added = (took - base[0]) / (count - base[1]) * base[1] / base[0]
        print(
            f"{system}: {took / base[0]:.2f} of the plain block's time for {count / base[1]:.2f} of its "
            f"operations; an operation it adds costs {added:.2f} of one of the plain block"
        )


if __name__ == "__main__":
    main()
