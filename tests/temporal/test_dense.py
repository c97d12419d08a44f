"""GgHM's dense temporal modelling against loops over frames, patches, channels and heads."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from openfsar.encoders.trainable import count_parameters
from openfsar.temporal.dense import ChannelShift, DenseTemporal, PatchAttention, PatchMix

WIDTH, HEADS = 16, 4
BRANCHES = {
    "all": {},
    "patches mixed": {"beta": 1.0, "gamma": 1.0},
    "patches unmixed": {"beta": 1.0, "gamma": 0.0},
    "channels": {"beta": 0.0},
    "without the mixed": {"gamma": 0.0},
    "without the unmixed": {"gamma": 1.0},
}


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def make(frames: int = 4, **options: Any) -> DenseTemporal:
    """In float64, with zeros replaced by something."""
    module = DenseTemporal(WIDTH, frames=frames, heads=HEADS, **options).double()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module


def resampled(video: Tensor, frames: int) -> Tensor:
    """(T, ...) at so many times, each in the middle of its part: linear in between, the ends held."""
    own, rows = len(video), []
    for t in range(frames):
        place = min(max((t + 0.5) * own / frames - 0.5, 0.0), own - 1.0)
        low = int(place)
        high, part = min(low + 1, own - 1), place - low
        rows.append((1 - part) * video[low] + part * video[high])
    return torch.stack(rows)


def mixed_by_hand(module: PatchMix, video: Tensor) -> Tensor:
    """(T, P, D): one patch and one channel at a time."""
    out = video.clone()
    for n, c in itertools.product(range(video.shape[1]), range(WIDTH)):
        if n % module.gap != 0:
            series = resampled(video[:, n, c], module.frames)
            hidden = torch.stack([(row @ series).clamp_min(0) for row in module.into.weight])
            back = torch.stack([row @ hidden for row in module.back.weight])
            out[:, n, c] = video[:, n, c] + resampled(back, len(video))
    return out


def shifted_by_hand(module: ChannelShift, video: Tensor) -> Tensor:
    out, middle = torch.zeros_like(video), len(module.weight) // 2
    for t, i, c in itertools.product(range(len(video)), range(len(module.weight)), range(WIDTH)):
        if 0 <= t + i - middle < len(video):
            out[t, :, c] += module.weight[i, c] * video[t + i - middle, :, c]
    return out


def attended_by_hand(unit: PatchAttention, moved: Tensor, still: Tensor) -> Tensor:
    frames, size = [], WIDTH // HEADS
    for x, f in zip(moved, still, strict=True):
        q, k, v = (layer(x) for layer in (unit.queries, unit.keys, unit.values))
        heads = []
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            weights = torch.stack([torch.stack([a @ b for b in k[:, part]]) for a in q[:, part]]) / size**0.5
            heads.append(weights.softmax(-1) @ v[:, part])
        y = f + unit.out(torch.cat(heads, -1))  # the residual is the map as it came
        first, _, last = unit.mlp
        frames.append(y + last(F.gelu(first(unit.norm(y)))))
    return torch.stack(frames)


@torch.no_grad()
@pytest.mark.parametrize("frames", [4, 6, 3, 1])
@pytest.mark.parametrize("gap", [2, 3, 9])
def test_patches_between_the_gaps_are_mixed_along_time(frames: int, gap: int) -> None:
    module, video = PatchMix(4, gap).double(), values(2, frames, 5)
    found = module(video)
    for i in range(2):
        close(found[i], mixed_by_hand(module, video[i]))
    same = (found == video).all(-1).all(1).all(0)
    assert same.tolist() == [n % gap == 0 for n in range(5)]


@torch.no_grad()
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("frames", [4, 1])
def test_channels_are_convolved_along_time(kernel: int, frames: int) -> None:
    module, video = ChannelShift(WIDTH, kernel).double(), values(2, frames, 3)
    module.weight += values(kernel, seed=1)
    for one, found in zip(video, module(video), strict=True):
        close(found, shifted_by_hand(module, one))


@torch.no_grad()
def test_the_convolution_starts_as_a_shift_of_a_quarter_of_the_channels() -> None:
    video = values(1, 4, 3)
    found = ChannelShift(WIDTH, 5).double()(video)
    assert torch.equal(found[:, 1:, :, :2], video[:, :-1, :, :2]) and not found[:, 0, :, :2].any()
    assert torch.equal(found[:, :-1, :, 2:4], video[:, 1:, :, 2:4]) and not found[:, -1, :, 2:4].any()
    assert torch.equal(found[..., 4:], video[..., 4:])


@torch.no_grad()
@pytest.mark.parametrize("branches", BRANCHES.values(), ids=BRANCHES)
@pytest.mark.parametrize("frames", [4, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_branches_are_weighted_by_beta_and_gamma(
    branches: dict[str, float], frames: int, shared: bool
) -> None:
    module, video = make(shared=shared, **branches), values(2, frames, 5)
    beta, gamma = branches.get("beta", 0.5), branches.get("gamma", 0.5)
    for one, found in zip(video, module(video), strict=True):
        units, moves = iter([*module.units] * (3 if shared else 1)), iter(module.moves)
        expected = torch.zeros_like(one)
        if beta * gamma:
            moved = mixed_by_hand(next(moves), one)
            expected += beta * gamma * attended_by_hand(next(units), moved, one)
        if beta * (1 - gamma):
            assert isinstance(next(moves), torch.nn.Identity)
            expected += beta * (1 - gamma) * attended_by_hand(next(units), one, one)
        if 1 - beta:
            moved = shifted_by_hand(next(moves), one)
            expected += (1 - beta) * attended_by_hand(next(units), moved, one)
        close(found, expected)


@pytest.mark.parametrize("branches", BRANCHES.values(), ids=BRANCHES)
@pytest.mark.parametrize("shared", [True, False])
def test_a_branch_of_no_weight_is_not_built_and_the_rest_learns(
    branches: dict[str, float], shared: bool
) -> None:
    module = make(shared=shared, **branches)
    beta, gamma = branches.get("beta", 0.5), branches.get("gamma", 0.5)
    kinds = {type(child) for child in module.modules()}
    assert (PatchMix in kinds) == (beta * gamma > 0) and (ChannelShift in kinds) == (beta < 1)
    count = (beta * gamma > 0) + (beta * (1 - gamma) > 0) + (beta < 1)
    assert sum(isinstance(child, PatchAttention) for child in module.modules()) == (1 if shared else count)
    found = module(values(2, 4, 5))
    (found * torch.randn_like(found)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 1e-8, name


@torch.no_grad()
@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("frames", [8, 5])
def test_it_starts_as_the_identity(shared: bool, frames: int) -> None:
    video = values(2, frames, 5)
    close(DenseTemporal(WIDTH, shared=shared).double()(video), video)


def test_a_video_knows_no_other_and_one_of_its_frames_knows_the_others() -> None:
    module, video = make(), values(2, 4, 5).requires_grad_()
    module(video)[0, 0].square().sum().backward()
    assert video.grad is not None and not video.grad[1].any()
    assert (video.grad[0].abs().sum((1, 2)) > 0).all()


@torch.no_grad()
def test_time_is_mixed_by_shift_and_matrices_alone() -> None:
    video, order = values(1, 4, 5), [2, 0, 3, 1]
    still = make(beta=1.0, gamma=0.0)
    close(still(video[:, order]), still(video)[:, order])
    for options in ({"beta": 0.0}, {"beta": 1.0, "gamma": 1.0}):
        module = make(**options)
        assert (module(video[:, order]) - module(video)[:, order]).abs().max() > 1e-3


def test_the_number_of_parameters_for_a_resnet_50() -> None:
    with torch.device("meta"):
        shared, apart = (DenseTemporal(2048, shared=shared) for shared in (True, False))
    d = 2048
    unit = 4 * d * d + d + 2 * d + 2 * d * d + 2 * d
    assert count_parameters(shared).trainable == unit + 2 * 64 + 3 * d == 25_182_336
    assert count_parameters(apart).trainable == 3 * unit + 2 * 64 + 3 * d


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gap": 1}, "gap=1 must be at least 2: .* which is gamma=0"),
        ({"frames": 0}, "frames=0 must be at least 1"),
        ({"beta": 1.5}, "beta=1.5 must lie in 0..1"),
        ({"gamma": -0.1}, "gamma=-0.1 must lie in 0..1"),
        ({"kernel": 4}, "kernel=4 must be an odd number"),
        ({"kernel": 1}, "kernel=1 must be an odd number"),
        ({"heads": 5}, "heads=5 must divide the feature width 16"),
        ({"expansion": 0}, "expansion=0 must be at least 1"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DenseTemporal(WIDTH, **{"heads": HEADS, **options})
