"""The edge-labelling graph network that guides GgHM's prototypes, with its loss.

The graph of Xing et al., arXiv 2308.09346, algorithm 1, whose layers are not spelled out; their two kinds of
edges are those of Kim et al., "Edge-Labeling Graph Neural Network for Few-shot Learning", CVPR 2019, arXiv
1905.01436, taken as the template. Nodes v are the N classes and the queries, each the mean of its frames;
edges a have two channels, alike and unlike, which sum to 1. Layer by layer:

    a_0      alike with oneself, unlike among classes (their labels are known), 0.5 and 0.5 with a query
    v'_i     = MLP_v [v_i ; sum_j a^alike_ij v_j ; sum_j a^unlike_ij v_j]    j != i; weights of a sum are
                                                                             divided by theirs
    s_ij     = sigmoid(MLP_a |v'_i - v'_j|)
    a'_ij    = (s_ij, 1 - s_ij) a_ij    each row brought back to the sum it had in either channel, then both
                                        channels of an edge divided by their sum

What is read are the alike edges among the classes and one query at a time: ``N + 1`` rows and columns, the
query last. As labels say that the classes differ, those between two classes stay near zero.

Queries may share one graph (the paper's wiring: a score then depends on the other queries of the episode), or
have one each.

Departures from the template. Batch normalisation over the nodes of all episodes would tie an episode to those
beside it; of its two jobs the first, taking away what all have in common, is done by subtracting the mean of
the classes from the nodes, the second by layer norms behind the maps of the nodes. The maps of the edges have
biases instead: a norm over channels would forget how far apart two nodes are. No dropout.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

EdgeLoss = Literal["balanced", "row"]

_EPS = 1e-6
"""Added to both channels of an edge before they are divided by their sum, as in the template's code."""


class EdgeGraph(nn.Module):
    """How alike the classes of a task and its queries are, by message passing. Edges are float32 at least.

    The largest tensor has ``Q (N + 1)^2 2h`` numbers where each query has its own graph, 0.7 MB for 25
    queries and 5 classes, and ``(N + Q)^2 2h`` where they share one.

    Args:
        width: Width D of the nodes that come in.
        hidden: Width h of the nodes from the first layer on; 96 in the template.
        layers: Rounds of node and edge updates; 3 in the template.
        together: All queries in one graph.

    Raises:
        ValueError: There is no layer.
    """

    def __init__(self, width: int, *, hidden: int = 96, layers: int = 3, together: bool = False) -> None:
        super().__init__()
        if layers < 1 or hidden < 1:
            raise ValueError(f"a graph needs at least one layer and one channel, got {layers=}, {hidden=}")
        self.together = together
        self.nodes = nn.ModuleList([NodeUpdate(hidden if i else width, hidden) for i in range(layers)])
        self.edges = nn.ModuleList([EdgeUpdate(hidden) for _ in range(layers)])

    def forward(
        self, classes: Float[Tensor, "*e N D"], queries: Float[Tensor, "*e Q D"]
    ) -> list[Float[Tensor, "*e Q N+1 N+1"]]:
        """The alike edges after each layer, among the classes and each query, which comes last."""
        centre = classes.mean(-2, keepdim=True)
        classes, queries = classes - centre, queries - centre
        if self.together:
            nodes = torch.cat([classes, queries], -2)
        else:
            own = queries[..., None, :]
            nodes = torch.cat([classes[..., None, :, :].expand(*own.shape[:-2], -1, -1), own], -2)
        way, found = classes.shape[-2], []
        edges = first_edges(nodes, way)
        for update_nodes, update_edges in zip(self.nodes, self.edges, strict=True):
            nodes = update_nodes(nodes, edges)
            edges = update_edges(nodes, edges)
            found.append(one_by_one(edges[..., 0, :, :], way) if self.together else edges[..., 0, :, :])
        return found


