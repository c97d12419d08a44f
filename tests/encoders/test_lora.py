"""LoRA in both kinds of visual tower: what it adds, what it leaves alone, what it needs."""

import sys

import pytest
import torch
from torch import Tensor, nn

from openfsar.encoders import ClipEncoder, EncoderError, count_parameters, load_encoder, trainable_parameters
from openfsar.encoders.adapters import add_lora

TOWERS = pytest.mark.parametrize("name", ["tiny", "tiny-resnet"])
RANK = 3


def make(name: str) -> ClipEncoder:
    return load_encoder(name, pretrained=False).double()


def adapted(name: str, *, moved: bool = True) -> ClipEncoder:
    """With LoRA; ``moved`` takes B from the zeros it starts at."""
    encoder = make(name)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        add_lora(encoder.vision, RANK)
        if moved:
            for parameter in trainable_parameters(encoder).values():
                nn.init.normal_(parameter, std=0.05)
    return encoder.double()


def clips(encoder: ClipEncoder) -> Tensor:
    dice = torch.Generator().manual_seed(0)
    size = (2, 3, 3, encoder.image_size, encoder.image_size)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=dice)


def gradients(encoder: ClipEncoder) -> dict[str, Tensor | None]:
    encoder.frames(clips(encoder)).square().sum().backward()
    return {name: parameter.grad for name, parameter in encoder.named_parameters()}


@TOWERS
def test_at_first_the_tower_is_the_frozen_one(name: str) -> None:
    plain, lora = make(name), adapted(name, moved=False)
    expected = plain.frames(clips(plain))
    for mode in (False, True):
        torch.testing.assert_close(lora.train(mode).frames(clips(lora)), expected, rtol=0, atol=1e-12)
    assert (adapted(name).frames(clips(plain)) - expected).abs().max() > 1e-3


def test_each_matrix_of_a_block_changes_by_b_times_a() -> None:
    plain, lora = make("tiny"), adapted("tiny")
    state = lora.state_dict()
    with torch.no_grad():
        for key, weight in plain.named_parameters():
            layer = key.removesuffix(".weight")
            if f"{layer}.lora_A.default.weight" in state:
                a, b = (state[f"{layer}.lora_{x}.default.weight"] for x in "AB")
                weight += b @ a
    torch.testing.assert_close(lora.frames(clips(lora)), plain.frames(clips(plain)), rtol=0, atol=1e-12)


def test_the_six_matrices_of_every_block_are_adapted_and_no_other() -> None:
    layers = {name.partition(".lora_")[0] for name in trainable_parameters(adapted("tiny"))}
    matrices = [f"self_attn.{x}_proj" for x in ("q", "k", "v", "out")]
    matrices += ["mlp.fc1", "mlp.fc2"]
    assert layers == {f"vision.blocks.{i}.layer.{matrix}" for i in range(2) for matrix in matrices}


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("tiny", 2 * RANK * (4 * (32 + 32) + 2 * (32 + 128))),
        # convolutions of four stages (1x1, 3x3, 1x1, shortcut), then three square linears and the projection
        (
            "tiny-resnet",
            sum(
                RANK * ((c + w) + (9 * w + w) + (w + 4 * w) + (c + 4 * w))
                for c, w in ((8, 8), (32, 16), (64, 32), (128, 64))
            )
            + RANK * (3 * (256 + 256) + 256 + 16),
        ),
    ],
)
def test_the_count_is_rank_times_inputs_and_outputs(name: str, count: int) -> None:
    assert count_parameters(adapted(name)).trainable == count


@pytest.mark.slow
def test_the_count_for_vit_b_16_at_rank_8() -> None:
    encoder = load_encoder("clip-vit-b-16", pretrained=False)
    add_lora(encoder.vision, 8)
    assert count_parameters(encoder).trainable == 12 * 8 * (4 * 2 * 768 + 2 * (768 + 3072)) == 1_327_104


@TOWERS
def test_a_step_moves_what_was_added_and_nothing_else(name: str) -> None:
    encoder = adapted(name, moved=False).train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    found = gradients(encoder)
    optimizer = torch.optim.SGD(trainable_parameters(encoder).values(), lr=1e-3)
    optimizer.step()
    for key, value in encoder.state_dict().items():
        # while B is zero, A has no gradient
        assert torch.equal(value, before[key]) == (".lora_B." not in key), key
    assert all((gradient is None) == (".lora_" not in key) for key, gradient in found.items())


@TOWERS
def test_once_b_has_moved_every_matrix_gets_a_gradient(name: str) -> None:
    for key, gradient in gradients(adapted(name)).items():
        if ".lora_" in key:
            assert gradient is not None and gradient.abs().max() > 0, key
        else:
            assert gradient is None, key


@TOWERS
def test_gradient_checkpointing_gives_equal_gradients(name: str) -> None:
    plain, recomputed = adapted(name).train(), adapted(name).train()
    recomputed.vision.checkpoint_blocks()
    expected = gradients(plain)
    for key, gradient in gradients(recomputed).items():
        torch.testing.assert_close(gradient, expected[key], rtol=1e-9, atol=1e-12, msg=key)


def test_a_second_time_replaces_the_first() -> None:
    encoder, plain = adapted("tiny"), make("tiny")
    add_lora(encoder.vision, RANK)
    assert encoder.state_dict().keys() == adapted("tiny").state_dict().keys()
    torch.testing.assert_close(encoder.frames(clips(plain)), plain.frames(clips(plain)), rtol=0, atol=1e-12)


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = make("tiny")
    with pytest.raises(ValueError, match="rank=0 must be at least 1"):
        add_lora(encoder.vision, 0)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(EncoderError, match=r"needs the library peft.*pip install 'openfsar\[lora\]'"):
        add_lora(encoder.vision, RANK)
