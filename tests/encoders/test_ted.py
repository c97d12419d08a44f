"""M2-CLIP's adapters against loops over frames and places, their parameter counts, and where they start."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from openfsar.encoders import VisionTower, tiny_encoder
from openfsar.encoders.adapters import (
    AfterAttention,
    BlockContext,
    Bottleneck,
    Ted,
    TemporalEnhancement,
)
from openfsar.encoders.trainable import count_parameters

WIDTH, ROWS, COLUMNS = 6, 2, 3
CLIP = BlockContext(grid=(ROWS, COLUMNS), class_tokens=1)
SIGLIP = BlockContext(grid=(ROWS, COLUMNS))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def scrambled(module: nn.Module, *, biases: bool = True) -> Any:
    """In float64, away from the zeros it starts with."""
    for seed, (name, parameter) in enumerate(module.double().named_parameters()):
        if biases or not name.endswith("bias"):
            parameter.data.copy_(draw(*parameter.shape, seed=seed))
    return module


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def by_hand(ted: Ted, video: Tensor, first: int) -> Tensor:
    """One video (T, X, D), place by place."""
    time, space = ted.enhancement, ted.difference
    frames = len(video)
    result = video.clone()
    for t in range(frames):
        for x in range(video.shape[1]):
            hidden = time.conv.bias.clone()
            for step in (-1, 0, 1):
                if 0 <= t + step < frames:
                    hidden += time.conv.weight[:, 0, step + 1, 0] * time.down(video[t + step, x])
            result[t, x] += time.up(hidden)
        patches = video[t, first:]
        change = torch.zeros_like(patches) if t == 0 else patches - video[t - 1, first:]
        for row in range(ROWS):
            for column in range(COLUMNS):
                hidden = space.conv.bias.clone()
                for down in (-1, 0, 1):
                    for right in (-1, 0, 1):
                        r, c = row + down, column + right
                        if 0 <= r < ROWS and 0 <= c < COLUMNS:
                            weight = space.conv.weight[:, 0, down + 1, right + 1]
                            hidden += weight * space.down(change[r * COLUMNS + c])
                result[t, first + row * COLUMNS + column] += space.up(hidden)
    return result


@torch.no_grad()
@pytest.mark.parametrize("context", [CLIP, SIGLIP], ids=["clip", "siglip"])
@pytest.mark.parametrize("frames", [1, 2, 5])
def test_ted_is_what_its_equations_say(context: BlockContext, frames: int) -> None:
    ted, tokens = scrambled(Ted(WIDTH)), draw(2, frames, context.class_tokens + ROWS * COLUMNS, WIDTH)
    kept = tokens.clone()
    found = ted(tokens, context)
    assert torch.equal(tokens, kept)  # out of place
    for video, result in zip(tokens, found, strict=True):
        close(result, by_hand(ted, video, context.class_tokens))


@torch.no_grad()
def test_a_still_video_has_no_difference_whatever_the_weights() -> None:
    ted = scrambled(Ted(WIDTH), biases=False)
    still = draw(2, 1, 1 + ROWS * COLUMNS, WIDTH).expand(-1, 4, -1, -1)
    close(ted(still, CLIP), still + ted.enhancement(still))
    moving = still + draw(2, 4, 1, WIDTH)
    change = ted(moving, CLIP) - (moving + ted.enhancement(moving))
    assert change[:, 1:, 1:].abs().min() > 1e-6
    assert not change[:, 0].any() and not change[:, :, 0].any()  # first frame, class token


def test_parameters_are_those_of_the_released_model() -> None:
    ted = Ted(768)
    assert count_parameters(ted.enhancement).trainable == 592_512
    assert count_parameters(ted.difference).trainable == 594_816
    assert count_parameters(ted).trainable == 1_187_328
    assert count_parameters(TemporalEnhancement(512)).trainable == 263_936
    assert count_parameters(Bottleneck(512, ratio=0.75, zero=False)).trainable == 394_112


@torch.no_grad()
def test_a_tower_with_fresh_adapters_is_the_plain_tower() -> None:
    tower = tiny_encoder(dtype=torch.float64).vision
    assert isinstance(tower, VisionTower) and Ted.identity_at_init
    pixels = draw(2, 3, 3, 32, 32)
    plain = tower(pixels)
    for block in tower.blocks:
        block.before = Ted(tower.width).double()
        block.around = AfterAttention(Ted(tower.width).double())
    assert torch.equal(tower(pixels), plain)
    for block in tower.blocks:
        scrambled(block.before), scrambled(block.around)
    assert not torch.allclose(tower(pixels), plain)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_lower_precision_is_near(dtype: torch.dtype) -> None:
    ted, tokens = scrambled(Ted(WIDTH)), draw(2, 4, 1 + ROWS * COLUMNS, WIDTH)
    exact = ted(tokens, CLIP)
    found = ted.to(dtype)(tokens.to(dtype), CLIP)
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(found.double(), exact, rtol=tolerance, atol=tolerance * exact.abs().max())


def test_gradients_are_those_of_the_definition() -> None:
    ted = scrambled(Ted(4))
    tokens = draw(1, 3, 1 + ROWS * COLUMNS, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ted(x, CLIP), tokens, fast_mode=True)


def test_a_bottleneck_may_start_random_and_then_says_so() -> None:
    random = Bottleneck(16, ratio=0.75, zero=False)
    assert not random.identity_at_init and Bottleneck(16).identity_at_init
    assert random.down.out_features == 12
    assert random.up.weight.std() > 0.05 and not random.up.bias.any() and not random.down.bias.any()
    tokens = torch.randn(5, 16)
    assert (random(tokens) - tokens).abs().mean() > 1e-3


def test_a_share_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="ratio 0.01 of width 8 leaves no hidden unit; use at least 0.125"):
        Ted(8, ratio=0.01)


@torch.no_grad()
def test_text_tokens_come_with_and_without_the_final_norm() -> None:
    encoder = tiny_encoder(dtype=torch.float64)
    tower, ids = encoder.text_tower, encoder.tokenize(["a man waves", "no"])
    assert torch.equal(tower.tokens(ids), tower.norm(tower.unnormed(ids)))
    assert (tower.tokens(ids) - tower.unnormed(ids)).abs().max() > 0.1
