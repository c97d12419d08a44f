"""Training against the plain way of public few-shot code, change by change; and what each system costs.

    python benchmarks/training.py [--method otam] [--data toy-motion] [--steps 20] [--device cuda]
    python benchmarks/training.py --systems [EXPRESSION] [--data toy-motion] [--steps 20]

The first form trains a toy recipe again and again, from the same weights on the same episodes. The plain way
(benchmarks/plain.py) decodes each video from its file at every step and takes its losses as public code does;
the rows below it add one change each, and the last is what ``openfsar train`` does (on CUDA a row with bf16
follows). All read ahead with the recipe's workers, every row in a process of its own, so that memory and its
settings do not mix.

Losses are compared with those of the first row that sees the same pixels in the same precision; a difference
of 0.001 or more ends the command with an error. Other pixels: a frame cache keeps 32 frames of a video as
JPEGs, and training draws among these instead of among all. So the cache comes first, and what is added behind
it is compared with the plain way on the cache. What cache and bf16 themselves change stands in brackets, as
the difference from the row before.

The second form measures the toy recipes of all methods, or of those whose name the expression finds, as they
are trained.

Seconds of a step are median and range, but for speed, ratio and stages all timed steps count together:
waiting for data that comes every other step would not show in a median. CPU seconds are those of training
and reading processes together, per step. Peak memory is that of the training process: on CUDA allocated
tensors, on a CPU resident memory, Python and torch included. "Memory" of the second form is what training
adds to a model (``openfsar.engine.cost``). Toy videos are small and short, so decoding them costs little:
of what the frame cache is worth elsewhere, this shows next to nothing.
"""

import argparse
import json
import re
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from math import inf
from multiprocessing import get_all_start_methods, get_context, set_start_method
from pathlib import Path
from typing import Any, TypeVar

import torch
from machine import name_of, peak_memory, settle
from plain import PlainLoss
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from openfsar.cli.heap import keep_freed_memory
from openfsar.data.batches import ClipDataset
from openfsar.data.episodes import EpisodeDataset, EpisodeSampler
from openfsar.encoders.trainable import trainable_parameters
from openfsar.engine.cost import Cost, training_cost
from openfsar.engine.loop import Batches
from openfsar.engine.memory import settle_recomputing
from openfsar.engine.open import make_method, open_base, open_manifest, open_videos
from openfsar.engine.optim import build_optimizer, learning_rate, set_learning_rate
from openfsar.engine.recipe import Recipe, load_recipe
from openfsar.methods.base import FewShotMethod

RECIPES = Path(__file__).parents[1] / "recipes"
WARM = 2
"""Steps before the clock starts: workers begin to read, and torch imports what its optimisers want."""
TOLERANCE = 1e-3
"""Of losses that are to be equal."""
STAGES = ("waiting", "forward", "backward", "optimiser")

T = TypeVar("T")


@dataclass(frozen=True)
class Way:
    """How a recipe is trained; the defaults are the plain way."""

    cache: bool = False
    text_kept: bool = False
    one_pass: bool = False
    own_losses: bool = False
    """The method's own instead of the plain ones, whatever the two fields above say."""
    memory_kept: bool = False
    bf16: bool = False

    @property
    def sees(self) -> tuple[bool, bool]:
        """Ways that agree in this have equal losses."""
        return self.cache, self.bf16


OURS = Way(cache=True, own_losses=True, memory_kept=True)
CHANGES = {
    "cache": "frame cache",
    "text_kept": "names read once",
    "one_pass": "one tower pass",
    "own_losses": "matching vectorised",
    "memory_kept": "freed memory kept",
    "bf16": "bf16",
}
LOSSES = {"otam": "one_pass", "clip-fsar": "text_kept", "ma-fsar": "text_kept"}
"""What a method's own losses do beside vectorised matching. OTAM reads no names; MA-FSAR's support reads them
in the tower, where queries must not; the temporal block of CLIP-FSAR draws its dropout pass by pass."""


@dataclass(frozen=True)
class Measured:
    """What one process found."""

    stages: list[dict[str, float]]
    """Seconds of each timed step by stage."""
    losses: list[float]
    """Of every step, those before the clock started included."""
    processor: float
    """CPU seconds per step."""
    peak: int
    """Of memory, in bytes."""

    @property
    def seconds(self) -> list[float]:
        """Of each timed step."""
        return [sum(step.values()) for step in self.stages]

    @property
    def mean(self) -> float:
        """Seconds per step, over all timed ones."""
        return statistics.mean(self.seconds)

    def mean_of(self, stage: str) -> float:
        """Seconds per step in one stage."""
        return statistics.mean(step[stage] for step in self.stages)

    @property
    def range(self) -> str:
        """Median and range of the seconds of a step, for people."""
        median, least, most = statistics.median(self.seconds), min(self.seconds), max(self.seconds)
        return f"{median:.3g} ({least:.3g} to {most:.3g})"


