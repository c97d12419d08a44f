"""Hybrid matching against its definition, pair by pair, and what must not change it."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from openfsar.matchers import hybrid


def videos(count: int, frames: int, seed: int, width: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, frames, width, dtype=torch.float64, generator=generator) + 3


def position(step: int, width: int) -> Tensor:
    values = []
    for channel in range(width):
        angle = step / 10000 ** ((channel - channel % 2) / width)
        values.append(math.sin(angle) if channel % 2 == 0 else math.cos(angle))
    return 0.1 * torch.tensor(values, dtype=torch.float64)


def nearest_both_ways(a: list[Tensor], b: list[Tensor]) -> Tensor:
    there = [min((x - y).norm() for y in b) for x in a]
    back = [min((x - y).norm() for x in a) for y in b]
    return sum(there, torch.tensor(0.0)) / len(a) + sum(back, torch.tensor(0.0)) / len(b)


def by_definition(q: Tensor, s: Tensor, alpha: float) -> Tensor:
    def pairs(video: Tensor) -> list[Tensor]:
        video = video if len(video) > 1 else video.repeat(2, 1)
        placed = [frame + position(step, len(frame)) for step, frame in enumerate(video)]
        return [torch.cat(pair) for pair in itertools.combinations(placed, 2)]

    return alpha * nearest_both_ways(pairs(q), pairs(s)) + (1 - alpha) * nearest_both_ways([*q], [*s])


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("frames", [(4, 4), (3, 5), (1, 4), (1, 1), (2, 2)], ids=str)
def test_it_is_what_the_equations_say(frames: tuple[int, int], alpha: float) -> None:
    query, prototypes = videos(3, frames[0], 0), videos(2, frames[1], 1)
    expected = torch.stack([torch.stack([by_definition(q, p, alpha) for p in prototypes]) for q in query])
    torch.testing.assert_close(hybrid(query, prototypes, alpha=alpha), expected, rtol=0, atol=1e-7)


def test_it_is_symmetric_and_batches_over_episodes() -> None:
    query, prototypes = videos(6, 4, 0).view(2, 3, 4, 6), videos(4, 4, 1).view(2, 2, 4, 6)
    found = hybrid(query, prototypes)
    torch.testing.assert_close(found, hybrid(prototypes, query).mT, rtol=0, atol=1e-9)
    for e in range(2):
        torch.testing.assert_close(found[e], hybrid(query[e], prototypes[e]), rtol=0, atol=1e-9)


def test_only_the_pairs_know_the_order_of_frames() -> None:
    query, prototypes = videos(2, 5, 0), videos(2, 5, 1)
    shuffled = query[:, [3, 0, 4, 1, 2]]
    frames, pairs = (
        (hybrid(query, prototypes, alpha=a) - hybrid(shuffled, prototypes, alpha=a)).abs().min()
        for a in (0.0, 1.0)
    )
    assert frames < 1e-12 and pairs > 1e-3


def test_equal_videos_are_at_no_distance_with_a_finite_gradient() -> None:
    query = videos(1, 4, 0).requires_grad_()
    distance = hybrid(query, query.detach())
    assert distance.item() < 1e-6
    distance.sum().backward()
    assert query.grad is not None and query.grad.isfinite().all()


def test_float32_survives_a_large_common_mean_and_half_precision_is_computed_in_it() -> None:
    query, prototypes = videos(2, 4, 0), videos(2, 4, 1)
    exact = hybrid(query, prototypes)
    moved = hybrid((query + 100).float(), (prototypes + 100).float())
    torch.testing.assert_close(moved.double(), exact, rtol=0, atol=1e-3)
    assert hybrid(query.half(), prototypes.half()).dtype == torch.float32
