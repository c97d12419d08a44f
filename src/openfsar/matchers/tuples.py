"""TRX: ordered tuples of frames, each compared with what the tuples of a class answer to it.

Perrett et al., "Temporal-Relational CrossTransformers for Few-Shot Action Recognition", CVPR 2021,
arXiv 2101.06184. Every frame carries 0.1 of a sinusoidal position; a tuple p is the concatenation of c frames
in their order, and for each cardinality c with its own maps W:

    k(p) = LN(W_k p + b)      v(p) = W_v p
    a(q, s)        = softmax of k(q) . k(s) / sqrt(key width) over all tuples s of all videos of a class
    distance[q, n] = mean over the query's tuples q of |v(q) - sum_s a(q, s) v(s)|^2

and the mean over cardinalities. W_v has no bias here: the weights of a softmax sum to one, so the published
one cancels. A video of fewer frames than the largest cardinality holds its last frame, as a video player
does, so that every part of the metric is defined for every video.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.grouping import by_class, members

POSITION_WEIGHT = 0.1

ANSWERS = 2**26
"""Numbers in the answers of classes to queries that are held at once: 268 MB in float32, and a few copies."""


class TupleAttention(nn.Module):
    """Distances of queries to classes, whose examples answer together, however many there are.

    A video of 8 frames has 28 pairs and 56 triples. For one episode of 5 ways, 5 shots and 25 queries of 8
    frames and the published key width, the largest tensors are those of the triples, in float32: keys and
    values of 6.5 MB each for the support and as much for the queries, 7.8 MB of weights, and the answers, 32
    MB (queries x classes x tuples x key width), of which three copies exist at once and one is kept for the
    gradient. Answers do not grow with the shots.

    Args:
        width: Feature width D.
        sizes: Cardinalities: how many frames make a tuple; each counts equally.
        key_width: Width of keys and values.
        dropout: On frames that have their positions.

    Raises:
        ValueError: ``sizes`` is empty, repeats itself, or holds a number below 1.
    """

    def __init__(
        self, width: int, *, sizes: Sequence[int] = (2, 3), key_width: int = 1152, dropout: float = 0.1
    ) -> None:
        super().__init__()
        if not sizes or len(set(sizes)) != len(sizes) or min(sizes) < 1:
            raise ValueError(f"option sizes={list(sizes)} must be different numbers of frames from 1 up")
        if key_width < 1:
            raise ValueError(f"option {key_width=} must be at least 1")
        self.sizes, self.least = tuple(sizes), max(sizes)
        self.maps = nn.ModuleList([TupleMaps(width, size, key_width) for size in sizes])
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        query: Float[Tensor, "*e Q T D"],
        exemplars: Float[Tensor, "*e X U D"],
        labels: Int[Tensor, "*e X"],
        way: int,
    ) -> Float[Tensor, "*e Q N"]:
        """Lower is nearer. Every class 0..way-1 must be among the labels; classes may differ in size.

        Half precision is accumulated and returned in float32, also under autocast; float64 stays.
        """
        return self.compare(self.describe(query), self.describe(exemplars), labels, way)

    def describe(
        self, frames: Float[Tensor, "*b T D"]
    ) -> tuple[Float[Tensor, "*b _ _"], Float[Tensor, "*b _ _"]]:
        """Keys and values of all tuples of a video: what of the metric does not depend on other videos.

        They take ``8 key_width`` bytes for each tuple in float32: 774 kB for 8 frames, as published.
        """
        positioned = self._positioned(frames)
        keys, values = zip(*(maps(positioned) for maps in self.maps), strict=True)
        return torch.cat(keys, -2), torch.cat(values, -2)

    def compare(
        self,
        query: tuple[Float[Tensor, "*e Q _ _"], Float[Tensor, "*e Q _ _"]],
        exemplars: tuple[Float[Tensor, "*e X _ _"], Float[Tensor, "*e X _ _"]],
        labels: Int[Tensor, "*e X"],
        way: int,
    ) -> Float[Tensor, "*e Q N"]:
        """``forward`` of videos that are described already."""
        asked, shown = (self._by_size(described) for described in (query, exemplars))
        order, present = members(labels, way)
        support = [tuple(_by_class(part, order, way) for part in pair) for pair in shown]
        distances = [_distances(own, other, present) for own, other in zip(asked, support, strict=True)]
        return torch.stack(distances).mean(0)

    def _by_size(self, described: tuple[Tensor, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Keys and values apart again, by cardinality."""
        total, frames = described[0].shape[-2], self.least
        while sum(counts := [math.comb(frames, size) for size in self.sizes]) < total:
            frames += 1
        return list(zip(*(part.split(counts, -2) for part in described), strict=True))

    def _positioned(self, frames: Float[Tensor, "*b T D"]) -> Float[Tensor, "*b _ D"]:
        frames = held(frames, self.least)
        values = frames.to(torch.promote_types(frames.dtype, torch.float32))
        return self.dropout(values + POSITION_WEIGHT * sinusoids(values))


