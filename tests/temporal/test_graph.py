"""The edge-labelling graph against loops over nodes, what its edges must keep, and its loss."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.temporal.graph import (
    EdgeGraph,
    EdgeUpdate,
    NodeUpdate,
    edge_loss,
    first_edges,
    one_by_one,
    spread,
)

WIDTH, HIDDEN, WAY, QUERIES = 8, 6, 3, 4


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def shares(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, dtype=torch.float64, generator=generator)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def edges_of(size: int, seed: int = 0) -> Tensor:
    """Two channels that sum to 1, each node alike with itself."""
    alike = shares(size, size, seed=seed)
    alike.fill_diagonal_(1.0)
    return torch.stack([alike, 1 - alike])


def graph(together: bool = False, layers: int = 3) -> EdgeGraph:
    torch.manual_seed(0)
    module = EdgeGraph(WIDTH, hidden=HIDDEN, layers=layers, together=together).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module


def nodes_by_hand(module: NodeUpdate, nodes: Tensor, edges: Tensor) -> Tensor:
    rows = []
    for i in range(len(nodes)):
        heard = [nodes[i]]
        for channel in range(2):
            total = sum(float(edges[channel, i, j]) for j in range(len(nodes)) if j != i)
            parts = [edges[channel, i, j] / total * nodes[j] for j in range(len(nodes)) if j != i]
            heard.append(torch.stack(parts).sum(0))
        rows.append(module.mlp(torch.cat(heard)))
    return torch.stack(rows)


def edges_by_hand(module: EdgeUpdate, nodes: Tensor, edges: Tensor) -> Tensor:
    size = len(nodes)
    new = torch.zeros_like(edges)
    for i in range(size):
        for j in range(size):
            if i != j:
                s = module.mlp((nodes[i] - nodes[j]).abs()).sigmoid()[0]
                new[0, i, j], new[1, i, j] = s * edges[0, i, j], (1 - s) * edges[1, i, j]
        for channel in range(2):
            before = sum(float(edges[channel, i, j]) for j in range(size) if j != i)
            new[channel, i] *= before / max(float(new[channel, i].sum()), 1e-12)
    for i in range(size):
        for j in range(size):
            both = new[:, i, j] + 1e-6
            new[:, i, j] = both / both.sum()
        new[:, i, i] = torch.tensor([1.0, 0.0])
    return new


def graph_by_hand(module: EdgeGraph, classes: Tensor, queries: Tensor) -> list[Tensor]:
    """One graph of all the nodes given; all of its alike edges, layer by layer."""
    nodes = torch.cat([classes, queries]) - classes.mean(0)
    edges = torch.full((2, len(nodes), len(nodes)), 0.5).double()
    for i in range(len(nodes)):
        for j in range(len(nodes)):
            if i < len(classes) and j < len(classes):
                edges[:, i, j] = torch.tensor([0.0, 1.0])
        edges[:, i, i] = torch.tensor([1.0, 0.0])
    found = []
    for update_nodes, update_edges in zip(module.nodes, module.edges, strict=True):
        nodes = nodes_by_hand(update_nodes, nodes, edges)
        edges = edges_by_hand(update_edges, nodes, edges)
        found.append(edges[0])
    return found


def test_edges_start_from_what_labels_say() -> None:
    edges = first_edges(values(2, 4), 2)
    assert edges.shape == (2, 2, 4, 4) and edges.dtype == torch.float64
    alike = [[1, 0, 0.5, 0.5], [0, 1, 0.5, 0.5], [0.5, 0.5, 1, 0.5], [0.5, 0.5, 0.5, 1]]
    unlike = [[0, 1, 0.5, 0.5], [1, 0, 0.5, 0.5], [0.5, 0.5, 0, 0.5], [0.5, 0.5, 0.5, 0]]
    assert edges[0].tolist() == edges[1].tolist() == [alike, unlike]
    assert first_edges(values(4).bfloat16(), 2).dtype == torch.float32


@torch.no_grad()
def test_a_node_hears_either_kind_of_edges_by_itself() -> None:
    module, nodes, edges = NodeUpdate(WIDTH, HIDDEN).double(), values(2, 5), torch.stack([edges_of(5)] * 2)
    found = module(nodes, edges)
    for one, own, result in zip(nodes, edges, found, strict=True):
        close(result, nodes_by_hand(module, one, own))


@torch.no_grad()
def test_edges_follow_how_far_apart_nodes_are() -> None:
    module, nodes, edges = EdgeUpdate(WIDTH).double(), values(2, 5), torch.stack([edges_of(5)] * 2)
    found = module(nodes, edges)
    for one, own, result in zip(nodes, edges, found, strict=True):
        close(result, edges_by_hand(module, one, own))


@torch.no_grad()
def test_edges_tell_near_from_far_whatever_the_direction() -> None:
    """A norm over channels in the edge's maps would make both distances one."""
    module, centre, away = EdgeUpdate(WIDTH).double(), values(), values(seed=1)
    nodes = torch.stack([centre, centre + 0.1 * away, centre + 3 * away])
    alike = module(nodes, first_edges(nodes, 1))[0]
    assert (alike[1, 0] - alike[2, 0]).abs() > 1e-3


