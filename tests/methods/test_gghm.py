"""GgHM put together from its parts, query by query, on a transformer's maps and on a ResNet's."""

import importlib
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from openfsar.encoders.tiny import tiny_encoder, tiny_resnet
from openfsar.episode import Episode, FrameFeatures, SupportSet
from openfsar.matchers import bi_mhm, hybrid
from openfsar.methods.gghm import Gghm
from openfsar.methods.matching import changes
from openfsar.methods.zoo import build
from openfsar.temporal.dense import DenseTemporal
from openfsar.temporal.graph import edge_loss

NAMES = ("waving", "running", "jumping")
ENCODERS = {"clip": tiny_encoder, "resnet": tiny_resnet}
LABELS, ASKED = torch.tensor([0, 1, 2, 0, 2]), torch.tensor([0, 1, 2, 1])
every_encoder = pytest.mark.parametrize("encoder", ENCODERS)


def fresh(encoder: str = "resnet", **options: Any) -> Gghm:
    method = build("gghm", ENCODERS[encoder](), **options).double()
    assert isinstance(method, Gghm)
    return method


def make(encoder: str = "resnet", **options: Any) -> Gghm:
    """With zeros replaced by something."""
    method = fresh(encoder, **options)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if not name.startswith(("encoder.", "scale.")):
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return method


def clips(videos: int, frames: int, seed: int) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (videos, frames, 3, 32, 32), dtype=torch.uint8, generator=dice)


def episode(*, frames: int = 4, queries: int = 4) -> Episode:
    """Support videos have 4 frames; two classes have two."""
    asked = clips(queries, frames, seed=2)
    return Episode(clips(len(LABELS), 4, seed=1), LABELS, asked, ASKED[:queries], NAMES)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def pooled(method: Gghm, videos: Tensor) -> list[Tensor]:
    """Frames of each video, one video at a time."""
    maps = [method.encoder.maps(video[None])[-1] for video in videos]
    return [method.dense(x.flatten(3).mT)[0].mean(1) for x in maps]


def class_frames(method: Gghm, task: Episode) -> Tensor:
    support = pooled(method, task.support)
    members = [[x for x, own in zip(support, LABELS, strict=True) if own == n] for n in range(3)]
    return torch.stack([torch.stack(videos).mean(0) for videos in members])


def by_hand(method: Gghm, task: Episode) -> tuple[Tensor, list[Tensor]]:
    """Queries by classes, and edges; the parts are held to their definitions elsewhere."""
    classes, queries = class_frames(method, task), torch.stack(pooled(method, task.query))
    together = method.graph.together
    rows, edges = [], []
    for q, video in enumerate(queries):
        asked = queries if together else queries[q : q + 1]
        layers = method.graph(classes.mean(1), asked.mean(1))
        edges.append([layer[q if together else 0] for layer in layers])
        found, seen = method.guidance(video[None], classes, edges[-1][-1][None])
        distances = hybrid(found, seen[0], alpha=method.matcher.alpha)[0]
        rows.append(-method.scale(distances))
    return torch.stack(rows), [torch.stack(layer) for layer in zip(*edges, strict=True)]


@torch.no_grad()
@every_encoder
@pytest.mark.parametrize("frames", [4, 3])
@pytest.mark.parametrize("queries", ["alone", "together"])
@pytest.mark.parametrize("alpha", [0.5, 0.2, 0.0, 1.0])
def test_it_is_its_parts_query_by_query(encoder: str, frames: int, queries: str, alpha: float) -> None:
    method, task = make(encoder, queries=queries, alpha=alpha, scale=0.3), episode(frames=frames)
    close(method.logits(task), by_hand(method, task)[0])


