"""``openfsar train``: from a recipe to a run folder."""

from pathlib import Path

from openfsar.cli.console import stage


def train(
    recipe: Path, changes: tuple[str, ...] = (), *, out: Path | None = None, fresh: bool = False
) -> None:
    """Train a method by a recipe; the best model on the validation classes is kept.

    Progress shows loss, accuracy and the time left. A run that was stopped resumes where it was.

    Args:
        recipe: The YAML file; `openfsar models` lists those there are.
        changes: Recipe values to replace, as key=value.
        out: The run folder; by default runs/METHOD-DATA.
        fresh: Start over instead of resuming.

    Example:
        openfsar train recipes/otam/toy-motion.yaml
        openfsar train recipes/otam/toy-motion.yaml shot=5 seed=1 -o runs/otam-5shot
    """
    from openfsar.engine.recipe import load_recipe
    from openfsar.engine.train import train as run

    loaded = load_recipe(recipe, changes)
    folder = out or Path("runs") / loaded.label.replace("/", "-")
    with stage("trained") as said:
        result = run(loaded, folder, resume=not fresh, progress=True)
        said.append(f"best model -> {result.best}")
    if result.text_share is not None:
        print(f"share of the class names chosen on the {result.select} classes: {result.text_share}")
    print(f"next: openfsar eval {folder}")
