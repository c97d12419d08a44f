"""Real files, where they are at hand: frames by number equal a plain decode."""

import random
from pathlib import Path

import pytest
import torch
from footage import decoded_in_order

from openfsar.video import probe, read_frames

ROOT = Path(__file__).parents[3] / "shared" / "data"
FILES = sorted(path for suffix in ("mp4", "avi") for path in ROOT.glob(f"*/*/*.{suffix}"))

pytestmark = pytest.mark.skipif(not FILES, reason="no real footage beside the checkout")


@pytest.mark.parametrize("path", FILES[::5], ids=lambda path: path.stem)
def test_real_frames_by_number_equal_a_plain_decode(path):
    truth, times = decoded_in_order(path)
    assert probe(path).frames == len(truth)
    dice = random.Random(path.name)
    for _ in range(3):
        wanted = dice.choices(range(len(truth)), k=8)
        clip = read_frames(path, wanted)
        assert torch.equal(clip.frames, truth[wanted])
        torch.testing.assert_close(clip.seconds, torch.tensor([times[i] - times[0] for i in wanted]))
