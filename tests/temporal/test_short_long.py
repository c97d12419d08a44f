"""SloshNet's temporal modules against loops over videos, positions, heads, groups and frames."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders.trainable import count_parameters
from openfsar.temporal.short_long import LongTerm, ShortLong, ShortTerm

WIDTH, HEADS, GROUPS = 12, 3, 4


def maps(frames: int = 4, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, frames, WIDTH, 3, 2, dtype=torch.float64, generator=generator)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def ready(module: nn.Module) -> nn.Module:
    """In float64, with norms and biases that do something."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module


def layer_by_hand(module: LongTerm, frames: Tensor) -> Tensor:
    """Of the frames (T, D) at one position: one head and one pair of frames at a time."""
    q, k, v = module.qkv(module.norm(frames)).chunk(3, -1)
    size, heads = WIDTH // HEADS, []
    for h in range(HEADS):
        part = slice(h * size, (h + 1) * size)
        rows = [torch.stack([a @ b for b in k[:, part]]) for a in q[:, part]]
        heads.append((torch.stack(rows) / size**0.5).softmax(-1) @ v[:, part])
    x = frames + module.out(torch.cat(heads, -1))
    hidden = module.widen(module.mlp_norm(x))
    return x + module.narrow(hidden / (1 + (-1.702 * hidden).exp()))


@torch.no_grad()
@pytest.mark.parametrize("frames", [4, 1])
def test_long_term_is_a_transformer_layer_over_time_at_each_position(frames: int) -> None:
    module, x = ready(LongTerm(WIDTH, heads=HEADS)), maps(frames)
    found = module(x)
    for b in range(2):
        for row in range(3):
            for column in range(2):
                close(found[b, :, :, row, column], layer_by_hand(module, x[b, :, :, row, column]))


@torch.no_grad()
def test_long_term_is_blind_to_the_order_of_frames_and_short_term_is_not() -> None:
    x, order = maps(), [2, 0, 3, 1]
    long, short = ready(LongTerm(WIDTH, heads=HEADS)), ready(ShortTerm(WIDTH, groups=GROUPS))
    close(long(x[:, order]), long(x)[:, order])
    assert (short(x[:, order]) - short(x)[:, order]).abs().max() > 0.01


def short_by_hand(module: ShortTerm, frames: Tensor) -> Tensor:
    """Of one video (T, D, H, W): one group of channels and one frame at a time."""
    qkv = torch.stack([torch.einsum("od,dhw->ohw", module.qkv.weight[:, :, 0, 0], frame) for frame in frames])
    q, k, v = qkv.chunk(3, 1)
    size, found = WIDTH // GROUPS, []
    for t in range(len(frames)):
        gap = torch.zeros_like(frames[0])
        if t + 1 < len(frames):
            for g in range(GROUPS):
                for c in range(size):
                    channel = g * size + c
                    after = F.conv2d(k[t + 1, channel][None, None], module.keys.weight[c][None], padding=1)
                    before = F.conv2d(q[t, channel][None, None], module.queries.weight[c][None], padding=1)
                    gap[channel] = (after - before)[0, 0]
        first, last = module.gate[0].weight[:, :, 0, 0], module.gate[2].weight[:, :, 0, 0]
        hidden = F.gelu(torch.einsum("od,dhw->ohw", first, gap))
        gate = torch.sigmoid(torch.einsum("od,dhw->ohw", last, hidden))
        found.append(-(gate * v[t]))
    return torch.stack(found)


@torch.no_grad()
@pytest.mark.parametrize("frames", [4, 2, 1])
def test_short_term_gates_each_frame_by_what_changes_to_the_next(frames: int) -> None:
    module, x = ready(ShortTerm(WIDTH, groups=GROUPS)), maps(frames)
    found = module(x)
    for b in range(2):
        close(found[b], short_by_hand(module, x[b]))
    close(found[:, -1], -module.qkv(x[:, -1])[:, -WIDTH:] / 2)  # the last frame has no next one