def measure(recipe: Recipe, way: Way, options: argparse.Namespace) -> Measured:
    """The first steps of a recipe one way; runs in a fresh process."""
    method, batches = opened(recipe, way, options)
    return train(method, batches, recipe, way, options)


def measure_system(recipe: Recipe, options: argparse.Namespace) -> tuple[Measured, Cost]:
    """The same our way, and what is kept for training; runs in a fresh process."""
    method, batches = opened(recipe, OURS, options)
    return train(method, batches, recipe, OURS, options), training_cost(method, batches[0], repeats=0)


def opened(recipe: Recipe, way: Way, options: argparse.Namespace) -> tuple[FewShotMethod, Batches]:
    """Method and batches as engine/train.py makes them, and the process set up."""
    torch.set_num_threads(options.threads)
    # a spawned process would spawn its readers too, each with seconds of imports that real training has not
    set_start_method(get_all_start_methods()[0], force=True)
    if way.memory_kept:
        keep_freed_memory()
    if not way.cache:
        recipe = replace(recipe, cache="")
    method = make_method(recipe, open_manifest(recipe)).to(options.device).train()
    settle_recomputing(method, recipe, progress=False)
    count = (WARM + options.steps) * recipe.episodes_per_step
    if recipe.training == "clips":
        base = open_base(recipe, method, "train")
        return method, ClipDataset(base, recipe.batch, count, seed=recipe.seed)
    videos = open_videos(recipe, method, "train")
    sampler = EpisodeSampler.of(
        videos, way=recipe.way, shot=recipe.shot, query=recipe.query, seed=recipe.seed
    )
    return method, EpisodeDataset(videos, sampler, count)


def train(
    method: FewShotMethod, batches: Batches, recipe: Recipe, way: Way, options: argparse.Namespace
) -> Measured:
    """The steps of engine/loop.py, without its reports and checkpoints."""
    trained = list(trainable_parameters(method).values())
    optimizer = build_optimizer(method, recipe)
    plain = PlainLoss(method, one_pass=way.one_pass, text_kept=way.text_kept)
    own, readers = 0.0, ended_seconds()
    feed = iter(DataLoader(batches, batch_size=None, num_workers=recipe.workers, generator=torch.Generator()))
    lap = laps(options.device)
    stages: list[dict[str, float]] = []
    losses: list[float] = []
    for step in range(WARM + options.steps):
        if step == WARM:
            own = time.process_time()
        next(lap)
        seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)
        total = 0.0
        torch.manual_seed(step)  # equal dropout in every way
        for _ in range(recipe.episodes_per_step):
            batch = next(feed).to(options.device)
            seconds["waiting"] += next(lap)
            with torch.autocast(options.device, torch.bfloat16, enabled=way.bf16):
                loss = method(batch)["loss"] if way.own_losses else plain(batch)
                loss = loss / recipe.episodes_per_step
            total += loss.item()
            seconds["forward"] += next(lap)
            loss.backward()
            seconds["backward"] += next(lap)
        set_learning_rate(optimizer, learning_rate(step, recipe))
        clip_grad_norm_(trained, recipe.clip_norm or inf)
        optimizer.step()
        optimizer.zero_grad()
        seconds["optimiser"] += next(lap)
        stages.append(seconds)
        losses.append(total)
    own = time.process_time() - own
    del feed  # ends the workers, whose seconds count from then on
    readers = ended_seconds() - readers
    processor = own / options.steps + readers / len(losses)
    return Measured(stages[WARM:], losses, processor, peak_memory(options.device))


def laps(device: str) -> Iterator[float]:
    """Seconds since the last one, with all that the device had to do; the first starts the clock."""
    last = time.perf_counter()
    while True:
        settle(device)
        now = time.perf_counter()
        yield now - last
        last = now


