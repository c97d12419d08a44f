"""The runs behind a study's tables: each recipe once, several at a time, kept as soon as it is done."""

import hashlib
import json
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from openfsar import hub
from openfsar.data.batches import ClipDataset
from openfsar.data.dataset import VideoDataset
from openfsar.data.episodes import EpisodeDataset, EpisodeSampler
from openfsar.data.files import whole_file
from openfsar.data.manifest import Manifest
from openfsar.encoders.trainable import trainable_parameters
from openfsar.engine.cost import training_cost
from openfsar.engine.evaluate import evaluate
from openfsar.engine.open import make_method, open_base, open_manifest, open_novel, open_videos
from openfsar.engine.recipe import Recipe, load_recipe
from openfsar.engine.results import append_naming, append_result
from openfsar.engine.supervised import name_videos
from openfsar.engine.train import fit, train
from openfsar.methods.base import FewShotMethod
from openfsar.methods.fusion import NamingMethod
from openfsar.studies.plan import FEW_SHOT, Scale, Study, Table

TOY = {"query": 1, "workers": 0, "eval_episodes": 2, "choose_text_share": False}
"""What differs from every toy recipe: cheap steps, and little evaluation, since nothing is selected."""

EPISODES = {"toy": 2_000, "full": 10_000}
"""Of each measurement; over seeds, more than 2,000 would say little more."""

TOY_VIDEOS = 12
"""Of each unseen class, which toy episodes are drawn from."""


@dataclass(frozen=True, eq=False)
class Job:
    """One run; jobs of the same ``key`` are the same run."""

    recipe: Recipe
    scale: Scale
    trained: bool
    """Whether it trains at all; otherwise the method is measured as it was built."""
    title: str
    """Table and row, of the first one that asked for it."""

    @property
    def key(self) -> str:
        """Method, data, a digest of everything that decides the weights, and the seed: a folder's name.

        What has its default counts for nothing: a run stays known when recipes learn another option.
        """
        usual = asdict(Recipe(method="", data=""))
        given = asdict(replace(self.recipe, seed=0, cache="", workers=0)).items()
        kept = {name: value for name, value in given if value != usual[name]} | {"trained": self.trained}
        digest = hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:10]
        return f"{self.recipe.label.replace('/', '-')}-{digest}-seed-{self.recipe.seed}"

    def at(self, seed: int) -> "Job":
        """The same with another seed."""
        return replace(self, recipe=replace(self.recipe, seed=seed))


