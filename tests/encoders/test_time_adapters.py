"""ActionCLIP's shift and joint attention against loops over frames and channels, and stock modules."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import SiglipConfig, SiglipModel

from openfsar.encoders import VisionTower, tiny_encoder
from openfsar.encoders.adapters import (
    AdaptedBlock,
    BlockContext,
    JointSpaceTime,
    PatchShift,
    TemporalPosition,
)

B, T, P, WIDTH = 2, 3, 16, 32
CLIP, SIGLIP = BlockContext(grid=(4, 4), class_tokens=1), BlockContext(grid=(4, 4))


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@pytest.fixture
def tower() -> VisionTower:
    tower = tiny_encoder(dtype=torch.float64).vision
    assert isinstance(tower, VisionTower)
    return tower


def joined(tower: VisionTower, table: Tensor | None = None) -> VisionTower:
    for block in tower.blocks:
        block.around = JointSpaceTime()
    if table is not None:
        tower.blocks[0].before = position = TemporalPosition(len(table), WIDTH, patches_only=True).double()
        position.table.data.copy_(table)
    return tower


@pytest.mark.parametrize("context", [CLIP, SIGLIP], ids=["clip", "siglip"])
def test_two_eighths_of_the_channels_move_by_one_frame(context: BlockContext) -> None:
    first, width = context.class_tokens, 19  # two channels in an eighth, 15 stay
    tokens = draw(B, T, first + P, width)
    shifted = PatchShift()(tokens, context)
    for t in range(T):
        for d in range(width):
            source = t + 1 if d < 2 else t - 1 if d < 4 else t
            moved = tokens[:, source, first:, d] if 0 <= source < T else torch.zeros(B, P)
            assert torch.equal(shifted[:, t, first:, d], moved.double())
    assert torch.equal(shifted[:, :, :first], tokens[:, :, :first])


def test_shift_has_no_weights_and_declares_what_it_does() -> None:
    for adapter in (PatchShift(), JointSpaceTime()):
        assert not list(adapter.parameters()) and not adapter.identity_at_init


@torch.no_grad()
def test_shift_mixes_neighbouring_frames_alone(tower: VisionTower) -> None:
    for block in tower.blocks:
        block.before = PatchShift()
    pixels = draw(1, 6, 3, 32, 32)
    changed = pixels.clone()
    changed[0, 0] += 1
    moved = (tower(pixels) - tower(changed)).abs().amax(-1)[0] > 1e-12
    assert moved.tolist() == [True, True, True, False, False, False]  # two blocks, one frame each


@torch.no_grad()
def test_one_frame_alone_is_the_plain_tower(tower: VisionTower) -> None:
    pixels = draw(B, 1, 3, 32, 32)
    plain = tower(pixels)
    close(joined(tower)(pixels), plain)


def joint_by_hand(block: AdaptedBlock, classes: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
    """One video: the class tokens (X, D) of one frame, the patches (T, P, D) of all."""
    layer = block.layer
    sequence = torch.cat([classes, *patches])
    normed, attention = layer.layer_norm1(sequence), layer.self_attn
    q, k, v = (project(normed) for project in (attention.q_proj, attention.k_proj, attention.v_proj))
    size = 16
    mixed = []
    for h in range(WIDTH // size):
        part = slice(h * size, (h + 1) * size)
        mixed.append((q[:, part] @ k[:, part].T / size**0.5).softmax(-1) @ v[:, part])
    sequence = sequence + attention.out_proj(torch.cat(mixed, -1))
    sequence = sequence + layer.mlp(layer.layer_norm2(sequence))
    count = len(classes)
    return sequence[:count], torch.stack(sequence[count:].split(patches.shape[1]))


@torch.no_grad()
@pytest.mark.parametrize("context", [CLIP, SIGLIP], ids=["clip", "siglip"])
def test_joint_attention_is_one_sequence_of_all_patches(tower: VisionTower, context: BlockContext) -> None:
    first, block = context.class_tokens, tower.blocks[0]
    block.around = JointSpaceTime()
    tokens = draw(B, T, first + P, WIDTH)
    result = block(tokens, context)
    for b in range(B):
        classes, patches = joint_by_hand(block, tokens[b, 0, :first], tokens[b, :, first:])
        for t in range(T):
            close(result[b, t, :first], classes)
            close(result[b, t, first:], patches[t])


@torch.no_grad()
def test_the_joint_tower_is_block_by_block_the_same_loop(tower: VisionTower) -> None:
    table, pixels = draw(T, WIDTH, seed=1), draw(B, T, 3, 32, 32)
    joined(tower, table)
    result = tower(pixels)
    tokens = tower.pre_norm(tower.embeddings(pixels.flatten(0, 1))).unflatten(0, (B, T))
    for b in range(B):
        classes, patches = tokens[b, 0, :1], tokens[b, :, 1:] + table[:, None]
        for block in tower.blocks:
            classes, patches = joint_by_hand(block, classes, patches)
        video = tower.head.projection(tower.head.norm(classes[0]))
        for t in range(T):
            close(result[b, t], video)


@torch.no_grad()
def test_without_positions_joint_attention_ignores_order(tower: VisionTower) -> None:
    pixels = draw(1, T, 3, 32, 32)
    joined(tower)
    close(tower(pixels.flip(1)), tower(pixels))
    joined(tower, draw(T, WIDTH))
    assert (tower(pixels.flip(1)) - tower(pixels)).abs().max() > 1e-3


def test_positions_spare_class_tokens_where_told() -> None:
    table, tokens = draw(5, WIDTH, seed=2), draw(B, T, 1 + P, WIDTH)
    rows = F.interpolate(table.T[None], T, mode="linear")[0].T
    for spares in (False, True):
        position = TemporalPosition(5, WIDTH, patches_only=spares).double()
        assert torch.equal(position(tokens, CLIP), tokens)  # zero at first
        position.table.data.copy_(table)
        added = position(tokens, CLIP) - tokens
        for t in range(T):
            close(added[:, t, 1:], rows[t].expand(B, P, -1))
            close(
                added[:, t, 0], torch.zeros_like(rows[t]).expand(B, -1) if spares else rows[t].expand(B, -1)
            )


@torch.no_grad()
@pytest.mark.parametrize("adapter", [PatchShift, JointSpaceTime])
def test_a_tower_without_class_tokens_takes_both(adapter: type) -> None:
    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    text = dict(sizes, vocab_size=258, max_position_embeddings=16, projection_size=32)
    vision = dict(sizes, image_size=32, patch_size=8)
    tower = VisionTower(SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).eval())
    pixels = draw(1, T, 3, 32, 32).float()
    plain = tower(pixels)
    for block in tower.blocks:
        setattr(block, "before" if adapter is PatchShift else "around", adapter())
    result = tower(pixels)
    assert result.shape == plain.shape and (result - plain).abs().max() > 1e-4
