"""Colour operations agree with Pillow and colorsys; the jitter is one draw per clip."""

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance

from openfsar.video.colour import ColourJitter, brightness, colour_jitter, contrast, hue, saturation

FRAMES = torch.randint(0, 256, (3, 3, 20, 24), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
STILL = ColourJitter(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, grey=0.0)


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 1.5])
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (brightness, ImageEnhance.Brightness),
        (contrast, ImageEnhance.Contrast),
        (saturation, ImageEnhance.Color),
    ],
)
def test_enhancement_agrees_with_pillow(ours, theirs, factor):
    images = [theirs(Image.fromarray(frame.permute(1, 2, 0).numpy())).enhance(factor) for frame in FRAMES]
    expected = torch.stack([torch.from_numpy(np.array(image)).permute(2, 0, 1) for image in images])
    got = ours(FRAMES / 255, factor) * 255
    torch.testing.assert_close(got, expected.float(), atol=1.6, rtol=0)  # Pillow rounds twice


@pytest.mark.parametrize("turn", [-0.25, -0.1, 0.0, 0.17, 0.25, 0.5])
def test_hue_agrees_with_colorsys(turn):
    frames = FRAMES[:1].double() / 255
    frames[0, :, 0, :4] = torch.tensor([[0, 1, 0.5, 1], [0, 1, 0.5, 0], [0, 1, 0.5, 0]], dtype=torch.float64)
    pixels = frames[0].flatten(1).T.tolist()
    turned = []
    for pixel in pixels:
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        turned.append(colorsys.hsv_to_rgb((h + turn) % 1, s, v))
    expected = torch.tensor(turned, dtype=torch.float64).T.view_as(frames[0])
    torch.testing.assert_close(hue(frames, turn)[0], expected, atol=1e-12, rtol=0)


def test_a_jitter_of_nothing_changes_nothing():
    assert torch.equal(colour_jitter(FRAMES, STILL, generator=torch.Generator().manual_seed(0)), FRAMES)


def test_grey_takes_all_colour_with_its_probability():
    grey = replace(STILL, grey=0.3)
    generator = torch.Generator().manual_seed(0)
    clips = [colour_jitter(FRAMES, grey, generator=generator) for _ in range(400)]
    colourless = sum(bool((clip == clip[:, :1]).all()) for clip in clips)
    assert 90 < colourless < 150


def test_brightness_is_drawn_from_its_range():
    jitter = replace(STILL, brightness=0.5)
    flat = torch.full((2, 3, 4, 4), 100, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    clips = [colour_jitter(flat, jitter, generator=generator) for _ in range(400)]
    values = torch.stack([clip[0, 0, 0, 0] for clip in clips])
    assert 50 <= values.min() < 55 and 145 < values.max() <= 150
