"""STRM: patches enriched inside each frame, frames inside each video, compared as TRX compares pairs.

Thatipelli et al., "Spatio-temporal Relation Modeling for Few-shot Action Recognition", CVPR 2022, arXiv
2112.05132. With p the frames behind the enrichment of patches and f those behind that of frames
(temporal/enrichment.py), and pairs (i, j), i < j, of the frames of a video:

    main[q, n]  = TRX's distance of f_q to class n, pairs alone                    (matchers/tuples.py)
    u_ij        = relu(W [p_i ; p_j] + b)                                          D / 2 wide
    aux[q, n]   = mean over the pairs of q of min |u - u'| over all pairs of all videos of class n
    logits      = -scale * (main + 0.1 aux)
    loss        = CE(-scale * main) + 0.1 CE(-scale * aux)

In the released code W and b are in no list of parameters: they never train, are not saved, and keep their
dropout when the model is tested, so that equal videos get unequal scores. Here they train and are saved.
Preset "released" leaves them at their random start, as part of what is saved; that dropout we do not repeat,
for a prediction must not depend on chance.

Departures: every video is brought to ``frames`` frames behind the patches, see ``FrameEnrichment``; dropout
acts on the frames of the auxiliary pairs instead of on the pairs; TRX's own, see methods/trx.py: pixels are
normalised, the loss is a mean over the queries, which that code sums, and a video too short for a tuple holds
its last frame. Batch statistics of an ImageNet tower stay those of its pre-training (encoders/norms.py).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders.visual import VisualEncoder
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.matchers.tuples import held, map_tuples
from openfsar.methods.episodic import Scale, Tune, classification, episode_only, one_of
from openfsar.methods.matching import Changes, Tuples, changes
from openfsar.methods.spatial import SpatialMethod
from openfsar.objectives import accuracy
from openfsar.temporal.enrichment import FrameEnrichment, PatchEnrichment

PAIRS: Sequence[int] = [2]
"""A list, as the recipe and the saved record of a method give it back."""


@dataclass(frozen=True, eq=False, repr=False)
class EnrichedFeatures(FrameFeatures):
    """Frames behind both enrichments, and as many as the video has behind that of patches alone."""

    patches: Float[Tensor, "*b _ D"]


class Strm(SpatialMethod):
    """Enriched patches and frames, compared by attention between pairs and by the nearest pair.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names.
        tune: Which part of the visual tower trains, besides the enrichment and the maps of the tuples.
        patches: Rows and columns of patches that a map is pooled to, if it is finer.
        frames: How many frames the enrichment of frames mixes; other videos are brought to this length.
        sizes: Cardinalities of the tuples: how many frames make one; published 2 alone.
        key_width: Width of the keys and values of a tuple.
        centre: Whether each video's mean frame is taken away before tuples are made, so that only what
            changes is compared: a departure, see ``matching.Changes``.
        scale: Factor on the distances; published 1.
        learn_scale: Whether the factor trains too.
        aux_weight: Weight of the auxiliary distance, in the score and of its loss; 0 for none.
        aux_map: Whether its map of tuples is "learnt", or "random" as in the released code.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"clean": {}, "released": {"aux_map": "random"}}

    def __init__(
        self,
        encoder: VisualEncoder,
        *,
        tune: Tune = "full",
        patches: int = 4,
        frames: int = 8,
        sizes: Sequence[int] = PAIRS,
        key_width: int = 1152,
        centre: bool = False,
        scale: float = 1.0,
        learn_scale: bool = False,
        aux_weight: float = 0.1,
        aux_map: Literal["learnt", "random"] = "learnt",
    ) -> None:
        super().__init__(encoder, tune=tune)
        width = encoder.widths[-1]
        self.of_patches = PatchEnrichment(width, grid=patches)
        self.of_frames = FrameEnrichment(width, frames=frames)
        matcher = Tuples(width, sizes=sizes, key_width=key_width)
        self.matcher = Changes(matcher) if centre else matcher
        self.centre = centre
        self.scale = Scale(scale, learn=learn_scale)
        learn = one_of("aux_map", aux_map, "learnt", "random") == "learnt"
        self.aux_weight = aux_weight
        self.nearest = NearestTuple(width, sizes=sizes, learn=learn) if aux_weight else None

    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> EnrichedFeatures:
        return self.by_parts(self._encode, clips)

    def _encode(self, clips: UInt8[Tensor, "B T C H W"]) -> EnrichedFeatures:
        frames = self.of_patches(self.encoder.maps(clips)[-1])
        return EnrichedFeatures(self.of_frames(frames), frames)

    def prepare(self, support: SupportSet) -> Task:
        return Task(support.features, support.labels, support.way)

    def score(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        main, aux = self.both(query, task)
        return main if aux is None else main + self.aux_weight * aux

    def both(
        self, query: FrameFeatures, task: Task
    ) -> tuple[Float[Tensor, "*e Q N"], Float[Tensor, "*e Q N"] | None]:
        """Logits by attention, and those by the nearest tuple, if they count."""
        main = -self.scale(self.matcher(query.frames, task))
        if self.nearest is None:
            return main, None
        asked, shown = (self._auxiliary(features) for features in (query, task.exemplars))
        return main, -self.scale(self.nearest(asked, shown, task.labels, task.way))

    def _auxiliary(self, features: FrameFeatures) -> Float[Tensor, "*b T D"]:
        assert isinstance(features, EnrichedFeatures)  # what ``encode`` gives
        return changes(features.patches) if self.centre else features.patches

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        episode = episode_only(batch)
        support, query = self.encode(episode.support), self.encode(episode.query)
        task = self.prepare(SupportSet(support, episode.support_labels, episode.way))
        main, aux = self.both(query, task)
        found = classification(main, episode.query_labels)
        if aux is None:
            return found
        nearest = classification(aux, episode.query_labels)["loss"]
        return {
            "loss": found["loss"] + self.aux_weight * nearest,
            "accuracy": accuracy(main + self.aux_weight * aux, episode.query_labels),
            "tuples": found["loss"].detach(),
            "nearest": nearest.detach(),
        }


class NearestTuple(nn.Module):
    """How far the tuples of a query are from the nearest ones of a class, on average.

    For one episode of 5 ways, 5 shots and 25 queries of 8 frames, 2048 wide, the largest tensors are the
    mapped pairs, 2.9 MB in float32 for the support and as much for the queries, and the table of all pairs
    with all, 2 MB, of which three exist at once.

    Args:
        width: Feature width D.
        sizes: Cardinalities of the tuples; each counts equally.
        learn: Whether the maps train; otherwise they stay at their random start and are saved with the model.
        dropout: On the frames.
    """

    def __init__(self, width: int, *, sizes: Sequence[int], learn: bool, dropout: float = 0.1) -> None:
        super().__init__()
        self.least = max(sizes)
        self.maps = nn.ModuleList([_TupleMap(width, size, learn=learn) for size in sizes])
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        query: Float[Tensor, "*e Q T D"],
        exemplars: Float[Tensor, "*e X U D"],
        labels: Int[Tensor, "*e X"],
        way: int,
    ) -> Float[Tensor, "*e Q N"]:
        """Lower is nearer. Every class 0..way-1 must be among the labels; classes may differ in size.

        Half precision is computed and returned in float32, also under autocast; float64 stays.
        """
        others = labels[..., None, :] != torch.arange(way, device=labels.device)[:, None]  # *e N X
        distances = []
        for tuples in self.maps:
            asked, shown = tuples(self._held(query)), tuples(self._held(exemplars))
            videos = _nearest(asked, shown)[..., None, :, :]  # *e Q 1 tuples X
            nearest = videos.masked_fill(others[..., None, :, None, :], math.inf).amin(-1)
            # a gradient of zero where two tuples are equal, up to rounding
            distances.append(nearest.clamp_min(torch.finfo(nearest.dtype).eps).sqrt().mean(-1))
        return torch.stack(distances).mean(0)

    def _held(self, frames: Float[Tensor, "*b T D"]) -> Float[Tensor, "*b _ D"]:
        """Some dropped; a video too short for a tuple holds its last frame, as in ``TupleAttention``."""
        frames = held(frames, self.least)
        return self.dropout(frames.to(torch.promote_types(frames.dtype, torch.float32)))


