"""From what the classifier finds to what the service says."""

import base64
from collections.abc import Sequence
from pathlib import PurePath

from openfsar.classifier import NONE, Explanation, Labelled
from openfsar.serve.limits import unreadable
from openfsar.serve.records import ExplanationRecord, Prediction


def predicted(name: str, classes: Sequence[str], found: Labelled) -> Prediction:
    """The answer for the file that the user calls ``name``.

    Raises:
        Problem: It could not be read.
    """
    if found.error is not None or found.probabilities is None:
        assert found.error is not None
        raise unreadable(found.error, name)
    chances = dict(zip(classes, found.probabilities.tolist(), strict=True))
    return Prediction(file=name, label=found.label, none_of_these=found.label == NONE, probabilities=chances)


def explained(name: str, example: str, found: Explanation) -> Prediction:
    """The same with its reasons; ``example`` is the id of the nearest one."""
    reasons = ExplanationRecord(
        example=example,
        label=found.label,
        file=PurePath(found.source).name,
        distances=[[round(d, 4) for d in row] for row in found.distances.tolist()],
        path=found.path,
        video_strip=data_url(found.query_strip),
        example_strip=data_url(found.support_strip),
    )
    return Prediction(
        file=name,
        label=found.label if found.known else NONE,
        none_of_these=not found.known,
        probabilities=found.probabilities,
        explanation=reasons,
    )


def data_url(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
