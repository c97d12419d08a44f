"""Scikit-learn's manners for an estimator: its parameters are the arguments of its constructor."""

import inspect
from difflib import get_close_matches
from typing import Any, TypeVar

from torch import nn

Self = TypeVar("Self", bound="Parameters")


class Parameters:
    """Base of an estimator whose constructor stores its arguments under their names and does nothing else."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in list(inspect.signature(type(self)).parameters)}

    def set_params(self: Self, **params: Any) -> Self:
        """Change constructor arguments; they take effect at the next ``fit`` or ``predict``."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
                raise ValueError(f"no parameter {name!r}; nearest is {near!r}, all are {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        changed = {k: v for k, v in self.get_params().items() if v is not defaults[k].default}
        changed |= {k: type(v).__name__ for k, v in changed.items() if isinstance(v, nn.Module)}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in changed.items())})"

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of an estimator; called by scikit-learn alone."""
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=False, string=True),
        )
