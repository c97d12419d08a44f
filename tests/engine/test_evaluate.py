"""Evaluation against one episode at a time, in pixels, by the method's own ``logits``."""

from collections.abc import Sequence
from typing import ClassVar

import pytest
import torch
from painted import Painted, painted
from torch import Tensor

from openfsar.data.episodes import EpisodePlan, EpisodeSampler
from openfsar.encoders.tiny import tiny_encoder
from openfsar.engine.evaluate import Result, encode_dataset, evaluate, match
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import build
from openfsar.prototypes import class_means


class Reader(FewShotMethod):
    """Reads the name of a support video's class, and scores by a mean that its text shifts."""

    support_reads_text: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.encoder = tiny_encoder()
        self.batches: list[int] = []

    def text(self, names: Sequence[str]) -> Tensor:
        return self.encoder.text(names)

    def encode(self, clips: Tensor, text: Tensor | None = None) -> FrameFeatures:
        self.batches.append(len(clips))
        frames = self.encoder.frames(clips)
        return FrameFeatures(frames if text is None else frames + 3 * text[:, None])

    def prepare(self, support: SupportSet) -> Task:
        prototypes = class_means(support.features.frames, support.labels, support.way)
        labels = torch.arange(support.way).expand(prototypes.shape[:-2])
        return Task(FrameFeatures(prototypes), labels, support.way, support.text)

    def score(self, query: FrameFeatures, task: Task) -> Tensor:
        assert task.text is not None
        return query.frames.mean(-2) @ (task.exemplars.frames.mean(-2) + task.text).mT

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        raise NotImplementedError


def plan_of(data: Painted, count: int, **sizes: int) -> EpisodePlan:
    return EpisodeSampler(data.labels, groups=data.groups, **sizes).plan(count)


def by_hand(method: FewShotMethod, data: Painted, plan: EpisodePlan, draws: bool) -> Tensor:
    """Every episode decoded and encoded for itself."""
    rows = []
    for number in range(len(plan)):
        part = plan[number : number + 1]
        draw = number if draws else 0

        def clips(videos: Tensor, draw: int = draw) -> Tensor:
            return torch.stack([data.clip(v, draw).frames for v in videos.flatten().tolist()])

        way, shot, query = part.support.shape[1], part.support.shape[2], part.query.shape[2]
        names = tuple(data.classes[c] for c in part.classes[0].tolist())
        label = torch.arange(way)
        episode = Episode(
            clips(part.support),
            label.repeat_interleave(shot),
            clips(part.query),
            label.repeat_interleave(query),
            names,
        )
        with torch.inference_mode():
            rows.append(method.logits(episode).argmax(-1))
    return torch.stack(rows)


