"""What the methods on feature maps have in common, on every kind of tower."""

import pytest
import torch
from torch import Tensor

from openfsar.encoders.weights import load_encoder
from openfsar.episode import Episode
from openfsar.methods.base import FewShotMethod
from openfsar.methods.spatial import SpatialMethod
from openfsar.methods.zoo import METHODS, build

VISUAL = [name for name, kind in METHODS.items() if issubclass(kind, SpatialMethod)]
TOWERS = ("tiny", "tiny-resnet", "tiny-imagenet-resnet")


def make(method: str, tower: str) -> FewShotMethod:
    return build(method, load_encoder(tower, pretrained=False)).double()


def episode(side: int, videos: int = 6) -> Episode:
    generator = torch.Generator().manual_seed(0)
    clips = torch.randint(0, 256, (videos, 3, 3, side, side), dtype=torch.uint8, generator=generator)
    labels = torch.arange(videos - 2) % 2
    return Episode(clips[2:], labels, clips[:2], torch.tensor([0, 1]), ("waving", "running"))


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("method", VISUAL)
def test_they_learn_on_every_tower_and_not_what_lies_behind_the_maps(method: str, tower: str) -> None:
    system = make(method, tower)
    task = episode(system.encoder.image_size)
    with torch.no_grad():
        logits = system.logits(task)
    assert logits.shape == (2, 2) and logits.isfinite().all()
    system.train()(task)["loss"].backward()
    assert not any(p.requires_grad for p in system.encoder.vision.pooling.parameters())
    first = next(system.encoder.vision.parameters())
    assert first.grad is not None and first.grad.any()


@pytest.mark.parametrize("method", VISUAL)
def test_a_few_videos_at_a_time_give_equal_gradients(method: str) -> None:
    def gradients(recompute: bool) -> dict[str, Tensor]:
        system = make(method, "tiny-imagenet-resnet")
        system.recompute_activations(recompute)
        # in eval mode: no dropout, and new batch norms do not see how many videos come at once
        system(episode(32, videos=9))["loss"].backward()
        return {name: p.grad for name, p in system.named_parameters() if p.grad is not None}

    kept, again = gradients(False), gradients(True)
    assert kept.keys() == again.keys() and kept
    for name, gradient in kept.items():
        torch.testing.assert_close(again[name], gradient, rtol=0, atol=1e-10, msg=name)


def test_no_more_than_four_videos_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    system = make("gghm", "tiny-imagenet-resnet")
    seen: list[int] = []
    maps = system.encoder.maps

    def counted(clips: Tensor) -> tuple[Tensor, ...]:
        seen.append(len(clips))
        return maps(clips)

    monkeypatch.setattr(system.encoder, "maps", counted)
    system.recompute_activations()
    system(episode(32, videos=9))["loss"].backward()
    assert seen == [4, 4, 1, 1, 4, 4]  # and again on the way back
    seen.clear()
    with torch.no_grad():
        system.logits(episode(32, videos=9))
    assert seen == [9]
