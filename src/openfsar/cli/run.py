"""What a user means by a run: a folder that `train` or `fit` wrote, or the name of a method."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openfsar.methods.base import FewShotMethod


class RunError(ValueError):
    """A run that is not there, or does not say what is needed."""


def model_folder(run: str) -> str:
    """The folder of the best model where ``run`` is a training run; ``run`` itself otherwise."""
    best = Path(run) / "best"
    return str(best) if best.is_dir() else run


def load_method(run: str, *, encoder: str) -> "FewShotMethod":
    """The trained method of a run or model folder, or an untrained one by name on ``encoder``."""
    from openfsar.classifier.estimator import find_method

    return find_method(model_folder(run), encoder=encoder)
