"""STRM's enrichment against loops over frames, patches, windows and channels."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.temporal.enrichment import FrameEnrichment, PatchEnrichment

WIDTH = 6


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def ready(module: nn.Module) -> nn.Module:
    """In float64 and eval mode, with a gain and biases that do something."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in module.double().parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return module.eval()


def placed(rows: Tensor) -> Tensor:
    """With a tenth of the sinusoid of its number added to each row."""
    found = rows.clone()
    for i in range(len(rows)):
        for c in range(0, WIDTH, 2):
            angle = i / 10000 ** (c / WIDTH)
            found[i, c] += 0.1 * math.sin(angle)
            found[i, c + 1] += 0.1 * math.cos(angle)
    return found


def window(i: int, bins: int, length: int) -> range:
    return range(i * length // bins, -(-(i + 1) * length // bins))


def patches_by_hand(image: Tensor, grid: int) -> Tensor:
    """Of one map (D, H, W)."""
    height, width = image.shape[1:]
    rows, columns = min(grid, height), min(grid, width)
    found = []
    for i in range(rows):
        for j in range(columns):
            members = [image[:, y, x] for y in window(i, rows, height) for x in window(j, columns, width)]
            found.append(torch.stack(members).amax(0))
    return torch.stack(found)


def mlp_by_hand(layers: nn.Sequential, row: Tensor) -> Tensor:
    linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
    for i, layer in enumerate(linear):
        row = layer.weight @ row + layer.bias
        row = row.clamp_min(0) if i + 1 < len(linear) else row
    return row


def patch_enrichment_by_hand(module: PatchEnrichment, image: Tensor) -> Tensor:
    patches = placed(patches_by_hand(image, module.grid))
    q, k, v = (patches @ layer.weight.T for layer in (module.queries, module.keys, module.values))
    found = []
    for i, patch in enumerate(patches):
        weights = torch.stack([q[i] @ other for other in k]).softmax(0)
        mixed = patch + module.gain * sum(w * other for w, other in zip(weights, v, strict=True))
        found.append(mixed + mlp_by_hand(module.mlp, mixed))
    return torch.stack(found).mean(0)


@torch.no_grad()
@pytest.mark.parametrize("size", [(7, 7), (4, 4), (5, 9), (2, 6), (1, 1)], ids=str)
def test_patches_of_a_frame_attend_to_each_other(size: tuple[int, int]) -> None:
    module, maps = ready(PatchEnrichment(WIDTH)), values(2, 3, WIDTH, *size)
    found = module(maps)
    assert found.shape == (2, 3, WIDTH)
    for i in range(2):
        for t in range(3):
            close(found[i, t], patch_enrichment_by_hand(module, maps[i, t]))


@torch.no_grad()
def test_maps_are_pooled_to_their_maxima_where_they_are_finer() -> None:
    maps = values(1, WIDTH, 7, 3)
    module = PatchEnrichment(WIDTH, grid=4)
    assert module.patches(maps).shape == (1, 12, WIDTH)  # three columns stay three
    close(module.patches(maps)[0], patches_by_hand(maps[0], 4))
    close(PatchEnrichment(WIDTH, grid=1).patches(maps)[:, 0], maps.amax((-2, -1)))
    close(PatchEnrichment(WIDTH, grid=9).patches(maps), maps.flatten(-2).mT)


@torch.no_grad()
def test_frames_do_not_see_each_other_s_patches() -> None:
    module, maps = ready(PatchEnrichment(WIDTH)), values(5, WIDTH, 6, 6)
    order = [3, 0, 4, 1, 2]
    close(module(maps[order]), module(maps)[order])


@torch.no_grad()
def test_attention_starts_at_nothing() -> None:
    module, maps = PatchEnrichment(WIDTH).double().eval(), values(2, WIDTH, 4, 4)
    before = module(maps)
    module.keys.weight += 1.0
    module.values.weight += 1.0
    close(module(maps), before)
    module.gain.fill_(0.1)
    assert (module(maps) - before).abs().max() > 1e-3


def resampled_by_hand(video: Tensor, frames: int) -> Tensor:
    return torch.stack(
        [torch.stack([video[t] for t in window(i, frames, len(video))]).mean(0) for i in range(frames)]
    )


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 3, 4, 5, 8, 13])
def test_frames_are_mixed_along_time_and_then_along_channels(frames: int) -> None:
    module, videos = ready(FrameEnrichment(WIDTH, frames=4)), values(2, 3, frames, WIDTH)
    found = module(videos)
    assert found.shape == (2, 3, 4, WIDTH)
    for i in range(2):
        for j in range(3):
            start = placed(resampled_by_hand(videos[i, j], 4))
            mixed = torch.stack(
                [start[:, c] + mlp_by_hand(module.along_time, start[:, c]) for c in range(WIDTH)], 1
            )
            rows = [frame + mlp_by_hand(module.along_channels, frame) for frame in mixed]
            close(found[i, j], torch.stack(rows))


@torch.no_grad()
def test_every_frame_of_a_longer_video_counts_and_a_shorter_one_is_held() -> None:
    module = FrameEnrichment(WIDTH, frames=8)
    short, usual, long = (values(1, n, WIDTH) for n in (4, 8, 32))
    assert module.resampled(usual) is usual
    close(module.resampled(short), short.repeat_interleave(2, 1))
    close(module.resampled(values(1, 1, WIDTH)), values(1, 1, WIDTH).expand(1, 8, -1))
    close(module.resampled(long), long.unflatten(1, (8, 4)).mean(2))


@torch.no_grad()
def test_the_order_of_frames_matters() -> None:
    module, videos = ready(FrameEnrichment(WIDTH, frames=5)), values(1, 5, WIDTH)
    assert (module(videos.flip(1)).flip(1) - module(videos)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", [PatchEnrichment, FrameEnrichment])
def test_every_parameter_gets_a_gradient(kind: type[nn.Module]) -> None:
    module = ready(kind(WIDTH)).train()
    inputs = values(2, 3, WIDTH, 5, 5) if kind is PatchEnrichment else values(2, 8, WIDTH)
    found = module(inputs)
    (found * torch.randn_like(found)).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


@torch.no_grad()
def test_lower_precision_is_near() -> None:
    patches, frames = ready(PatchEnrichment(WIDTH)), ready(FrameEnrichment(WIDTH, frames=4))
    maps = values(2, 5, WIDTH, 7, 7)
    exact = frames(patches(maps))
    found = frames.bfloat16()(patches.bfloat16()(maps.bfloat16()))
    torch.testing.assert_close(found.double(), exact, rtol=0.05, atol=0.05 * exact.abs().max().item())
    assert F.cosine_similarity(found.double(), exact, dim=-1).min() > 0.999


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (PatchEnrichment, {"grid": 0}, "patches=0 must be at least 1"),
        (FrameEnrichment, {"frames": 0}, "frames=0 must be at least 1"),
    ],
)
def test_impossible_sizes_are_refused(kind: type[nn.Module], options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(WIDTH, **options)
