"""How time and memory grow: encoding with frames and resolution, matching with frames, classes and examples.

    python benchmarks/growth.py [--encoder clip-vit-b-32] [--json results/growth.json]
    python benchmarks/growth.py --draw [--figure docs/performance/growth.svg]

The first form measures and writes its points, the second draws what was written. Weights and features are
random. Encoding is one video, through the plain tower ("otam") and the one MA-FSAR has adapted; where the
resolution grows, 8 frames through towers built for images of that size. Matching is ``score`` of one query
with features of width 512, 5-way and 1-shot and of 8 frames but for what grows; what each video or the
examples alone decide (``digest``, ``prepare``) is there already. Every size has a process of its own.

The theory is counted in the same process. Of time: operations of matrix products and attention, scaled to
pass through the smallest size, so that only its slope means something; below it is better. Of memory: the
most bytes of tensors that were alive at once, as they are; measured is by how much the peak of resident
memory grew, which hardly shows less than a megabyte. Where tensors are small, a pass costs the number of its
operations and not their size: then time lies below the line.
"""

import argparse
import json
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from apart import NARROW, Cost, cost_of, encoder_of, in_own_process, slope
from machine import name_of
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from openfsar.encoders.geometry import Geometry
from openfsar.encoders.weights import KNOWN
from openfsar.episode import SupportSet
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import build

ROOT = Path(__file__).parents[1]

Work = Literal["encode", "match"]
Axis = Literal["frames", "resolution", "way", "shots"]

FRAMES = (8, 16, 32, 64)
PANELS: Mapping[tuple[Work, Axis], Mapping[str, Sequence[int]]] = {
    ("encode", "frames"): dict.fromkeys(("otam", "ma-fsar"), FRAMES),
    ("encode", "resolution"): dict.fromkeys(("otam", "ma-fsar"), (96, 160, 224, 320, 448)),
    # 32 frames have 4,960 triples, and 64 have 41,664: their attention would take 70 times the memory
    ("match", "frames"): {"otam": FRAMES, "trx": (8, 16, 24, 32)},
    ("match", "way"): dict.fromkeys(("protonet", "otam", "trx"), (5, 10, 20, 50, 100)),
    ("match", "shots"): dict.fromkeys(("protonet", "otam", "trx"), (1, 5, 20, 50)),
}
"""Sizes by method, rising."""


@dataclass(frozen=True)
class Case:
    """One size of one curve."""

    work: Work
    axis: Axis
    method: str
    size: int


@dataclass(frozen=True)
class Point:
    """A case, what it cost, and what theory says of it."""

    case: Case
    cost: Cost
    operations: int
    """Of matrix products and attention."""
    held: int
    """The most bytes of tensors alive at once, beside those there were before."""


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, from their making to their end."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        given = {storage._cdata for storage in _storages((args, kwargs))}
        made = {storage._cdata: storage for storage in _storages(result) if storage._cdata not in given}
        for storage in made.values():  # what is not made is a view of something given
            self._count(storage.nbytes())
            weakref.finalize(storage, self._count, -storage.nbytes())
        return result

    def _count(self, size: int) -> None:
        self.now += size
        self.most = max(self.most, self.now)


