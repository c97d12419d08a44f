"""What the examples say about the classifier itself, each left out once and asked about: leave-one-out.

Chosen from it, by the smallest loss: the share of the class names, the template they are read in, and the
temperature of the probabilities. Remembered from it: how familiar videos of the known actions look, from
which the threshold for "none of these" follows. The loss is cross entropy with smoothed labels, a
third of ``1 / (clips + 2)`` of the weight on the other classes: against certainty learnt from a handful, as
Platt does ("Probabilistic outputs for support vector machines", 1999), whose whole came out
too modest on the toy sets' validation classes. Names get a share only where they lower the loss by more than
its standard error.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from openfsar.classifier.examples import Examples
from openfsar.encoders.prompts import TEMPLATES
from openfsar.episode import FrameFeatures, SupportSet, Task
from openfsar.methods.base import FewShotMethod
from openfsar.methods.fusion import FusedMethod, fuse

Texts: TypeAlias = Mapping[str, Float[Tensor, "N D"]]
"""Text features of all classes by prompt."""

OWN = "own"
"""The prompt the method was built with."""
PROMPTS = (OWN, "photo", "name")
"""Tried where none is given."""

SHARES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, *(i / 10 for i in range(1, 11)))
"""Dense near 0: cosines with names are scaled by 100 in CLIP, a distance of frames often by 1."""
TEMPERATURES = tuple(2.0 ** (i / 2) for i in range(-14, 19))
DOUBT = 1 / 3
"""Of Platt's weight on the other classes."""
ASKED = 200
"""Examples that are left out at most, evenly spread over the classes."""
SUPPORT_BYTES = 2**27
"""Of support features that are held at a time."""


@dataclass(frozen=True)
class Calibration:
    """How scores become probabilities, and which of them are believed."""

    text_share: float
    """Of the class names in the score, 0..1."""
    prompt: str
    """What the names are read in: a key of ``TEMPLATES``, or "own"."""
    temperature: float
    """Scores are divided by it before the softmax."""
    clips: int = 0
    """Examples left out once each; 0 where there were too few, and all of the above are defaults."""
    accuracy: float | None = None
    """Share of them named rightly, 0..1."""
    known: tuple[float, ...] = ()
    """Their familiarity, rising."""
    background: tuple[float, ...] = ()
    """That of videos of none of the classes, rising, where such were given."""
    losses: tuple[float, ...] = ()
    """The loss of each clip that was left out, in the order of the examples."""

    def threshold(self, reject: float | str | None) -> float:
        """The familiarity below which a video is none of these.

        Args:
            reject: None never rejects, and nothing is rejected where no two classes have two examples to
                learn from. A number is the share of videos of known actions to keep: with n examples left
                out, the ``floor((n + 1) (1 - reject))``-th least familiar one is the border; where that is
                none of them, as with fewer than 19 at 0.95, a normal distribution is laid through them.
                "background" separates them from the background best: the mean of both shares judged rightly
                is largest.

        Raises:
            ValueError: It is none of these.
        """
        if reject is None:
            return -math.inf
        if isinstance(reject, str):
            if reject != "background" or not self.background:
                raise ValueError(
                    f"{reject=} must be None, a share between 0 and 1, or 'background' with unlabelled "
                    "videos to keep apart: fit(..., background=[paths])"
                )
            return self._between() if self.known else -math.inf
        if not 0 < reject < 1:
            raise ValueError(f"{reject=} must lie between 0 and 1: the share of known actions to keep")
        if not self.known:
            return -math.inf
        rank = math.floor((len(self.known) + 1) * (1 - reject) + 1e-9)
        if rank == 0:
            return self._beyond(reject)
        return self.known[min(rank, len(self.known)) - 1]

    def _beyond(self, reject: float) -> float:
        """A border below all that is known: where a normal distribution of so few would have it."""
        spread = statistics.stdev(self.known) * (1 + 1 / len(self.known)) ** 0.5
        border = statistics.fmean(self.known) + statistics.NormalDist().inv_cdf(1 - reject) * spread
        return min(border, self.known[0])

    def _between(self) -> float:
        """Half way between the two neighbouring values that part known and background best."""
        values = np.unique([*self.known, *self.background])
        borders = np.concatenate([values[:1], (values[1:] + values[:-1]) / 2, values[-1:] + 1e-6])
        kept = 1 - np.searchsorted(self.known, borders) / len(self.known)
        refused = np.searchsorted(self.background, borders) / len(self.background)
        return float(borders[(kept + refused).argmax()])

    def __str__(self) -> str:
        names = f"names count {self.text_share:g}" + (f" (as {self.prompt!r})" if self.text_share else "")
        if not self.clips:
            return f"{names}, temperature {self.temperature:g}: defaults, for want of examples to leave out"
        return (
            f"{names}, temperature {self.temperature:.3g}: {100 * (self.accuracy or 0):.0f} % of {self.clips}"
            " examples named rightly from the others"
        )


