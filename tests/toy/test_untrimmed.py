"""Untrimmed toy videos: the acts happen where they are said to, and nothing moves in the rests."""

import numpy as np
import pytest
import torch

from openfsar.toy.dataset import FPS
from openfsar.toy.motions import ALPHA, MOTION_CLASSES
from openfsar.toy.untrimmed import untrimmed

ACTIONS = MOTION_CLASSES["test"][:5]


def test_acts_and_rests_fill_the_video() -> None:
    video = untrimmed(ACTIONS, np.random.default_rng(0), rest=(1.0, 2.0))
    assert [act.label for act in video.acts] == list(ACTIONS)
    spans = sorted([*video.rests(), *((act.start, act.end) for act in video.acts)])
    assert spans[0][0] == 0 and spans[-1][1] == video.seconds == len(video) / FPS
    assert all(end == start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))
    assert all(1.9 <= act.end - act.start <= 4 for act in video.acts)
    assert all(0.9 <= end - start <= 2.1 for start, end in video.rests())


def test_the_object_of_an_action_stands_still_before_and_after_it() -> None:
    video = untrimmed(ACTIONS, np.random.default_rng(1))
    begins = 0
    for stage, act in zip(video.stages, video.acts, strict=True):
        first, last = round(act.start * FPS) - begins, round(act.end * FPS) - begins
        tracks = np.stack(stage.tracks)
        assert (
            np.ptp(tracks[:, : first + 1], axis=1).max() == np.ptp(tracks[:, last - 1 :], axis=1).max() == 0
        )
        assert (
            np.ptp(tracks[stage.actor, first:last, :ALPHA], axis=0).max() > 0.1 and stage.action == act.label
        )
        begins += len(stage)


def test_there_is_one_scene_and_the_camera_does_not_jump() -> None:
    video = untrimmed(ACTIONS, np.random.default_rng(2))
    kinds = {(s.scene, s.variant, s.noise, s.gain, s.seed) for s in video.stages}
    camera = np.concatenate([stage.camera for stage in video.stages])
    assert len(kinds) == 1 and len(camera) == len(video)
    assert np.abs(np.diff(camera, axis=0)).max() < 6
    frames = video.frames()
    assert frames.shape == (len(video), 3, 96, 96)
    corners = frames[:, :, :4, :4].float().mean((1, 2, 3))  # seldom hidden: the wall behind everything
    assert corners.std() < 25
    assert torch.equal(torch.cat(list(video.parts())), frames)


def test_the_same_seed_gives_the_same_video_and_another_another() -> None:
    one, same, other = (untrimmed(ACTIONS[:2], np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert one.acts == same.acts != other.acts and torch.equal(one.frames(), same.frames())


def test_there_must_be_an_action_of_the_world() -> None:
    with pytest.raises(ValueError, match="at least one action"):
        untrimmed([], np.random.default_rng(0))
    with pytest.raises(KeyError, match="somersaults"):
        untrimmed(["somersaults"], np.random.default_rng(0))
