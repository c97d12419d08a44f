"""Seconds and memory of one training step: adapters, all of a tower, LoRA, or a ResNet and what is on it.

    python benchmarks/step.py [--clip clip-vit-b-16] [--queries 5] [--frames 8] [--case "lora bf16"]
    python benchmarks/step.py --shots 5 --case "gghm fp32 recomputed"

One step is forward, backward, clipping and AdamW on a 5-way episode of random pixels. The weights are
random too, so no network is needed. "Recomputed" keeps little of a pass (of CLIP the input of each block, of
the ResNet systems the frame features) and computes the rest again in the backward pass. Every case runs in
a process of its own, so that peaks of memory do not mix: on CUDA the peak of allocated tensors, on a CPU the
peak of resident memory, Python and torch included.

Operations are those of tower and temporal layers without recomputation (matching is left out, it is under
1 %); their share is of the fastest product of two square matrices in the same process and precision.

The defaults are 30 videos or 240 frames, 17 to 25 TFLOP. In fp32 ViT-B/16 keeps 32 to 35 GB of them for the
backward pass, 2 GB where blocks are recomputed: a card of 24 GB needs that, or bf16 and fewer videos. On a
CPU choose less, such as ``--clip clip-vit-b-32 --queries 1 --frames 2``; bf16 is slow there without
instructions for it.
"""

import argparse
import json
import re
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import torch
from machine import matrix_peak, name_of, peak_memory, settle
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.utils.flop_counter import FlopCounterMode

from openfsar.encoders.trainable import count_parameters, trainable_parameters
from openfsar.episode import Episode
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import create

WAY = 5
NAMES = ("waving", "running", "jumping", "climbing", "sitting")


@dataclass(frozen=True)
class System:
    """A method, and what of it trains."""

    title: str
    method: str
    options: dict[str, Any]
    encoder: Literal["clip", "resnet"] = "clip"


SYSTEMS = {
    "adapters": System("MA-FSAR, adapters", "ma-fsar", {}),
    "full": System("CLIP-FSAR, full", "clip-fsar", {}),
    "lora": System("CLIP-FSAR, LoRA of rank 8", "clip-fsar", {"tune": "lora", "rank": 8}),
    "otam": System("OTAM, full", "otam", {}, "resnet"),
    "gghm": System("GgHM, full", "gghm", {}, "resnet"),
    "sloshnet": System("SloshNet, full", "sloshnet", {}, "resnet"),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    system: str
    precision: str
    blocks: str
    """"kept" or "recomputed"."""

    def __str__(self) -> str:
        return f"{self.system} {self.precision} {self.blocks}"


@dataclass(frozen=True)
class Measured:
    """What one process found."""

    trainable: int
    """Parameters."""
    seconds: list[float]
    """Of each timed step."""
    memory: int
    """Peak, in bytes."""
    operations: int
    """Floating point operations one step needs, without recomputation."""
    peak: float
    """Floating point operations per second in a product of two matrices."""


def make_episode(options: argparse.Namespace, size: int) -> Episode:
    """Random videos on the device."""
    dice = torch.Generator().manual_seed(0)

    def clips(videos: int) -> Tensor:
        shape = (videos, options.frames, 3, size, size)
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=dice)

    known, asked = (torch.arange(WAY).repeat_interleave(n) for n in (options.shots, options.queries))
    return Episode(clips(len(known)), known, clips(len(asked)), asked, NAMES).to(options.device)


def measure(case: Case, options: argparse.Namespace) -> Measured:
    """Build the method, warm up, time the steps; runs in a fresh process."""
    torch.set_num_threads(options.threads)
    system = SYSTEMS[case.system]
    method = create(system.method, encoder=vars(options)[system.encoder], pretrained=False, **system.options)
    method.to(options.device).train().recompute_activations(case.blocks == "recomputed")
    episode = make_episode(options, method.encoder.image_size)
    trained = list(trainable_parameters(method).values())
    optimizer = torch.optim.AdamW(trained, lr=1e-5)

    def step() -> float:
        start = time.perf_counter()
        with torch.autocast(options.device, DTYPES["bf16"], enabled=case.precision == "bf16"):
            loss = method(episode)["loss"]
        loss.backward()
        clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        settle(options.device)
        return time.perf_counter() - start

    for _ in range(3 if options.device == "cuda" else 1):
        step()
    seconds = [step() for _ in range(options.repeats)]
    memory = peak_memory(options.device)
    count = count_parameters(method).trainable
    return Measured(
        count,
        seconds,
        memory,
        operations(method, episode),
        matrix_peak(options.device, DTYPES[case.precision]),
    )


