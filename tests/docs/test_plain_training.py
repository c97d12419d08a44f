"""Training the plain way of benchmarks/plain.py and the library's own way goes through equal losses."""

import importlib.util
from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from blocks import ROOT
from torch import Tensor

from openfsar.encoders.tiny import tiny_encoder
from openfsar.encoders.trainable import trainable_parameters
from openfsar.episode import Episode
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import build

STEPS, WAY, SHOTS = 3, 3, 2
VOCABULARY = ("waving", "sitting", "running", "jumping")


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    spec = importlib.util.spec_from_file_location("plain_training", ROOT / "benchmarks" / "plain.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def episode(number: int) -> Episode:
    dice = torch.Generator().manual_seed(number)
    labels = torch.arange(WAY).repeat(SHOTS)  # not sorted by class
    support, query = (
        torch.randint(0, 256, (len(labels), 4, 3, 32, 32), dtype=torch.uint8, generator=dice)
        for _ in range(2)
    )
    return Episode(support, labels, query, labels, VOCABULARY[1:], VOCABULARY)


def curve(method: FewShotMethod, loss_of: Callable[[Episode], Tensor]) -> Tensor:
    """The loss of every step."""
    optimizer = torch.optim.AdamW(trainable_parameters(method).values(), lr=1e-4)
    method.train()
    losses = []
    for number in range(STEPS):
        torch.manual_seed(number)  # equal dropout
        losses.append(loss_of(episode(number)))
        losses[-1].backward()
        optimizer.step()
        optimizer.zero_grad()
    return torch.stack(losses).detach()


@pytest.mark.parametrize(
    ("name", "centre", "change"),
    [("otam", False, "one_pass"), ("clip-fsar", True, "text_kept"), ("ma-fsar", True, "text_kept")],
)
def test_losses_are_equal(plain: ModuleType, name: str, centre: bool, change: str) -> None:
    def method() -> FewShotMethod:
        return build(name, tiny_encoder(), centre=centre)

    ours = method()
    expected = curve(ours, lambda batch: ours(batch)["loss"])
    assert len(set(expected.tolist())) == STEPS
    for changes in ({}, {change: True}):
        theirs = method()
        found = curve(theirs, plain.PlainLoss(theirs, **changes))
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_a_method_without_a_plain_way_is_named(plain: ModuleType) -> None:
    with pytest.raises(ValueError, match="BiMHM has no plain way"):
        plain.PlainLoss(build("bi-mhm", tiny_encoder()))(episode(0))