@torch.no_grad()
def test_short_term_sees_no_further_than_the_next_frame() -> None:
    module, x = ready(ShortTerm(WIDTH, groups=GROUPS)), maps(5)
    other = x.clone()
    other[:, 3] += 1
    changed = (module(other) - module(x)).abs().amax((0, 2, 3, 4)) > 1e-9
    assert changed.tolist() == [False, False, True, True, False]


@torch.no_grad()
def test_both_together_are_weighed_by_shares_that_start_even() -> None:
    module, x = ShortLong(WIDTH, heads=HEADS, groups=GROUPS), maps()
    assert module.shares().tolist() == [0.5, 0.5]
    ready(module)
    long, short = 2 * module.balance.softmax(0)
    close(module(x), long * module.long(x) + short * module.short(x))
    uneven = ShortLong(WIDTH, heads=HEADS, groups=GROUPS, long_share=0.8)
    torch.testing.assert_close(uneven.shares(), torch.tensor([0.8, 0.2]))


@torch.no_grad()
def test_one_alone_counts_once_and_none_changes_nothing() -> None:
    x, form = maps(), {"heads": HEADS, "groups": GROUPS}
    alone = ready(ShortLong(WIDTH, short=False, **form))
    close(alone(x), alone.long(x))
    alone = ready(ShortLong(WIDTH, long=False, **form))
    close(alone(x), alone.short(x))
    none = ShortLong(WIDTH, long=False, short=False, **form)
    assert torch.equal(none(x), x) and not list(none.parameters())


@torch.no_grad()
def test_pre_trained_features_survive_the_start() -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 8, 256, 2, 2)
    module = ShortLong(256)
    energy = [y.square().mean().item() for y in (module.long(x) - x, module.short(x))]
    assert energy[0] < 0.25 and energy[1] == pytest.approx(1 / 12, rel=0.2)
    before, after = (y.mean((-2, -1)).flatten(1) for y in (x, module(x)))
    rows, columns = torch.triu_indices(6, 6, 1)
    apart = [torch.cdist(y, y)[rows, columns] for y in (before, after)]
    assert torch.corrcoef(torch.stack(apart))[0, 1] > 0.7


def test_the_published_sizes() -> None:
    with torch.device("meta"):
        long, short = LongTerm(2048), ShortTerm(2048)
    found = count_parameters(long).trainable, count_parameters(short).trainable
    assert found == (12 * 2048**2 + 13 * 2048, 5 * 2048**2 + 2 * 9 * 128)
    assert [n / 1e6 for n in found] == pytest.approx([50.4, 21.0], abs=0.05)
    assert short.queries.weight.shape == (128, 1, 3, 3)


@pytest.mark.parametrize("frames", [3, 1])
def test_every_parameter_gets_a_gradient_where_there_is_a_next_frame(frames: int) -> None:
    module = ready(ShortLong(WIDTH, heads=HEADS, groups=GROUPS))
    (module(maps(frames)) * maps(frames, seed=1)).sum().backward()
    for name, parameter in module.named_parameters():
        still = frames == 1 and name.startswith(("short.queries", "short.keys", "short.gate"))
        assert parameter.grad is None or parameter.grad.isfinite().all(), name
        assert (parameter.grad is not None and parameter.grad.abs().max() > 0) != still, name


@torch.no_grad()
def test_positions_without_any_difference_between_channels_stay_finite() -> None:
    module, flat = LongTerm(WIDTH, heads=HEADS), torch.zeros(1, 2, WIDTH, 1, 1)
    flat.requires_grad_()
    with torch.enable_grad():
        module(flat).sum().backward()
    assert flat.grad.abs().max() < 1e5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 5}, "heads=5 must divide the feature width 12"),
        ({"heads": HEADS, "groups": 16}, "groups=16 must divide the feature width 12"),
        ({"heads": HEADS, "groups": GROUPS, "long_share": 1.0}, "long_share=1.0 must lie between 0 and 1"),
    ],
)
def test_impossible_numbers_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ShortLong(WIDTH, **options)
