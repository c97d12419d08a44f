"""HyRSM's positions and relations against loops over videos, heads, queries and tokens."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders.trainable import count_parameters
from openfsar.temporal.positions import PositionEncoding
from openfsar.temporal.relation import FrameRelation, TaskRelation

WIDTH, HEADS = 8, 4


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-12)


def ready(module: nn.Module) -> nn.Module:
    """In float64 and eval mode, with norms and biases that do something."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module.eval()


def attention_by_hand(module: FrameRelation | TaskRelation, tokens: Tensor) -> Tensor:
    """Of one sequence (X, D): one head and one pair of tokens at a time."""
    q, k, v = (layer(tokens) for layer in (module.queries, module.keys, module.values))
    size, heads = WIDTH // HEADS, []
    for h in range(HEADS):
        part = slice(h * size, (h + 1) * size)
        weights = torch.stack([torch.stack([a @ b for b in k[:, part]]) for a in q[:, part]]) / size**0.5
        heads.append(weights.softmax(-1) @ v[:, part])
    return module.out(torch.cat(heads, -1))


@pytest.mark.parametrize("released", [False, True])
@pytest.mark.parametrize("width", [8, 7])
def test_positions_are_sinusoids_on_scaled_frames(released: bool, width: int) -> None:
    encoding = PositionEncoding(width, divisor=5.0, weight=0.5, released=released).eval()
    frames = torch.randn(2, 6, width, dtype=torch.float64)
    code = torch.zeros(6, width, dtype=torch.float64)
    for t in range(6):
        for i in range(0, width, 2):
            sine, cosine = (2 * i / width, 2 * (i + 1) / width) if released else (i / width, i / width)
            code[t, i] = math.sin(t / 10000**sine)
            if i + 1 < width:
                code[t, i + 1] = math.cos(t / 10000**cosine)
    close(encoding(frames), frames * math.sqrt(width / 5) + 0.5 * code)


def test_the_published_kinetics_setting_keeps_the_scale_of_features() -> None:
    frames = torch.randn(2, 3, 2048)
    encoding = PositionEncoding(2048, divisor=2048.0, weight=0.01).eval()
    assert encoding.gain == 1 and (encoding(frames) - frames).abs().max() <= 0.01 + 1e-6


def test_the_usual_code_tells_frames_apart_twice_as_well() -> None:
    def moving(released: bool, width: int) -> float:
        code = PositionEncoding(width, released=released).eval()(torch.zeros(8, width))
        return ((code - code.mean(0)).square().sum() / code.square().sum()).item()

    for width in (64, 512, 2048):
        assert moving(False, width) == pytest.approx(0.13, abs=0.015)
        assert moving(True, width) == pytest.approx(0.065, abs=0.005)


def test_half_precision_adds_positions_in_float32() -> None:
    frames = torch.randn(2, 8, 16, generator=torch.Generator().manual_seed(0)).bfloat16()
    encoding = PositionEncoding(16).eval()
    assert torch.equal(encoding(frames), encoding(frames.float()).bfloat16())


@torch.no_grad()
def test_frames_of_a_video_attend_to_each_other() -> None:
    module, frames = ready(FrameRelation(WIDTH, heads=HEADS)), values(2, 3, 5)
    related = module(frames)
    for i in range(2):
        for j in range(3):
            video = frames[i, j]
            close(related[i, j], F.relu(video + attention_by_hand(module, module.norm(video))))


@torch.no_grad()
def test_without_positions_the_order_of_frames_only_moves_along() -> None:
    module, frames, order = ready(FrameRelation(WIDTH, heads=HEADS)), values(2, 4), [2, 0, 3, 1]
    close(module(frames[:, order]), module(frames)[:, order])


@torch.no_grad()
@pytest.mark.parametrize("frames", [(4, 4), (1, 5), (3, 1)], ids=str)
def test_each_query_meets_the_classes_alone(frames: tuple[int, int]) -> None:
    module = ready(TaskRelation(WIDTH, heads=HEADS))
    query, prototypes = values(3, frames[0]), values(5, frames[1], seed=1)
    found, seen = module(query, prototypes)
    assert found.shape == query.shape and seen.shape == (3, *prototypes.shape)
    for q, video in enumerate(query):
        means = [*(prototype.mean(0) for prototype in prototypes), video.mean(0)]
        tokens = torch.stack(means)
        tokens = F.relu(module.norm(tokens + attention_by_hand(module, tokens)))
        for t, frame in enumerate(video):
            close(found[q, t], module.join(torch.cat([frame, tokens[-1]])))
        for n, prototype in enumerate(prototypes):
            for u, frame in enumerate(prototype):
                close(seen[q, n, u], module.join(torch.cat([frame, tokens[n]])))


@torch.no_grad()
def test_many_tasks_at_once_equal_one_by_one() -> None:
    module = ready(TaskRelation(WIDTH, heads=HEADS))
    query, prototypes = values(2, 3, 2, 4), values(2, 3, 5, 6, seed=1)
    found, seen = module(query, prototypes)
    for i in range(2):
        for j in range(3):
            single = module(query[i, j], prototypes[i, j])
            close(found[i, j], single[0])
            close(seen[i, j], single[1])


@pytest.mark.parametrize("kind", [FrameRelation, TaskRelation])
def test_every_parameter_gets_a_gradient(kind: type[FrameRelation] | type[TaskRelation]) -> None:
    module = ready(kind(WIDTH, heads=HEADS)).train()
    inputs = (values(2, 3),) if kind is FrameRelation else (values(2, 3), values(4, 3, seed=1))
    found = module(*inputs)
    weighted = [x * torch.randn_like(x) for x in (found if isinstance(found, tuple) else (found,))]
    torch.cat([x.flatten() for x in weighted]).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_sizes_and_the_published_start() -> None:
    d = 256
    inside, between = FrameRelation(d), TaskRelation(d)
    assert count_parameters(inside).trainable == 4 * d * d + 3 * d
    assert count_parameters(between).trainable == 6 * d * d + 4 * d
    for layer in (between.queries, between.keys, between.values):
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / (d + d // 8)), rel=0.02)


@pytest.mark.parametrize("heads", [0, 3])
def test_heads_must_divide_the_width(heads: int) -> None:
    for kind in (FrameRelation, TaskRelation):
        with pytest.raises(ValueError, match=f"heads={heads} must divide the feature width 8"):
            kind(WIDTH, heads=heads)


def test_a_divisor_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"divisor=0.0 must be a positive number"):
        PositionEncoding(WIDTH, divisor=0.0)