def test_a_row_keeps_its_sum_in_either_channel() -> None:
    edges = edges_of(5)
    found = spread(shares(2, 5, 5, seed=1), edges)
    others = 1 - torch.eye(5).double()
    close(found.sum(-1), (edges * others).sum(-1))
    assert not (found * torch.eye(5)).any()


@torch.no_grad()
def test_after_each_layer_channels_sum_to_one_and_a_node_is_itself() -> None:
    torch.manual_seed(0)
    module, nodes = EdgeUpdate(WIDTH).double(), values(3, 5)
    edges = first_edges(nodes, 2)
    for _ in range(3):
        edges = module(nodes, edges)
        close(edges.sum(-3), torch.ones(3, 5, 5).double())
        assert torch.equal(edges[:, 0].diagonal(dim1=-2, dim2=-1), torch.ones(3, 5).double())
        assert edges.min() >= 0
        assert edges[:, 0, 0, 1].max() < 1e-3  # two classes differ, and stay different: 1e-6 and its echoes


@torch.no_grad()
def test_a_query_alone_has_a_graph_of_its_own() -> None:
    module, classes, queries = graph(), values(WAY), values(QUERIES, seed=1)
    layers = module(classes, queries)
    assert len(layers) == 3 and all(x.shape == (QUERIES, WAY + 1, WAY + 1) for x in layers)
    for q in range(QUERIES):
        for layer, expected in zip(layers, graph_by_hand(module, classes, queries[q : q + 1]), strict=True):
            close(layer[q], expected)


@torch.no_grad()
def test_together_queries_share_one_graph() -> None:
    module, classes, queries = graph(together=True), values(WAY), values(QUERIES, seed=1)
    for layer, expected in zip(
        module(classes, queries), graph_by_hand(module, classes, queries), strict=True
    ):
        for q in range(QUERIES):
            chosen = [*range(WAY), WAY + q]
            close(layer[q], expected[chosen][:, chosen])


@torch.no_grad()
def test_a_single_query_makes_no_difference_between_the_two() -> None:
    classes, query = values(WAY), values(1, seed=1)
    for alone, together in zip(graph()(classes, query), graph(True)(classes, query), strict=True):
        close(alone, together)


@torch.no_grad()
@pytest.mark.parametrize("together", [False, True])
def test_the_order_of_classes_and_queries_only_moves_along(together: bool) -> None:
    module, classes, queries = graph(together), values(WAY), values(QUERIES, seed=1)
    found = module(classes, queries)[-1]
    order, asked = [2, 0, 1], [3, 1, 0, 2]
    rows = [*order, WAY]
    close(module(classes[order], queries[asked])[-1], found[asked][:, rows][:, :, rows])


@torch.no_grad()
@pytest.mark.parametrize("together", [False, True])
def test_what_all_videos_share_says_nothing(together: bool) -> None:
    module, classes, queries, shift = graph(together), values(WAY), values(QUERIES, seed=1), values(seed=2)
    close(module(classes + 5 * shift, queries + 5 * shift)[-1], module(classes, queries)[-1])


@torch.no_grad()
@pytest.mark.parametrize("together", [False, True])
def test_many_tasks_at_once_equal_one_by_one(together: bool) -> None:
    module, classes, queries = graph(together), values(2, 3, WAY), values(2, 3, QUERIES, seed=1)
    found = module(classes, queries)[-1]
    for i in range(2):
        for j in range(3):
            close(found[i, j], module(classes[i, j], queries[i, j])[-1])


