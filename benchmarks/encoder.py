"""How much of the machine's peak a tower reaches, as it is and with adapters, in inference and in training.

    python benchmarks/encoder.py [--encoder clip-vit-b-32 --encoder clip-vit-b-16] [--frames 64]

A pass is 64 frames by default, as 8 videos of 8; weights and pixels are random. Operations are counted on
tensors without content; their share is of the fastest product of two matrices in the same process and
precision, and "per operation" is the time of a pass against that of the plain tower, divided by the same
ratio of operations: 1 says that adapters cost exactly the operations they add.
"""

import argparse
import json
import re
import statistics
import time
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
from machine import copy_rate, matrix_peak, name_of, settle
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from openfsar.cli.heap import keep_freed_memory
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import create

TOWERS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("otam", {"tune": "full"}),
    "ma-fsar": ("ma-fsar", {}),
    "m2-clip": ("m2-clip", {"classes": ["waving", "running"]}),
}
"""Methods that stand for a tower: plain and trained as a whole, or frozen with adapters."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    encoder: str
    tower: str
    work: str
    """"inference" or "training"."""
    precision: str

    def __str__(self) -> str:
        return f"{self.encoder} {self.tower} {self.work} {self.precision}"


@dataclass(frozen=True)
class Measured:
    """Of one case."""

    seconds: list[float]
    operations: int
    peak: float
    """Operations per second of the fastest product of two matrices."""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def passes(method: FewShotMethod, clips: Tensor, case: Case, device: str) -> float:
    """Seconds of one pass."""
    start = time.perf_counter()
    with torch.autocast(device, DTYPES["bf16"], enabled=case.precision == "bf16"):
        if case.work == "inference":
            with torch.inference_mode():
                method.encode(clips)
        else:
            loss = method.encode(clips).frames.float().sum()
    if case.work == "training":
        loss.backward()
        method.zero_grad()
    settle(device)
    return time.perf_counter() - start


def operations(method: FewShotMethod, clips: Tensor, work: str) -> int:
    """Of one pass, on tensors without content; the method is lost for other use."""
    method.to("meta")
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(work == "training"):
        frames = method.encode(clips.to("meta")).frames
        if work == "training":
            frames.sum().backward()
    return counter.get_total_flops()


def measure(case: Case, options: argparse.Namespace, peak: float) -> Measured:
    """Build the method, warm up, time the passes."""
    name, settings = TOWERS[case.tower]
    method = create(name, encoder=case.encoder, pretrained=False, **settings).to(options.device)
    method.train(case.work == "training")
    side = method.encoder.image_size
    shape = (max(1, options.frames // 8), min(8, options.frames), 3, side, side)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8).to(options.device)
    passes(method, clips, case, options.device)
    seconds = [passes(method, clips, case, options.device) for _ in range(options.repeats)]
    return Measured(seconds, operations(method, clips, case.work), peak)


def row(case: Case, found: Measured, plain: Measured | None) -> list[str]:
    """The cells of a line."""
    cells = [case.encoder, case.tower, case.work, case.precision]
    rate = found.operations / found.median
    cells += [f"{found.median:.3g} ({min(found.seconds):.3g} to {max(found.seconds):.3g})"]
    cells += [f"{found.operations / 1e12:.3g}", f"{rate / found.peak:.0%} of {found.peak / 1e12:.3g}"]
    if plain is None or plain is found:
        return [*cells, ""]
    per_operation = found.median / plain.median / (found.operations / plain.operations)
    return [*cells, f"{per_operation:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", action="append", help="may be given several times")
    parser.add_argument("--frames", type=int, default=64, help="of a pass")
    parser.add_argument("--repeats", type=int, default=5, help="timed passes")
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--case", default="", help='expression to find in names: "plain inference fp32"')
    parser.add_argument("--json", type=Path, help="file that gets one line per case")
    options = parser.parse_args()
    keep_freed_memory()  # as the commands do
    torch.set_num_threads(options.threads)
    encoders = options.encoder or ["clip-vit-b-32", "clip-vit-b-16", "clip-vit-l-14"]
    works = ("inference", "training")
    every = [Case(e, tower, work, p) for e, work, p, tower in product(encoders, works, DTYPES, TOWERS)]
    cases = [case for case in every if re.search(options.case, str(case))]
    if not cases:
        raise SystemExit(f"no case has {options.case!r} in its name; they are {', '.join(map(str, every))}")
    machine = name_of(options.device, options.threads)
    copied = copy_rate(options.device) / 1e9
    peaks = {p: matrix_peak(options.device, DTYPES[p]) for p in dict.fromkeys(c.precision for c in cases)}
    table = Table(
        title=f"{options.frames} frames; {machine}, torch {torch.__version__}, {copied:.0f} GB/s copied"
    )
    for column in ("encoder", "tower", "work", "precision"):
        table.add_column(column)
    for column in ("seconds (range)", "TFLOP", "share of TFLOP/s", "per operation"):
        table.add_column(column, justify="right")
    plain: dict[tuple[str, str, str], Measured] = {}
    for case in track(cases, "measuring", transient=True):
        found = measure(case, options, peaks[case.precision])
        alike = (case.encoder, case.work, case.precision)
        if case.tower == "plain":
            plain[alike] = found
        table.add_row(*row(case, found, plain.get(alike)))
        if options.json:
            setting = {name: vars(options)[name] for name in ("frames", "device", "threads")}
            line = asdict(case) | asdict(found) | setting | {"machine": machine, "torch": torch.__version__}
            with options.json.open("a") as file:
                file.write(json.dumps(line) + "\n")
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
