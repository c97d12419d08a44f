"""Whether a compiler or another runtime makes a tower faster than torch does as it is.

    python benchmarks/compilers.py [--encoder toyclip --encoder clip-vit-b-32] [--work training] [--frames 64]

Inference: torch, ``torch.compile``, and where they are installed OpenVINO (``pip install openvino``) and ONNX
Runtime (``pip install onnx onnxruntime``), all in float32 on the same pixels and random weights. They take
turns, a few passes each: threads of one that wait for work would slow the first pass of the next. Training:
torch, and ``torch.compile`` of each block, forward and backward, all weights trained. Outputs, or gradients,
must agree with torch's to a ten-thousandth of the largest number, or the command ends with an error. "Before"
is what the first two passes took, with compiling.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

import torch
from machine import name_of
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from openfsar.cli.heap import keep_freed_memory
from openfsar.encoders.towers import VisionTower
from openfsar.encoders.weights import load_encoder

TOLERANCE = 1e-4
"""Of the largest number."""
ROUNDS = 3
"""Turns of each way."""

Pass = Callable[[], Tensor]
"""One pass, and what is to be equal."""


@dataclass(frozen=True)
class Way:
    """One line of the table."""

    encoder: str
    frames: int
    work: str
    """"inference" or "training"."""
    by: str


@dataclass
class Measured:
    """Of one way."""

    run: Pass
    result: Tensor
    """Frames of an inference, all gradients of a training pass."""
    before: float
    """Seconds of the first two passes."""
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def begin(way: Way) -> Measured:
    """Build it and pass twice."""
    torch.manual_seed(0)
    encoder = load_encoder(way.encoder, pretrained=False)
    tower = encoder.vision
    if not isinstance(tower, VisionTower):
        raise SystemExit(f"{way.encoder!r} is no transformer; take toyclip or a clip-vit")
    pixels = torch.randn(1, way.frames, 3, encoder.image_size, encoder.image_size)
    run = training(tower, pixels, way.by) if way.work == "training" else WAYS[way.by](tower, pixels)
    start = time.perf_counter()
    run()
    result = run().clone()
    return Measured(run, result, time.perf_counter() - start)


def training(tower: VisionTower, pixels: Tensor, by: str) -> Pass:
    """Forward and backward pass of all weights; gradients stay until the next one."""
    tower.train().requires_grad_()
    if by == "torch.compile":
        for block in tower.blocks:
            block.compile()

    def step() -> Tensor:
        tower.zero_grad()
        tower(pixels).square().mean().backward()
        return torch.cat([p.grad.flatten() for p in tower.parameters() if p.grad is not None])

    return step


def _torch(tower: VisionTower, pixels: Tensor) -> Pass:
    return lambda: tower(pixels)


def _compiled(tower: VisionTower, pixels: Tensor) -> Pass:
    tower.compile()
    return lambda: tower(pixels)


def _openvino(tower: VisionTower, pixels: Tensor) -> Pass:
    import openvino  # pyright: ignore[reportMissingImports]

    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    settings |= {"ENABLE_CPU_PINNING": False}  # or this process stays on one core for good
    model = openvino.convert_model(tower, example_input=pixels)
    request = openvino.compile_model(model, "CPU", settings).create_infer_request()
    return lambda: torch.from_numpy(request.infer({0: pixels.numpy()})[0])


def _onnxruntime(tower: VisionTower, pixels: Tensor) -> Pass:
    import onnxruntime  # pyright: ignore[reportMissingImports]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "tower.onnx")
        torch.onnx.export(tower, (pixels,), path, dynamo=False, opset_version=17)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: torch.from_numpy(session.run(None, {name: pixels.numpy()})[0])


WAYS = {
    "torch": _torch,
    "torch.compile": _compiled,
    "OpenVINO": _openvino,
    "ONNX Runtime": _onnxruntime,
}
"""Makers of an inference pass; the first is what the others are compared with."""
MODULES = {"OpenVINO": ("openvino",), "ONNX Runtime": ("onnx", "onnxruntime")}
"""What they need."""


def ways_of(encoder: str, options: argparse.Namespace) -> list[Way]:
    """All there are here."""
    names = [name for name in WAYS if all(map(find_spec, MODULES.get(name, ())))]
    if options.work == "training":
        names = [name for name in names if name not in MODULES]
    return [Way(encoder, options.frames, options.work, name) for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", action="append", help="may be given several times; toyclip by default")
    parser.add_argument("--work", choices=["inference", "training"], default="inference")
    parser.add_argument("--frames", type=int, default=64, help="of a pass")
    parser.add_argument("--repeats", type=int, default=5, help="timed passes of each turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="file that gets one line per row")
    options = parser.parse_args()
    keep_freed_memory()  # as the commands do
    torch.set_num_threads(options.threads)
    machine = name_of("cpu", options.threads)
    table = Table(title=f"{options.work}, {options.frames} frames; {machine}, torch {torch.__version__}")
    for column in ("encoder", "by", "before, s", "seconds (range)", "times as fast", "difference"):
        table.add_column(column)
    wrong = []
    for encoder in options.encoder or ["toyclip"]:
        with torch.set_grad_enabled(options.work == "training"):
            found = {way: begin(way) for way in ways_of(encoder, options)}
            for each in track([*found.values()] * ROUNDS, encoder, transient=True):
                each.run()
                for _ in range(options.repeats):
                    start = time.perf_counter()
                    each.run()
                    each.seconds.append(time.perf_counter() - start)
        plain = found[next(iter(found))]
        for way, each in found.items():
            difference = float((each.result - plain.result).abs().max() / plain.result.abs().max())
            if difference > TOLERANCE:
                wrong.append(f"{encoder} by {way.by}: {difference:.1g}")
            span = f"{each.median:.3g} ({min(each.seconds):.3g} to {max(each.seconds):.3g})"
            ratio = f"{plain.median / each.median:.2f}"
            table.add_row(encoder, way.by, f"{each.before:.1f}", span, ratio, f"{difference:.0e}")
            if options.json:
                line = asdict(way) | {"before": each.before, "seconds": each.seconds, "machine": machine}
                with options.json.open("a") as file:
                    file.write(json.dumps(line | {"torch": torch.__version__}) + "\n")
    Console(width=130).print(table)
    if wrong:
        raise SystemExit(f"outputs differ by more than {TOLERANCE}: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
