"""``openfsar search``: SloshNet's cell, from a recipe to a picture and a recipe that trains it."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table

from openfsar.cli.console import stage, warn

if TYPE_CHECKING:
    from openfsar.engine.search import Found


def search(
    recipe: Path,
    changes: tuple[str, ...] = (),
    *,
    mode: Literal["joint", "bi-level"] = "joint",
    rate: float = 3e-3,
    out: Path | None = None,
    fresh: bool = False,
) -> None:
    """Search how SloshNet fuses the levels of its encoder, and write a recipe that trains what was found.

    Every edge of the cell mixes three operations whose weights train beside the network, on the training
    classes alone. Of each edge the heaviest operation stays. A search that was stopped resumes where it was.

    Args:
        recipe: The YAML file of a SloshNet; `openfsar models` lists those there are.
        changes: Recipe values to replace, as key=value.
        mode: joint, as published, learns weights and architecture from the same episodes; bi-level learns the
            architecture from half of the training classes and the weights from the other half.
        rate: Learning rate of the architecture.
        out: The folder for what is found; by default runs/METHOD-DATA-search.
        fresh: Start over instead of resuming.

    Example:
        openfsar search recipes/sloshnet/toy-motion.yaml
        openfsar train runs/sloshnet-toy-motion-search/fixed.yaml -o runs/sloshnet-toy-motion-fixed
    """
    from openfsar.engine.recipe import load_recipe
    from openfsar.engine.search import search as run

    loaded = load_recipe(recipe, changes)
    name = loaded.label.replace("/", "-")
    folder = out or Path("runs") / f"{name}-search"
    with stage("searched") as said:
        found = run(loaded, folder, mode=mode, rate=rate, resume=not fresh, progress=True)
        said.append(f"{', '.join(found.cell)} -> {folder / 'fixed.yaml'}")
    _draw(found, folder / "cell.svg")
    _show(found)
    print(f"to test the mixture, as the paper does: openfsar eval {folder / 'mixture'} --data {loaded.data}")
    print(f"next: openfsar train {folder / 'fixed.yaml'} -o {folder.with_name(f'{name}-fixed')}")


def _show(found: "Found") -> None:
    table = Table("edge", *found.operations, "chosen", title="weights of the operations on every edge")
    for (earlier, later), row, chosen in zip(found.edges, found.weights, found.cell, strict=True):
        table.add_row(f"{earlier} -> {later}", *(f"{weight:.3f}" for weight in row), chosen)
    console = Console(soft_wrap=True, highlight=False)
    console.print(table)
    *states, deepest = (f"{share:.3f}" for share in found.mix)
    console.print(f"output: states {', '.join(states)}, deepest level {deepest}")
    if found.long_share is not None:
        console.print(f"long-term module {found.long_share:.3f}, short-term {1 - found.long_share:.3f}")
    for what, name in (("the mixture", "mixture"), ("the derived cell, not trained again", "derived")):
        accuracy, interval = found.accuracy[name]
        console.print(f"on the validation classes {what}: {100 * accuracy:.2f} ± {100 * interval:.2f} %")


def _draw(found: "Found", path: Path) -> None:
    try:
        from openfsar.engine.search_figure import draw_cell
    except ModuleNotFoundError as error:
        warn(f"no picture of the cell without {error.name}; pip install 'openfsar[report]'")
        return
    draw_cell(found, path)
    print(f"drawn: {path}")
