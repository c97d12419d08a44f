"""``openfsar eval``: accuracy on few-shot tasks of unseen classes, or in naming videos among all classes."""

from dataclasses import replace
from json import dumps, loads
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table

from openfsar.cli.naming import evaluate_naming
from openfsar.cli.run import RunError, load_method

if TYPE_CHECKING:
    from openfsar.engine.evaluate import Result
    from openfsar.engine.recipe import Recipe
    from openfsar.methods.base import FewShotMethod


def evaluate(
    run: str,
    *,
    data: str | None = None,
    encoder: str = "toyclip",
    task: Literal["few-shot", "supervised", "base-to-novel"] | None = None,
    split: str = "test",
    way: int = 5,
    shot: int = 1,
    query: int = 1,
    episodes: int = 10_000,
    frames: int | None = None,
    views: int = 1,
    crops: int = 1,
    seed: int = 0,
    protocol: Literal["cached", "paper"] = "cached",
    choose_text_share: bool = False,
    results: Path | None = None,
    device: str | None = None,
    json: bool = False,
) -> None:
    """Measure accuracy on few-shot tasks with unseen classes, and zero-shot text where the encoder reads.

    Methods that name videos by words can also name them among all classes, without examples: supervised
    takes the videos of the training classes that were held out, base-to-novel also those of the classes of
    the split, which are new, and the harmonic mean of both.

    Args:
        run: A run folder, a model folder, or the name of a method (then untrained, on --encoder).
        data: A toy data set by name, a manifest, or a folder per class; by default the data of the run.
        encoder: The encoder of a method given by name.
        task: few-shot, supervised or base-to-novel; by default as the run was trained.
        split: The split to draw tasks from; "" for data without splits.
        way: Classes per few-shot task.
        shot: Examples per class.
        query: Videos to name per class and task.
        episodes: Few-shot tasks.
        frames: Frames sampled per video; by default as in training, or 8.
        views: Places in time of a video to name, whose probabilities are averaged.
        crops: Places in the image, at each of those in time.
        seed: The same seed draws the same tasks.
        protocol: cached encodes every video once; paper samples its frames anew for every task (slow).
        choose_text_share: First choose how much the class names count, on the classes of the split val.
        results: Append a line per system to this CSV file.
        device: Where to compute, such as cpu or cuda; by default the fastest there is.
        json: Print JSON with everything that was found instead of a table.

    Example:
        openfsar eval runs/otam-toy-motion
        openfsar eval runs/m2-clip-toy-scene --task base-to-novel --views 3
        openfsar eval protonet --data videos/ --split "" --encoder clip-vit-b-16 --shot 5
    """
    from openfsar.encoders.clip import ClipEncoder
    from openfsar.engine.evaluate import evaluate as measure
    from openfsar.engine.open import open_videos
    from openfsar.engine.results import append_result
    from openfsar.methods.zoo import create

    method = load_method(run, encoder=encoder)
    trained = _recipe(run)
    recipe = _with_data(trained, method, data, run)
    recipe = replace(recipe, frames=frames or recipe.frames)
    systems = {method.spec.method: method}
    if method.spec.method != "zero-shot" and isinstance(method.encoder, ClipEncoder):
        spec = method.spec
        systems["zero-shot"] = create("zero-shot", encoder=spec.encoder, pretrained=spec.pretrained)
    if task is None:
        task = "supervised" if recipe.training == "clips" else "few-shot"
    if task != "few-shot":
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
    if choose_text_share:
        _choose_text_share(method, recipe, way=way, shot=shot, device=device, progress=not json)
    found: list[Result] = []
    for system in systems.values():
        result = measure(
            system,
            videos,
            way=way,
            shot=shot,
            query=query,
            episodes=episodes,
            seed=seed,
            protocol=protocol,
            device=device,
            progress=not json,
        )
        found.append(result)
        if results is not None:
            append_result(result, results, recipe=trained if system is method else None)
    if json:
        print(dumps([loads(result.to_json()) for result in found], indent=2))
    else:
        Console().print(_table(found))


def _recipe(run: str) -> "Recipe | None":
    """What a run folder was trained by; None for a model folder and for a method's name."""
    from openfsar.engine.recipe import load_recipe

    path = Path(run) / "recipe.yaml"
    return load_recipe(path) if path.is_file() else None


def _with_data(trained: "Recipe | None", method: "FewShotMethod", data: str | None, run: str) -> "Recipe":
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
    chosen = choose_text_share(method, videos, way=way, shot=shot, device=device, progress=progress)
    if progress:
        Console().print(f"share of the class names: {chosen}")


def _table(found: "list[Result]") -> Table:
    """A row per system; the hash tells whether two tables were measured on the same tasks."""
    first = found[0]
    table = Table(box=None, header_style="bold", pad_edge=False, title_justify="left", caption_justify="left")
    table.title = (
        f"{first.way}-way {first.shot}-shot, {first.data} {first.split}, {first.episodes:,} episodes"
    )
    table.caption = f"episode list {first.episode_hash}; ± is the 95 % interval"
    table.add_column("system")
    table.add_column("accuracy %", justify="right")
    table.add_column("hardest class", style="dim")
    for result in found:
        hardest = min(result.per_class, key=lambda name: result.per_class[name])
        name = f"{result.method}{' (transductive)' if result.transductive else ''}"
        share = f"{100 * result.accuracy:.2f} ± {100 * result.interval:.2f}"
        table.add_row(name, share, f"{hardest} {100 * result.per_class[hardest]:.0f}")
    return table
