"""Few-shot action recognition: name human actions in video from a handful of examples.

The public names are loaded when they are first used, so that ``import openfsar`` itself costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openfsar import data, matchers
    from openfsar.classifier import FewShotVideoClassifier
    from openfsar.engine.evaluate import evaluate
    from openfsar.engine.supervised import name_videos
    from openfsar.episode import Clip, Episode, SupportSet
    from openfsar.hub import load, save
    from openfsar.methods.zoo import create

    __version__: str

_HOME = {
    "Clip": "openfsar.episode",
    "Episode": "openfsar.episode",
    "FewShotVideoClassifier": "openfsar.classifier",
    "SupportSet": "openfsar.episode",
    "create": "openfsar.methods.zoo",
    "evaluate": "openfsar.engine.evaluate",
    "load": "openfsar.hub",
    "name_videos": "openfsar.engine.supervised",
    "save": "openfsar.hub",
}
_MODULES = ("data", "matchers")

__all__ = [
    "Clip",
    "Episode",
    "FewShotVideoClassifier",
    "SupportSet",
    "create",
    "data",
    "evaluate",
    "load",
    "matchers",
    "name_videos",
    "save",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    if name in _MODULES:
        return import_module(f"openfsar.{name}")
    if name == "__version__":
        from importlib.metadata import version

        return version("openfsar")
    raise AttributeError(f"openfsar has no {name!r}; its public names are {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