class _TupleMap(nn.Module):
    """``relu(W [frames of a tuple] + b)`` for all tuples of one size."""

    weight: Tensor
    bias: Tensor

    def __init__(self, width: int, size: int, *, learn: bool) -> None:
        super().__init__()
        self.size = size
        start = nn.Linear(size * width, max(1, width // 2))
        if learn:
            self.weight, self.bias = start.weight, start.bias
        else:  # buffers are saved whatever happens, frozen parameters only where they cannot be had again
            self.register_buffer("weight", start.weight.detach())
            self.register_buffer("bias", start.bias.detach())

    def forward(self, frames: Float[Tensor, "*b T D"]) -> Float[Tensor, "*b _ _"]:
        return F.relu(map_tuples(frames, self.weight, self.bias, self.size))


def _nearest(
    query: Float[Tensor, "*e Q _ D"], exemplars: Float[Tensor, "*e X _ D"]
) -> Float[Tensor, "*e Q _ X"]:
    """Squared distance of every tuple of a query to the nearest one of each exemplar."""
    centre = exemplars.mean((-3, -2), keepdim=True)  # of no consequence but for rounding
    q, x = (query - centre).flatten(-3, -2), (exemplars - centre).flatten(-3, -2)
    with torch.autocast(q.device.type, enabled=False):  # distances are differences of like numbers
        dots = q @ x.mT
    squares = q.square().sum(-1)[..., :, None] + x.square().sum(-1)[..., None, :] - 2 * dots
    nearest = squares.unflatten(-1, exemplars.shape[-3:-1]).amin(-1)
    return nearest.unflatten(-2, query.shape[-3:-1])
