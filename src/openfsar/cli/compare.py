"""``openfsar compare``: two systems on the same episodes."""

from dataclasses import replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from openfsar.cli.episodes import asked
from openfsar.cli.eval import recipe_of, system_name, with_data
from openfsar.cli.run import RunError, load_method

if TYPE_CHECKING:
    from openfsar.data.fixed import FixedEpisodes
    from openfsar.engine.compare import Comparison


def compare(
    first: str,
    second: str,
    *,
    data: str | None = None,
    encoder: str = "toyclip",
    split: str = "test",
    way: int | None = None,
    shot: int | None = None,
    query: int | None = None,
    episodes: int | None = None,
    seed: int | None = None,
    episodes_file: Path | None = None,
    frames: int | None = None,
    device: str | None = None,
    json: bool = False,
) -> None:
    """Say whether one system names videos better than another, asked the very same few-shot tasks.

    Pairs the answers task by task. The difference comes with three 95 % intervals, which answer different
    questions: would other tasks from these videos show it, would other videos of these classes, would other
    classes? Few-shot accuracy is meant for the last. The p-value is of the exact sign-flip test on tasks.

    Args:
        first: A run folder, a model folder, the name of a method, or a file that eval --outcomes wrote.
        second: What to compare it with, given likewise.
        data: A toy data set by name, a manifest, or a folder per class; by default the data of the runs.
        encoder: The encoder of a method given by name.
        split: The split to draw tasks from; "" for data without splits.
        way: Classes per task; by default 5.
        shot: Examples per class; by default 1.
        query: Videos to name per class and task; by default 1.
        episodes: Tasks; by default 10,000.
        seed: The same seed draws the same tasks; by default 0.
        episodes_file: Take the tasks of this file. By default those of a file of answers, where one is given.
        frames: Frames sampled per video; by default as in training, or 8.
        device: Where to compute, such as cpu or cuda; by default the fastest there is.
        json: Print JSON with everything that was found instead of tables.

    Example:
        openfsar compare runs/ma-fsar-toy-motion runs/otam-toy-motion
        openfsar compare outcomes/a.npz outcomes/b.npz --json
    """
    from openfsar.engine.compare import compare as pair
    from openfsar.engine.evaluate import answer
    from openfsar.engine.open import open_videos
    from openfsar.engine.outcome import Outcome

    kept = {given: Outcome.load(Path(given)) for given in (first, second) if _is_file(given)}
    lists: list[FixedEpisodes] = [outcome.episodes for outcome in kept.values()][:1]
    seeds = None if seed is None else str(seed)
    numbers = {"way": way, "shot": shot, "query": query, "episodes": episodes, "seed": seeds}
    told = [f"--{name}" for name, value in numbers.items() if value is not None]
    if lists and (told or episodes_file is not None):
        told += ["--episodes-file"] * (episodes_file is not None)
        raise RunError(f"{next(iter(kept))} says itself which tasks there are; leave out {', '.join(told)}")
    found: list[Outcome] = []
    for given, other in ((first, second), (second, first)):
        if given in kept:
            found.append(kept[given])
            continue
        method = load_method(given, encoder=encoder)
        recipe = with_data(recipe_of(given) or recipe_of(other), method, data, given)
        recipe = replace(recipe, frames=frames or recipe.frames)
        videos = open_videos(recipe, method, split, progress=not json)
        if not lists:
            lists = asked(
                videos,
                file=episodes_file,
                way=way,
                shot=shot,
                query=query,
                episodes=episodes,
                seeds=seeds,
            )
        found += answer(method, videos, lists, device=device, progress=not json)
    one, two = (
        kept[given].result.method if given in kept else system_name(given) for given in (first, second)
    )
    result = pair(found[0], found[1], (one, two) if one != two else (first, second))
    if json:
        print(dumps(result.to_dict(), indent=2))
        return
    console = Console()
    console.print(_summary(result))
    console.print(f"\n{result.verdict}\n")
    console.print(_classes(result))


def _is_file(given: str) -> bool:
    return Path(given).is_file() and Path(given).suffix == ".npz"


def _summary(found: "Comparison") -> Table:
    """Both accuracies, and their difference with an interval for each question."""
    from openfsar.engine.paired import LEAST_P

    table = Table(box=None, header_style="bold", pad_edge=False, title_justify="left", caption_justify="left")
    table.title = (
        f"{found.way}-way {found.shot}-shot, {found.data} {found.split}, {found.episodes:,} episodes"
    )
    table.caption = (
        f"episode list {found.episode_hash}; ± is half a 95 % interval; {found.only_first:,} queries named "
        f"right by the first alone, {found.only_second:,} by the second, {found.both:,} by both"
    )
    table.add_column("system")
    table.add_column("accuracy %", justify="right")
    table.add_column("±", justify="right")
    table.add_column("holds for")
    for name, share, half in zip(found.names, found.accuracy, found.interval, strict=True):
        table.add_row(name, f"{100 * share:.2f}", f"{100 * half:.2f}", "other tasks from these videos")
    chance = f"p < {LEAST_P:g}" if found.p <= LEAST_P else f"p = {found.p:.2g}"
    rows = (
        (f"other tasks from these videos ({chance})", found.over_episodes),
        ("other videos of these classes", found.over_videos),
        ("other classes", found.over_classes),
    )
    for number, (scope, half) in enumerate(rows):
        head = ("difference", f"{100 * found.difference:+.2f}") if number == 0 else ("", "")
        width = "" if half is None else f"{100 * half:.2f}"
        every = "" if half is not None else " (cannot be told: every task holds all)"
        table.add_row(*head, width, scope + every, style="bold" if number == 0 else None)
    return table


def _classes(found: "Comparison") -> Table:
    """Where the two differ, the first's best class first."""
    table = Table(box=None, header_style="bold", pad_edge=False, caption_justify="left")
    table.caption = "of many classes about one in twenty exceeds its interval by chance"
    table.add_column("class of the query")
    for column in (*found.names, "difference", "±"):
        table.add_column(column, justify="right")
    for row in found.classes:
        shares = f"{100 * row.first:.1f}", f"{100 * row.second:.1f}", f"{100 * row.difference:+.1f}"
        table.add_row(row.name, *shares, "" if row.interval is None else f"{100 * row.interval:.1f}")
    return table
