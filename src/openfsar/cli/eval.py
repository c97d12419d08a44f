"""``openfsar eval``: accuracy on few-shot tasks of unseen classes, or in naming videos among all classes."""

from dataclasses import replace
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table

from openfsar.cli.episodes import asked
from openfsar.cli.naming import evaluate_naming
from openfsar.cli.run import RunError, load_method

if TYPE_CHECKING:
    from openfsar.engine.outcome import Result
    from openfsar.engine.recipe import Recipe
    from openfsar.methods.base import FewShotMethod


def evaluate(
    run: str,
    *,
    data: str | None = None,
    encoder: str = "toyclip",
    task: Literal["few-shot", "all-way", "supervised", "base-to-novel"] | None = None,
    split: str = "test",
    way: int | None = None,
    shot: int | None = None,
    query: int | None = None,
    episodes: int | None = None,
    seeds: str | None = None,
    episodes_file: Path | None = None,
    frames: int | None = None,
    views: int = 1,
    crops: int = 1,
    protocol: Literal["cached", "paper"] = "cached",
    choose_text_share: bool = False,
    results: Path | None = None,
    outcomes: Path | None = None,
    device: str | None = None,
    json: bool = False,
) -> None:
    """Measure accuracy on few-shot tasks with unseen classes, and zero-shot text where the encoder reads.

    The task all-way asks for every class of the split at once, with a few examples of each, instead of for
    some at a time; accuracy and interval are over so many draws of the examples.

    Methods that name videos by words can also name them among all classes, without examples: supervised
    takes the videos of the training classes that were held out, base-to-novel also those of the classes of
    the split, which are new, and the harmonic mean of both.

    Args:
        run: A run folder, a model folder, or the name of a method (then untrained, on --encoder).
        data: A toy data set by name, a manifest, or a folder per class; by default the data of the run.
        encoder: The encoder of a method given by name.
        task: few-shot, all-way, supervised or base-to-novel; by default as the run was trained.
        split: The split to draw tasks from; "" for data without splits.
        way: Classes per few-shot task; by default 5.
        shot: Examples per class; by default 1.
        query: Videos to name per class and task; by default 1.
        episodes: Few-shot tasks of each seed; by default 10,000, and 1,000 of all-way.
        seeds: The same seed draws the same tasks; 0 by default, 0,1,2 measures on three lists of them.
        episodes_file: Take the tasks of this file, which openfsar data episodes wrote.
        frames: Frames sampled per video; by default as in training, or 8.
        views: Places in time of a video to name, whose probabilities are averaged.
        crops: Places in the image, at each of those in time.
        protocol: cached encodes every video once; paper samples its frames anew for every task (slow).
        choose_text_share: First choose how much the class names count, on the classes of the split val.
        results: Append a line per system and seed to this CSV file.
        outcomes: Keep all answers in this folder, a file per system and seed, for openfsar compare.
        device: Where to compute, such as cpu or cuda; by default the fastest there is.
        json: Print JSON with everything that was found instead of a table.

    Example:
        openfsar eval runs/otam-toy-motion
        openfsar eval runs/otam-toy-motion --seeds 0,1,2 --outcomes outcomes/
        openfsar eval runs/m2-clip-toy-scene --task base-to-novel --views 3
        openfsar eval protonet --data videos/ --split "" --encoder clip-vit-b-16 --shot 5
    """
    from openfsar.encoders.clip import ClipEncoder
    from openfsar.engine.evaluate import answer
    from openfsar.engine.open import open_videos
    from openfsar.engine.results import append_result
    from openfsar.methods.zoo import create

    method = load_method(run, encoder=encoder)
    trained = recipe_of(run)
    recipe = with_data(trained, method, data, run)
    recipe = replace(recipe, frames=frames or recipe.frames)
    systems = {method.spec.method: method}
    if method.spec.method != "zero-shot" and isinstance(method.encoder, ClipEncoder):
        spec = method.spec
        systems["zero-shot"] = create("zero-shot", encoder=spec.encoder, pretrained=spec.pretrained)
    if task is None:
        task = "supervised" if recipe.training == "clips" else "few-shot"
    if task in ("supervised", "base-to-novel"):
        if outcomes is not None or episodes_file is not None:
            raise RunError(f"--task {task} asks no episodes; leave out --outcomes and --episodes-file")
        return evaluate_naming(
            systems,
            recipe,
            trained,
            novel=task == "base-to-novel",
            split=split,
            views=views,
            crops=crops,
            results=results,
            device=device,
            json=json,
        )
    videos = open_videos(recipe, method, split, progress=not json)
    lists = asked(
        videos,
        file=episodes_file,
        way=way,
        shot=shot,
        query=query,
        episodes=episodes,
        seeds=seeds,
        all_way=task == "all-way",
    )
    if choose_text_share:
        classes, shots, _ = lists[0].shape
        _choose_text_share(method, recipe, way=classes, shot=shots, device=device, progress=not json)
    found: list[Result] = []
    for name, system in systems.items():
        for outcome in answer(system, videos, lists, protocol=protocol, device=device, progress=not json):
            found.append(outcome.result)
            if outcomes is not None:
                outcome.save(outcomes / _file(system_name(run) if system is method else name, outcome.result))
            if results is not None:
                append_result(outcome.result, results, recipe=trained if system is method else None)
    if json:
        print(dumps([loads(result.to_json()) for result in found], indent=2))
    else:
        Console().print(_table(found))


