"""The scores of each method against its equations, spelt out one query and one class at a time."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity as cosine

from openfsar.encoders.tiny import tiny_encoder
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet
from openfsar.matchers import bi_mhm, otam
from openfsar.methods.zoo import build

LABELS = torch.tensor([1, 0, 1, 2, 1, 0])  # uneven shots


def features(videos: int, frames: int, seed: int) -> FrameFeatures:
    generator = torch.Generator().manual_seed(seed)
    return FrameFeatures(torch.randn(videos, frames, 16, dtype=torch.float64, generator=generator))


QUERY, SUPPORT = features(4, 5, seed=0), features(6, 7, seed=1)
TEXT = features(3, 1, seed=2).frames[:, 0]


def scores(name: str, *, text: Tensor | None = None, **options: float | str | bool) -> Tensor:
    method = build(name, tiny_encoder(), **options).double()
    with torch.no_grad():
        return method.score(QUERY, method.prepare(SupportSet(SUPPORT, LABELS, 3, text)))


def table(x: Tensor, y: Tensor) -> Tensor:
    return torch.stack([torch.stack([1 - cosine(a, b, dim=0) for b in y]) for a in x])


def by_loop(pair: Callable[[Tensor, Tensor], Tensor], *, merge: str) -> Tensor:
    """Distance of every query to every class, merged as told."""
    rows = []
    for query in QUERY.frames:
        members = [SUPPORT.frames[LABELS == n] for n in range(3)]
        if merge == "prototype":
            members = [videos.mean(0, keepdim=True) for videos in members]
        rows.append(torch.stack([torch.stack([pair(query, v) for v in videos]).mean() for videos in members]))
    return torch.stack(rows)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def test_protonet_measures_the_angle_to_the_mean_of_means() -> None:
    def pair(query: Tensor, prototype: Tensor) -> Tensor:
        return 1 - cosine(query.mean(0), prototype.mean(0), dim=0)

    close(scores("protonet", scale=1.0), -by_loop(pair, merge="prototype"))
    torch.testing.assert_close(scores("protonet"), 10 * scores("protonet", scale=1.0), rtol=1e-6, atol=0)


def test_protonet_measures_squared_euclidean_distance() -> None:
    def pair(query: Tensor, prototype: Tensor) -> Tensor:
        return (query.mean(0) - prototype.mean(0)).square().sum()

    close(scores("protonet", metric="euclidean", scale=1.0), -by_loop(pair, merge="prototype"))


@pytest.mark.parametrize("merge", ["distance", "prototype"])
def test_otam_aligns_both_ways_and_merges_shots(merge: str) -> None:
    def pair(query: Tensor, support: Tensor) -> Tensor:
        distances = table(query, support)
        return otam(distances, smoothing=0.3, both_ways=False) + otam(
            distances.mT, smoothing=0.3, both_ways=False
        )

    close(scores("otam", merge=merge, smoothing=0.3), -by_loop(pair, merge=merge))


@pytest.mark.parametrize("merge", ["distance", "prototype"])
def test_bi_mhm_matches_sets_and_merges_shots(merge: str) -> None:
    close(scores("bi-mhm", merge=merge), -by_loop(lambda q, s: bi_mhm(table(q, s)), merge=merge))


def test_zero_shot_compares_the_mean_frame_with_the_names() -> None:
    expected = torch.stack([cosine(query.mean(0), TEXT, dim=-1) for query in QUERY.frames])
    factor = tiny_encoder().logit_scale.double().exp()
    close(scores("zero-shot", text=TEXT), factor * expected)


def test_zero_shot_without_names_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match=r"reads class names; give SupportSet\(\.\.\., text="):
        scores("zero-shot")


def test_order_decides_for_otam_and_for_no_other() -> None:
    """Two classes of the same frames, one the reverse of the other: nothing but order tells them apart."""
    forward = torch.eye(8, 16, dtype=torch.float64) + 0.1
    support = FrameFeatures(torch.stack([forward, forward.flip(0)]))
    noise = torch.randn(2, 20, 8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    query = FrameFeatures((support.frames[:, None] + 0.2 * noise).flatten(0, 1))
    truth = torch.arange(2).repeat_interleave(20)
    margins = {}
    for name in ("otam", "bi-mhm", "protonet"):
        method = build(name, tiny_encoder()).double()
        with torch.no_grad():
            logits = method.score(query, method.prepare(SupportSet(support, torch.arange(2), 2)))
        margins[name] = (logits[:, 0] - logits[:, 1]) * (1 - 2 * truth)
    assert margins["otam"].min() > 1
    assert margins["bi-mhm"].abs().max() < 1e-10 and margins["protonet"].abs().max() < 1e-10


def test_zero_shot_learns_from_labelled_clips_and_the_others_say_they_do_not() -> None:
    clips = torch.randint(0, 256, (3, 2, 3, 32, 32), dtype=torch.uint8)
    batch = ClipBatch(clips, torch.tensor([0, 2, 1]), ("waving", "running", "falling"))
    losses = build("zero-shot", tiny_encoder(), tune="full")(batch)
    assert losses["loss"].requires_grad and 0 <= losses["accuracy"] <= 1
    with pytest.raises(TypeError, match="learns from episodes, got a ClipBatch"):
        build("otam", tiny_encoder())(batch)


def test_the_reported_accuracy_and_loss_are_those_of_the_logits() -> None:
    clips = torch.randint(0, 256, (10, 2, 3, 32, 32), dtype=torch.uint8)
    labels = torch.arange(10) % 5
    episode = Episode(clips[:5], labels[:5], clips[5:], labels[5:], tuple("abcde"))
    method = build("otam", tiny_encoder())
    losses, logits = method(episode), method.logits(episode)
    assert losses["accuracy"] == (logits.argmax(-1) == labels[5:]).float().mean()
    expected = -logits.log_softmax(-1)[torch.arange(5), labels[5:]].mean()
    torch.testing.assert_close(losses["loss"], expected, rtol=0, atol=1e-6)
