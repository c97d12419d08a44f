"""``recompute_blocks: auto``: whether training keeps its activations, by what it needs and what is free."""

from openfsar.engine.live import bar
from openfsar.engine.loop import join_processes
from openfsar.engine.recipe import Recipe
from openfsar.methods.base import FewShotMethod
from openfsar.methods.memory import training_budget


def settle_recomputing(method: FewShotMethod, recipe: Recipe, *, progress: bool) -> None:
    """Set the method to what the recipe says; ``auto`` computes again where keeping all does not fit.

    Args:
        progress: Say so where it does not, on stderr.
    """
    recomputes = recipe.recompute_blocks
    if recomputes == "auto":
        state = join_processes()
        assert state.device is not None  # for pyright
        method.recompute_activations(False)
        budget = training_budget(
            method,
            recipe.videos_at_once,
            recipe.frames,
            recipe.size,
            device=state.device,
            sharing=state.num_processes,
        )
        recomputes = not budget.fits
        if recomputes and progress:
            bar(progress).console.print(
                f"blocks are computed again in the backward pass: keeping them takes {budget}",
                highlight=False,
                soft_wrap=True,
            )
    method.recompute_activations(recomputes)
