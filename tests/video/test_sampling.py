"""Samplers give frame numbers that exist, in order, spread as their papers say."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openfsar.video.sampling import (
    clip_fsar_strided,
    clip_fsar_uniform,
    dense_windows,
    segments,
    strided,
    trx_linspace,
)

LENGTHS, FRAMES, SEEDS = st.integers(1, 400), st.integers(1, 32), st.one_of(st.none(), st.integers(0, 2**31))
SAMPLERS = {
    "segments": segments,
    "clip_fsar_uniform": clip_fsar_uniform,
    "clip_fsar_strided": lambda *a, **k: clip_fsar_strided(*a, fps=25.0, **k),
    "trx_linspace": trx_linspace,
}


def _generator(seed):
    return None if seed is None else torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", SAMPLERS)
@settings(deadline=None)
@given(length=LENGTHS, frames=FRAMES, seed=SEEDS)
def test_every_sampler_gives_existing_frames_in_order(name, length, frames, seed):
    chosen = SAMPLERS[name](length, frames, _generator(seed))
    assert len(chosen) == frames and chosen == sorted(chosen)
    assert 0 <= chosen[0] and chosen[-1] < length
    assert chosen == SAMPLERS[name](length, frames, _generator(seed))  # the generator alone decides


@settings(deadline=None)
@given(LENGTHS, FRAMES)
def test_segment_centres_are_symmetric_and_one_to_a_segment(length, frames):
    chosen = segments(length, frames)
    if length >= frames:
        for i, number in enumerate(
            chosen
        ):  # segment i spans i * length / frames .. (i + 1) * length / frames
            assert i * length <= (number + 1) * frames and number * frames < (i + 1) * length
    assert segments(80, 8) == [5, 15, 25, 35, 45, 55, 65, 75]
    assert segments(8, 8) == list(range(8)) and segments(1, 8) == [0] * 8


def test_random_segments_reach_every_frame_and_only_their_own_segment():
    generator = torch.Generator().manual_seed(0)
    draws = torch.tensor([segments(19, 4, generator) for _ in range(600)])
    for i, column in enumerate(draws.T):
        assert column.unique().tolist() == list(range(i * 19 // 4, (i + 1) * 19 // 4))


def test_clip_fsar_uniform_never_sees_the_remainder():
    generator = torch.Generator().manual_seed(0)
    draws = torch.tensor([clip_fsar_uniform(30, 8, generator) for _ in range(400)])  # floor(30 / 8) = 3
    for i, column in enumerate(draws.T):
        assert column.unique().tolist() == [3 * i, 3 * i + 1, 3 * i + 2]
    assert clip_fsar_uniform(30, 8) == [1, 4, 7, 10, 13, 16, 19, 22]


def test_clip_fsar_strided_follows_the_recipe_for_a_ten_second_clip():
    # 8 * 35 * 25 / 12 = 583.3 frames do not fit into 251: the stretch is 8 * 31 = 248, the room 4 frames.
    expected = [int(2 + i * (248 - 35) / 7) for i in range(8)]
    assert clip_fsar_strided(251, 8, fps=25.0) == expected
    # 60 s at 25 fps: the stretch fits and lies in the middle.
    stretch = 8 * 35 * 25 / 12
    start = (1500 - stretch + 1) / 2
    assert clip_fsar_strided(1500, 8, fps=25.0) == [int(start + i * (stretch - 35) / 7) for i in range(8)]


def test_trx_leaves_out_the_ends_and_jitters_by_at_most_five():
    assert trx_linspace(100, 8) == [int(1 + i * 97 / 7) for i in range(8)]
    assert trx_linspace(8, 8) == list(range(8))
    generator = torch.Generator().manual_seed(0)
    draws = torch.tensor([trx_linspace(100, 8, generator) for _ in range(400)])
    assert draws[:, 0].unique().tolist() == [0, 1, 2, 3, 4, 5]
    assert draws[:, -1].unique().tolist() == [94, 95, 96, 97, 98, 99]


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 16), st.integers(1, 4), st.one_of(st.none(), st.integers(1, 20)))
def test_dense_windows_cover_the_video_at_a_steady_stride(length, frames, stride, hop):
    windows = dense_windows(length, frames, stride=stride, hop=hop)
    span = (frames - 1) * stride + 1
    assert all(len(window) == frames for window in windows)
    if length >= span:
        assert windows[0][0] == 0 and windows[-1][-1] == length - 1
        assert all(b - a == stride for window in windows for a, b in zip(window, window[1:], strict=False))
        starts = [window[0] for window in windows]
        steps = [b - a for a, b in zip(starts, starts[1:], strict=False)]
        assert all(step == (hop or frames * stride) for step in steps[:-1]) and all(
            step > 0 for step in steps
        )
    else:
        assert len(windows) == 1


def test_dense_windows_of_a_short_example():
    assert dense_windows(10, 4) == [[0, 1, 2, 3], [4, 5, 6, 7], [6, 7, 8, 9]]
    assert dense_windows(9, 3, stride=2, hop=2) == [[0, 2, 4], [2, 4, 6], [4, 6, 8]]


def test_short_videos_follow_the_named_policy():
    assert segments(3, 8, short="repeat") == [0, 0, 0, 1, 1, 1, 2, 2]
    assert segments(3, 8, short="loop") == [0, 1, 2, 0, 1, 2, 0, 1]
    with pytest.raises(ValueError, match="8 frames are needed, the video has length=3"):
        segments(3, 8, short="error")
    with pytest.raises((ValueError, TypeError)):  # the latter from the type checks, where they are on
        segments(3, 8, short="wrap")


def test_nonsense_counts_are_refused():
    for length, frames in ((0, 8), (8, 0)):
        with pytest.raises(ValueError, match="must be at least 1, got 0"):
            segments(length, frames)
    with pytest.raises(ValueError, match="hop must be at least 1, got 0"):
        dense_windows(8, 2, hop=0)


def test_strided_frames_are_as_far_apart_as_asked_or_as_the_video_allows():
    assert strided(100, 4, stride=10) == [35, 45, 55, 65]
    assert strided(100, 4, stride=10, at=0.0) == [0, 10, 20, 30]
    assert strided(100, 4, stride=10, at=1.0) == [69, 79, 89, 99]
    assert strided(10, 4, stride=10) == [0, 3, 6, 9]
    assert strided(2, 4, stride=10) == [0, 0, 1, 1]
    generator = torch.Generator().manual_seed(0)
    draws = torch.tensor([strided(40, 3, generator, stride=10) for _ in range(400)])
    assert (draws.diff(dim=1) == 10).all() and draws[:, 0].unique().tolist() == list(range(20))


@pytest.mark.parametrize("sample", [segments, clip_fsar_uniform])
def test_another_place_stays_inside_the_segments(sample):
    first, last = sample(80, 8, at=0.0), sample(80, 8, at=0.99)
    assert first == [0, 10, 20, 30, 40, 50, 60, 70] and last == [9, 19, 29, 39, 49, 59, 69, 79]
    assert sample(80, 8, at=0.5) == sample(80, 8)