def test_one_by_one_picks_the_classes_and_one_query() -> None:
    table = torch.arange(25.0).view(5, 5)
    picked = one_by_one(table, 2)
    assert picked.shape == (3, 3, 3)
    assert picked[1].tolist() == [[0, 1, 3], [5, 6, 8], [15, 16, 18]]


@pytest.mark.parametrize("kind", ["balanced", "row"])
@pytest.mark.parametrize("together", [False, True])
def test_every_parameter_learns_from_the_loss(kind: str, together: bool) -> None:
    module = graph(together)
    labels = torch.tensor([0, 2, 1, 0])
    edge_loss(module(values(WAY), values(QUERIES, seed=1)), labels, kind=kind).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_equal_nodes_have_a_finite_gradient() -> None:
    module, classes = graph(), values(WAY).requires_grad_()
    edge_loss(module(classes, classes), torch.arange(WAY)).backward()
    assert classes.grad is not None and classes.grad.isfinite().all()


def test_the_balanced_loss_averages_right_and_wrong_edges_apart() -> None:
    labels = torch.tensor([1, 0])
    alike = [shares(2, 3, 3, seed=seed) for seed in range(3)]
    total = 0.0
    for weight, layer in zip((0.5, 0.5, 1.0), alike, strict=True):
        right, wrong = [], []
        for q in range(2):
            for n in range(2):
                for a in (layer[q, 2, n], layer[q, n, 2]):
                    if n == labels[q]:
                        right.append(-math.log(a))
                    else:
                        wrong.append(-math.log(1 - a))
        total += weight * (sum(right) / len(right) + sum(wrong) / len(wrong))
    assert edge_loss(alike, labels).item() == pytest.approx(total, abs=1e-12)


def test_the_row_loss_compares_a_query_s_classes() -> None:
    labels = torch.tensor([1, 0])
    alike = [shares(2, 3, 3, seed=seed) for seed in range(2)]
    total = 0.0
    for weight, layer in zip((0.5, 1.0), alike, strict=True):
        each = [-math.log(layer[q, 2, labels[q]] / layer[q, 2, :2].sum()) for q in range(2)]
        total += weight * sum(each) / 2
    assert edge_loss(alike, labels, kind="row").item() == pytest.approx(total, abs=1e-12)


def test_right_edges_cost_nothing_and_wrong_ones_a_finite_price() -> None:
    labels = torch.tensor([1, 0])
    alike = torch.zeros(2, 3, 3)
    for q, n in enumerate(labels):
        alike[q, 2, n] = alike[q, n, 2] = 1
    for kind in ("balanced", "row"):
        assert edge_loss([alike], labels, kind=kind).item() == 0
        assert 10 < edge_loss([alike], 1 - labels, kind=kind).item() < math.inf
    assert edge_loss([torch.full((2, 2, 2), 0.5)], labels * 0).item() == pytest.approx(math.log(2))


def test_labels_are_learnt() -> None:
    torch.manual_seed(0)
    module = EdgeGraph(WIDTH, hidden=HIDDEN)
    classes = F.normalize(torch.randn(WAY, WIDTH), dim=-1)
    labels = torch.arange(WAY).repeat(4)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(60):
        queries = classes[labels] + 0.1 * torch.randn(len(labels), WIDTH)
        loss = edge_loss(module(classes, queries), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (module(classes, queries)[-1][:, -1, :-1].argmax(-1) == labels).float().mean() > 0.9


@torch.no_grad()
def test_half_precision_keeps_edges_in_float32() -> None:
    module, classes, queries = graph(), values(WAY), values(QUERIES, seed=1)
    exact = module(classes, queries)[-1]
    found = module.bfloat16()(classes.bfloat16(), queries.bfloat16())[-1]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=0.05)


def test_no_norm_of_the_graph_reads_other_nodes() -> None:
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in graph().modules())


@pytest.mark.parametrize("sizes", [{"layers": 0}, {"hidden": 0}])
def test_a_graph_of_nothing_is_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least one layer and one channel"):
        EdgeGraph(WIDTH, **sizes)