@torch.no_grad()
@every_encoder
@pytest.mark.parametrize("frames", [8, 5, 1])
def test_at_first_it_is_hybrid_matching_of_the_tower_s_maps(encoder: str, frames: int) -> None:
    method, task = fresh(encoder), episode(frames=frames)
    support, query = (method.encoder.maps(x)[-1].mean((-2, -1)) for x in (task.support, task.query))
    classes = torch.stack([support[LABELS == n].mean(0) for n in range(3)])
    close(method.logits(task), -hybrid(query, classes))


@torch.no_grad()
@pytest.mark.parametrize("queries", ["alone", "together"])
def test_only_together_do_queries_see_each_other(queries: str) -> None:
    method, task = make(queries=queries), episode()
    assert method.transductive == (queries == "together")
    apart = [method.logits(Episode(task.support, LABELS, x[None], LABELS[:1], NAMES)) for x in task.query]
    difference = (torch.cat(apart) - method.logits(task)).abs().max()
    assert difference < 1e-10 if queries == "alone" else difference > 1e-6


@torch.no_grad()
@pytest.mark.parametrize("queries", ["alone", "together"])
def test_the_order_of_classes_and_queries_only_moves_along(queries: str) -> None:
    method, task = make(queries=queries), episode()
    logits, new, asked = method.logits(task), torch.tensor([2, 0, 1]), [3, 1, 0, 2]
    moved = Episode(task.support, new[LABELS], task.query[asked], new[ASKED[asked]], ("b", "c", "a"))
    close(method.logits(moved)[:, new], logits[asked])


def test_the_paper_s_preset_is_one_graph_for_all_queries() -> None:
    assert fresh(preset="paper").transductive and fresh(preset="paper").spec.options["queries"] == "together"
    assert not fresh().transductive and not Gghm.transductive
    assert not fresh(preset="paper", graph=False).transductive  # nothing is left to tie queries


@pytest.mark.parametrize("kind", ["balanced", "row"])
@pytest.mark.parametrize("queries", ["alone", "together"])
def test_the_loss_is_of_matching_and_edges(kind: str, queries: str) -> None:
    method, task = make(queries=queries, graph_loss=kind, graph_weight=0.3), episode()
    found = method(task)
    logits, edges = by_hand(method, task)
    close(found["matching"], F.cross_entropy(logits, ASKED))
    close(found["graph"], edge_loss(edges, ASKED, kind=kind))
    close(found["loss"], found["matching"] + 0.3 * found["graph"])
    assert found.keys() == {"loss", "accuracy", "matching", "graph"}


@torch.no_grad()
@every_encoder
def test_without_graph_class_means_are_compared(encoder: str) -> None:
    method, task = make(encoder, graph=False, alpha=0.2), episode()
    classes, queries = class_frames(method, task), torch.stack(pooled(method, task.query))
    close(method.logits(task), -hybrid(queries, classes, alpha=0.2))
    assert method(task).keys() == {"loss", "accuracy"}


@torch.no_grad()
def test_ablations_leave_their_parameters_out() -> None:
    def parts(**options: Any) -> set[str]:
        return {name.split(".")[0] for name, _ in fresh(**options).named_parameters()} - {"encoder", "scale"}

    assert parts() == {"dense", "graph", "guidance"}
    assert parts(dense=False) == {"graph", "guidance"} and parts(graph=False) == {"dense"}
    assert parts(dense=False, graph=False) == set()
    assert all(name.startswith("encoder.vision.") for name in fresh(dense=False, graph=False).learnt)
    assert not any(name.startswith("encoder.") for name in fresh(tune="none").learnt)


def test_layers_are_as_many_as_asked_for() -> None:
    method = fresh(dense_layers=2, graph_layers=4)
    assert [type(layer) for layer in method.dense] == [DenseTemporal] * 2
    assert len(method.graph.nodes) == len(method.graph.edges) == 4
    assert method.graph.nodes[0].mlp[0].in_features == 3 * 64  # the deepest map's channels


