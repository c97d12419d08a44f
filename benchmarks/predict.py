"""What naming one clip costs: a command from its start to the first answer, and many classes or examples.

    python benchmarks/predict.py [--repeats 5] [--threads 2] [--json predict.jsonl]

First ``openfsar predict`` on 10 s of 720p video with an untrained OTAM on ToyCLIP, in a fresh process each
time: the command as a whole, and the same steps one after the other in a process that tells the time. Loading
imports what builds the encoder. Files have been read before, so they come from memory.

Then ``judge`` of one video from its features, which is what grows with the examples: no pixels, random
features of 8 x 512, a process of its own for each size. "Grown" is by how much the peak of resident memory
grew over the calls, "kept" what the fitted classifier holds of its examples between them; the slope is that
of time between the two largest sizes, where 1 is linear.

What one answer costs once everything is loaded, from decoding to matching: benchmarks/label.py.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from apart import NARROW, Cost, cost_of, encoder_of, in_own_process, slope
from clips import make_clip
from machine import name_of
from rich.console import Console
from rich.progress import track
from rich.table import Table

from openfsar import Clip, FewShotVideoClassifier
from openfsar.classifier import Calibration, Examples
from openfsar.classifier.calibration import OWN
from openfsar.methods.fusion import FusedMethod
from openfsar.methods.zoo import build

FRAMES = 8
METHODS = ("protonet", "otam", "trx", "ma-fsar")
WAYS = (5, 20, 100, 300, 1000)
SHOTS = (1, 5, 20, 100)

COMMAND = "import sys; from openfsar.cli.main import main; sys.exit(main())"
"""What the installed ``openfsar`` does."""
STAGES = {
    "start Python, import torch": "import torch",
    "import openfsar": "import openfsar.cli.main; from openfsar.classifier import FewShotVideoClassifier",
    "load the model": "model = FewShotVideoClassifier.load(sys.argv[2])",
    "answer": "model.predict(sys.argv[3])",
}
"""Lines of a script that says after each how long it has been since the time in its first argument."""


@dataclass(frozen=True)
class Case:
    """One line of the second table."""

    method: str
    way: int
    shots: int


@dataclass(frozen=True)
class Judging:
    """What one process found."""

    cost: Cost
    kept: int
    """Bytes."""


def fresh(script: str, *arguments: str, threads: int) -> tuple[float, str]:
    """Seconds of a new Python process, and what it printed."""
    start = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    return time.perf_counter() - start, ended.stdout


def by_stage(model: str, clip: str, threads: int) -> list[float]:
    """Seconds of each stage in one process. The clock is the system's, so it runs on from here to there."""
    told = "print(time.perf_counter() - float(sys.argv[1]))"
    script = "\n".join(["import sys, time", *(f"{line}\n{told}" for line in STAGES.values())])
    _, printed = fresh(script, str(time.perf_counter()), model, clip, threads=threads)
    marks = [0.0, *map(float, printed.split())]
    return [after - before for before, after in zip(marks, marks[1:], strict=False)]


def first_answers(repeats: int, threads: int) -> dict[str, list[float]]:
    """Seconds of the whole command and of its stages."""
    with tempfile.TemporaryDirectory() as place:
        model, *paths = (Path(place, name) for name in ("model", "left.mp4", "right.mp4"))
        for number, path in enumerate(paths):
            make_clip(path, number)
        FewShotVideoClassifier().fit({path.stem: [path] for path in paths}).save(model)
        given = str(model), str(paths[0])
        fresh(COMMAND, "predict", *given, threads=threads)  # files are in memory from here on
        rounds = track(range(repeats), "starting", transient=True)
        found = [
            (fresh(COMMAND, "predict", *given, threads=threads)[0], *by_stage(*given, threads))
            for _ in rounds
        ]
    names = ("openfsar predict", *STAGES)
    return {name: list(column) for name, column in zip(names, zip(*found, strict=True), strict=True)}


def judging(case: Case, repeats: int, threads: int) -> Judging:
    """A classifier with random examples, asked about one video."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    method = build(case.method, encoder_of(NARROW))
    assert isinstance(method, FusedMethod)
    side = method.encoder.image_size
    clip = Clip(torch.zeros(FRAMES, 3, side, side, dtype=torch.uint8), torch.arange(FRAMES) / 25)
    model = FewShotVideoClassifier(method, device="cpu").fit({"one": clip, "other": clip})
    count = case.way * case.shots
    features = model.examples_.features.map(lambda x: torch.randn(count, *x.shape[1:]))
    names = tuple(f"class {number // case.shots:04d}" for number in range(count))
    examples = Examples(features, features, names, ("",) * count, (b"",) * count)
    # Choosing by leave-one-out is a matter of teaching; what is asked here does not depend on it.
    model._learn(examples, Calibration(method.text_share, OWN, 1.0))
    assert model.fitted_ is not None  # there are two classes or more
    cost = cost_of(lambda: model.judge(features[:1]), repeats)
    return Judging(cost, model.fitted_.task.nbytes)


def series() -> list[list[Case]]:
    """By method, more classes, then more examples: sizes rise."""
    return [
        line
        for method in METHODS
        for line in ([Case(method, way, 1) for way in WAYS], [Case(method, 5, shots) for shots in SHOTS])
    ]


def rows(line: Sequence[Case], found: Mapping[Case, Judging | None]) -> Iterator[list[str]]:
    """The cells of each case; the last knows the slope."""
    sizes, times = [], []
    for case in line:
        cells = [case.method, f"{case.way:,}", f"{case.shots:,}"]
        known = found[case]
        if known is None:
            yield [*cells, "killed", "", "", ""]
            continue
        sizes.append(case.way * case.shots)
        times.append(known.cost.median)
        cells += [str(known.cost), f"{known.cost.memory / 1e6:,.1f} MB", f"{known.kept / 1e6:,.2f} MB"]
        yield [*cells, f"{slope(sizes, times):.2f}" if case == line[-1] else ""]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="file that gets one line per measurement")
    options = parser.parse_args()
    about = {"machine": name_of("cpu", options.threads), "torch": torch.__version__}
    said = f"{about['machine']}, torch {about['torch']}"

    started = Table(title=f"First answer; {said}")
    for column in ("", "seconds (range)"):
        started.add_column(column, justify="right" if column else "left")
    first = first_answers(options.repeats, options.threads)
    for name, seconds in first.items():
        low, high = min(seconds), max(seconds)
        started.add_row(name, f"{statistics.median(seconds):.2f} ({low:.2f} to {high:.2f})")
    Console().print(started)

    judged = Table(title=f"One video judged from its features; {said}")
    for column in ("method", "way", "shots", "ms (range)", "grown", "kept", "slope"):
        judged.add_column(column, justify="left" if column == "method" else "right")
    cases = list(dict.fromkeys(case for line in series() for case in line))
    found = {
        case: in_own_process(judging, case, options.repeats, options.threads)
        for case in track(cases, "judging", transient=True)
    }
    for line in series():
        for cells in rows(line, found):
            judged.add_row(*cells, end_section=cells[-1] != "")
    Console(width=110).print(judged)

    if options.json:
        lines = [{"stage": name, "seconds": seconds} for name, seconds in first.items()]
        lines += [
            asdict(case) | (asdict(known) if known else {"failed": "killed"}) for case, known in found.items()
        ]
        options.json.write_text("".join(json.dumps(line | about) + "\n" for line in lines))


if __name__ == "__main__":
    main()
