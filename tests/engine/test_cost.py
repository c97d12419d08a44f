"""The price of a training step, where it can be counted by hand."""

from collections.abc import Sequence

import pytest
import torch
from painted import wobbly
from torch import Tensor, nn

from openfsar.encoders.tiny import tiny_encoder
from openfsar.encoders.towers import VisionTower
from openfsar.engine.cost import training_cost
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import build


def episode() -> Episode:
    clips = torch.randint(0, 256, (5, 3, 3, 32, 32), dtype=torch.uint8)
    return Episode(clips[:2], torch.arange(2), clips[2:4], torch.arange(2), ("a", "b"))


class Squares(FewShotMethod):
    """Loss: mean of the squares of a linear map of 7 fixed vectors of width 3."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(3, 5, bias=False)
        self.register_buffer("points", torch.ones(7, 3))

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        assert isinstance(self.points, Tensor)
        return {"loss": self.map(2 * self.points).square().mean()}

    def text(self, names: Sequence[str]) -> None: ...
    def encode(self, clips: Tensor, text: Tensor | None = None) -> FrameFeatures: ...  # pyright: ignore
    def prepare(self, support: SupportSet) -> Task: ...  # pyright: ignore
    def score(self, query: FrameFeatures, task: Task) -> Tensor: ...  # pyright: ignore


def test_bytes_are_those_kept_for_the_backward_pass_and_of_the_optimiser() -> None:
    cost = training_cost(Squares(), episode())
    assert cost.trainable == 15
    doubled, mapped = 4 * 7 * 3, 4 * 7 * 5  # the input of the map, and of the square
    assert cost.memory == doubled + mapped + 3 * 4 * 15
    assert cost.seconds > 0


def test_checkpointing_and_frozen_towers_keep_less() -> None:
    full, frozen = (build("otam", tiny_encoder(), tune=t, learn_scale=True) for t in ("full", "none"))
    less = build("otam", tiny_encoder(), tune="full", learn_scale=True)
    assert isinstance(less.encoder.vision, VisionTower)
    less.encoder.vision.checkpoint_blocks()
    costs = [training_cost(method, episode(), repeats=1).memory for method in (full, less, frozen)]
    assert costs[0] > costs[1] > costs[2]


def test_the_method_and_the_generator_are_left_as_they_were() -> None:
    method, batch = wobbly().eval(), episode()
    before = torch.get_rng_state()
    training_cost(method, batch, repeats=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert not method.training and all(p.grad is None for p in method.parameters())


def test_what_does_not_train_costs_nothing() -> None:
    with pytest.raises(ValueError, match="nothing trains"):
        training_cost(build("zero-shot", tiny_encoder()), episode())
