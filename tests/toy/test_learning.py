"""A system that aligns frames learns what only their order tells; one that pools them cannot.

Three pairs of motions, each the exact reversal of the other. Videos are drawn in memory, test videos anew.
"""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from openfsar.data.episodes import EpisodeSampler
from openfsar.encoders.weights import load_encoder
from openfsar.engine.evaluate import FeatureBank, match
from openfsar.episode import Episode, FrameFeatures
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import build
from openfsar.toy.world import motion_shot, render

PAIRS = (("slides right", "slides left"), ("rises", "falls"), ("grows", "shrinks"))
ACTIONS = tuple(name for pair in PAIRS for name in pair)
TRAIN, TEST = 30, 16
"""Videos per action."""


def videos(each: int, seed: int) -> Tensor:
    """(6 * each, 8, 3, 64, 64), action by action."""
    shots = [
        motion_shot(action, 24, np.random.default_rng([seed, number, i]))
        for number, action in enumerate(ACTIONS)
        for i in range(each)
    ]
    pixels = torch.from_numpy(np.stack([render(shot, np.arange(1, 24, 3)) for shot in shots]))
    flat = pixels.flatten(0, 1).permute(0, 3, 1, 2).float()
    small = F.interpolate(flat, (64, 64), mode="bicubic", antialias=True).clamp(0, 255).round()
    return small.byte().unflatten(0, pixels.shape[:2])


def learn(method: FewShotMethod, clips: Tensor, steps: int) -> None:
    labels = torch.arange(6).repeat_interleave(TRAIN)
    plan = EpisodeSampler(labels, way=6, shot=1, query=1, seed=0).plan(steps)
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=3e-4)
    method.train()
    for support, query, names in zip(plan.support, plan.query, plan.classes, strict=True):
        episode = Episode(
            clips[support.flatten()],
            torch.arange(6),
            clips[query.flatten()],
            torch.arange(6),
            tuple(ACTIONS[i] for i in names.tolist()),
        )
        optimizer.zero_grad()
        method(episode)["loss"].backward()
        optimizer.step()
    method.eval()


@torch.inference_mode()
def accuracy(method: FewShotMethod, features: FrameFeatures) -> Tensor:
    """Of each pair, two-way one-shot."""
    found = []
    for number in range(len(PAIRS)):
        rows = slice(2 * number * TEST, 2 * (number + 1) * TEST)
        labels = torch.arange(2).repeat_interleave(TEST)
        plan = EpisodeSampler(labels, way=2, shot=1, query=1, seed=1).plan(400)
        answers = match(method, FeatureBank(features[rows], features[rows], None), plan)
        found.append((answers == torch.arange(2)).float().mean())
    return torch.stack(found)


@pytest.mark.slow
def test_alignment_learns_what_pooling_cannot_see() -> None:
    test = videos(TEST, seed=1)
    method = build("otam", load_encoder("toyclip"), centre=True, scale=0.5)
    with torch.inference_mode():
        untrained = accuracy(method, method.encode(test))
    learn(method, videos(TRAIN, seed=0), steps=16)
    with torch.inference_mode():
        features = method.encode(test)  # both compare the same frames
    trained = accuracy(method, features)
    pooled = accuracy(build("protonet", method.encoder, tune="none"), features)
    assert trained.min() > 0.9 and trained.mean() > untrained.mean()
    assert (pooled - 0.5).abs().max() < 0.12