def compare(method: FewShotMethod, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
    """Logits from the examples alone, for methods that can tell them from the names."""
    return method.compare(query, task) if isinstance(method, FusedMethod) else method.score(query, task)


def fused(
    method: FewShotMethod,
    compared: Float[Tensor, "*e Q N"],
    named: Float[Tensor, "*e Q N"] | None,
    share: float | Float[Tensor, "*a"],
) -> Float[Tensor, "*b Q N"]:
    """Scores from both kinds of logits, by the method's own rule; those of the examples without names."""
    if named is None or not isinstance(method, FusedMethod):
        return compared
    return fuse(compared, named, share, method.mix)


def surely_less(losses: Float[Tensor, " B"], others: Float[Tensor, " B"]) -> bool:
    """By more than one standard error of the difference: words that mean nothing win often by chance."""
    gain = others - losses
    return bool(gain.mean() > gain.std() / len(gain) ** 0.5)


def familiarity(compared: Float[Tensor, "Q N"]) -> Float[Tensor, " Q"]:
    """How near a video is to the nearest class; docs/experiments.md says what else was tried."""
    return compared.amax(-1)


def read_prompts(
    method: FewShotMethod, classes: Sequence[str], *, text_share: float | None, prompt: str | None
) -> Texts:
    """Text features in every prompt that may be chosen; none where names can have no share.

    Raises:
        ValueError: Names are asked for where the method cannot read them, or the prompt is unknown.
    """
    if prompt is not None and prompt != OWN and prompt not in TEMPLATES:
        raise ValueError(
            f"{prompt=} is unknown; use one of {', '.join([OWN, *TEMPLATES])}, or None to choose"
        )
    if not isinstance(method, FusedMethod) or not method.reads_names:
        if text_share:
            raise ValueError(
                f"{text_share=} gives the class names a share, and {type(method).__name__} on "
                f"{method.encoder.name!r} cannot weigh them; set text_share=None, or choose a CLIP"
            )
        return {}
    if text_share == 0:
        return {}
    texts = {}
    for name in PROMPTS if prompt is None else (prompt,):
        templates = None if name == OWN else TEMPLATES[name]
        if name == OWN or prompt or list(TEMPLATES[name]) != list(method.templates):
            texts[name] = method.read(classes, templates)
    return texts


@torch.no_grad()
def calibrate(
    method: FewShotMethod,
    examples: Examples,
    texts: Texts,
    text: Float[Tensor, "N D"] | None,
    *,
    text_share: float | None,
    temperature: float | None,
) -> Calibration:
    """What is not given is chosen by leaving examples out, or a default where that cannot be done.

    Defaults: the method's own share of the names in its own prompt, temperature 1.

    Args:
        texts: What ``read_prompts`` found.
        text: What ``method.text`` gave, for prototypes that read the names.
    """
    prompts = list(texts)
    own = method.text_share if isinstance(method, FusedMethod) and texts else 0.0
    asked = _asked(examples.labels)
    if len(asked) == 0:
        return Calibration(
            own if text_share is None else text_share, prompts[0] if prompts else OWN, temperature or 1.0
        )
    compared, named = _leave_out(method, examples, texts, text, asked)
    labels = examples.labels[asked]
    heats = TEMPERATURES if temperature is None else (temperature,)
    best = _Choice(compared, labels, 0.0, OWN, heats)
    shares = SHARES[1:] if text_share is None else (text_share,)
    fusions = [
        _Choice(fused(method, compared, named[prompt], share), labels, share, prompt, heats)
        for prompt in prompts
        for share in shares
    ]
    if fusions:
        with_names = min(fusions, key=lambda choice: float(choice.losses.mean()))
        if text_share is not None or surely_less(with_names.losses, best.losses):
            best = with_names
    return Calibration(
        best.share,
        best.prompt,
        best.temperature,
        len(asked),
        float((best.scores.argmax(-1) == labels).float().mean()),
        tuple(sorted(familiarity(compared).tolist())),
        losses=tuple(best.losses.tolist()),
    )


class _Choice:
    """Scores of the clips that were left out, at the temperature where their loss is smallest."""

    def __init__(
        self,
        scores: Float[Tensor, "B N"],
        labels: Int[Tensor, " B"],
        share: float,
        prompt: str,
        heats: Sequence[float],
    ) -> None:
        self.scores, self.share, self.prompt = scores, share, prompt
        table = _losses(scores / torch.tensor(heats).view(-1, 1, 1), labels)
        best = int(table.mean(-1).argmin())
        self.temperature, self.losses = heats[best], table[best]


def _asked(labels: Int[Tensor, " S"]) -> Int[Tensor, " B"]:
    """Examples to leave out: of classes that keep another one, at most ``ASKED``, class after class.

    None unless they are of two classes at least: one class alone tells nothing about the others.
    """
    counts = labels.bincount()
    able = (counts[labels] > 1).nonzero()[:, 0]
    if len(labels[able].unique()) < 2:
        return able[:0]
    turn = torch.stack([(labels[:i] == labels[i]).sum() for i in able.tolist()])
    return able[turn.argsort(stable=True)][:ASKED].sort().values


def _leave_out(
    method: FewShotMethod,
    examples: Examples,
    texts: Texts,
    text: Float[Tensor, "N D"] | None,
    asked: Int[Tensor, " B"],
) -> tuple[Float[Tensor, "B N"], dict[str, Float[Tensor, "B N"]]]:
    """Logits of each asked example from all others: (B, N), by examples, and by each prompt."""
    device = next(method.parameters()).device
    count, way, labels = len(examples), len(examples.classes), examples.labels
    size = max(1, SUPPORT_BYTES // max(1, (count - 1) * examples.features[:1].nbytes))
    compared, named = [], {prompt: [] for prompt in texts}
    for left in asked.split(size):
        others = _others(left, count)
        support = SupportSet(
            examples.features[others].to(device),
            labels[others].to(device),
            way,
            None if text is None else text.expand(len(left), *text.shape),
        )
        query = examples.asked[left].to(device)
        compared.append(compare(method, query[:, None], method.prepare(support))[:, 0].float().cpu())
        for prompt, features in texts.items():
            assert isinstance(method, FusedMethod)  # nobody else has texts
            named[prompt].append(method.named(query, features).float().cpu())
    return torch.cat(compared), {prompt: torch.cat(parts) for prompt, parts in named.items()}


def _others(left: Int[Tensor, " B"], count: int) -> Int[Tensor, "B X"]:
    """All numbers below ``count`` but one, for each."""
    places = torch.arange(count - 1).expand(len(left), -1)
    return places + (places >= left[:, None])


def _losses(logits: Float[Tensor, "A B N"], labels: Int[Tensor, " B"]) -> Float[Tensor, "A B"]:
    """Cross entropy with smoothed labels."""
    likely = logits.log_softmax(-1)
    own = likely.gather(-1, labels.expand(len(likely), -1)[..., None])[..., 0]
    doubt = DOUBT / (len(labels) + 2)
    rest = (likely.sum(-1) - own) / (likely.shape[-1] - 1)
    return -((1 - doubt) * own + doubt * rest)
