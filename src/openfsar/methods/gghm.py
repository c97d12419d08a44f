"""GgHM: dense temporal modelling, prototypes guided by a graph, frames and pairs of frames matched at once.

Xing et al., "Boosting Few-shot Action Recognition with Graph-guided Hybrid Matching", ICCV 2023, arXiv
2308.09346. Its code was never released; this is written from the paper, part by part:

    F       = tower(video)                      its deepest map, T x P x D
    f       = mean over P of LDTM(F)            T x D (temporal/dense.py)
    p_n     = mean of f over the support videos of class n, frame by frame
    M_q     = alike edges of a graph over the time means of p_1 .. p_N and of query q (temporal/graph.py)
    q', p'  = GgPC(f_q, p_1 .. p_N, M_q)        anew for every query (prototypes/graph_guided.py)
    logits  = -scale (alpha D_pair + (1 - alpha) D_frame)(q', p'_n)    (matchers/hybrid.py)
    loss    = CE(logits) + w L_graph            the labels of the queries supervise M

One graph over all queries of an episode is the paper's wiring, and makes it transductive: a query's score
depends on the others, and a single query gets another score. Preset "paper" does so; the default gives every
query a graph of its own, whose scores can be compared with those of other methods.

Of much the paper's text, as far as we could read it, says nothing. Each choice stands with its reasons where
it is made: for LDTM, graph and GgPC in the three files above, for the rest here.

- alpha 0.5 prefers neither kind of distance. Both are Euclidean on features that are not normalised, whose
  distances in a ResNet-50 are some tens; a scale of 1, as the paper has no other, then tells classes apart.
- w: 0.5. The weights of the graph's layers sum to 2, which makes the graph count as much as the match.
- shots are averaged before the graph, as its nodes are; distances to a class are then those to one prototype.

Departure: the statistics of batch normalisation in the tower stay those of the pre-training.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from openfsar.encoders.visual import VisualEncoder
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.methods.episodic import Scale, Tune, classification, episode_only, one_of, prototype_task
from openfsar.methods.matching import MatcherName, make_matcher
from openfsar.methods.spatial import SpatialMethod
from openfsar.prototypes import GraphGuidance, class_means
from openfsar.temporal.dense import DenseTemporal
from openfsar.temporal.graph import EdgeGraph, EdgeLoss, edge_loss


class Gghm(SpatialMethod):
    """Graph-guided hybrid matching on feature maps. It reads no names.

    With a ResNet-50 it has 56 million parameters, 23.5 of them the tower's and 25.2 LDTM's. Training on 5
    ways, 5 shots and 25 queries of 8 frames needs 160 MB behind ``encode`` and, with ``recompute_blocks``,
    some 5 GB in it.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names. The paper's is a ResNet-50.
        tune: Which part of the visual tower trains, besides all that is built here.
        dense: Whether there is LDTM; without, frames are the means of the tower's map.
        dense_layers: How many layers of it.
        frames: T of its matrices along time; videos of other lengths are interpolated to it.
        gap: Every ``gap``-th patch is left out of the mixing along time.
        beta: Share of its patch branch; the rest is the channel branch's.
        gamma: Share of the mixed patches within the patch branch.
        kernel: Frames that the channel branch looks at; odd.
        heads: Of the attention over patches; must divide the channels of the deepest map.
        expansion: Hidden width of its FFN as a multiple of these channels.
        shared_attention: Whether the branches share one attention unit.
        graph: Whether there is a graph to guide the prototypes; without, class means are compared.
        graph_layers: Rounds of message passing.
        graph_width: Channels of its nodes.
        hidden: Hidden width of the three MLPs around it.
        queries: A graph for each query "alone", or one over all queries of an episode "together", as the
            paper has it; see above.
        graph_loss: Its loss: each edge between query and class ("balanced"), or a query's edges among the
            classes ("row").
        graph_weight: Weight w of that loss.
        matcher: How frames are compared; "hybrid" is the paper's.
        alpha: Share of the pairs of frames in the hybrid distance; 0 compares frames alone, 1 pairs alone.
        smoothing: Softness of OTAM's minimum, in units of distance.
        centre: Whether each video's mean frame is taken away before frames are compared: a departure, see
            ``matching.Changes``.
        scale: Factor on the distances.
        learn_scale: Whether the factor trains too.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "clean": {},
        "paper": {"queries": "together"},
    }

    def __init__(
        self,
        encoder: VisualEncoder,
        *,
        tune: Tune = "full",
        dense: bool = True,
        dense_layers: int = 1,
        frames: int = 8,
        gap: int = 2,
        beta: float = 0.5,
        gamma: float = 0.5,
        kernel: int = 3,
        heads: int = 8,
        expansion: int = 1,
        shared_attention: bool = True,
        graph: bool = True,
        graph_layers: int = 3,
        graph_width: int = 96,
        hidden: int = 512,
        queries: Literal["alone", "together"] = "alone",
        graph_loss: EdgeLoss = "balanced",
        graph_weight: float = 0.5,
        matcher: MatcherName = "hybrid",
        alpha: float = 0.5,
        smoothing: float = 0.1,
        centre: bool = False,
        scale: float = 1.0,
        learn_scale: bool = False,
    ) -> None:
        super().__init__(encoder, tune=tune)
        if dense_layers < 1:
            raise ValueError(f"option {dense_layers=} must be at least 1; dense=False leaves LDTM out")
        width = encoder.widths[-1]
        layers = [
            DenseTemporal(
                width,
                frames=frames,
                gap=gap,
                beta=beta,
                gamma=gamma,
                kernel=kernel,
                heads=heads,
                expansion=expansion,
                shared=shared_attention,
            )
            for _ in range(dense_layers if dense else 0)
        ]
        self.dense = nn.Sequential(*layers)
        together = one_of("queries", queries, "alone", "together") == "together"
        self.transductive = graph and together
        one_of("graph_loss", graph_loss, "balanced", "row")
        self.graph_loss: EdgeLoss = graph_loss
        self.graph_weight = graph_weight
        self.graph = (
            EdgeGraph(width, hidden=graph_width, layers=graph_layers, together=together) if graph else None
        )
        self.guidance = GraphGuidance(width, hidden=hidden) if graph else None
        self.matcher = make_matcher(matcher, width, smoothing=smoothing, alpha=alpha, centre=centre)
        self.scale = Scale(scale, learn=learn_scale)

    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> FrameFeatures:
        return self.by_parts(self._encode, clips)

    def _encode(self, clips: UInt8[Tensor, "B T C H W"]) -> FrameFeatures:
        patches = self.encoder.maps(clips)[-1].flatten(3).mT
        return FrameFeatures(self.dense(patches).mean(-2))

    def prepare(self, support: SupportSet) -> Task:
        return prototype_task(class_means(support.features.frames, support.labels, support.way), support)

    def score(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        return self._score(query, task)[0]

    def _score(
        self, query: FrameFeatures, task: Task
    ) -> tuple[Float[Tensor, "*e Q N"], list[Float[Tensor, "*e Q X X"]]]:
        """Logits, and the alike edges after each layer of the graph, if there is one."""
        if self.graph is None or self.guidance is None:
            return -self.scale(self.matcher(query.frames, task)), []
        prototypes = task.exemplars.frames
        alike = self.graph(prototypes.mean(-2), query.frames.mean(-2))
        frames, seen = self.guidance(query.frames, prototypes, alike[-1])
        # to the matcher each query is a task of its own, with one query
        labels = torch.arange(task.way, device=frames.device).expand(seen.shape[:-2])
        distances = self.matcher(frames[..., None, :, :], Task(FrameFeatures(seen), labels, task.way))
        return -self.scale(distances[..., 0, :]), alike

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        """Cross entropy of the queries and, with a graph, that of its edges."""
        episode = episode_only(batch)
        logits, alike = self._score(*self.embed(episode))
        found = classification(logits, episode.query_labels)
        if not alike:
            return found
        edges = edge_loss(alike, episode.query_labels, kind=self.graph_loss)
        return {
            "loss": found["loss"] + self.graph_weight * edges,
            "accuracy": found["accuracy"],
            "matching": found["loss"].detach(),
            "graph": edges.detach(),
        }
