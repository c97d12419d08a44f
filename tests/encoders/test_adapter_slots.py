"""The slots of AdaptedBlock, with miniatures of the adapters they were made for."""

from typing import ClassVar

import pytest
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders import freeze, tiny_encoder, trainable_parameters
from openfsar.encoders.adapters import (
    AdaptedBlock,
    AfterAttention,
    AroundAdapter,
    Attend,
    BlockContext,
    Bottleneck,
    TokenAdapter,
)

EXACT = dict(rtol=0, atol=1e-12)
B, T, DIM, WIDTH = 2, 3, 16, 32


class TinyMaFsar(AroundAdapter):
    """MA-FSAR's steps A and B: the frozen attention runs along time, then over extra tokens."""

    identity_at_init: ClassVar[bool] = False

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.time = Bottleneck(width, skip=False)
        self.local = Bottleneck(width, skip=True)
        self.text = nn.Linear(dim, width)

    def forward(self, tokens: Tensor, attend: Attend, context: BlockContext) -> Tensor:
        classes = tokens[:, :, 0]
        extra = [(classes + self.time(attend(classes)))[:, :, None]]
        if context.text is not None:
            extra.append(self.text(context.text)[:, None, None].expand(-1, tokens.shape[1], 1, -1))
        longer = torch.cat([tokens, *extra], 2)
        return (longer + self.local(attend(longer)))[:, :, : tokens.shape[2]]


class TinyTed(TokenAdapter):
    """M2-CLIP's TED: convolutions along time on all tokens, over space on frame differences."""

    identity_at_init: ClassVar[bool] = True

    def __init__(self, width: int, hidden: int = 8) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, hidden), nn.Linear(hidden, width, bias=False)
        self.time = nn.Conv1d(hidden, hidden, 3, padding=1, groups=hidden)
        self.space = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        for parameter in (*self.time.parameters(), *self.space.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor, context: BlockContext) -> Tensor:
        b, _, x, _ = tokens.shape
        (rows, columns), first = context.grid, context.class_tokens
        along = rearrange(self.down(tokens), "b t x d -> (b x) d t")
        enhanced = self.up(rearrange(self.time(along), "(b x) d t -> b t x d", b=b, x=x))
        patches = tokens[:, :, first:]
        change = torch.cat([torch.zeros_like(patches[:, :1]), patches[:, 1:] - patches[:, :-1]], 1)
        image = rearrange(self.down(change), "b t (h w) d -> (b t) d h w", h=rows, w=columns)
        change = self.up(rearrange(self.space(image), "(b t) d h w -> b t (h w) d", b=b))
        return tokens + enhanced + F.pad(change, (0, 0, first, 0))


def scramble(module: nn.Module, seed: int = 1) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module


@pytest.fixture
def tower():
    return tiny_encoder(dtype=torch.float64).vision