def ended_seconds() -> float:
    """CPU seconds of the processes that this one had and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def in_own_process(work: Callable[..., T], *arguments: Any) -> T:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def ladder(method: str, device: str) -> dict[str, Way]:
    """The ways by title, from the plain one on, each with one change more than the one before."""
    ways = {"plain": Way()}
    changes = ["cache", LOSSES[method], "own_losses", "memory_kept", *(["bf16"] if device == "cuda" else [])]
    for change in changes:
        *_, before = ways.values()
        ways[f"+ {CHANGES[change]}"] = replace(before, **{change: True})
    return ways


def compare(options: argparse.Namespace) -> None:
    """The first form."""
    recipe = load_recipe(RECIPES / options.method / f"{options.data}.yaml")
    open_manifest(recipe, progress=True)  # what has to be made is made before anything is timed
    table = table_of(
        f"{options.steps} steps of {recipe.label}, {recipe.workers} workers",
        ("way",),
        (
            "seconds a step (range)",
            *STAGES,
            "episodes/s",
            "CPU seconds",
            "peak memory",
            "ratio",
            "losses differ",
        ),
        options,
    )
    first: Measured | None = None
    before: Measured | None = None
    same: dict[tuple[bool, bool], Measured] = {}
    wrong = []
    for title, way in track(ladder(options.method, options.device).items(), "measuring", transient=True):
        found = in_own_process(measure, recipe, way, options)
        first = first or found
        new = way.sees not in same  # other losses than those of the row before are right then
        reference = before or found if new else same[way.sees]
        same.setdefault(way.sees, found)
        before = found
        difference = max(abs(a - b) for a, b in zip(found.losses, reference.losses, strict=True))
        if not new and not difference < TOLERANCE:
            wrong.append(f"{title}: {difference:.2g}")
        ratio = first.mean / found.mean
        table.add_row(
            title,
            found.range,
            f"{found.mean_of('waiting'):.3g} ({found.mean_of('waiting') / found.mean:.0%})",
            *(f"{found.mean_of(stage):.3g}" for stage in STAGES[1:]),
            f"{recipe.episodes_per_step / found.mean:.3g}",
            f"{found.processor:.3g}",
            f"{found.peak / 1e9:.2f} GB",
            f"{ratio:.2f}x",
            "" if found is first else f"({difference:.0e})" if new else f"{difference:.0e}",
        )
        line = {"recipe": recipe.label, "title": title} | asdict(way) | asdict(found)
        write(line | {"ratio": ratio, "difference": difference}, options)
    Console(width=165).print(table)
    if wrong:
        raise SystemExit(f"losses differ by {TOLERANCE} or more from the plain way's: {', '.join(wrong)}")


def systems(options: argparse.Namespace) -> None:
    """The second form."""
    paths = sorted(RECIPES.glob(f"*/{options.data}.yaml"))
    chosen = [path for path in paths if re.search(options.systems, path.parent.name)]
    if not chosen:
        names = ", ".join(path.parent.name for path in paths)
        raise SystemExit(f"no method has {options.systems!r} in its name; they are {names}")
    table = table_of(
        f"{options.steps} steps of each recipe on {options.data}",
        ("method", "encoder", "a step"),
        ("trained", "seconds a step (range)", "a second", "seconds per 1,000", "memory", "waiting"),
        options,
    )
    for recipe in map(load_recipe, track(chosen, "measuring", transient=True)):
        open_manifest(recipe, progress=True)
        found, cost = in_own_process(measure_system, recipe, options)
        if recipe.training == "clips":
            items, unit = recipe.batch * recipe.episodes_per_step, "clips"
        else:
            items, unit = (
                recipe.episodes_per_step,
                f"of {recipe.way} x ({recipe.shot} + {recipe.query}) videos",
            )
        table.add_row(
            recipe.method,
            recipe.encoder,
            f"{items} {unit}",
            f"{cost.trainable / 1e6:.2f} M",
            found.range,
            f"{items / found.mean:.3g}",
            f"{1000 * found.mean / items:.3g}",
            f"{cost.memory / 1e6:,.0f} MB",
            f"{found.mean_of('waiting') / found.mean:.1%}",
        )
        line = {"recipe": recipe.label, "items": items, "unit": recipe.training, "trained": cost.trainable}
        write(line | {"memory": cost.memory} | asdict(found), options)
    Console(width=165).print(table)


def table_of(
    title: str, names: tuple[str, ...], numbers: tuple[str, ...], options: argparse.Namespace
) -> Table:
    """Empty, with the machine in its title."""
    machine = name_of(options.device, options.threads)
    table = Table(title=f"{title}; {machine}, torch {torch.__version__}")
    for name in names:
        table.add_column(name)
    for number in numbers:
        table.add_column(number, justify="right")
    return table


def write(line: dict[str, Any], options: argparse.Namespace) -> None:
    """One line of the file, if one is asked for."""
    if options.json:
        setting = {name: vars(options)[name] for name in ("steps", "device", "threads")}
        setting |= {"machine": name_of(options.device, options.threads), "torch": torch.__version__}
        with options.json.open("a") as file:
            file.write(json.dumps(line | setting) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", choices=list(LOSSES), default="otam")
    parser.add_argument("--data", default="toy-motion", help="toy data set of the recipe")
    parser.add_argument("--steps", type=int, default=20, help="timed ones")
    parser.add_argument(
        "--systems", nargs="?", const="", help="measure every method, or those with this in their name"
    )
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="file that gets one line per row")
    options = parser.parse_args()
    if options.systems is None:
        compare(options)
    else:
        systems(options)


if __name__ == "__main__":
    main()