def operations(method: FewShotMethod, episode: Episode) -> int:
    """Of ``encode`` forward and backward, on tensors without content; the method is lost for other use.

    Without content attention is counted as two products, whatever kernel the device has for it.
    """
    method.to("meta").recompute_activations(False)
    text = torch.zeros(WAY, method.encoder.dim, device="meta") if method.support_reads_text else None
    with FlopCounterMode(display=False) as counter:
        for clips, names in ((episode.support, text), (episode.query, None)):
            method.encode(clips.to("meta"), names).frames.sum().backward()
    return counter.get_total_flops()


def in_own_process(case: Case, options: argparse.Namespace) -> Measured | str:
    """What was measured, or why nothing was."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(measure, case, options).result()
        except torch.OutOfMemoryError:
            return "out of memory"
        except BrokenProcessPool:  # how a system without memory ends it
            return "killed"


def row(case: Case, found: Measured | str) -> list[str]:
    """The cells of a line."""
    cells = [SYSTEMS[case.system].title, case.precision, case.blocks]
    if isinstance(found, str):
        return [*cells, "", found, "", "", ""]
    median = statistics.median(found.seconds)
    return [
        *cells,
        f"{found.trainable / 1e6:.2f} M",
        f"{median:.3g} ({min(found.seconds):.3g} to {max(found.seconds):.3g})",
        f"{found.memory / 1e9:.2f} GB",
        f"{found.operations / 1e12:.2f}",
        f"{found.operations / median / found.peak:.0%} of {found.peak / 1e12:.3g}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clip", default="clip-vit-b-16", help="encoder of the systems on CLIP")
    parser.add_argument("--resnet", default="resnet-50", help="encoder of the others")
    parser.add_argument("--shots", type=int, default=1, help="per class")
    parser.add_argument("--queries", type=int, default=5, help="per class")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5, help="timed steps")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--case",
        default="",
        help='expression to find in names such as "adapters fp32 kept" or "lora bf16 recomputed"',
    )
    parser.add_argument("--json", type=Path, help="file that gets one line per case")
    options = parser.parse_args()
    every = [Case(*parts) for parts in product(SYSTEMS, DTYPES, ("kept", "recomputed"))]
    cases = [case for case in every if re.search(options.case, str(case))]
    if not cases:
        raise SystemExit(f"no case has {options.case!r} in its name; they are {', '.join(map(str, every))}")
    machine = name_of(options.device, options.threads)
    videos = f"{WAY * options.shots} + {WAY * options.queries} videos of {options.frames} frames"
    title = f"One step on {options.clip} or {options.resnet}: {videos}; "
    table = Table(title=f"{title}{machine}, torch {torch.__version__}")
    for column in ("method", "precision", "blocks"):
        table.add_column(column)
    for column in ("trained", "seconds (range)", "peak memory", "TFLOP", "share of TFLOP/s"):
        table.add_column(column, justify="right")
    for case in track(cases, "measuring", transient=True):
        found = in_own_process(case, options)
        table.add_row(*row(case, found))
        if options.json:
            content = {"failed": found} if isinstance(found, str) else asdict(found)
            setting = {"encoder": vars(options)[SYSTEMS[case.system].encoder]} | {
                name: vars(options)[name] for name in ("shots", "queries", "frames", "device", "threads")
            }
            line = asdict(case) | content | setting | {"machine": machine, "torch": torch.__version__}
            with options.json.open("a") as file:
                file.write(json.dumps(line) + "\n")
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
