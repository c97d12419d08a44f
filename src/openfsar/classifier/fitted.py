"""A method and examples, ready to answer: what ``fit`` makes, and every new example makes anew."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from openfsar.classifier.calibration import (
    Calibration,
    calibrate,
    compare,
    familiarity,
    fused,
    read_prompts,
    surely_less,
)
from openfsar.classifier.examples import Examples
from openfsar.episode import FrameFeatures, SupportSet, Task
from openfsar.methods.base import FewShotMethod
from openfsar.methods.episodic import share_of
from openfsar.methods.frames import FrameMethod
from openfsar.methods.fusion import FusedMethod


@dataclass(frozen=True)
class Wishes:
    """What the user decided; None is chosen from the examples. See ``FewShotVideoClassifier``.

    Raises:
        ValueError: A number out of its range.
    """

    text_share: float | None = None
    prompt: str | None = None
    temperature: float | None = None

    def __post_init__(self) -> None:
        if self.text_share is not None:
            share_of("text_share", self.text_share)
        if self.temperature is not None and not self.temperature > 0:
            raise ValueError(f"temperature={self.temperature!r} must be positive, or None to choose it")


@dataclass(frozen=True)
class Scores:
    """Of some videos, on the CPU."""

    fused: Float[Tensor, "Q N"]
    """From examples and names, by the method's rule; higher is nearer."""
    compared: Float[Tensor, "Q N"]
    """From the examples alone."""

    @classmethod
    def cat(cls, parts: "list[Scores]") -> "Scores":
        return cls(torch.cat([p.fused for p in parts]), torch.cat([p.compared for p in parts]))


@dataclass(frozen=True, eq=False)
class Fitted:
    """Everything an answer needs but the video."""

    method: FewShotMethod
    classes: Shaped[np.ndarray, " N"]
    """The labels, sorted."""
    task: Task
    text: Float[Tensor, "N D"] | None
    """The names, where they count in the score."""
    calibration: Calibration

    @torch.no_grad()
    def scores(self, features: FrameFeatures) -> Scores:
        """Of videos that ``method.encode`` has encoded, on the method's device."""
        compared, named = compare(self.method, features, self.task), None
        if self.text is not None:
            assert isinstance(self.method, FusedMethod)  # no other method has a share for them
            named = self.method.named(features, self.text)
        both = fused(self.method, compared, named, self.calibration.text_share)
        return Scores(both.float().cpu(), compared.float().cpu())

    def probabilities(self, scores: Scores, temperature: float | None = None) -> Float[np.ndarray, "Q N"]:
        """In the order of ``classes``; calibrated unless another temperature is given."""
        heat = self.calibration.temperature if temperature is None else temperature
        return (scores.fused / heat).softmax(-1).numpy()

    def known(self, scores: Scores, reject: float | str | None) -> Bool[np.ndarray, " Q"]:
        """False where a video is none of the classes; see ``Calibration.threshold``."""
        return (familiarity(scores.compared) >= self.calibration.threshold(reject)).numpy()

    def nearest(self, scores: Scores) -> Shaped[np.ndarray, " Q"]:
        """The label of the highest score."""
        return self.classes[scores.fused.argmax(-1).numpy()]


def fit_either(
    method: FewShotMethod, examples: Examples, wishes: Wishes, *, background: FrameFeatures | None = None
) -> Fitted:
    """``fit_examples`` with the method as it is, or on what changes in a video where that is surely better.

    There is a choice for frame methods nothing of which was ever trained; both sides share all parameters.
    """
    if not isinstance(method, FrameMethod) or method.learnt or "centre" not in method.spec.options:
        return fit_examples(method, examples, wishes, background=background)
    whole = fit_examples(method.with_centre(False), examples, wishes, background=background)
    if not whole.calibration.clips:
        return whole
    changes = fit_examples(method.with_centre(True), examples, wishes, background=background)
    losses = [torch.tensor(fitted.calibration.losses) for fitted in (changes, whole)]
    return changes if surely_less(*losses) else whole


@torch.no_grad()
def fit_examples(
    method: FewShotMethod,
    examples: Examples,
    wishes: Wishes,
    *,
    background: FrameFeatures | None = None,
    calibration: Calibration | None = None,
) -> Fitted:
    """Learn from examples of two classes or more, without looking at a video again.

    Args:
        background: Videos of none of the classes.
        calibration: Of these examples, where it is known already.

    Raises:
        ValueError: A wish the method cannot grant.
    """
    device, classes = next(method.parameters()).device, examples.classes
    names = classes.tolist()
    text = method.text(names)
    # what does not depend on the video that is asked about is computed here, not with every answer
    features = asked = method.digested(examples.features.to(device), len(examples))
    if examples.asked is not examples.features:
        asked = method.digested(examples.asked.to(device), len(examples))
    examples = replace(examples, features=features, asked=asked)
    task = method.prepare(SupportSet(features, examples.labels.to(device), len(names), text))
    if calibration is None:
        texts = read_prompts(method, names, text_share=wishes.text_share, prompt=wishes.prompt)
        calibration = calibrate(
            method, examples, texts, text, text_share=wishes.text_share, temperature=wishes.temperature
        )
        if background is not None:
            found = familiarity(compare(method, background.to(device), task).float().cpu())
            calibration = replace(calibration, background=tuple(sorted(found.tolist())))
    share, prompt = calibration.text_share, calibration.prompt
    own = read_prompts(method, names, text_share=share, prompt=prompt)
    return Fitted(method, classes, task, own.get(prompt), calibration)
