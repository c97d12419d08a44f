"""The model that is served: the one in the folder, or a new one that will be written there."""

from pathlib import Path
from typing import Literal

from openfsar.classifier import FewShotVideoClassifier
from openfsar.classifier.inputs import find_method

REJECT = 0.95
"""A new model keeps this share of videos of known actions when it says "none of these" to others."""


def open_model(
    folder: Path,
    *,
    method: str = "otam",
    encoder: str = "toyclip",
    frames: int = 8,
    reject: float | Literal["never"] | None = None,
    device: str | None = None,
) -> FewShotVideoClassifier:
    """The classifier of a folder; where there is none yet, an empty one of this method and encoder.

    Args:
        reject: share of videos of known actions to keep, or "never"; None leaves a model as it is, and is
            0.95 for a new one. It takes effect as soon as two actions have two examples each.

    Raises:
        ModelFolderError: The folder holds something else.
        ValueError: There is no such method or encoder, or the share is none.
    """
    if isinstance(reject, float) and not 0 < reject < 1:
        raise ValueError(f"{reject=} must lie between 0 and 1, such as 0.95, or be 'never'")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        classifier = FewShotVideoClassifier.load(folder, device=device)
    else:
        find_method(method, encoder=encoder)  # refused now, and not with the first example
        classifier = FewShotVideoClassifier(
            method, encoder=encoder, frames=frames, reject=REJECT, device=device
        )
    if reject is not None:
        classifier.set_params(reject=None if reject == "never" else reject)
    return classifier