@dataclass(frozen=True)
class Measured:
    """What a run found."""

    title: str
    method: str
    encoder: str
    data: str
    seed: int
    steps: int
    accuracy: dict[str, float]
    """In %, by measure."""
    trainable: int
    memory: int | None
    """Bytes of one training step, see ``Cost``; None where nothing trains."""
    step_seconds: float | None
    """Of one training step's forward and backward pass; None until ``time_steps`` measured it."""
    seconds: float
    """Training and measuring, decoding included."""
    episode_hash: str
    """Of the episodes; empty for naming without examples."""

    def save(self, path: Path) -> None:
        """Write it whole or not at all."""
        with whole_file(path) as file:
            file.write(json.dumps(asdict(self), indent=2).encode())

    @classmethod
    def load(cls, path: Path) -> "Measured":
        """The inverse of ``save``."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def job_of(table: Table, name: str, data: str, *, scale: Scale, recipes: Path) -> Job:
    """The run behind one row and data set, with seed 0.

    Raises:
        RecipeError: the row's recipe is not there, or its changes do not fit it.
    """
    row = table.rows[name]
    changes: dict[str, Any] = dict(table.full_changes)
    if scale == "toy":
        changes = TOY | dict(table.changes) | dict(row.toy_changes)
    changes |= dict(row.changes)
    trained = changes.get("steps") != 0
    if not trained:
        del changes["steps"]
    elif scale == "toy":
        changes |= {"warmup_steps": changes["steps"] // 10, "eval_every": changes["steps"]}
    words = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    recipe = load_recipe(recipes / row.recipe / f"{data}.yaml", [*words, "seed=0"])
    return Job(recipe, scale, trained, f"{table.name}: {name}")


def jobs_of(studies: Iterable[Study], *, scale: Scale, seeds: int, recipes: Path) -> list[Job]:
    """Every run of some studies, each once, all of the first seed before those of the next."""
    found: dict[str, Job] = {}
    for table in (table for study in studies for table in study.tables):
        for data in table.data(scale):
            for row in table.rows:
                job = job_of(table, row, data, scale=scale, recipes=recipes)
                found.setdefault(job.key, job)
    return [job.at(seed) for seed in range(seeds) for job in found.values()]


def nothing() -> None:
    """What is done where nothing needs to be."""


def run_jobs(
    jobs: Iterable[Job],
    folder: Path,
    *,
    workers: int,
    results: Path | None = None,
    prepare: Callable[[], object] = nothing,
    between: Callable[[], object] = nothing,
    progress: bool = False,
) -> Iterator[tuple[Job, Measured | Exception]]:
    """Each job with what it found, as they end; those whose result lies in ``folder`` at once.

    One that fails does not stop the others. With one worker the runs stay in this process and show their own
    progress; with several each has its share of the threads.

    Args:
        workers: Runs at a time.
        results: A table of results that gets a line per new measurement.
        prepare: Called in each worker process before anything else.
        between: Called behind each run: a process that has seen many may have gathered memory.
    """
    jobs = list(jobs)
    waiting = []
    for job in jobs:
        kept = kept_file(folder, job)
        if kept.is_file():
            yield job, Measured.load(kept)
        else:
            waiting.append(job)
    for data in {job.recipe.data: job for job in waiting}.values():
        open_manifest(data.recipe, progress=progress)  # videos and frame caches, before several want them
    if workers == 1:
        for job in waiting:
            try:
                yield job, run(job, folder, results, progress)
            except Exception as error:  # whatever it is, the other runs do not depend on it
                yield job, error
            between()
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_start, initargs=(threads, prepare)
    ) as pool:
        running: dict[Future[Measured], Job] = {
            pool.submit(_task, between, job, folder, results): job for job in waiting
        }
        for future in as_completed(running):
            error = future.exception()
            yield running[future], future.result() if error is None else _plain(error)


def _plain(error: BaseException) -> Exception:
    return error if isinstance(error, Exception) else RuntimeError(str(error))


def _start(threads: int, prepare: Callable[[], object]) -> None:
    torch.set_num_threads(threads)
    prepare()


def _task(between: Callable[[], object], job: Job, folder: Path, results: Path | None) -> Measured:
    try:
        return run(job, folder, results)
    finally:
        between()


def kept_file(folder: Path, job: Job) -> Path:
    """Where the result of a job lies when it is done."""
    return folder / job.key / "measured.json"


def run(job: Job, folder: Path, results: Path | None = None, progress: bool = False) -> Measured:
    """Train and measure; resumes a training that was stopped."""
    began = time.perf_counter()
    place = kept_file(folder, job).parent
    manifest = open_manifest(job.recipe)
    method = make_method(job.recipe, manifest)
    opened = open_videos if job.recipe.training == "episodes" else open_base
    training = opened(job.recipe, method, "train")
    recipe = replace(job.recipe, lr_factors=_present(job.recipe.lr_factors, method))
    if job.trained and job.scale == "toy":
        least = recipe.eval_shot + recipe.eval_query
        few = first_videos(opened(recipe, method, "val"), least, recipe.eval_way)
        fit(method, recipe, training, few, place, progress=progress)
        method.eval()  # as the last step left it: nothing is selected
    elif job.trained:
        method = hub.load(train(recipe, place, progress=progress).best)
    accuracy, found = _measure(method, job, results, progress)
    learns = bool(trainable_parameters(method))
    cost = training_cost(method, _batch(training, recipe), repeats=0) if learns else None
    measured = Measured(
        title=job.title,
        method=recipe.method,
        encoder=recipe.encoder,
        data=recipe.data,
        seed=recipe.seed,
        steps=recipe.steps if job.trained else 0,
        accuracy={name: 100 * share for name, share in accuracy.items()},
        trainable=cost.trainable if cost else 0,
        memory=cost.memory if cost else None,
        step_seconds=None,
        seconds=time.perf_counter() - began,
        episode_hash=found,
    )
    measured.save(kept_file(folder, job))
    (place / "last.pt").unlink(missing_ok=True)  # it served to go on after a stop
    return measured


def time_steps(jobs: Iterable[Job], folder: Path, *, repeats: int = 5) -> None:
    """Put the time of a training step into what is kept of these jobs, whose rows are to be compared.

    Measured turn by turn and by nothing else at the time, so that whatever slows the machine slows all alike.
    """
    steps = []
    for job in jobs:
        method = make_method(job.recipe, open_manifest(job.recipe))
        opened = open_videos if job.recipe.training == "episodes" else open_base
        if trainable_parameters(method):
            steps.append((job, method, _batch(opened(job.recipe, method, "train"), job.recipe)))
    seconds: dict[str, list[float]] = {}
    for _ in range(repeats):
        for job, method, batch in steps:
            found = training_cost(method, batch, repeats=1).seconds
            seconds.setdefault(job.key, []).append(found)
    for job, _, _ in steps:
        path = kept_file(folder, job)
        replace(Measured.load(path), step_seconds=statistics.median(seconds[job.key])).save(path)


def _measure(
    method: FewShotMethod, job: Job, results: Path | None, progress: bool
) -> tuple[dict[str, float], str]:
    """Accuracies by measure, and the digest of the episodes."""
    recipe, selected = job.recipe, job.trained and job.scale == "full"
    changed = f"({job.title}, {recipe.steps if job.trained else 0} steps)"
    if recipe.training == "episodes":
        videos = open_videos(recipe, method, "test")
        result = evaluate(
            method,
            first_videos(videos, TOY_VIDEOS) if job.scale == "toy" else videos,
            way=recipe.eval_way,
            shot=recipe.eval_shot,
            query=recipe.eval_query,
            episodes=EPISODES[job.scale],
            progress=progress,
        )
        if results is not None:
            append_result(result, results, recipe=recipe, changed=changed, selected=selected)
        return {FEW_SHOT: result.accuracy}, result.episode_hash
    assert isinstance(method, NamingMethod)  # no other trains by clips
    found, parts = {}, {"known": open_base(recipe, method, "test")}
    if not open_manifest(recipe).shared:  # where splits divide videos alone, there are no new classes
        parts["new"] = open_novel(recipe, method, "test")
    for which, videos in parts.items():
        for head, result in name_videos(method, videos, progress=progress).items():
            found[f"{which}, {head}"] = result.accuracy
            if results is not None:
                known = which == "known"
                append_naming(result, results, known=known, recipe=recipe, changed=changed, selected=selected)
    return found, ""


def _present(factors: dict[str, float], method: FewShotMethod) -> dict[str, float]:
    """Those of the parts that this row of an ablation still has."""
    names = trainable_parameters(method)
    return {part: x for part, x in factors.items() if any(name.startswith(part) for name in names)}


def first_videos(dataset: VideoDataset, count: int, classes: int | None = None) -> VideoDataset:
    """The first ``count`` videos of each class, or of the first ``classes`` classes alone."""
    kept = set(dataset.classes[:classes])
    seen: Counter[str] = Counter()
    records = []
    for record in dataset.records:
        seen[record.label] += 1
        if record.label in kept and seen[record.label] <= count:
            records.append(record)
    return replace(dataset, manifest=Manifest(dataset.manifest.root, tuple(records)))


def _batch(training: VideoDataset, recipe: Recipe) -> Any:
    if recipe.training == "clips":
        return ClipDataset(training, recipe.batch, 1, seed=recipe.seed)[0]
    sampler = EpisodeSampler.of(
        training, way=recipe.way, shot=recipe.shot, query=recipe.query, seed=recipe.seed
    )
    return EpisodeDataset(training, sampler, 1)[0]
