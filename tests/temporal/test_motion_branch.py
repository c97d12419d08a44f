"""MoLo's branches against loops over frames and pixels."""

import pytest
import torch
from torch import Tensor, nn

from openfsar.temporal.motion import (
    ClassTokenBlock,
    MotionDecoder,
    MotionMaps,
    held,
    pixel_differences,
)

WIDTH = 16


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def ready(module: nn.Module) -> nn.Module:
    """In float64 and eval mode; norms, statistics and biases do something."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        for name, buffer in module.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer += 0.2 * torch.rand(buffer.shape, generator=generator, dtype=torch.float64)
    return module.eval()


def convolved(image: Tensor, layer: nn.Conv2d | nn.Conv3d) -> Tensor:
    """One image (C, *sides), 3 wide and zero outside, or 1 wide; one output position at a time."""
    reach = [size // 2 for size in layer.kernel_size]
    found = image.new_zeros(layer.out_channels, *image.shape[1:])
    for place in torch.cartesian_prod(*map(torch.arange, image.shape[1:])).tolist():
        total = 0 if layer.bias is None else layer.bias.clone()
        for tap in torch.cartesian_prod(*map(torch.arange, layer.kernel_size)).tolist():
            read = [p + k - r for p, k, r in zip(place, tap, reach, strict=True)]
            if all(0 <= i < n for i, n in zip(read, image.shape[1:], strict=True)):
                total = total + layer.weight[(..., *tap)] @ image[(slice(None), *read)]
        found[(slice(None), *place)] = total
    return found


def motion_by_hand(module: MotionMaps, video: Tensor) -> list[Tensor]:
    """Of one video (T, D, H, W)."""
    narrow = convolved(video.transpose(0, 1), module.squeeze).transpose(0, 1)
    return [convolved(narrow[t + 1], module.onward) - narrow[t] for t in range(len(video) - 1)]


@torch.no_grad()
@pytest.mark.parametrize(("frames", "size"), [(4, (3, 2)), (2, (1, 1)), (1, (2, 3))], ids=str)
def test_motion_is_what_the_next_frame_adds(frames: int, size: tuple[int, int]) -> None:
    module, maps = ready(MotionMaps(WIDTH)), values(2, frames, WIDTH, *size)
    motion = module(maps)
    vectors = module.vectors(motion)
    assert motion.shape == (2, max(1, frames - 1), WIDTH // 8, *size)
    for b in range(2):
        video = maps[b] if frames > 1 else maps[b].repeat(2, 1, 1, 1)
        for t, expected in enumerate(motion_by_hand(module, video)):
            close(motion[b, t], expected)
            close(vectors[b, t], convolved(expected, module.widen).clamp_min(0).mean((-2, -1)))


@torch.no_grad()
def test_motion_knows_which_way_time_runs_and_no_other_video() -> None:
    module, maps = ready(MotionMaps(WIDTH)), values(3, 4, WIDTH, 2, 2)
    forth = module(maps)
    assert (module(maps.flip(1)).flip(1) - forth).abs().max() > 0.1
    close(module(maps[1:2]), forth[1:2])


@torch.no_grad()
def test_a_class_token_stands_first_and_sees_all_frames() -> None:
    module, frames = ready(ClassTokenBlock(WIDTH, heads=4, divisor=5.0)), values(2, 3, 4, WIDTH)
    tokens = module(frames)
    assert tokens.shape == (2, 3, 5, WIDTH) and tokens.min() == 0
    for i in range(2):
        for j in range(3):
            rows = torch.stack([module.token, *frames[i, j]])
            close(tokens[i, j], module.block(module.positions(rows)).clamp_min(0))
    changed = frames.clone()
    changed[..., -1, :] *= -1
    assert (module(changed) - tokens)[..., 0, :].abs().amax(-1).min() > 1e-3


@torch.no_grad()
def test_without_positions_the_order_of_frames_leaves_the_class_token_alone() -> None:
    module = ready(ClassTokenBlock(WIDTH, heads=4, position_weight=0.0))
    frames, order = values(2, 4, WIDTH), [2, 0, 3, 1]
    close(module(frames[:, order]), module(frames)[:, [0, 3, 1, 4, 2]])


def enlarged(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear between the centres of pixels, the rim held; one pixel at a time."""
    found = image.new_zeros(len(image), *size)
    for y in range(size[0]):
        for x in range(size[1]):
            corners = []
            for i, length, to in ((y, image.shape[1], size[0]), (x, image.shape[2], size[1])):
                at = max(0.0, (i + 0.5) * length / to - 0.5)
                low = int(at)
                corners.append([(low, 1 - (at - low)), (min(low + 1, length - 1), at - low)])
            found[:, y, x] = sum(a * b * image[:, i, j] for i, a in corners[0] for j, b in corners[1])
    return found


