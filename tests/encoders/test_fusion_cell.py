"""SloshNet's alignment and cell against their equations, operation by operation."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders.fusion import OPERATIONS, Alignment, FusionCell, edges
from openfsar.encoders.trainable import count_parameters

RESNET_50 = (256, 512, 1024, 2048)


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def ready(module: nn.Module) -> nn.Module:
    """In float64 and eval mode, with norms that do something."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for value in [*module.double().parameters(), *module.buffers()]:
            if value.is_floating_point():
                value += 0.3 * torch.rand(value.shape, generator=generator, dtype=torch.float64)
    return module.eval()


def maps(
    widths: tuple[int, ...], sides: tuple[int, ...], videos: int = 2, frames: int = 3
) -> tuple[Tensor, ...]:
    shapes = zip(widths, sides, strict=True)
    return tuple(values(videos, frames, w, side, side, seed=i) for i, (w, side) in enumerate(shapes))


def normed(norm: nn.BatchNorm2d, frame: Tensor) -> Tensor:
    """(D, H, W), by the running statistics."""
    mean, var, weight, bias = (
        x[:, None, None] for x in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (frame - mean) / (var + norm.eps).sqrt() * weight + bias


@torch.no_grad()
@pytest.mark.parametrize("sides", [(8, 4, 2, 1), (56, 28, 14, 7), (5, 3, 2, 1), (1, 1, 1, 1)], ids=str)
def test_a_stage_is_relu_norm_and_a_convolution_that_doubles_the_channels(sides: tuple[int, ...]) -> None:
    widths = (2, 4, 8, 16)
    align, levels = ready(Alignment(widths)), maps(widths, sides)
    aligned = align(levels)
    assert torch.equal(aligned[-1], levels[-1])
    for number, level in enumerate(levels):
        assert aligned[number].shape == levels[-1].shape
        _, norms, convolutions = [list(align.levels[number])[i::3] for i in range(3)]
        assert len(convolutions) == 3 - number
        for b in range(2):
            for t in range(3):
                frame = level[b, t]
                for norm, convolution in zip(norms, convolutions, strict=True):
                    assert convolution.bias is None and convolution.out_channels == 2 * len(frame)
                    weight = convolution.weight
                    frame = F.conv2d(normed(norm, frame.relu())[None], weight, stride=2, padding=1)[0]
                close(aligned[number][b, t], frame)


@torch.no_grad()
def test_a_smaller_width_is_reached_by_a_1x1_convolution_in_front() -> None:
    widths = (8, 16, 32, 64)
    align, levels = ready(Alignment(widths, width=16)), maps(widths, (8, 4, 2, 1))
    aligned = align(levels)
    assert align.width == 16 and all(x.shape == (2, 3, 16, 1, 1) for x in aligned)
    for number, start in enumerate((2, 4, 8, 16)):
        norm, reduce = list(align.levels[number])[:2]
        assert reduce.weight.shape == (start, widths[number], 1, 1)
    norm, reduce = align.levels[-1]
    for b in range(2):
        for t in range(3):
            close(aligned[-1][b, t], F.conv2d(normed(norm, levels[-1][b, t])[None], reduce.weight)[0])


@torch.no_grad()
def test_levels_of_one_width_need_no_alignment_but_may_be_narrowed() -> None:
    levels = maps((12,) * 4, (3,) * 4)
    align = Alignment((12,) * 4)
    assert count_parameters(align).trainable == 0
    assert all(torch.equal(a, b) for a, b in zip(align(levels), levels, strict=True))
    narrow = ready(Alignment((12,) * 4, width=4))
    assert all(x.shape == (2, 3, 4, 3, 3) for x in narrow(levels))
    assert count_parameters(narrow).trainable == 4 * (12 * 4 + 2 * 12)


@torch.no_grad()
def test_a_grid_that_a_tower_rounded_down_is_met_by_the_mean_over_neighbours() -> None:
    align, levels = ready(Alignment((4, 8))), maps((4, 8), (5, 2))
    coarse = align.levels[0](levels[0].flatten(0, 1))
    assert coarse.shape[-1] == 3
    corner = coarse[..., :2, :2].mean((-2, -1))
    close(align(levels)[0][..., 0, 0].flatten(0, 1), corner)


def test_the_published_alignment_has_67_million_parameters() -> None:
    def convolved(a: int) -> int:
        return sum(9 * c * 2 * c + 2 * c for c in RESNET_50[a:-1])

    with torch.device("meta"):
        align = Alignment(RESNET_50)
        narrow = Alignment(RESNET_50, width=256)
    total = count_parameters(align).trainable
    assert total == sum(convolved(a) for a in range(4)) == 67_248_640
    assert total / 1e6 == pytest.approx(67.2, abs=0.05)  # the figure computed from the released shapes
    assert count_parameters(narrow).trainable == 1_755_712


@pytest.mark.parametrize(
    ("widths", "width", "message"),
    [
        ((4, 8, 24), 0, "deepest must be 1, 2, 4, 8"),
        ((16, 8), 0, "deepest must be 1, 2, 4, 8"),
        ((4, 8, 16), 6, "width=6 must be a multiple of 4"),
        ((4, 8), -2, "width=-2 must be a number"),
    ],
)
def test_levels_that_cannot_be_aligned_are_refused(widths: tuple[int, ...], width: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Alignment(widths, width=width)


def by_definition(cell: FusionCell, levels: tuple[Tensor, ...], b: int, t: int) -> Tensor:
    """One frame of one video: every operation of every edge on its own."""

    def gap(x: Tensor) -> Tensor:
        rows, columns = x.shape[1:]
        return sum(x[:, i, j] for i in range(rows) for j in range(columns))[:, None, None] / (rows * columns)

    operations = {
        "gp1": lambda s, f: f + torch.sigmoid(gap(f)) * s,
        "gp2": lambda s, f: s + torch.sigmoid(gap(s)) * f,
        "sum": lambda s, f: s + f,
    }
    weights = dict(zip(edges(len(levels)), cell.operation_weights(), strict=True))
    frames = [level[b, t] for level in levels]
    states = [frames[0]]
    for k in range(1, len(levels)):
        state = torch.zeros_like(frames[0])
        for j in range(k):
            for name, weight in zip(OPERATIONS, weights[j, k], strict=True):
                state = state + weight * operations[name](states[j], frames[k])
        states.append(state)
    out = cell.mix.softmax(0)[-1] * frames[-1]
    for share, state in zip(cell.mix.softmax(0), states, strict=False):
        out = out + share * state
    return out


CELLS = [None, ["sum"] * 6, ["gp1", "gp2", "sum", "gp2", "gp1", "gp1"]]


@torch.no_grad()
@pytest.mark.parametrize("operations", CELLS, ids=["searched", "sums", "mixed"])
def test_a_cell_adds_what_its_operations_make_of_earlier_states(operations: list[str] | None) -> None:
    cell = FusionCell(operations=operations).double()
    cell.mix += values(5)
    if operations is None:
        cell.alphas += values(6, 3, seed=1)
    levels = maps((4,) * 4, (3,) * 4)
    fused = cell(levels)
    for b in range(2):
        for t in range(3):
            close(fused[b, t], by_definition(cell, levels, b, t))


@torch.no_grad()
def test_sums_alone_have_a_closed_form() -> None:
    f = maps((2,) * 4, (2,) * 4)
    states = [f[0], f[0] + f[1], 2 * f[0] + f[1] + 2 * f[2], 4 * f[0] + 2 * f[1] + 2 * f[2] + 3 * f[3]]
    for number, expected in enumerate([*states, f[3]]):
        mix = [1e-30] * 5
        mix[number] = 1.0
        close(FusionCell(operations=["sum"] * 6, mix=mix).double()(f), expected)


@torch.no_grad()
def test_a_searched_cell_of_certain_weights_is_the_fixed_one() -> None:
    operations = ["gp1", "gp2", "sum", "gp2", "gp1", "gp1"]
    searched, fixed = FusionCell().double(), FusionCell(operations=operations).double()
    for row, name in zip(searched.alphas, operations, strict=True):
        row[OPERATIONS.index(name)] = 800.0
    levels = maps((4,) * 4, (3,) * 4)
    close(searched(levels), fixed(levels))
    assert searched.chosen() == fixed.chosen() == operations
    assert not [name for name in fixed.state_dict() if name != "mix"]  # the choice is an option, not a weight


def test_a_cell_starts_even_and_with_most_of_the_deepest_level() -> None:
    torch.manual_seed(0)
    cell = FusionCell()
    assert edges(4) == [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    assert cell.alphas.shape == (6, 3) and 0 < cell.alphas.std() < 2e-3
    torch.testing.assert_close(cell.mix.softmax(0), torch.tensor([0.1, 0.1, 0.1, 0.1, 0.6]))
    assert abs(cell.mix.sum().item()) < 1e-6
    again = FusionCell(mix=[2.0, 1.0, 1.0, 4.0, 2.0])
    torch.testing.assert_close(again.mix.softmax(0), torch.tensor([0.2, 0.1, 0.1, 0.4, 0.2]))


def test_every_parameter_of_a_cell_gets_a_gradient() -> None:
    cell = FusionCell().double()
    (cell(maps((4,) * 4, (3,) * 4)) * values(4, 3, 3)).sum().backward()
    assert (cell.alphas.grad != 0).all() and (cell.mix.grad != 0).all()


@torch.no_grad()
def test_half_precision_stays_and_is_near() -> None:
    cell, levels = FusionCell(), tuple(x.float() for x in maps((4,) * 4, (3,) * 4))
    fused = cell(tuple(x.bfloat16() for x in levels))  # as under autocast, with weights in float32
    assert fused.dtype == torch.bfloat16
    torch.testing.assert_close(fused.float(), cell(levels), rtol=0.05, atol=0.1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operations": ["sum"] * 5}, "each of the 6 edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3"),
        ({"operations": ["sum"] * 5 + ["conv"]}, "unknown operation 'conv'; there are gp1, gp2, sum"),
        ({"mix": [0.5, 0.5]}, "must be 5 positive numbers"),
        ({"mix": [0.0, 0.1, 0.1, 0.1, 0.7]}, "must be 5 positive numbers"),
    ],
)
def test_impossible_cells_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FusionCell(**options)
