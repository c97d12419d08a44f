"""``openfsar reproduce``: the tables of a paper, run again, beside the paper's numbers."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from openfsar.cli.console import note, show, stage, warn
from openfsar.cli.heap import keep_freed_memory, return_freed_memory
from openfsar.cli.progress import progress
from openfsar.cli.run import RunError

if TYPE_CHECKING:
    from openfsar.studies.page import Found
    from openfsar.studies.plan import Scale, Study
    from openfsar.studies.run import Job, Measured


def reproduce(
    papers: tuple[str, ...],
    *,
    scale: Literal["toy", "full"] = "toy",
    tables: str | None = None,
    seeds: int | None = None,
    workers: int | None = None,
    out: Path | None = None,
    recipes: Path = Path("recipes"),
    results: Path | None = None,
    plan: bool = False,
) -> None:
    """Run the recipes behind a paper's tables, and write the tables beside the paper's.

    At toy scale every row is trained for few steps on the toy sets, over three seeds, and measured on unseen
    classes as the last step left it. At full scale the rows are the paper's own, on its data sets, selected
    on validation classes. What is done is kept: a run that was stopped goes on where it was.

    Args:
        papers: ma-fsar, clip-fsar, m2-clip, actionclip, gghm, sloshnet, or all; or YAML files of your own.
        scale: toy needs nothing but time; full needs the data sets and the weights.
        tables: Some tables only, such as components,metrics.
        seeds: Runs of each row; by default 3, and 1 at full scale.
        workers: Runs at a time, each with its share of the cores; by default one per core, and one on a GPU.
        out: The folder for runs and tables; by default runs/reproduce-SCALE.
        recipes: The folder of recipes of a checkout.
        results: Append a line per measurement to this CSV file.
        plan: Say what would run, what is missing and how long it would take; run nothing.

    Example:
        openfsar reproduce ma-fsar
        openfsar reproduce ma-fsar --tables components,metrics --seeds 5
        openfsar reproduce all --out runs/claims
        openfsar reproduce ratio.yaml
        openfsar reproduce ma-fsar --scale full --plan
    """
    import torch

    from openfsar.studies.estimate import estimate, fetched, missing
    from openfsar.studies.plan import STUDIES, load_study
    from openfsar.studies.run import jobs_of

    names = STUDIES if "all" in papers else papers
    if not recipes.is_dir():
        raise RunError(f"{recipes} is no folder; give --recipes with the recipes/ of a checkout")
    chosen = tuple(filter(None, (tables or "").split(",")))
    studies = [load_study(name).only(chosen) for name in names]
    count = seeds or (3 if scale == "toy" else 1)
    jobs = jobs_of(studies, scale=scale, seeds=count, recipes=recipes)
    if not jobs:
        raise RunError(f"{', '.join(names)} has no table at {scale} scale")
    folder = out or Path("runs") / f"reproduce-{scale}"
    lacks = missing(jobs)
    if plan or lacks:
        print(estimate(jobs, folder))
        for line in fetched(jobs):
            print(f"fetched from the Hugging Face hub at first use: {line}")
    for line in lacks:
        warn(f"missing: {line}")
    if lacks and not plan:
        raise RunError(f"{len(lacks)} data sets are missing; prepare them as said above, then come back")
    if plan:
        return
    at_once = workers or (1 if torch.accelerator.is_available() else os.cpu_count() or 1)
    measured, failed = _run(jobs, folder, at_once, results)
    _time_steps(studies, measured, folder, scale, recipes)
    found = _gathered(studies, measured, scale, count, recipes)
    _show(found)
    _write(found, folder, scale, count, sum(run.seconds for run in measured.values()), at_once)
    if failed:
        raise RunError(
            f"{failed} of {len(jobs)} runs failed, as said above; the same command tries them again"
        )


def _run(
    jobs: "Sequence[Job]", folder: Path, workers: int, results: Path | None
) -> "tuple[dict[str, Measured], int]":
    """What was measured, by the jobs' keys, and how many failed."""
    from openfsar.studies.run import kept_file, run_jobs

    measured: dict[str, Measured] = {}
    waiting = {job.key for job in jobs if not kept_file(folder, job).is_file()}
    failed = done = 0
    alone = workers == 1  # then each run shows its own progress
    runs = run_jobs(
        jobs,
        folder,
        workers=workers,
        results=results,
        prepare=keep_freed_memory,
        between=return_freed_memory,
        progress=alone,
    )
    with stage("ran") as said, progress("runs", len(waiting), shown=not alone) as tell:
        for job, what in runs:
            if isinstance(what, Exception):
                failed += 1
                warn(f"{job.title}, {job.recipe.data}, seed {job.recipe.seed}: {type(what).__name__}: {what}")
            else:
                measured[job.key] = what
            if job.key not in waiting:
                continue  # what was there already says nothing of the time that is left
            done += 1
            tell(done, 0.0)
            if alone:
                note(f"{done} of {len(waiting)} runs")
        said.append(f"{len(measured)} of {len(jobs)} runs")
    return measured, failed


def _time_steps(
    studies: "Sequence[Study]", measured: "dict[str, Measured]", folder: Path, scale: "Scale", recipes: Path
) -> None:
    """Of the rows whose costs are compared, now that nothing else runs."""
    from openfsar.studies.run import Measured, job_of, kept_file, time_steps

    for table in (table for study in studies for table in study.tables if table.costs):
        jobs = [
            job_of(table, row, data, scale=scale, recipes=recipes)
            for data in table.data(scale)[:1]
            for row in table.rows
        ]
        found = {job.key: measured[job.key] for job in jobs if job.key in measured}
        if all(run.step_seconds is not None or run.memory is None for run in found.values()):
            continue
        jobs = [job for job in jobs if job.key in found]
        with stage("timed a training step of each row"):
            time_steps(jobs, folder)
        measured |= {job.key: Measured.load(kept_file(folder, job)) for job in jobs}


def _gathered(
    studies: "Sequence[Study]", measured: "dict[str, Measured]", scale: "Scale", seeds: int, recipes: Path
) -> "list[tuple[Study, list[Found]]]":
    from openfsar.studies.page import gather

    return [
        (
            study,
            [
                gather(table, measured, scale=scale, seeds=seeds, recipes=recipes)
                for table in study.tables
                if table.data(scale)
            ],
        )
        for study in studies
    ]


def _show(studies: "list[tuple[Study, list[Found]]]") -> None:
    """The verdicts; the tables are in the page."""
    for study, tables in studies:
        for found in tables:
            show(f"{study.system}: {found.table.title}")
            for words, spread in found.verdicts():
                show(f"  {spread.verdict:26} {words} ({spread} points)")


def _write(
    studies: "list[tuple[Study, list[Found]]]",
    folder: Path,
    scale: "Scale",
    seeds: int,
    spent: float,
    workers: int,
) -> None:
    from openfsar.studies.page import head, page, write_page

    pictures: dict[str, str] = {}
    try:
        from openfsar.studies.figure import draw
    except ModuleNotFoundError as error:
        warn(f"no pictures without {error.name}; pip install 'openfsar[report]'")
    else:
        for study, tables in studies:
            for found in tables:
                if found.columns:
                    name = f"{study.name}-{found.table.name}"
                    write_page(draw(found), folder / f"{name}.svg")
                    pictures[name] = f"{name}.svg"
    path = folder / "tables.md"
    write_page(page(studies, head=head(scale, seeds, spent, workers), pictures=pictures), path)
    print(f"tables and pictures: {path}")