class NodeUpdate(nn.Module):
    """A node, and what it hears along either kind of edges, mapped.

    Args:
        width: Width D of the nodes.
        hidden: Their width afterwards.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(3 * width, 2 * hidden, bias=False),
            nn.LayerNorm(2 * hidden),
            nn.LeakyReLU(),
            nn.Linear(2 * hidden, hidden, bias=False),
            nn.LayerNorm(hidden),
            nn.LeakyReLU(),
        )

    def forward(
        self, nodes: Float[Tensor, "*b X D"], edges: Float[Tensor, "*b 2 X X"]
    ) -> Float[Tensor, "*b X _"]:
        weights = F.normalize(edges * _others(edges), p=1, dim=-1).to(nodes.dtype)
        heard = (weights @ nodes[..., None, :, :]).transpose(-3, -2).flatten(-2)
        return self.mlp(torch.cat([nodes, heard], -1))


class EdgeUpdate(nn.Module):
    """Edges by how far apart two nodes are, weighted by what they were.

    Args:
        width: Width D of the nodes.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = [width, 2 * width, 2 * width, width, width]
        maps = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False)]
        for layer in maps:  # no norm behind them keeps the scale
            nn.init.kaiming_normal_(layer.weight, nonlinearity="leaky_relu")
        hidden = [nn.Sequential(layer, nn.LeakyReLU()) for layer in maps]
        self.mlp = nn.Sequential(*hidden, nn.Linear(width, 1))

    def forward(
        self, nodes: Float[Tensor, "*b X D"], edges: Float[Tensor, "*b 2 X X"]
    ) -> Float[Tensor, "*b 2 X X"]:
        apart = (nodes[..., :, None, :] - nodes[..., None, :, :]).abs()
        alike = self.mlp(apart)[..., 0].to(edges.dtype).sigmoid()
        edges = spread(torch.stack([alike, 1 - alike], -3), edges)
        edges = (edges + _EPS) / (edges + _EPS).sum(-3, keepdim=True)
        return torch.where(_others(edges), edges, _itself(edges))


def first_edges(nodes: Float[Tensor, "*b X D"], way: int) -> Float[Tensor, "*b 2 X X"]:
    """What labels say of ``way`` classes, followed by queries, of which they say nothing."""
    size = nodes.shape[-2]
    dtype = torch.promote_types(nodes.dtype, torch.float32)
    edges = torch.full((2, size, size), 0.5, device=nodes.device, dtype=dtype)
    edges[0, :way, :way], edges[1, :way, :way] = 0, 1
    edges = torch.where(_others(edges), edges, _itself(edges))
    return edges.expand(*nodes.shape[:-2], -1, -1, -1)


def spread(beliefs: Float[Tensor, "*b 2 X X"], edges: Float[Tensor, "*b 2 X X"]) -> Float[Tensor, "*b 2 X X"]:
    """``beliefs * edges`` off the diagonal, scaled so that each row sums to what its edges summed to."""
    before = edges * _others(edges)
    return F.normalize(beliefs * before, p=1, dim=-1) * before.sum(-1, keepdim=True)


def one_by_one(alike: Float[Tensor, "*e X X"], way: int) -> Float[Tensor, "*e _ _ _"]:
    """From one graph of classes and all queries, the part of the classes and each query."""
    queries = torch.arange(way, alike.shape[-1], device=alike.device)
    classes = torch.arange(way, device=alike.device).expand(len(queries), -1)
    chosen = torch.cat([classes, queries[:, None]], 1)
    return alike[..., chosen[:, :, None], chosen[:, None, :]]


def edge_loss(
    alike: Sequence[Float[Tensor, "Q X X"]], labels: Int[Tensor, " Q"], *, kind: EdgeLoss = "balanced"
) -> Float[Tensor, ""]:
    """What the labels of the queries say of the edges: 1 of the last layer's and 0.5 of every layer's before.

    The paper's own form is unknown. "balanced" is the template's: cross entropy of each edge between a query
    and a class, in both directions, averaged over the right and over the wrong ones apart, so that the wrong
    ones, N - 1 times as many, count no more. "row" is that of a query's edges among the classes, divided by
    their sum. In float32 at least.
    """
    way = alike[0].shape[-1] - 1
    target = F.one_hot(labels, way).bool()
    terms = [_balanced(layer, target) if kind == "balanced" else _row(layer, target) for layer in alike]
    return 0.5 * sum(terms[:-1], torch.zeros_like(terms[-1])) + terms[-1]


def _balanced(alike: Float[Tensor, "Q X X"], target: Bool[Tensor, "Q N"]) -> Float[Tensor, ""]:
    met = torch.stack([alike[:, -1, :-1], alike[:, :-1, -1]])
    right, wrong = _log(met)[:, target], _log(1 - met)[:, ~target]
    return -right.mean() - wrong.sum() / max(1, wrong.numel())  # a single class has no wrong one


def _row(alike: Float[Tensor, "Q X X"], target: Bool[Tensor, "Q N"]) -> Float[Tensor, ""]:
    row = alike[:, -1, :-1]
    return (_log(row.sum(-1)) - _log(row[target])).mean()


def _log(values: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    return values.clamp_min(torch.finfo(values.dtype).tiny).log()


def _others(edges: Float[Tensor, "*b X X"]) -> Bool[Tensor, "X X"]:
    """True off the diagonal."""
    return ~torch.eye(edges.shape[-1], dtype=torch.bool, device=edges.device)


def _itself(edges: Float[Tensor, "*b 2 X X"]) -> Float[Tensor, "2 1 1"]:
    """The edge of a node with itself: alike."""
    return torch.tensor([1.0, 0.0], dtype=edges.dtype, device=edges.device).view(2, 1, 1)