@torch.no_grad()
@pytest.mark.parametrize(
    ("grid", "size", "steps"),
    [((1, 1), (9, 10), [(2, 2), (8, 8)]), ((2, 3), (7, 6), [(4, 6), (7, 6)])],
    ids=["coarse", "fine"],
)
def test_the_decoder_enlarges_and_convolves_up_to_the_image(
    grid: tuple[int, int], size: tuple[int, int], steps: list[tuple[int, int]]
) -> None:
    decoder, motion = ready(MotionDecoder(2)), values(1, 2, 2, *grid)
    found = decoder(motion, size)
    assert found.shape == (1, 2, 3, *size)
    for t in range(2):
        image = motion[0, t]
        for larger, (convolution, norm, _) in zip([*steps, size], decoder.steps, strict=True):
            image = convolved(enlarged(image, larger), convolution)
            mean, var, weight, bias = (
                x[:, None, None] for x in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
            )
            image = ((image - mean) / (var + norm.eps).sqrt() * weight + bias).clamp_min(0)
        close(found[0, t], convolved(image, decoder.colours))


@torch.no_grad()
def test_a_resnet_s_maps_grow_by_2_4_and_4() -> None:
    decoder, seen = MotionDecoder(4).eval(), []
    for step in decoder.steps:
        step.register_forward_hook(
            lambda _, inputs, output: seen.append((output.shape[1], *output.shape[2:]))
        )
    assert decoder(torch.randn(1, 1, 4, 7, 7), (224, 224)).shape == (1, 1, 3, 224, 224)
    assert seen == [(128, 14, 14), (32, 56, 56), (16, 224, 224)]


def test_pixels_differ_from_those_before_and_a_single_frame_from_nothing() -> None:
    pixels = values(2, 3, 3, 4, 5)
    found = pixel_differences(pixels)
    assert found.shape == (2, 2, 3, 4, 5)
    for t in range(2):
        close(found[:, t], pixels[:, t + 1] - pixels[:, t])
    assert pixel_differences(pixels[:, :1]).shape == (2, 1, 3, 4, 5)
    assert not pixel_differences(pixels[:, :1]).any()
    assert held(pixels) is pixels and torch.equal(held(pixels[:, :1]), pixels[:, [0, 0]])


def test_every_parameter_gets_a_gradient() -> None:
    maps, decoder = ready(MotionMaps(WIDTH)).train(), ready(MotionDecoder(WIDTH // 8)).train()
    tokens = ready(ClassTokenBlock(WIDTH, heads=4)).train()
    motion = maps(values(2, 3, WIDTH, 2, 2))
    pixels, vectors = decoder(motion, (8, 8)), tokens(maps.vectors(motion))
    (pixels * values(*pixels.shape)).sum().backward(retain_graph=True)
    (vectors * values(*vectors.shape)).sum().backward()
    for module in (maps, decoder, tokens):
        for name, parameter in module.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_published_sizes() -> None:
    maps = MotionMaps(64)
    assert maps.squeeze.weight.shape == (8, 64, 3, 3, 3) and maps.widen.weight.shape == (64, 8, 1, 1)
    block = ClassTokenBlock(512)
    assert sum(p.numel() for p in block.parameters()) == 3_149_824 + 512  # CLIP-FSAR's block, and a token


@pytest.mark.parametrize(
    ("options", "message"),
    [({"heads": 3}, "heads=3 must divide"), ({"divisor": 0.0}, "divisor=0.0 must be a positive")],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ClassTokenBlock(WIDTH, **options)
