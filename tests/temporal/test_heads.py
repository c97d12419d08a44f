"""ActionCLIP's heads against loops over frames, channels, gates and attention heads."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders.trainable import count_parameters
from openfsar.temporal.heads import (
    ClassTokenTransformer,
    HeadName,
    Recurrent,
    ShiftedConv,
    TimeTransformer,
    make_head,
)

NAMES: list[HeadName] = ["transf", "transf-cls", "conv", "lstm", "mean"]
B, T, D = 2, 5, 8


def frames(width: int = D, length: int = T) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(B, length, width, dtype=torch.float64, generator=generator)


def scrambled(module: nn.Module) -> nn.Module:
    """In float64, in eval mode, every parameter random."""
    generator = torch.Generator().manual_seed(1)
    module = module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def attention_by_hand(layer: nn.TransformerEncoderLayer, tokens: Tensor, heads: int) -> Tensor:
    """One video (X, D)."""
    weight, bias = layer.self_attn.in_proj_weight, layer.self_attn.in_proj_bias
    q, k, v = (tokens @ w.T + b for w, b in zip(weight.chunk(3), bias.chunk(3), strict=True))
    size = tokens.shape[1] // heads
    mixed = []
    for h in range(heads):
        part = slice(h * size, (h + 1) * size)
        scores = torch.stack([torch.stack([a @ b for b in k[:, part]]) for a in q[:, part]]) / size**0.5
        mixed.append(scores.softmax(-1) @ v[:, part])
    return layer.self_attn.out_proj(torch.cat(mixed, -1))


def test_the_convolution_looks_one_frame_back_and_ahead_in_each_channel() -> None:
    head, x = ShiftedConv(D), frames()
    head = scrambled(head)
    w, expected = head.conv.weight, x.clone()
    for b in range(B):
        for t in range(T):
            for d in range(D):
                for tap in (-1, 0, 1):
                    if 0 <= t + tap < T:
                        expected[b, t, d] += w[d, 0, tap + 1] * x[b, t + tap, d]
    close(head(x), expected)


@torch.no_grad()
def test_the_convolution_starts_as_a_shift() -> None:
    added, x = ShiftedConv(D).double()(frames()) - frames(), frames()
    close(added[:, 1:, :2], x[:, :-1, :2])
    close(added[..., 2:6], x[..., 2:6])
    close(added[:, :-1, 6:], x[:, 1:, 6:])
    assert added[:, 0, :2].abs().max() == added[:, -1, 6:].abs().max() == 0


@torch.no_grad()
def test_the_lstm_runs_forward_and_adds_to_the_frames() -> None:
    head, x = scrambled(Recurrent(D)), frames()
    inputs, hidden = head.lstm.weight_ih_l0, head.lstm.weight_hh_l0
    bias = head.lstm.bias_ih_l0 + head.lstm.bias_hh_l0
    for b in range(B):
        state, memory = torch.zeros(D, dtype=torch.float64), torch.zeros(D, dtype=torch.float64)
        for t in range(T):
            enters, forgets, new, leaves = (inputs @ x[b, t] + hidden @ state + bias).chunk(4)
            memory = forgets.sigmoid() * memory + enters.sigmoid() * new.tanh()
            state = leaves.sigmoid() * memory.tanh()
            close(head(x)[b, t], x[b, t] + state)


@torch.no_grad()
@pytest.mark.parametrize(("width", "heads"), [(24, 1), (128, 2)])
@pytest.mark.parametrize("length", [T, 9])
def test_the_transformer_norms_first_and_adds_to_the_frames(width: int, heads: int, length: int) -> None:
    head = scrambled(TimeTransformer(width, layers=2, positions=7))
    x = frames(width, length)
    rows = head.positions[:length]
    if length > 7:
        rows = F.interpolate(head.positions.T[None], length, mode="linear")[0].T
    for b in range(B):
        y = x[b] + rows
        for layer in head.layers:
            y = y + attention_by_hand(layer, layer.norm1(y), heads)
            hidden = layer.linear1(layer.norm2(y))
            y = y + layer.linear2(hidden * torch.sigmoid(1.702 * hidden))
        close(head(x)[b], x[b] + y)


@torch.no_grad()
@pytest.mark.parametrize(("width", "heads"), [(24, 1), (128, 2)])
@pytest.mark.parametrize("length", [4, 9])
def test_the_class_token_reads_the_frames_and_norms_last(width: int, heads: int, length: int) -> None:
    head = scrambled(ClassTokenTransformer(width, layers=2, positions=4))
    x = frames(width, length)
    rows = F.interpolate(head.positions[1:].T[None], length, mode="linear")[0].T
    assert head(x).shape == (B, 1, width)
    for b in range(B):
        y = torch.cat([(head.token + head.positions[0])[None], x[b] + rows])
        for layer in head.layers:
            y = layer.norm1(y + attention_by_hand(layer, y, heads))
            y = layer.norm2(y + layer.linear2(layer.linear1(y).relu()))
        close(head(x)[b, 0], head.norm(y[0]))


def test_the_transformer_has_the_published_size_and_start() -> None:
    torch.manual_seed(0)
    head = TimeTransformer(512)
    assert count_parameters(head).trainable == 18_953_728
    assert head.positions.shape == (77, 512)
    layer = head.layers[-1]
    for weight in (
        head.positions,
        layer.linear1.weight,
        layer.linear2.weight,
        layer.self_attn.out_proj.weight,
    ):
        assert abs(weight.std().item() - 0.02) < 5e-4 and abs(weight.mean().item()) < 5e-4
    assert layer.linear1.bias.abs().max() == layer.self_attn.in_proj_bias.abs().max() == 0
    assert abs(layer.self_attn.in_proj_weight.std().item() - (2 / 2048) ** 0.5) < 5e-4  # Xavier's
    assert not torch.equal(head.layers[0].linear1.weight, layer.linear1.weight)


def test_only_the_class_token_s_layers_drop_out() -> None:
    x = frames(24)
    for head, drops in ((TimeTransformer(24), False), (ClassTokenTransformer(24), True)):
        head = head.double().train()
        assert torch.equal(head(x), head(x)) == (not drops)
        assert torch.equal(head.eval()(x), head(x))


def test_the_published_number_of_rows_is_the_default() -> None:
    assert make_head("transf", 16).positions.shape == (77, 16)
    assert make_head("transf-cls", 16).positions.shape == (9, 16)
    assert make_head("transf", 16, positions=3, layers=1).positions.shape == (3, 16)
    assert len(make_head("transf-cls", 16, layers=2).layers) == 2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64], ids=str)
@torch.no_grad()
def test_precision_stays_and_one_frame_is_enough(name: HeadName, dtype: torch.dtype) -> None:
    head = make_head(name, 16).to(dtype).eval()
    for length in (1, 4):
        result = head(frames(16, length).to(dtype))
        assert result.dtype == dtype and result.isfinite().all()
        assert result.shape == (B, 1 if name == "transf-cls" else length, 16)


@pytest.mark.parametrize(
    ("name", "width", "options", "message"),
    [
        ("transf", 200, {}, "width 200 would have 3 heads"),
        ("transf-cls", 200, {}, "use visual='conv', 'lstm' or 'mean'"),
        ("transf", 16, {"layers": 0}, "layers=0 must be at least 1"),
        ("transf-cls", 16, {"positions": 0}, "positions=0 must be at least 1"),
    ],
)
def test_sizes_that_cannot_be_are_named(name: HeadName, width: int, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_head(name, width, **options)
