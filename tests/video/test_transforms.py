"""Transforms keep bytes bytes, agree with Pillow, and draw once per clip."""

import numpy as np
import pytest
import torch
from PIL import Image

from openfsar.video.colour import ColourJitter
from openfsar.video.transforms import (
    eval_transform,
    horizontal_flip,
    place_crop,
    random_crop,
    resize,
    train_transform,
)


def _clip(height, width, frames=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(frames, 3, height // 6 + 2, width // 6 + 2, generator=generator) * 300 - 20
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    noise = torch.rand(frames, 3, height, width, generator=generator) * 60
    return (smooth + noise).clamp(0, 255).to(torch.uint8)


def _pillow(frames, size, method):
    images = [Image.fromarray(frame.permute(1, 2, 0).numpy()).resize(size, method) for frame in frames]
    return torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("height", "width"), [(240, 320), (320, 180), (50, 70), (96, 96)])
def test_resize_is_within_one_grey_level_of_pillow(height, width, interpolation):
    frames = _clip(height, width)
    ours = resize(frames, 64, interpolation=interpolation)
    size = (64 * width // min(height, width), 64 * height // min(height, width))
    theirs = _pillow(frames, size, getattr(Image.Resampling, interpolation.upper()))
    assert ours.dtype == torch.uint8 and ours.shape == theirs.shape
    assert (ours.int() - theirs.int()).abs().max() <= 1


def test_squash_is_bilinear_without_antialias_to_a_square():
    frames = _clip(120, 200)
    ours = resize(frames, 73, mode="squash", interpolation="bilinear", antialias=False)
    # by the definition: centres of pixels aligned, two nearest rows and columns mixed
    y = ((torch.arange(73) + 0.5) * 120 / 73 - 0.5).clamp(0, 119)
    x = ((torch.arange(73) + 0.5) * 200 / 73 - 0.5).clamp(0, 199)
    y0, x0 = y.long(), x.long()
    y1, x1 = (y0 + 1).clamp(max=119), (x0 + 1).clamp(max=199)
    v, u = (y - y0)[:, None], x - x0
    f = frames.double()
    top = f[..., y0, :][..., x0] * (1 - u) + f[..., y0, :][..., x1] * u
    bottom = f[..., y1, :][..., x0] * (1 - u) + f[..., y1, :][..., x1] * u
    torch.testing.assert_close(ours.double(), (top * (1 - v) + bottom * v), atol=0.501, rtol=0)


def test_a_frame_of_the_right_size_is_left_alone():
    frames = _clip(64, 80)
    assert resize(frames, 64) is frames


def test_the_centre_is_the_centre():
    frames = _clip(10, 13)
    assert torch.equal(place_crop(frames, 4, 0.5), frames[:, :, 3:7, 4:8])
    assert torch.equal(place_crop(frames, 10, 0.5), frames[:, :, :, 1:11])
    with pytest.raises(ValueError, match="cannot crop size=11 from frames of 10x13"):
        place_crop(frames, 11, 0.5)


def test_random_crops_reach_every_place_and_are_the_same_for_all_frames():
    place = torch.arange(6 * 7).view(1, 1, 6, 7).expand(4, 3, 6, 7).to(torch.uint8)
    generator = torch.Generator().manual_seed(0)
    seen = set()
    for _ in range(300):
        crop = random_crop(place, 4, generator)
        assert (crop == crop[:1, :1]).all()
        top, left = divmod(int(crop[0, 0, 0, 0]), 7)
        assert torch.equal(crop, place[:, :, top : top + 4, left : left + 4])
        seen.add((top, left))
    assert seen == {(top, left) for top in range(3) for left in range(4)}


def test_evaluation_is_clips_own_preprocessing():
    frames = _clip(120, 160)
    expected = _pillow(frames, (85, 64), Image.Resampling.BICUBIC)[..., 10:74]
    assert (eval_transform(frames, 64).int() - expected.int()).abs().max() <= 1


def test_evaluation_by_squash_is_clip_fsars():
    frames = _clip(240, 320)
    squashed = resize(frames, 256, mode="squash", interpolation="bilinear", antialias=False)
    assert torch.equal(eval_transform(frames, 224, resize="squash"), squashed[..., 16:240, 16:240])


@pytest.mark.parametrize("mode", ["aspect", "squash"])
def test_training_is_decided_by_its_generator_alone(mode):
    frames = _clip(60, 90)
    jitter = ColourJitter()

    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return train_transform(frames, 32, generator=generator, resize=mode, flip=True, jitter=jitter)

    torch.manual_seed(1)
    first = draw(5)
    torch.manual_seed(2)
    assert first.shape == (3, 3, 32, 32) and torch.equal(first, draw(5))
    assert not torch.equal(first, draw(6))


def test_a_training_clip_of_equal_frames_stays_so():
    frames = _clip(60, 90, frames=1).expand(5, -1, -1, -1)
    for seed in range(10):
        clip = train_transform(
            frames, 32, generator=torch.Generator().manual_seed(seed), flip=True, jitter=ColourJitter()
        )
        assert (clip == clip[:1]).all()


def test_half_of_the_clips_are_mirrored_when_asked_and_none_otherwise():
    ramp = torch.arange(64, dtype=torch.uint8).expand(2, 3, 64, 64)
    for flip in (True, False):
        generator = torch.Generator().manual_seed(0)
        clips = [train_transform(ramp, 56, generator=generator, flip=flip) for _ in range(200)]
        mirrored = sum(int(clip[0, 0, 0, 0] > clip[0, 0, 0, -1]) for clip in clips)
        assert 70 < mirrored < 130 if flip else mirrored == 0
    assert torch.equal(horizontal_flip(ramp), ramp.flip(3))


def test_resizing_bytes_equals_resizing_floats_where_nothing_saturates():
    frames = _clip(50, 60) // 3 + 80
    as_float = torch.nn.functional.interpolate(frames.float(), (32, 38), mode="bicubic", antialias=True)
    assert (resize(frames, 32).float() - as_float).abs().max() < 1.5
