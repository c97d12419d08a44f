"""Which parts of a system carry it, on a toy data set: every row of a study, several seeds, unseen classes.

    python benchmarks/ablations.py gghm [--seeds 3] [--steps 100] [--results results/results.csv]

A row is the recipe of the system with some values changed; everything else, the episodes of the evaluation
included, is the same. A training episode has one query per class. The last state of each run is measured,
none is selected. Runs lie in runs/ablations, and those that are there already are not done again. The
interval of a row is Student's over its seeds; that of a difference is of the differences at equal seeds.
"""

import argparse
import json
import statistics
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from openfsar.cli.heap import keep_freed_memory
from openfsar.encoders.trainable import trainable_parameters
from openfsar.engine.evaluate import Result, evaluate
from openfsar.engine.open import make_method, open_manifest, open_videos
from openfsar.engine.recipe import Recipe, load_recipe
from openfsar.engine.results import append_result
from openfsar.engine.train import fit

QUANTILE = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's 97.5 % by number of seeds."""

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Study:
    """Rows of changes by name; differences are to the first one."""

    recipe: str
    rows: dict[str, dict[str, object]]


BASE = {"dense": False, "graph": False, "alpha": 0.0}
SLOSH = {"fusion": "searched", "long": True, "short": True}

STUDIES = {
    "gghm": Study(
        "gghm",
        {
            "base: frames alone": BASE,
            "pairs alone": BASE | {"alpha": 1.0},
            "+ hybrid": BASE | {"alpha": 0.5},
            "+ LDTM": BASE | {"dense": True},
            "+ graph": BASE | {"graph": True},
            "all": {},
            "all, one graph for all queries": {"queries": "together"},
        },
    ),
    "sloshnet": Study(
        "sloshnet",
        {
            "top level": SLOSH | {"fusion": "top"},
            "sum of levels": SLOSH | {"fusion": "sum"},
            "searched, no modules": SLOSH | {"long": False, "short": False},
            "searched + long": SLOSH | {"short": False},
            "searched + short": SLOSH | {"long": False},
            "searched + both": SLOSH,
        },
    ),
}


@dataclass(frozen=True)
class Job:
    """One run of a row."""

    study: str
    row: str
    seed: int
    data: str
    steps: int

    @property
    def folder(self) -> Path:
        name = "".join(c if c.isalnum() else "-" for c in self.row)
        return Path("runs", "ablations", f"{self.study}-{self.data}-{self.steps}", f"{name}-{self.seed}")

    @property
    def recipe(self) -> Recipe:
        study = STUDIES[self.study]
        recipe = load_recipe(ROOT / "recipes" / study.recipe / f"{self.data}.yaml")
        return replace(
            recipe,
            options=recipe.options | study.rows[self.row],
            seed=self.seed,
            query=1,
            steps=self.steps,
            warmup_steps=min(recipe.warmup_steps, self.steps // 10),
            eval_every=self.steps,
            eval_episodes=100,
            workers=0,
        )


def run(job: Job, episodes: int) -> Result:
    """Train and measure, unless that was done; in a process with one thread."""
    kept = job.folder / "test.json"
    if kept.is_file():
        return Result.from_json(kept.read_text())
    torch.set_num_threads(1)
    keep_freed_memory()
    recipe = job.recipe
    method = make_method(recipe, open_manifest(recipe))
    names = trainable_parameters(method)
    parts = {p: x for p, x in recipe.lr_factors.items() if any(name.startswith(p) for name in names)}
    recipe = replace(recipe, lr_factors=parts)  # those of the parts that this row has
    training, rest, unseen = (open_videos(recipe, method, split) for split in ("train", "val", "test"))
    few = rest.subset(rest.classes[: recipe.eval_way])  # nothing is selected: just what the loop asks for
    fit(method, recipe, training, few, job.folder, progress=False)
    method.eval()  # as the last step left it, not as the loop would choose
    result = evaluate(method, unseen, way=5, shot=1, query=1, episodes=episodes, seed=0, progress=False)
    kept.write_text(result.to_json())
    return result


def spread(values: list[float]) -> str:
    """Mean and 95 % interval of percentages."""
    mean = statistics.fmean(values)
    if len(values) not in QUANTILE:
        return f"{mean:.1f}"
    return f"{mean:.1f} ± {QUANTILE[len(values)] * statistics.stdev(values) / len(values) ** 0.5:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--data", default="toy-motion", help="toy-motion or toy-scene")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100, help="training episodes of each run")
    parser.add_argument("--episodes", type=int, default=10_000, help="of each evaluation")
    parser.add_argument("--workers", type=int, default=2, help="runs at a time, one thread each")
    parser.add_argument("--results", type=Path, help="CSV file that gets a line per run")
    options = parser.parse_args()
    study = STUDIES[options.study]
    jobs = [
        Job(options.study, row, seed, options.data, options.steps)
        for seed in range(options.seeds)
        for row in study.rows
    ]
    fresh = {job for job in jobs if not (job.folder / "test.json").is_file()}
    found: dict[Job, Result] = {}
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(run, job, options.episodes): job for job in jobs}
        for future in track(as_completed(waiting), "runs", len(jobs)):
            job = waiting[future]
            found[job] = future.result()
            if options.results and job in fresh:
                changed = f"({job.row}, {job.steps} steps)"
                append_result(found[job], options.results, recipe=job.recipe, changed=changed)
    hashes = {result.episode_hash for result in found.values()}
    title = f"{options.study} on {options.data}, 5-way 1-shot, {options.steps} training episodes, "
    table = Table(title=f"{title}{options.episodes:,} episodes of unseen classes ({', '.join(hashes)})")
    for column in ("", f"mean of {options.seeds} seeds, %", "less the first", "each", "trained"):
        table.add_column(column, justify="right" if column else "left")
    accuracies = {row: [100 * found[job].accuracy for job in jobs if job.row == row] for row in study.rows}
    first = next(iter(accuracies.values()))
    for row, values in accuracies.items():
        apart = [a - b for a, b in zip(values, first, strict=True)]
        trained = next(found[job].trainable for job in jobs if job.row == row)
        difference = "" if values is first else spread(apart)
        table.add_row(
            row, spread(values), difference, json.dumps([round(v, 1) for v in values]), f"{trained:,}"
        )
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
