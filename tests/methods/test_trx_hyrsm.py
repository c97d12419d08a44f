"""TRX and HyRSM against their equations, written as loops over queries, classes and frames."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from openfsar.encoders.tiny import tiny_encoder
from openfsar.episode import Episode, FrameFeatures, SupportSet
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import build

NAMES = ("waving", "running", "jumping")
VOCABULARY = ("climbing", *NAMES, "sitting")
ONE_SHOT, UNEVEN = torch.tensor([1, 2, 0]), torch.tensor([0, 1, 2, 0, 2])


def make(name: str, **options) -> FewShotMethod:
    return build(name, tiny_encoder(), **options).double()


def clips(videos: int, frames: int, seed: int) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (videos, frames, 3, 32, 32), dtype=torch.uint8, generator=dice)


def episode(labels: Tensor = UNEVEN, *, frames: int = 4, vocabulary: tuple[str, ...] = VOCABULARY) -> Episode:
    """Support videos have 4 frames."""
    queries = clips(3, frames, seed=2)
    return Episode(clips(len(labels), 4, seed=1), labels, queries, torch.arange(3), NAMES, vocabulary)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@torch.no_grad()
def test_trx_scores_by_tuple_attention_on_the_frames_of_the_tower() -> None:
    method, task = make("trx", scale=0.5, sizes=[2], key_width=24), episode(frames=3)
    frames = [method.encoder.frames(task.query), method.encoder.frames(task.support)]
    assert method.matcher.attention.maps[0].keys.weight.shape == (24, 2 * 16)
    close(method.logits(task), -method.scale(method.matcher.attention(*frames, UNEVEN, 3)))


@torch.no_grad()
def test_trx_s_loss_is_a_mean_over_queries() -> None:
    method, task = make("trx"), episode()
    each = [-row.log_softmax(0)[n] for n, row in enumerate(method.logits(task))]
    close(method(task)["loss"], torch.stack(each).mean())


def test_trx_trains_its_maps_even_where_the_tower_is_frozen() -> None:
    learnt = make("trx", tune="none").learnt
    assert len(learnt) == 10 and all(name.startswith("matcher.attention.maps.") for name in learnt)
    assert any(name.startswith("encoder.vision.") for name in make("trx").learnt)


def related(method: FewShotMethod, videos: Tensor) -> Tensor:
    return torch.stack([method.inside(method.positions(method.encoder.frames(v[None])[0])) for v in videos])


def hyrsm_by_hand(method: FewShotMethod, task: Episode) -> Tensor:
    """Queries by classes; the parts are held to their definitions in tests/temporal."""
    support, query = related(method, task.support), related(method, task.query)
    classes = [
        torch.stack([support[s] for s in range(len(support)) if task.support_labels[s] == n]).mean(0)
        for n in range(3)
    ]
    rows = torch.zeros(3, 3, dtype=torch.float64)
    for q, video in enumerate(query):
        tokens = method.between.tokens(torch.stack([*(c.mean(0) for c in classes), video.mean(0)]))
        asked = [method.between.join(torch.cat([frame, tokens[-1]])) for frame in video]
        for n, prototype in enumerate(classes):
            shown = [method.between.join(torch.cat([frame, tokens[n]])) for frame in prototype]
            table = torch.stack(
                [torch.stack([1 - F.cosine_similarity(a, b, 0) for b in shown]) for a in asked]
            )
            rows[q, n] = -(table.min(0).values.sum() + table.min(1).values.sum())
    return rows


@torch.no_grad()
@pytest.mark.parametrize("labels", [ONE_SHOT, UNEVEN], ids=["one shot", "uneven"])
@pytest.mark.parametrize("frames", [4, 3])
@pytest.mark.parametrize("options", [{}, {"preset": "released"}], ids=["clean", "released"])
def test_hyrsm_relates_classes_to_each_query_alone(
    labels: Tensor, frames: int, options: dict[str, str]
) -> None:
    method, task = make("hyrsm", **options), episode(labels, frames=frames)
    close(method.logits(task), hyrsm_by_hand(method, task))


@torch.no_grad()
def test_hyrsm_s_presets_and_options_change_the_positions() -> None:
    logits = [
        make("hyrsm", **options).logits(episode())
        for options in ({}, {"preset": "released"}, {"divisor": 16.0}, {"position_weight": 0.01})
    ]
    assert all((a - b).abs().max() > 1e-4 for i, a in enumerate(logits) for b in logits[:i])


@torch.no_grad()
@pytest.mark.parametrize("matcher", ["otam", "trx", "pooled"])
def test_hyrsm_takes_any_matcher_query_by_query(matcher: str) -> None:
    method, task = make("hyrsm", matcher=matcher), episode()
    together = method.logits(task)
    assert together.shape == (3, 3) and together.std(-1).min() > 0
    for q in range(3):
        alone = Episode(task.support, UNEVEN, task.query[q : q + 1], torch.tensor([q]), NAMES)
        close(method.logits(alone), together[q : q + 1])


@pytest.mark.parametrize("frames", [4, 3])
def test_hyrsm_names_every_frame_among_the_training_classes(frames: int) -> None:
    method, task = make("hyrsm", classes=7, aux_weight=0.6), episode(frames=frames)
    losses = []
    with torch.no_grad():
        for videos, labels in ((task.support, UNEVEN), (task.query, torch.arange(3))):
            for video, label in zip(related(method, videos), labels, strict=True):
                name = VOCABULARY.index(NAMES[label])
                losses += [-method.classifier(frame).log_softmax(0)[name] for frame in video]
        matching = F.cross_entropy(hyrsm_by_hand(method, task), torch.arange(3))
    found = method(task)
    assert found.keys() == {"loss", "accuracy", "matching", "frames"}
    close(found["frames"], torch.stack(losses).mean())
    close(found["loss"], matching + 0.6 * torch.stack(losses).mean())
    found["loss"].backward()
    assert (method.classifier.weight.grad != 0).any(1).all()  # names nobody bears are pushed away
    assert {"classifier.weight", "classifier.bias"} <= method.learnt


def test_hyrsm_without_that_loss_has_no_classifier_and_needs_no_vocabulary() -> None:
    method = make("hyrsm")
    assert method.classifier is None
    task = episode(vocabulary=())
    close(method(task)["loss"], F.cross_entropy(method.logits(task), torch.arange(3)))


@pytest.mark.parametrize("vocabulary", [(), ("climbing", "sitting"), (*VOCABULARY, "falling")], ids=len)
def test_hyrsm_says_which_vocabulary_it_needs(vocabulary: tuple[str, ...]) -> None:
    method = make("hyrsm", classes=5)
    with pytest.raises(ValueError, match=f"classes=5 needs episodes .* got {len(vocabulary)} names"):
        method(episode(vocabulary=vocabulary))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("hyrsm", {"heads": 5}, "heads=5 must divide the feature width 16"),
        ("hyrsm", {"classes": -1}, "classes=-1 must be the number"),
        ("trx", {"sizes": [2, 2]}, "sizes=.2, 2. must be different"),
    ],
)
def test_impossible_options_are_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(name, **options)


@pytest.mark.parametrize("centre", [False, True])
def test_trx_scores_alike_with_and_without_what_is_computed_once_per_video(centre: bool) -> None:
    method = build("trx", tiny_encoder(), key_width=8, centre=centre).eval()
    raw = FrameFeatures(torch.randn(9, 4, method.encoder.dim, generator=torch.Generator().manual_seed(0)))
    digested = method.digest(raw)
    assert digested.nbytes > raw.nbytes and method.digest(digested) is digested
    labels = torch.tensor([0, 1, 2, 0, 2])  # in no order, and of uneven numbers
    plain, fast = (method.score(x[:4], method.prepare(SupportSet(x[4:], labels, 3))) for x in (raw, digested))
    torch.testing.assert_close(fast, plain)
    assert torch.equal(digested.frames, raw.frames)  # what names are compared with
