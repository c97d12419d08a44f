"""GgHM's graph-guided prototypes (GgPC): a graph says who is alike, and features of frames are changed by it.

Xing et al., "Boosting Few-shot Action Recognition with Graph-guided Hybrid Matching", ICCV 2023, arXiv
2308.09346, algorithms 1 and 2. Videos pooled over time would lose it, so the graph only guides: for each
query, with M the alike edges among the N classes and this query (temporal/graph.py) and v the means over
time,

    G  = f_FFN(M f_emb(v))             N + 1 rows, one per video
    f' = f_fuse([f ; G of its video])  for every frame f of that video

so that the features of a class depend on the query they are compared with, as in HyRSM.

The three f are MLPs of unknown widths. Here ``f_emb`` and ``f_FFN`` have one hidden layer of ``hidden``
channels with ReLU, and M acts on what comes out of the former's second map, ``hidden`` wide too. Departure:

    f_fuse([f ; g]) = f + W_out relu(W_f f + W_g g + b)     W_out starts at zero

its residual lets features pass unchanged at first, where random maps would undo the pre-training.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class GraphGuidance(nn.Module):
    """Features of a task's frames, changed by how alike its videos are.

    The largest result has queries x classes x frames x D numbers: 8 MB in float32 for 25 queries, 5 classes,
    8 frames and the 2048 channels of a ResNet-50; hidden layers have ``hidden`` instead of D. Half precision
    stays as it is.

    Args:
        width: Feature width D.
        hidden: Hidden width of all three MLPs.
    """

    def __init__(self, width: int, *, hidden: int = 512) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"option {hidden=} must be at least 1")
        self.embed = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
        self.feed = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, width))
        self.of_frame = nn.Linear(width, hidden)
        self.of_graph = nn.Linear(width, hidden, bias=False)
        self.out = nn.Linear(hidden, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self,
        query: Float[Tensor, "*e Q T D"],
        prototypes: Float[Tensor, "*e N U D"],
        alike: Float[Tensor, "*e Q X X"],
    ) -> tuple[Float[Tensor, "*e Q T D"], Float[Tensor, "*e Q N U D"]]:
        """Frames of the queries, and of the classes as each query sees them."""
        told = self.of_graph(self.graph(query.mean(-2), prototypes.mean(-2), alike))[..., None, :]
        # W [f ; g] = W_f f + W_g g: a frame is mapped once, not once for each query
        asked = self.of_frame(query) + told[..., -1, :, :]
        shown = self.of_frame(prototypes)[..., None, :, :, :] + told[..., :-1, :, :]
        classes = prototypes[..., None, :, :, :]
        return query + self.out(F.relu(asked)), classes + self.out(F.relu(shown))

    def graph(
        self,
        query: Float[Tensor, "*e Q D"],
        classes: Float[Tensor, "*e N D"],
        alike: Float[Tensor, "*e Q X X"],
    ) -> Float[Tensor, "*e Q X D"]:
        """G: of the classes and, last, the query."""
        own = self.embed(query)[..., None, :]
        shared = self.embed(classes)[..., None, :, :].expand(*own.shape[:-2], -1, -1)
        nodes = torch.cat([shared, own], -2)
        return self.feed(alike.to(nodes.dtype) @ nodes)