def _storages(values: Any) -> Iterator[torch.UntypedStorage]:
    return (leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


TOWERS = {
    name: known.geometry
    for name, known in KNOWN.items()
    if isinstance(known.geometry, Geometry) and isinstance(known.geometry.vision_layers, int)
}
"""Transformers by name: those that adapters fit into, and whose attention grows with the resolution."""


def tower(name: str, side: int) -> Geometry:
    """The geometry of that name for images of about ``side`` pixels, in whole patches.

    Nobody asks the text tower anything, so it is small: building a CLIP's takes longer than a pass here.
    """
    known = TOWERS[name]
    whole = max(1, round(side / known.patch_size)) * known.patch_size
    return replace(known, image_size=whole, text_layers=1, vocabulary=258)


def encoding(case: Case, encoder: str) -> Callable[[], object]:
    """A pass of one video."""
    side = case.size if case.axis == "resolution" else 224
    method = build(case.method, encoder_of(tower(encoder, side)))
    frames = case.size if case.axis == "frames" else FRAMES[0]
    shape = (1, frames, 3, *[method.encoder.image_size] * 2)
    clips = torch.randint(0, 256, shape, dtype=torch.uint8)
    return lambda: method.encode(clips)


def matching(case: Case) -> Callable[[], object]:
    """``score`` of one query."""
    method: FewShotMethod = build(case.method, encoder_of(NARROW))
    sizes = {"frames": FRAMES[0], "way": 5, "shots": 1} | {case.axis: case.size}
    labels = torch.arange(sizes["way"]).repeat_interleave(sizes["shots"])
    side = method.encoder.image_size
    one = method.encode(torch.zeros(1, sizes["frames"], 3, side, side, dtype=torch.uint8))
    support, query = (
        method.digest(one.map(lambda x, n=count: torch.randn(n, *x.shape[1:]))) for count in (len(labels), 1)
    )
    task = method.prepare(SupportSet(support, labels, sizes["way"]))
    return lambda: method.score(query, task)


@torch.no_grad()
def measure(case: Case, encoder: str, repeats: int, threads: int) -> Point:
    """Time and memory first, then what is counted; runs in a fresh process."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    work = encoding(case, encoder) if case.work == "encode" else matching(case)
    cost = cost_of(work, repeats)
    with LiveBytes() as alive:
        work()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:  # others hide products
        work()
    return Point(case, cost, counter.get_total_flops(), alive.most)


def cases() -> Iterator[Case]:
    """Every size of every curve."""
    for (work, axis), curves in PANELS.items():
        for method, sizes in curves.items():
            yield from (Case(work, axis, method, size) for size in sizes)


def curves(points: Iterable[Point]) -> dict[tuple[Work, Axis], dict[str, list[Point]]]:
    """By panel and method, in rising order."""
    found: dict[tuple[Work, Axis], dict[str, list[Point]]] = {panel: {} for panel in PANELS}
    for point in points:
        found[point.case.work, point.case.axis].setdefault(point.case.method, []).append(point)
    return found


def rows(curve: Sequence[Point]) -> Iterator[list[str]]:
    """The cells of each point of a curve; the last knows the slopes."""
    sizes = [point.case.size for point in curve]
    measured = [point.cost.median for point in curve], [point.cost.memory for point in curve]
    counted = [point.operations for point in curve], [point.held for point in curve]
    for point in curve:
        case = point.case
        cells = [case.work, case.axis, case.method, str(case.size), str(point.cost)]
        cells += [f"{point.operations / 1e9:,.3g}"]
        cells += [f"{point.cost.memory / 1e6:,.1f}", f"{point.held / 1e6:,.1f}"]
        slopes = ["", ""]
        if point is curve[-1] and len(curve) > 1:
            slopes = [
                f"{slope(sizes, ours):.2f} ({slope(sizes, theirs):.2f})"
                for ours, theirs in zip(measured, counted, strict=True)
            ]
        yield [*cells, *slopes]


def load(path: Path) -> list[Point]:
    """What ``save`` wrote."""
    return [
        Point(Case(**line["case"]), Cost(**line["cost"]), line["operations"], line["held"])
        for line in json.loads(path.read_text())
    ]


def save(points: Sequence[Point], path: Path, about: dict[str, str]) -> None:
    """A list of points, each with what it was measured on."""
    path.write_text(json.dumps([asdict(point) | about for point in points], indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", choices=TOWERS, default="clip-vit-b-32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, default=ROOT / "results" / "growth.json", help="file of points")
    parser.add_argument("--draw", action="store_true", help="measure nothing; draw the points of --json")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "performance" / "growth.svg")
    options = parser.parse_args()
    if options.draw:
        from growth_figure import draw

        options.figure.parent.mkdir(exist_ok=True)
        options.figure.write_text(draw(curves(load(options.json))))
        return
    points = []
    for case in track(list(cases()), "measuring", transient=True):
        point = in_own_process(measure, case, options.encoder, options.repeats, options.threads)
        if point is None:
            print(f"{case} needed more memory than there is and is left out")
        else:
            points.append(point)
    machine = name_of("cpu", options.threads)
    save(points, options.json, {"encoder": options.encoder, "machine": machine, "torch": torch.__version__})
    table = Table(title=f"Growth; {options.encoder}, {machine}, torch {torch.__version__}")
    for column in ("work", "axis", "method"):
        table.add_column(column)
    for column in ("size", "ms (range)", "GFLOP", "MB", "counted", "slope of ms", "slope of MB"):
        table.add_column(column, justify="right")
    for panel in curves(points).values():
        for curve in panel.values():
            for cells in rows(curve):
                table.add_row(*cells, end_section=cells[-1] != "")
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