@torch.no_grad()
@pytest.mark.parametrize("matcher", ["otam", "bi-mhm", "trx", "pooled"])
def test_it_takes_any_matcher_query_by_query(matcher: str) -> None:
    method, task = make(matcher=matcher, scale=1e-3), episode()
    together = method.logits(task)
    assert together.shape == (4, 3) and together.std(-1).min() > 0
    for q in range(4):
        alone = Episode(task.support, LABELS, task.query[q : q + 1], LABELS[:1], NAMES)
        close(method.logits(alone), together[q : q + 1])


@torch.no_grad()
def test_centring_leaves_what_changes() -> None:
    method, task = make(graph=False, centre=True), episode()
    classes, queries = class_frames(method, task), torch.stack(pooled(method, task.query))
    close(method.logits(task), -hybrid(changes(queries), changes(classes)))
    assert (make(centre=True).logits(task) - make().logits(task)).abs().max() > 1e-3


@torch.no_grad()
def test_frames_alone_are_blind_to_order_and_pairs_are_not() -> None:
    method, task = fresh(alpha=0.0), episode()
    query, support = method.embed(task)
    order = [2, 0, 3, 1]
    shuffled = FrameFeatures(query.frames[:, order])
    close(method.score(shuffled, support), method.score(query, support))
    pairs = fresh(alpha=1.0)
    assert (pairs.score(shuffled, support) - pairs.score(query, support)).abs().max() > 1e-6
    table = torch.cdist(query.frames[:, None], support.exemplars.frames[None])
    torch.testing.assert_close(
        method.score(query, support), -bi_mhm(table, reduction="mean"), rtol=0, atol=1e-6
    )


@torch.no_grad()
def test_what_has_no_share_in_the_distance_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    module, called = importlib.import_module("openfsar.matchers.hybrid"), []
    for name in ("sinusoids", "bi_mhm"):
        own = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *x, n=name, f=own, **y: (called.append(n), f(*x, **y))[1])
    counts = []
    for alpha in (0.0, 0.5, 1.0):
        called.clear()
        hybrid(torch.rand(2, 4, 6), torch.rand(3, 4, 6), alpha=alpha)
        counts.append((called.count("sinusoids"), called.count("bi_mhm")))
    assert counts == [(0, 1), (2, 2), (2, 1)]


def test_recomputing_changes_no_gradient() -> None:
    found = []
    for recomputes in (False, True):
        method = make().train()
        method.recompute_activations(recomputes)
        method(episode(queries=3))["loss"].backward()
        found.append({name: p.grad for name, p in method.named_parameters() if p.requires_grad})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        close(found[1][name], gradient)


def test_every_parameter_learns_from_the_third_step_on() -> None:
    """Zeros at the end of modules hold back what lies before them, but not for long."""
    method = build("gghm", tiny_encoder(), **{"graph_weight": 0.0}).train()
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-4)
    for _ in range(2):
        optimizer.zero_grad()
        method(episode())["loss"].backward()
        optimizer.step()
    optimizer.zero_grad()
    method(episode())["loss"].backward()
    for name, parameter in method.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_features_of_tasks_are_scored_many_at_once() -> None:
    method, width = make(), 64
    generator = torch.Generator().manual_seed(0)
    support, query = (torch.randn(2, n, 4, width, generator=generator).double() for n in (3, 5))
    labels = torch.arange(3).expand(2, -1)
    many = method.score(FrameFeatures(query), method.prepare(SupportSet(FrameFeatures(support), labels, 3)))
    for e in range(2):
        task = method.prepare(SupportSet(FrameFeatures(support[e]), labels[e], 3))
        close(many[e], method.score(FrameFeatures(query[e]), task))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, "alpha=1.5 must lie in 0..1"),
        ({"dense_layers": 0}, "dense_layers=0 must be at least 1; dense=False"),
        ({"graph_layers": 0}, "at least one layer"),
        ({"heads": 5}, "heads=5 must divide the feature width 64"),
        ({"gap": 1}, "gap=1 must be at least 2"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fresh(**options)
