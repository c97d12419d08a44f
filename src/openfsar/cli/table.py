"""``openfsar table``: our results beside published ones."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from openfsar.cli.console import warn
from openfsar.cli.parser import nearest
from openfsar.cli.run import RunError

if TYPE_CHECKING:
    from openfsar.engine.entries import Entry
    from openfsar.engine.tables import Table

RESULTS = Path("results", "results.csv")


def table(
    *,
    benchmark: str | None = None,
    shots: str | None = None,
    method: str | None = None,
    ours: bool = False,
    results: Path | None = None,
    recipes: Path = Path("recipes"),
    gflops: bool = False,
    format: Literal["terminal", "markdown", "latex", "html"] = "terminal",
    out: Path | None = None,
) -> None:
    """Set our results beside published ones, with how each was chosen and what it costs.

    There is a table for each benchmark and protocol: few-shot episodes, a few examples of all classes at
    once, and naming without examples. Published numbers come with their sources from a file of the package,
    ours from a table of results that openfsar eval --results appends to. A number of ours that bears an
    interval over runs is the mean of several training seeds.

    Args:
        benchmark: Show these alone, such as hmdb51,ucf101 or toy-motion.
        shots: Show these numbers of examples alone, such as 1,5.
        method: Show these methods alone, such as otam,clip-fsar.
        ours: Leave published numbers out.
        results: The table of results; by default results/results.csv where there is one.
        recipes: Where the recipes of our results lie, for --gflops.
        gflops: Count the arithmetic of our systems too; each is built once with random weights.
        format: terminal, markdown, latex or html.
        out: Write to this file instead of the screen.

    Example:
        openfsar table --benchmark kinetics-100
        openfsar table --benchmark toy-motion --shots 1 --format latex -o table.tex
    """
    from openfsar.cli.episodes import whole_numbers
    from openfsar.data.files import whole_file
    from openfsar.engine import markup
    from openfsar.engine.entries import our_entries, published_entries, read_lines
    from openfsar.engine.published import load_published
    from openfsar.engine.tables import make_tables

    entries = [] if ours else published_entries(load_published())
    if results is not None or RESULTS.is_file():
        lines, bad = read_lines(results or RESULTS)
        for complaint in bad:
            warn(f"{complaint}; skipped")
        entries += our_entries(lines)
    elif ours:
        raise RunError(
            f"{RESULTS} is not here; give --results FILE, which openfsar eval --results appends to"
        )
    benchmarks = _choice(benchmark, [entry.benchmark for entry in entries], "--benchmark")
    methods = _choice(method, [entry.method for entry in entries], "--method")
    measures = [f"{number}-shot" for number in whole_numbers(shots, "--shots")] if shots else []
    if gflops:
        entries = _counted(entries, recipes)
    found = make_tables(entries, benchmarks=benchmarks, methods=methods, measures=measures)
    if not found:
        raise RunError("no number has that benchmark, method and number of examples at once; ask for less")
    writers = {"markdown": markup.markdown, "latex": markup.latex, "html": markup.html}
    if format in writers:
        text = "\n".join(writers[format](each) for each in found)
        if out is None:
            print(text, end="")
        else:
            with whole_file(out) as file:
                file.write(text.encode())
    elif out is not None:
        raise RunError(f"{out} cannot hold colours and frames; add --format markdown, latex or html")
    else:
        console = Console()
        for each in found:
            _show(each, console)


def _choice(text: str | None, known: Sequence[str], option: str) -> list[str]:
    """``a,b`` as the names meant, without regard to case.

    Raises:
        RunError: a name that nothing has.
    """
    names = {name.lower(): name for name in known}
    found = []
    for word in (word.strip() for word in (text or "").split(",") if word.strip()):
        if word.lower() not in names:
            raise RunError(
                f"{option} {word}: there is none; did you mean {nearest(word, sorted(names.values()))}? "
                f"There are {', '.join(sorted(names.values(), key=str.lower))}"
            )
        found.append(names[word.lower()])
    return found


def _counted(entries: "list[Entry]", recipes: Path) -> "list[Entry]":
    """With the arithmetic of our systems whose recipe is here; that of a changed recipe is not known."""
    from openfsar.engine.flops import recipe_gflops
    from openfsar.engine.live import bar
    from openfsar.engine.recipe import Recipe, load_recipe

    counted: dict[tuple[str, str, str], float | None] = {}
    keys = {id(entry): (entry.recipe, entry.method, entry.backbone) for entry in entries if entry.ours}
    with bar(True) as display:
        for label, method, backbone in display.track(
            list(dict.fromkeys(keys.values())), description="counting"
        ):
            path = recipes / f"{label}.yaml"
            found: float | None = None
            try:
                if not label:
                    found = recipe_gflops(Recipe(method, "", backbone))
                elif path.is_file():
                    found = recipe_gflops(load_recipe(path))
            except ValueError as error:
                warn(f"{label or method} on {backbone}: {error}; its GFLOPs are left out")
            counted[label, method, backbone] = found
    return [replace(entry, gflops=counted[keys[id(entry)]]) if entry.ours else entry for entry in entries]


def _show(found: "Table", console: Console) -> None:
    table = RichTable(
        box=None, header_style="bold", pad_edge=False, title_justify="left", title=Text(found.title)
    )
    for name, right in zip(found.columns, found.numeric, strict=True):
        table.add_column(name, justify="right" if right else "left", no_wrap=right, overflow="fold")
    for row in found.rows:
        table.add_row(*map(Text, row.cells), style="bold" if row.ours else None)
    console.print(table)
    for line in found.legend:
        console.print(Text(line, "dim"))
    for number, source in enumerate(found.sources, 1):
        console.print(Text(f"[{number}] {source}", "dim"))
    console.print()