def system_name(run: str) -> str:
    """What a run is called for short: its folder, not the one of its best model."""
    path = Path(run)
    return path.parent.name if path.name == "best" and path.parent.name else path.name


def _file(system: str, result: "Result") -> str:
    """What the answers of one system to one list of episodes are kept as."""
    place = f"{result.data}-{result.split}".strip("-")
    return f"{system}-{place}-{result.way}-way-{result.shot}-shot-seed-{result.seed}.npz"


def recipe_of(run: str) -> "Recipe | None":
    """What a run folder was trained by; None for a model folder and for a method's name."""
    from openfsar.engine.recipe import load_recipe

    path = Path(run) / "recipe.yaml"
    return load_recipe(path) if path.is_file() else None


def with_data(trained: "Recipe | None", method: "FewShotMethod", data: str | None, run: str) -> "Recipe":
    """The recipe to open videos by: that of the run, or a plain one for ``data``."""
    from openfsar.engine.recipe import Recipe

    if trained is not None:
        return replace(trained, data=data, cache="") if data else trained
    if data is None:
        raise RunError(f"{run} says nothing about data; give --data, such as --data toy-motion")
    return Recipe(method.spec.method, data)


def _choose_text_share(
    method: "FewShotMethod", recipe: "Recipe", *, way: int, shot: int, device: str | None, progress: bool
) -> None:
    """Leave the method with the share that is best on the validation classes, and say what was found."""
    from openfsar.engine.fusion import choose_text_share
    from openfsar.engine.open import open_videos
    from openfsar.methods.fusion import FusedMethod

    if not isinstance(method, FusedMethod):
        raise RunError(
            f"{method.spec.method} does not fuse names with examples; leave out --choose-text-share"
        )
    videos = open_videos(recipe, method, "val", progress=progress)
    way = min(way, len(videos.classes))  # of a task of all test classes there may be fewer here
    chosen = choose_text_share(method, videos, way=way, shot=shot, device=device, progress=progress)
    if progress:
        Console().print(f"share of the class names: {chosen}")


def _table(found: "list[Result]") -> Table:
    """A row per system and seed; the hash tells whether two tables were measured on the same tasks."""
    from openfsar.engine.metrics import pooled

    first = found[0]
    seeds = len({result.seed for result in found})
    task = f"{first.way}-way {first.shot}-shot{' (all classes)' * first.all_way}"
    table = Table(box=None, header_style="bold", pad_edge=False, title_justify="left", caption_justify="left")
    table.title = f"{task}, {first.data} {first.split}, {first.episodes:,} episodes" + (
        " of each seed" if seeds > 1 else ""
    )
    hashes = ", ".join(dict.fromkeys(result.episode_hash for result in found))
    table.caption = f"episode list {hashes}; ± is the 95 % interval over episodes"
    table.add_column("system")
    if seeds > 1:
        table.add_column("seed", justify="right")
    table.add_column("accuracy %", justify="right")
    table.add_column("hardest class", style="dim")
    for system in dict.fromkeys(result.method for result in found):
        rows = [result for result in found if result.method == system]
        name = f"{system}{' (transductive)' if rows[0].transductive else ''}"
        for result in rows:
            hardest = min(result.per_class, key=lambda name: result.per_class[name])
            seed = [str(result.seed)] if seeds > 1 else []
            share = _percent(result.accuracy, result.interval)
            table.add_row(name, *seed, share, f"{hardest} {100 * result.per_class[hardest]:.0f}")
        if seeds > 1:
            whole = pooled([(result.accuracy, result.interval) for result in rows])
            table.add_row(name, "all", _percent(*whole), style="bold")
    return table


def _percent(share: float, interval: float) -> str:
    return f"{100 * share:.2f} ± {100 * interval:.2f}"