@pytest.fixture
def pixels():
    return torch.randn(B, T, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def alone(block: AdaptedBlock, x: Tensor) -> Tensor:
    """The frozen attention step without residual, straight from the stock modules."""
    return block.layer.self_attn(block.layer.layer_norm1(x), attention_mask=None)[0]


@pytest.mark.parametrize("with_text", [True, False])
@torch.no_grad()
def test_an_ma_fsar_like_adapter_runs_the_frozen_attention_along_time_and_over_extra_tokens(tower, with_text):
    generator = torch.Generator().manual_seed(2)
    block = tower.blocks[0]
    block.around = adapter = scramble(TinyMaFsar(WIDTH, DIM)).double()
    tokens = torch.randn(B, T, 17, WIDTH, dtype=torch.float64, generator=generator)
    text = torch.randn(B, DIM, dtype=torch.float64, generator=generator) if with_text else None
    result = block(tokens, BlockContext(text=text))
    for i in range(B):  # one video, then one frame at a time, on stock modules
        classes = tokens[i, :, 0]
        moved = classes + adapter.time(alone(block, classes[None]))[0]
        for t in range(T):
            extra = [moved[t]] + ([adapter.text(text[i])] if text is not None else [])
            longer = torch.cat([tokens[i, t], torch.stack(extra)])[None]
            kept = (longer + adapter.local(alone(block, longer)))[0, :17]
            expected = kept + block.layer.mlp(block.layer.layer_norm2(kept))
            torch.testing.assert_close(result[i, t], expected, **EXACT)


def test_the_text_of_a_video_reaches_that_video_only(tower, pixels):
    for block in tower.blocks:
        block.around = scramble(TinyMaFsar(WIDTH, DIM)).double()
    text = torch.randn(B, DIM, dtype=torch.float64)
    other = text.clone()
    other[1] += 1
    before, after = tower(pixels, text), tower(pixels, other)
    torch.testing.assert_close(before[0], after[0], **EXACT)
    assert (before[1] - after[1]).abs().amin(-1).gt(0).all()


@torch.no_grad()
def test_an_untrained_ted_changes_nothing_and_a_trained_one_mixes_neighbouring_frames(tower, pixels):
    plain = tower(pixels)
    for block in tower.blocks:
        block.before, block.around = TinyTed(WIDTH).double(), AfterAttention(TinyTed(WIDTH).double())
    assert torch.equal(tower(pixels), plain)
    scramble(tower.blocks[0].before)
    changed = pixels.clone()
    changed[0, 2] += 1
    difference = (tower(changed) - tower(pixels)).abs().amax(-1)
    assert difference[0, 1] > 0 and difference[0, 2] > 0  # frame 1 sees its neighbour, frame 0 does not
    assert difference[0, 0] == 0 and not difference[1].any()


@torch.no_grad()
def test_after_attention_is_the_place_before_the_mlp(tower):
    block, ted = tower.blocks[1], scramble(TinyTed(WIDTH)).double()
    block.around = AfterAttention(ted)
    tokens, context = torch.randn(B, T, 17, WIDTH, dtype=torch.float64), BlockContext(None, (4, 4), 1)
    step = tokens + alone(block, tokens.flatten(0, 1)).view_as(tokens)
    moved = ted(step, context)
    expected = moved + block.layer.mlp(block.layer.layer_norm2(moved))
    torch.testing.assert_close(block(tokens, context), expected, **EXACT)


@torch.no_grad()
def test_beside_reads_the_normed_tokens_and_adds_to_the_mlp(tower):
    block = tower.blocks[0]
    tokens, context = torch.randn(B, T, 17, WIDTH, dtype=torch.float64), BlockContext()
    plain = block(tokens, context)
    block.beside = adapter = scramble(Bottleneck(WIDTH, skip=False)).double()
    middle = tokens + alone(block, tokens.flatten(0, 1)).view_as(tokens)
    expected = plain + adapter(block.layer.layer_norm2(middle))
    torch.testing.assert_close(block(tokens, context), expected, **EXACT)
    block.beside = None
    assert torch.equal(block(tokens, context), plain)


@pytest.mark.parametrize(("slot", "skip"), [("before", True), ("beside", False)])
@torch.no_grad()
def test_a_fresh_bottleneck_is_the_identity_it_declares(tower, pixels, slot, skip):
    plain = tower(pixels)
    for block in tower.blocks:
        setattr(block, slot, Bottleneck(WIDTH, skip=skip).double())
    assert Bottleneck.identity_at_init and torch.equal(tower(pixels), plain)


def test_the_extra_tokens_of_ma_fsar_are_no_identity_as_it_declares(tower, pixels):
    plain = tower(pixels)
    tower.blocks[0].around = TinyMaFsar(WIDTH, DIM).double()
    assert not TinyMaFsar.identity_at_init and not torch.allclose(tower(pixels), plain)


def test_a_bottleneck_computes_down_gelu_up():
    adapter = scramble(Bottleneck(8, ratio=0.5)).double()
    x = torch.randn(5, 8, dtype=torch.float64)
    hidden = x @ adapter.down.weight.T + adapter.down.bias
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    torch.testing.assert_close(adapter(x), x + hidden @ adapter.up.weight.T + adapter.up.bias, **EXACT)
    with pytest.raises(ValueError, match="no hidden unit"):
        Bottleneck(8, ratio=0.01)


def test_gradients_reach_the_adapters_and_nothing_frozen(tower, pixels):
    freeze(tower)
    for block in tower.blocks:
        block.before = scramble(TinyTed(WIDTH)).double()
        block.around = scramble(TinyMaFsar(WIDTH, DIM)).double()
        block.beside = scramble(Bottleneck(WIDTH, skip=False)).double()
    tower(pixels, torch.randn(B, DIM, dtype=torch.float64)).square().sum().backward()
    trained = trainable_parameters(tower)
    assert trained and all(".before." in n or ".around." in n or ".beside." in n for n in trained)
    for name, parameter in tower.named_parameters():
        assert (parameter.grad is not None and parameter.grad.any()) == (name in trained), name


def test_checkpointed_blocks_are_computed_twice_and_give_the_same_gradients(tower, pixels):
    freeze(tower)
    for block in tower.blocks:
        block.beside = scramble(Bottleneck(WIDTH, skip=False)).double()

    def gradients() -> tuple[int, list[Tensor]]:
        calls = []
        hook = tower.blocks[1].layer.mlp.register_forward_hook(lambda *_: calls.append(1))
        tower.zero_grad()
        tower(pixels).square().sum().backward()
        hook.remove()
        return len(calls), [p.grad.clone() for p in trainable_parameters(tower).values()]

    once, plain = gradients()
    tower.checkpoint_blocks()
    twice, recomputed = gradients()
    assert (once, twice) == (1, 2)
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))


@torch.no_grad()
def test_text_blocks_have_the_same_slots_and_keep_their_causal_mask():
    encoder = tiny_encoder(dtype=torch.float64)
    tower = encoder.text_tower
    ids = encoder.tokenize(["run", "fly"])
    plain = tower.tokens(ids)
    for block in tower.blocks:
        block.before = scramble(Bottleneck(WIDTH)).double()
        block.around = AfterAttention(scramble(Bottleneck(WIDTH)).double())
    adapted = tower.tokens(ids)
    assert not torch.allclose(adapted, plain)
    later = ids.clone()
    later[:, 3] += 1
    assert torch.equal(tower.tokens(later)[:, :3], adapted[:, :3])