METHODS = {
    "otam": lambda: build("otam", tiny_encoder()),
    "zero-shot": lambda: build("zero-shot", tiny_encoder()),
    "reader": lambda: Reader().eval(),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("shot, query", [(1, 1), (2, 3)])
def test_matching_from_the_bank_equals_one_episode_at_a_time(name: str, shot: int, query: int) -> None:
    method, data = METHODS[name](), painted(classes=4, videos=6, noise=90)
    plan = plan_of(data, 9, way=3, shot=shot, query=query)
    bank = encode_dataset(method, data, batch=7)
    assert torch.equal(match(method, bank, plan, batch=4), by_hand(method, data, plan, draws=False))


def test_the_paper_protocol_draws_frames_for_every_episode() -> None:
    method, data = build("otam", tiny_encoder()), painted(classes=4, noise=180)
    found = evaluate(method, data, way=3, query=2, episodes=8, seed=5, protocol="paper", batch=10)
    plan = plan_of(data, 8, way=3, shot=1, query=2, seed=5)
    expected = by_hand(method, data.at(train=True, seed=5), plan, draws=True)
    right = (expected == torch.arange(3).repeat_interleave(2)).double().mean()
    assert found.accuracy == pytest.approx(right.item(), abs=1e-12)
    assert found.encodes == 8 * (3 + 6) and found.protocol == "paper"


def test_every_video_is_encoded_once_per_role() -> None:
    method, data = Reader().eval(), painted(classes=4, videos=5)
    found = evaluate(method, data, way=3, episodes=200, batch=8)
    assert found.encodes == sum(method.batches) == 2 * len(data)
    assert max(method.batches) == 8
    assert (found.method, found.encoder) == ("Reader", "tiny")  # it was not made by ``build``
    assert evaluate(build("otam", tiny_encoder()), data, way=3, episodes=10).encodes == len(data)


def test_the_numbers_of_a_result_agree_with_its_predictions() -> None:
    method, data = build("protonet", tiny_encoder()), painted(classes=5, noise=180)
    found = evaluate(method, data, way=3, shot=2, query=2, episodes=50, seed=1)
    plan = plan_of(data, 50, way=3, shot=2, query=2, seed=1)
    named = match(method, encode_dataset(method, data), plan)
    confusion = torch.zeros(5, 5, dtype=torch.int64)
    for episode in range(50):
        for place in range(6):
            truth = plan.classes[episode, place // 2]
            confusion[truth, plan.classes[episode, named[episode, place]]] += 1
    assert torch.equal(found.confusion, confusion) and confusion.sum() == 300
    assert found.accuracy == pytest.approx((confusion.diagonal().sum() / 300).item(), abs=1e-7)
    shares = (confusion.diagonal() / confusion.sum(1)).tolist()
    assert found.per_class == pytest.approx(dict(zip(data.classes, shares, strict=True)), abs=1e-7)
    assert 0.34 < found.accuracy < 0.999 and 0 < found.interval < 0.2
    assert (found.episode_hash, found.way, found.shot, found.query) == (plan.digest, 3, 2, 2)
    assert (found.method, found.encoder, found.data, found.split) == ("protonet", "tiny", "painted", "val")


def test_a_class_that_was_never_asked_has_no_accuracy() -> None:
    found = evaluate(build("otam", tiny_encoder()), painted(classes=9), way=2, episodes=2)
    assert len(found.per_class) == int((found.confusion.sum(1) > 0).sum()) <= 4


def test_a_result_survives_json() -> None:
    found = evaluate(build("otam", tiny_encoder()), painted(), way=3, episodes=5)
    again = Result.from_json(found.to_json())
    assert torch.equal(again.confusion, found.confusion)
    assert {k: v for k, v in vars(again).items() if k != "confusion"} == {
        k: v for k, v in vars(found).items() if k != "confusion"
    }


def test_the_same_seed_gives_the_same_result_and_another_another() -> None:
    method, data = build("otam", tiny_encoder()), painted(noise=180)
    first, again, other = (evaluate(method, data, way=3, episodes=30, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.confusion, again.confusion) and first.episode_hash == again.episode_hash
    assert first.episode_hash != other.episode_hash


def test_groups_are_respected() -> None:
    data = painted(grouped=True, videos=6)
    found = evaluate(build("otam", tiny_encoder()), data, way=3, episodes=20)
    assert found.episode_hash == plan_of(data, 20, way=3, shot=1, query=1).digest
    assert found.episode_hash != plan_of(painted(videos=6), 20, way=3, shot=1, query=1).digest


def test_modes_come_back_also_after_an_error() -> None:
    method, data = build("otam", tiny_encoder()).train(), painted()
    method.encoder.text_tower.eval()
    before = {name: module.training for name, module in method.named_modules()}
    seen = []
    method.encoder.register_forward_pre_hook(lambda *_: seen.append(method.training))
    evaluate(method, data, way=3, episodes=3)
    assert {name: module.training for name, module in method.named_modules()} == before
    with pytest.raises(ValueError, match="way"):
        evaluate(method, data, way=30, episodes=3)
    with pytest.raises(ValueError, match="32x32"):
        evaluate(method, data.at(size=16), way=3, episodes=3)
    assert {name: module.training for name, module in method.named_modules()} == before


def test_no_gradient_is_kept() -> None:
    method, data = build("otam", tiny_encoder()), painted()
    bank = encode_dataset(method, data)
    assert not bank.query.frames.requires_grad and bank.support is bank.query
    assert bank.query.frames.shape == (len(data), 3, 16) and bank.text is None