class TupleMaps(nn.Module):
    """Keys and values of all tuples of one size.

    Args:
        width: Feature width D.
        size: Frames of a tuple.
        key_width: Width of keys and values.
    """

    def __init__(self, width: int, size: int, key_width: int) -> None:
        super().__init__()
        self.size = size
        self.keys = nn.Linear(size * width, key_width)
        self.norm = nn.LayerNorm(key_width)
        self.values = nn.Linear(size * width, key_width, bias=False)

    def forward(
        self, frames: Float[Tensor, "*b T D"]
    ) -> tuple[Float[Tensor, "*b X _"], Float[Tensor, "*b X _"]]:
        keys, values = (map_tuples(frames, x.weight, x.bias, self.size) for x in (self.keys, self.values))
        scale, shift = self.norm.weight.to(keys.dtype), self.norm.bias.to(keys.dtype)
        return F.layer_norm(keys, self.norm.normalized_shape, scale, shift, self.norm.eps), values


def map_tuples(
    frames: Float[Tensor, "*b T D"],
    weight: Float[Tensor, "_ _"],
    bias: Float[Tensor, " _"] | None,
    size: int,
) -> Float[Tensor, "*b X _"]:
    """A linear map of the concatenated frames of each tuple of ``size`` frames in order.

    That is a sum of one map per slot. A frame is mapped once for each slot, not once for each tuple it stands
    in: at 8 frames a seventh of the multiplications for triples, two sevenths for pairs.
    """
    tuples = torch.combinations(torch.arange(frames.shape[-2], device=frames.device), size)
    total = frames.new_zeros(()) if bias is None else bias.to(frames.dtype)
    for slot, part in enumerate(weight.unflatten(1, (size, -1)).unbind(1)):
        mapped = F.linear(frames.to(part.dtype), part).to(frames.dtype)
        total = total + mapped[..., tuples[:, slot], :]
    return total


def _distances(
    query: tuple[Float[Tensor, "*e Q X D"], ...],
    support: tuple[Float[Tensor, "*e N K _ D"], ...],
    present: Bool[Tensor, "*e N K"],
) -> Float[Tensor, "*e Q N"]:
    """From keys and values: X tuples per query, K videos per class, some of which are only padding.

    Classes have nothing to do with each other: so many at a time that their answers stay below ``ANSWERS``.
    """
    together = max(1, ANSWERS // max(1, query[0].numel()))
    keys, values = (part.split(together, -4) for part in support)
    parts = zip(keys, values, present.split(together, -2), strict=True)
    return torch.cat([_distances_at_once(query, (k, v), some) for k, v, some in parts], -1)


def _distances_at_once(
    query: tuple[Float[Tensor, "*e Q X D"], ...],
    support: tuple[Float[Tensor, "*e N K _ D"], ...],
    present: Bool[Tensor, "*e N K"],
) -> Float[Tensor, "*e Q N"]:
    (asked, own), (keys, values) = query, support
    hidden = ~present.repeat_interleave(keys.shape[-2], -1)[..., None, :, :]  # *e 1 N K*tuples
    with torch.autocast(keys.device.type, enabled=False):  # distances are differences of like numbers
        scores = asked.flatten(-3, -2) @ keys.flatten(-4, -2).mT / math.sqrt(keys.shape[-1])
        scores = scores.unflatten(-1, hidden.shape[-2:])  # *e Q*X N K*tuples
        weights = scores.masked_fill(hidden, -math.inf).softmax(-1)
        answers = weights.transpose(-3, -2) @ values.flatten(-3, -2)  # *e N Q*X D
    gaps = (own.flatten(-3, -2)[..., None, :, :] - answers).square().sum(-1)
    return gaps.unflatten(-1, asked.shape[-3:-1]).mean(-1).mT


def _by_class(
    videos: Float[Tensor, "*e X U D"], order: Int[Tensor, "*e N K"] | None, way: int
) -> Float[Tensor, "*e N K U D"]:
    return by_class(videos.flatten(-2), order, way).unflatten(-1, videos.shape[-2:])


def held(frames: Float[Tensor, "*b T D"], least: int) -> Float[Tensor, "*b _ D"]:
    """A video of fewer than ``least`` frames with its last one repeated."""
    missing = least - frames.shape[-2]
    if missing <= 0:
        return frames
    return torch.cat([frames, frames[..., -1:, :].expand(*frames.shape[:-2], missing, -1)], -2)


def sinusoids(frames: Float[Tensor, "*b T D"]) -> Float[Tensor, "T D"]:
    """Sines in even and cosines in odd channels, of wavelengths from 2 pi to 20,000 pi frames."""
    step, channel = (torch.arange(n, device=frames.device, dtype=frames.dtype) for n in frames.shape[-2:])
    angles = step[:, None] * 10000.0 ** -((channel - channel % 2) / frames.shape[-1])
    return torch.where(channel % 2 == 0, angles.sin(), angles.cos())
