"""The battery every method passes. A new method joins by its line in METHODS; its variants by a line here."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from openfsar import hub
from openfsar.encoders.tiny import tiny_encoder
from openfsar.episode import Episode, FrameFeatures, SupportSet
from openfsar.methods.base import FewShotMethod, FrameFirst
from openfsar.methods.zoo import METHODS, build

NAMES = ("waving", "running", "jumping", "climbing", "falling", "sitting")

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("protonet", {"metric": "euclidean", "scale": 0.5}),
    ("otam", {"merge": "prototype", "smoothing": 0.5, "centre": True}),
    ("bi-mhm", {"merge": "prototype", "learn_scale": True}),
    ("trx", {"sizes": [1, 2], "key_width": 32, "learn_scale": True}),
    ("hyrsm", {"preset": "released", "heads": 4, "matcher": "otam"}),
    ("clip-fsar", {"preset": "released"}),
    ("clip-fsar", {"merge": "after", "text_share": 1.0}),
    ("clip-fsar", {"tune": "lora", "rank": 2}),
    ("ma-fsar", {"preset": "ma-clip"}),
    ("ma-fsar", {"names": False}),
    ("ma-fsar", {"tune": "none", "matcher": "bi-mhm", "merge": "before"}),
    ("ma-fsar", {"tune": "full", "prototype": "mean", "matcher": "pooled"}),
    ("ma-fsar", {"prototype": "unimodal", "matcher": "hybrid"}),
    ("ma-fsar", {"text_layer": "shared", "prototype": "multimodal", "matcher": "trx"}),
    ("actionclip", {"visual": "transf-cls", "tune": "visual", "layers": 2}),
    ("actionclip", {"visual": "conv", "target": "diagonal", "text_share": 0.5, "matcher": "otam"}),
    ("actionclip", {"visual": "lstm", "ensemble": "embeddings", "tune": "none"}),
    ("actionclip", {"visual": "mean", "tower": "shift", "text_share": 0.0, "matcher": "bi-mhm"}),
    ("actionclip", {"visual": "mean", "tower": "joint", "positions": 4, "preset": "paper"}),
    ("m2-clip", {"classes": [*NAMES], "preset": "clean", "matcher": "otam", "text_share": 0.5}),
    ("m2-clip", {"classes": [*NAMES], "preset": "ssv2", "words": 12, "cmc": "double-softmax"}),
    ("m2-clip", {"classes": [*NAMES], "tune": "full", "text_before_mlp": "none", "cmlm_weight": 0.0}),
    ("m2-clip", {"tune": "none", "text_before_mlp": [-1], "classes": [*NAMES], "vc_weight": 0.0}),
    ("m2-clip", {"ted_before_mlp": [0], "ted_before_attention": [-1], "matcher": "bi-mhm"}),
    ("gghm", {"preset": "paper", "learn_scale": True}),
    ("gghm", {"graph_loss": "row", "shared_attention": False, "dense_layers": 2, "frames": 4, "alpha": 0.0}),
    ("gghm", {"beta": 1.0, "gamma": 1.0, "gap": 3, "heads": 4, "alpha": 1.0, "centre": True}),
    ("gghm", {"beta": 0.0, "kernel": 5, "graph": False, "matcher": "otam"}),
    ("gghm", {"dense": False, "graph_weight": 0.0, "graph_layers": 1, "matcher": "trx"}),
    ("sloshnet", {"preset": "ssv2", "width": 16, "key_width": 24, "centre": True}),
    ("sloshnet", {"fusion": "fixed", "cell": ["gp1", "sum", "gp2", "sum", "gp1", "gp2"], "short": False}),
    ("sloshnet", {"fusion": "sum", "long": False, "matcher": "otam"}),
    ("sloshnet", {"fusion": "top", "long": False, "short": False, "tune": "none", "learn_scale": True}),
    ("strm", {"preset": "released", "patches": 2, "key_width": 32, "centre": True}),
    ("strm", {"tune": "none", "frames": 3, "sizes": [2, 3], "key_width": 32, "learn_scale": True}),
    ("strm", {"aux_weight": 0.0, "frames": 4}),
    ("molo", {"preset": "released", "heads": 4, "matcher": "otam", "centre": True}),
    ("molo", {"tune": "none", "matcher": "trx", "contrast_weight": 0.0, "scale": 0.1}),
    ("molo", {"decoder_weight": 0.0, "motion_weight": 1.0, "learn_scale": True}),
]
CASES = [(name, {}) for name in METHODS] + VARIANTS


@pytest.fixture(params=CASES, ids=[" ".join([name, *map(str, options.values())]) for name, options in CASES])
def case(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, Any]]:
    return request.param


@pytest.fixture
def method(case: tuple[str, Mapping[str, Any]]) -> FewShotMethod:
    """In float64, so that equalities can be tight."""
    return make(case)


def make(case: tuple[str, Mapping[str, Any]], seed: int = 0, **more: Any) -> FewShotMethod:
    name, options = case
    return build(name, tiny_encoder(seed), **{**options, **more}).double()


def learning(case: tuple[str, Mapping[str, Any]]) -> FewShotMethod:
    """With something to train, and nothing at the zeros that some parts start from."""
    method = make(case)
    if not method.learnt:
        method = make(case, tune="full")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter += 0.02 * noise
    return method


def clips(videos: int, frames: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (videos, frames, 3, 32, 32), dtype=torch.uint8, generator=generator)


def make_episode(
    shots: tuple[int, ...] = (2, 1, 3), queries: int = 4, *, frames: int = 4, support_frames: int = 4
) -> Episode:
    """Uneven shots by default; label order is shuffled."""
    labels = torch.tensor([n for n, shot in enumerate(shots) for _ in range(shot)])
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]
    return Episode(
        support=clips(len(labels), support_frames, seed=2),
        support_labels=labels,
        query=clips(queries, frames, seed=3),
        query_labels=torch.arange(queries) % len(shots),
        classes=NAMES[: len(shots)],
    )


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("shots", [(1, 1), (1,) * 5, (3, 3), (2, 1, 3)], ids=str)
@pytest.mark.parametrize("frames", [(4, 4), (3, 5), (1, 1)], ids=str)
@torch.no_grad()
def test_logits_are_queries_by_classes_and_finite(
    method: FewShotMethod, shots: tuple[int, ...], frames: tuple[int, int]
) -> None:
    logits = method.logits(make_episode(shots, queries=3, frames=frames[0], support_frames=frames[1]))
    assert logits.shape == (3, len(shots)) and logits.dtype == torch.float64
    assert logits.isfinite().all()
    assert logits.std(dim=-1).min() > 1e-6  # classes can be told apart


@torch.no_grad()
def test_the_order_of_support_videos_changes_nothing(method: FewShotMethod) -> None:
    episode = make_episode()
    order = torch.randperm(len(episode.support))
    shuffled = replace(episode, support=episode.support[order], support_labels=episode.support_labels[order])
    close(method.logits(shuffled), method.logits(episode))


@torch.no_grad()
def test_relabelling_the_classes_permutes_the_columns(method: FewShotMethod) -> None:
    episode = make_episode()
    new = torch.tensor([2, 0, 1])  # class n becomes new[n]
    classes = tuple(episode.classes[int((new == n).nonzero()[0, 0])] for n in range(3))
    renamed = replace(
        episode,
        support_labels=new[episode.support_labels],
        query_labels=new[episode.query_labels],
        classes=classes,
    )
    close(method.logits(renamed)[:, new], method.logits(episode))


@torch.no_grad()
def test_a_query_does_not_see_the_other_queries(method: FewShotMethod) -> None:
    if method.transductive:
        pytest.skip("declares itself transductive")
    episode = make_episode()
    together = method.logits(episode)
    for q in range(len(episode.query)):
        alone = replace(episode, query=episode.query[q : q + 1], query_labels=episode.query_labels[q : q + 1])
        close(method.logits(alone), together[q : q + 1])


@torch.no_grad()
def test_many_tasks_at_once_equal_one_by_one(method: FewShotMethod) -> None:
    text = method.text(NAMES[:3])
    labels = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0], [1, 0, 1, 2]])  # episodes (3, 1) of 4 support videos
    own = None if text is None or not method.support_reads_text else text[labels.flatten()]
    support = method.encode(clips(12, 4, seed=5), own).map(lambda x: x.unflatten(0, (3, 1, 4)))
    query = method.encode(clips(6, 4, seed=6)).map(lambda x: x.unflatten(0, (3, 1, 2)))
    names = None if text is None else text.expand(3, 1, *text.shape)
    batched = method.score(query, method.prepare(SupportSet(support, labels[:, None], 3, names)))
    assert batched.shape == (3, 1, 2, 3)
    for e in range(3):
        task = method.prepare(SupportSet(support[e, 0], labels[e], 3, text))
        close(batched[e, 0], method.score(query[e, 0], task))


@torch.no_grad()
def test_a_method_that_is_frames_first_may_see_every_frame_alone(method: FewShotMethod) -> None:
    if not isinstance(method, FrameFirst):
        assert not method.frames_first
        pytest.skip("it takes more from its encoder than one vector per frame, or adapts it to time or text")
    video = clips(2, 4, seed=8)
    alone = method.encoder.frames(video.flatten(0, 1)[:, None])[:, 0].unflatten(0, (2, 4))
    found, expected = method.refine(alone), method.encode(video)
    if not method.frames_first:  # an option gave the tower a sense of time
        assert (found.frames - expected.frames).abs().max() > 1e-6
        return
    for field in fields(expected):
        close(getattr(found, field.name), getattr(expected, field.name))


@torch.no_grad()
def test_logits_is_encode_prepare_and_score(method: FewShotMethod) -> None:
    episode = make_episode()
    text = method.text(episode.classes)
    own = None if text is None or not method.support_reads_text else text[episode.support_labels]
    support = [
        method.encode(episode.support[i : i + 1], None if own is None else own[i : i + 1]) for i in range(6)
    ]
    task = method.prepare(SupportSet(type(support[0]).cat(support), episode.support_labels, 3, text))
    close(method.score(method.encode(episode.query), task), method.logits(episode))


def test_every_trainable_parameter_learns_and_no_frozen_one(case: tuple[str, Mapping[str, Any]]) -> None:
    method = learning(case).train()
    losses = method(make_episode())
    assert losses["loss"].shape == () and losses["loss"].requires_grad
    assert all(value.isfinite() for value in losses.values())
    losses["loss"].backward()
    for name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None, name
        elif name.endswith("k_proj.bias"):  # a shift of all keys leaves the softmax as it is
            assert parameter.grad is not None, name
        elif "blocks.1.around.adapter.difference." in name:  # patches that no attention reads
            assert parameter.grad is not None and not parameter.grad.any(), name
        else:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    assert method.learnt == {name for name, p in method.named_parameters() if p.requires_grad} != set()


def test_one_step_down_the_gradient_lowers_the_loss(case: tuple[str, Mapping[str, Any]]) -> None:
    method, episode = learning(case), make_episode()
    torch.manual_seed(0)  # a loss may draw, as from templates: the same draw for both
    before = method(episode)["loss"]
    before.backward()
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.grad is not None:
                parameter -= 1e-4 * parameter.grad / parameter.grad.norm().clamp_min(1e-8)
    torch.manual_seed(0)
    assert method(episode)["loss"] < before


def test_tuning_nothing_leaves_nothing_of_the_encoder_to_train(case: tuple[str, Mapping[str, Any]]) -> None:
    method = make(case, tune="none")
    assert not any(parameter.requires_grad for parameter in method.encoder.parameters())


@torch.no_grad()
def test_a_saved_method_comes_back_with_identical_logits(
    case: tuple[str, Mapping[str, Any]], tmp_path: Path
) -> None:
    method, episode = make(case, seed=7), make_episode()
    hub.save(method, tmp_path / "model")
    again = hub.load(tmp_path / "model")
    assert again.spec == method.spec and again.learnt == method.learnt and not again.training
    close(again.logits(episode), method.logits(episode), tolerance=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.2)], ids=str)
@torch.no_grad()
def test_lower_precision_is_finite_and_near(
    method: FewShotMethod, dtype: torch.dtype, tolerance: float
) -> None:
    episode = make_episode()
    exact = method.logits(episode)
    logits = method.to(dtype).logits(episode)
    assert logits.isfinite().all()
    torch.testing.assert_close(logits.double(), exact, rtol=tolerance / 5, atol=tolerance)


@torch.no_grad()
def test_names_matter_to_methods_that_read_them_and_to_no_other(method: FewShotMethod) -> None:
    episode = make_episode()
    renamed = replace(episode, classes=("zigzag", "orbit", "vanish"))
    same = torch.equal(method.logits(renamed), method.logits(episode))
    assert same == (method.text(NAMES) is None)


@torch.no_grad()
def test_features_are_one_record_per_video(method: FewShotMethod) -> None:
    features = method.encode(clips(3, 4, seed=0))
    assert isinstance(features, FrameFeatures) and len(features) == 3
    single = method.encode(clips(3, 4, seed=0)[1:2])
    close(single.frames, features[1:2].frames)
