"""A video becomes a timeline: every frame encoded once, and the same scores as windows on their own."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from coloured import Alone, Fake, Together, Verdict, judge, write_coloured
from torch import nn

from openfsar.encoders.tiny import tiny_encoder
from openfsar.episode import FrameFeatures
from openfsar.methods.zoo import build
from openfsar.timeline import Rules, timeline
from openfsar.timeline.judging import judge_windows
from openfsar.timeline.windows import Windows
from openfsar.video import VideoError, read_frames
from openfsar.video.transforms import eval_transform

PARTS = [("none", 3.0), ("red", 4.0), ("none", 3.0), ("blue", 2.5), ("green", 3.5), ("none", 2.0)]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coloured(tmp_path_factory.mktemp("long") / "day.mp4", PARTS)


def test_frames_are_encoded_once_where_the_method_sees_them_alone(video: Path) -> None:
    alone, together = Alone(), Together()
    shared = timeline(Fake(alone, judge), video, stride=0.25, batch=3)
    whole = timeline(Fake(together, judge), video, stride=0.25, batch=3)
    grid = 18 * 4  # 18 seconds, 4 frames a second
    assert sum(alone.encoder.batches) == grid and max(alone.encoder.batches) == 3 * 8
    assert len(shared.starts) == grid - 7
    assert sum(together.encoder.batches) == 8 * len(shared.starts) and max(together.encoder.batches) == 3 * 8
    np.testing.assert_allclose(shared.probabilities, whole.probabilities, atol=1e-6)
    np.testing.assert_array_equal(shared.known, whole.known)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("otam", {}),
        ("clip-fsar", {}),
        ("hyrsm", {"heads": 4}),
        ("actionclip", {"visual": "conv"}),
        ("actionclip", {"tower": "shift", "visual": "mean"}),
        ("ma-fsar", {}),
        ("strm", {"key_width": 16}),
    ],
    ids=lambda x: x if isinstance(x, str) else " ".join(map(str, x.values())),
)
def test_windows_score_as_clips_of_their_own(name: str, options: dict, video: Path) -> None:
    method = build(name, tiny_encoder(), **options)
    seen: list[FrameFeatures] = []
    weights = torch.randn(method.encode(torch.zeros(1, 8, 3, 32, 32, dtype=torch.uint8)).frames.shape[-1], 3)

    def by_chance(features: FrameFeatures) -> Verdict:
        seen.append(features)
        return Verdict((features.frames.mean(1) @ weights).softmax(1).numpy(), np.ones(len(features), bool))

    found = timeline(Fake(method, by_chance), video, window=1.6, stride=0.6, batch=5)
    assert found.stride == pytest.approx(0.6)
    for start, row in zip(found.starts, found.probabilities, strict=True):
        first = round(start * 10)  # frames of 0.1 s, two to a step of the grid
        frames = read_frames(video, range(first + 1, first + 17, 2), short_side=256).frames
        with torch.no_grad():
            alone = by_chance(method.encode(eval_transform(frames, 32)[None]))
        np.testing.assert_allclose(row, alone.probabilities[0], atol=1e-5)


def test_segments_are_found_where_the_colours_are(video: Path) -> None:
    done: list[float] = []
    found = timeline(Fake(Alone(), judge), video, window=1.0, stride=0.125, progress=done.append)
    assert found.seconds == pytest.approx(18.0) and found.fps == 10 and found.video == str(video)
    segments = found.segments()
    assert [segment.label for segment in segments] == ["red", "blue", "green"]
    times = np.array([(segment.start, segment.end) for segment in segments])
    np.testing.assert_allclose(times, [(3, 7), (10, 12.5), (12.5, 16)], atol=0.35)
    assert all(0.9 < segment.confidence <= 1 for segment in segments)
    assert done == sorted(done) and done[-1] == pytest.approx(1.0)
    assert found.segments(Rules(shortest=3.0)) == [segments[0], segments[2]]


def test_every_moment_belongs_to_the_window_with_the_nearest_centre(video: Path) -> None:
    found = timeline(Fake(Alone(), judge), video, stride=0.75)
    edges, centres = found.edges, found.starts + found.window / 2
    assert edges[0] == 0 and edges[-1] == found.seconds and (np.diff(edges) > 0).all()
    for time in np.linspace(0.001, 17.999, 500):
        place = np.searchsorted(edges, time) - 1
        assert abs(centres[place] - time) == pytest.approx(abs(centres - time).min(), abs=1e-9)
    assert (
        (found.scores > 0).sum(1) == found.known
    ).all()  # one class at a time, and none where none is known


@pytest.mark.parametrize("seconds", [0.1, 0.7, 2.0])
def test_a_video_shorter_than_a_window_is_one_window(seconds: float, tmp_path: Path) -> None:
    short = write_coloured(tmp_path / "short.mp4", [("green", seconds)])
    found = timeline(Fake(Alone(), judge), short)
    assert len(found.starts) == 1 and found.known.all()
    (segment,) = found.segments(Rules(shortest=0.0))
    assert (segment.start, segment.end, segment.label) == (0, found.seconds, "green")


def test_memory_does_not_grow_with_the_video() -> None:
    """Pictures alive at once, of two videos one of which is four times as long."""

    def most(method: nn.Module, pictures: int) -> int:
        alive, peak = 0, 0

        class Picture(torch.Tensor):
            pass

        def gone() -> None:
            nonlocal alive
            alive -= 1

        def come():
            nonlocal alive, peak
            for _ in range(pictures):
                picture = torch.zeros(3, 16, 16, dtype=torch.uint8).as_subclass(Picture)
                weakref.finalize(picture, gone)
                alive += 1
                peak = max(peak, alive)
                yield picture
                del picture

        for _ in judge_windows(method, judge, come(), Windows(2.0, 8, 2), batch=4):
            pass
        gc.collect()
        return peak

    for method in (Alone(), Together()):
        assert most(method, 200) == most(method, 800) <= 2 * 4 * 8 + 8  # two batches and a window


def test_unreadable_videos_and_wrong_labels_are_refused(video: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"notes\.mp4"):
        timeline(Fake(Alone(), judge), tmp_path / "notes.mp4")
    with pytest.raises(ValueError, match="2 classes for 3"):
        timeline(Fake(Alone(), judge, ["red", "blue"]), video)
