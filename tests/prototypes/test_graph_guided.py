"""GgHM's graph-guided prototypes against loops over queries, classes and frames."""

import pytest
import torch
from torch import Tensor

from openfsar.encoders.trainable import count_parameters
from openfsar.prototypes import GraphGuidance

WIDTH, HIDDEN, WAY, QUERIES = 6, 5, 3, 4


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def make() -> GraphGuidance:
    """In float64, with zeros replaced by something."""
    torch.manual_seed(0)
    module = GraphGuidance(WIDTH, hidden=HIDDEN).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module


def fused_by_hand(module: GraphGuidance, frame: Tensor, told: Tensor) -> Tensor:
    """One map of the concatenation."""
    weight = torch.cat([module.of_frame.weight, module.of_graph.weight], 1)
    hidden = weight @ torch.cat([frame, told]) + module.of_frame.bias
    return frame + module.out(hidden.clamp_min(0))


@torch.no_grad()
@pytest.mark.parametrize("frames", [(4, 4), (1, 3), (3, 1)], ids=str)
def test_frames_are_changed_by_what_the_graph_says_of_their_video(frames: tuple[int, int]) -> None:
    module, alike = make(), values(QUERIES, WAY + 1, WAY + 1, seed=2)
    query, prototypes = values(QUERIES, frames[0], WIDTH), values(WAY, frames[1], WIDTH, seed=1)
    found, seen = module(query, prototypes, alike)
    assert seen.shape == (QUERIES, *prototypes.shape)
    for q, video in enumerate(query):
        nodes = [module.embed(x.mean(0)) for x in (*prototypes, video)]
        for n, own in enumerate((*seen[q], found[q])):
            told = module.feed(sum(alike[q, n, m] * node for m, node in enumerate(nodes)))
            source = video if n == WAY else prototypes[n]
            for frame, result in zip(source, own, strict=True):
                close(result, fused_by_hand(module, frame, told))


@torch.no_grad()
def test_without_relations_a_video_hears_only_of_itself() -> None:
    module, alike = make(), torch.eye(WAY + 1).double().expand(QUERIES, -1, -1)
    query, classes = values(QUERIES, WIDTH), values(WAY, WIDTH, seed=1)
    told = module.graph(query, classes, alike)
    for q in range(QUERIES):
        close(told[q, -1], module.feed(module.embed(query[q])))
        for n in range(WAY):
            close(told[q, n], module.feed(module.embed(classes[n])))


@torch.no_grad()
def test_features_pass_unchanged_at_first() -> None:
    module = GraphGuidance(WIDTH).double()
    query, prototypes = values(QUERIES, 4, WIDTH), values(WAY, 4, WIDTH, seed=1)
    found, seen = module(query, prototypes, values(QUERIES, WAY + 1, WAY + 1))
    assert torch.equal(found, query) and torch.equal(seen, prototypes.expand(QUERIES, -1, -1, -1))


@torch.no_grad()
def test_the_order_of_classes_and_queries_only_moves_along() -> None:
    module, alike = make(), values(QUERIES, WAY + 1, WAY + 1, seed=2)
    query, prototypes = values(QUERIES, 4, WIDTH), values(WAY, 4, WIDTH, seed=1)
    found, seen = module(query, prototypes, alike)
    order, asked = [2, 0, 1], [3, 1, 0, 2]
    rows = [*order, WAY]
    moved = module(query[asked], prototypes[order], alike[asked][:, rows][:, :, rows])
    close(moved[0], found[asked])
    close(moved[1], seen[asked][:, order])


@torch.no_grad()
def test_many_tasks_at_once_equal_one_by_one() -> None:
    module, alike = make(), values(2, 3, QUERIES, WAY + 1, WAY + 1, seed=2)
    query, prototypes = values(2, 3, QUERIES, 4, WIDTH), values(2, 3, WAY, 5, WIDTH, seed=1)
    found, seen = module(query, prototypes, alike)
    for i in range(2):
        for j in range(3):
            single = module(query[i, j], prototypes[i, j], alike[i, j])
            close(found[i, j], single[0])
            close(seen[i, j], single[1])


def test_every_parameter_gets_a_gradient() -> None:
    module, alike = make(), values(QUERIES, WAY + 1, WAY + 1, seed=2)
    found, seen = module(values(QUERIES, 4, WIDTH), values(WAY, 4, WIDTH, seed=1), alike)
    (found.square().sum() + seen.square().sum()).backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_the_number_of_parameters_for_a_resnet_50() -> None:
    with torch.device("meta"):
        module = GraphGuidance(2048)
    maps = 5 * 2048 * 512 + 2 * 512 * 512
    assert count_parameters(module).trainable == maps + 4 * 512 + 2 * 2048 == 5_773_312


def test_hidden_must_be_positive() -> None:
    with pytest.raises(ValueError, match="hidden=0 must be at least 1"):
        GraphGuidance(WIDTH, hidden=0)
