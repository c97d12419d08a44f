"""Training losses the plain way, as public few-shot code has them: the reference of benchmarks and tests.

Support and query videos go through the tower in two passes and class names through the text tower at every
step, prototypes and distances are averaged class by class, and OTAM's table is filled cell by cell. Towers,
temporal layers and losses over names are the method's own: only what is made faster differs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, one_hot, pad

from openfsar.encoders.prompts import fill
from openfsar.episode import Episode, FrameFeatures
from openfsar.methods.base import FewShotMethod
from openfsar.methods.clip_fsar import ClipFsar
from openfsar.methods.fusion import RefinedFeatures
from openfsar.methods.ma_fsar import MaFsar
from openfsar.methods.otam import Otam
from openfsar.objectives import multi_positive_kl


@dataclass(frozen=True)
class PlainLoss:
    """The loss of an episode, for OTAM, CLIP-FSAR and MA-FSAR with the options of their toy recipes."""

    method: FewShotMethod
    one_pass: bool = False
    """Support and query together instead, where a method's support reads no names."""
    text_kept: bool = False
    """Names read once instead of at every step."""

    def __call__(self, episode: Episode) -> Tensor:
        match self.method:
            case Otam():
                return self._otam(self.method, episode)
            case ClipFsar():
                return self._clip_fsar(self.method, episode)
            case MaFsar():
                return self._ma_fsar(self.method, episode)
        raise ValueError(f"{type(self.method).__name__} has no plain way here")

    def _otam(self, method: Otam, episode: Episode) -> Tensor:
        support, query = self._videos(episode)
        costs = self._costs(query.frames, support.frames).mT  # (S, Q)
        return cross_entropy(-method.scale(_class_by_class(costs, episode).mT), episode.query_labels)

    def _clip_fsar(self, method: ClipFsar, episode: Episode) -> Tensor:
        text = self._text(method, episode.vocabulary)
        numbers = torch.tensor([episode.vocabulary.index(name) for name in episode.classes]).to(text.device)
        support, query = self._videos(episode)
        assert isinstance(support, RefinedFeatures) and isinstance(query, RefinedFeatures)
        shown = torch.cat([_class_by_class(support.raw, episode), text[numbers][:, None]], 1)
        compared = -self._costs(query.frames, method.temporal(shown)[:, :-1])
        named = method.named(RefinedFeatures.cat([support, query]), text)
        labels = numbers[torch.cat([episode.support_labels, episode.query_labels])]
        found = cross_entropy(compared, episode.query_labels)
        return found + method.text_weight * cross_entropy(named, labels)

    def _ma_fsar(self, method: MaFsar, episode: Episode) -> Tensor:
        text = self._text(method, episode.classes)
        support, query = self._videos(episode, text[episode.support_labels])
        compared = -method.scale * self._costs(query.frames, _class_by_class(support.frames, episode))
        named = [
            multi_positive_kl(
                method.named(features, text),
                one_hot(labels, episode.way).bool(),
                sharpness=method.sharpness,
            )
            for features, labels in ((support, episode.support_labels), (query, episode.query_labels))
        ]
        found = cross_entropy(compared, episode.query_labels)
        return method.alpha * (named[0] + named[1]) / 2 + (1 - method.alpha) * found

    def _text(self, method: ClipFsar | MaFsar, names: Sequence[str]) -> Tensor:
        """Features of the names, one row each."""
        if self.text_kept:
            return method.read(names)
        with torch.no_grad():
            features = method.clip.sentences(fill(names, method.templates))
        return features.unflatten(0, (len(names), -1)).mean(1)

    def _videos(self, episode: Episode, text: Tensor | None = None) -> tuple[FrameFeatures, FrameFeatures]:
        """Features of support, which may read the names, and query."""
        if not self.one_pass:
            return self.method.encode(episode.support, text), self.method.encode(episode.query)
        both = self.method.encode(torch.cat([episode.support, episode.query]))
        return both[: len(episode.support)], both[len(episode.support) :]

    def _costs(self, query: Tensor, shown: Tensor) -> Tensor:
        """What aligning each query with each of what is shown costs, both ways."""
        options = self.method.spec.options
        if options["centre"]:
            query, shown = (frames - frames.mean(-2, keepdim=True) for frames in (query, shown))
        return alignment_costs(query, shown, options["smoothing"])


def _class_by_class(values: Tensor, episode: Episode) -> Tensor:
    """The mean over the support videos of each class."""
    return torch.stack([values[episode.support_labels == number].mean(0) for number in range(episode.way)])


def alignment_costs(query: Tensor, shown: Tensor, smoothing: float = 0.1) -> Tensor:
    """What OTAM makes of frames (Q, T, D) and (S, U, D), cell by cell and both ways: (Q, S)."""
    distances = 1 - cosine_similarity(query[:, None, :, None], shown[None, :, None], dim=-1)
    return cell_by_cell(distances, smoothing) + cell_by_cell(distances.transpose(-1, -2), smoothing)


def cell_by_cell(distances: Tensor, smoothing: float) -> Tensor:
    """The published recursion; the logarithm keeps it finite where theirs is not."""
    padded = pad(distances, (1, 1))
    rows, columns = padded.shape[-2:]
    cost = torch.zeros_like(padded)
    for m in range(1, columns):
        cost[..., 0, m] = cost[..., 0, m - 1] + padded[..., 0, m]
    for row in range(1, rows):
        for m in range(1, columns):
            before = [cost[..., row - 1, m - 1], cost[..., row, m - 1]]
            if m in (1, columns - 1):
                before.append(cost[..., row - 1, m])
            soft = -smoothing * torch.stack(before).div(-smoothing).logsumexp(0)
            cost[..., row, m] = padded[..., row, m] + soft
    return cost[..., -1, -1]
