"""Naming while it happens: files and pipes to the last window, cameras by the newest."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from coloured import LABELS, Alone, Fake, Together, Verdict, coloured_frames, judge, write_coloured

from openfsar.episode import FrameFeatures
from openfsar.timeline import live, timeline, watch
from openfsar.video import VideoError
from openfsar.video.stream import FrameStream, Moment

PARTS = [("none", 2.0), ("red", 3.0), ("none", 2.5)]


@pytest.mark.parametrize("method", [Alone, Together], ids=["alone", "together"])
def test_a_file_is_named_like_its_timeline(method: type[Alone] | type[Together], tmp_path: Path) -> None:
    video = write_coloured(tmp_path / "v.mp4", PARTS)
    at_once = timeline(Fake(method(), judge), video, window=1.0, stride=0.25)
    seen = method()
    answers = list(watch(Fake(seen, judge), video, window=1.0, stride=0.25))
    np.testing.assert_allclose([a.probability for a in answers], at_once.probabilities.max(1), atol=1e-6)
    nearest = [LABELS[i] for i in at_once.probabilities.argmax(1)]
    assert [a.label for a in answers] == [
        name if known else None for name, known in zip(nearest, at_once.known, strict=True)
    ]
    np.testing.assert_allclose([a.seconds for a in answers], at_once.starts + 1 - 0.125 / 2)
    assert all(0 < a.latency_ms < 5000 and a.dropped == 0 for a in answers) and answers[-1].frames == 75
    expected = 8 * len(answers) if method is Together else 60  # 7.5 s, 8 frames a second, each once
    assert sum(seen.encoder.batches) == expected


@pytest.mark.parametrize("kind", ["matroska", "mpegts"])
def test_a_pipe_is_named_while_it_flows(kind: str) -> None:
    """Half of the stream is held back until answers about the first half have come."""
    ends = os.pipe()
    go_on = threading.Event()

    def send() -> None:
        with open(ends[1], "wb", buffering=0) as sink, av.open(sink, "w", format=kind) as container:
            stream = container.add_stream("mpeg4", rate=10)
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p"
            for number, picture in enumerate(coloured_frames([("red", 20.0), ("blue", 20.0)])):
                if number == 200:
                    assert go_on.wait(30)
                array = picture.permute(1, 2, 0).contiguous().numpy()
                container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
            container.mux(stream.encode(None))

    sender = threading.Thread(target=send)
    sender.start()
    names: list[str | None] = []
    with open(ends[0], "rb", buffering=0) as pipe:
        for answer in watch(Fake(Alone(), judge), pipe):
            names.append(answer.label)
            if answer.seconds > 5:
                go_on.set()
    sender.join()
    assert len(names) == 1 + (40 - 2) * 2
    assert names[:30] == ["red"] * 30 and names[-30:] == ["blue"] * 30


class Camera:
    """Red frames in real time, ``fps`` of them a second, until somebody stops it."""

    def __init__(self, frames: int = 10_000, fps: float = 200.0) -> None:
        self.count, self.fps, self.closed = frames, fps, threading.Event()

    @contextmanager
    def open(self, source: str, *, short_side: int | None = None) -> Iterator[FrameStream]:
        try:
            yield FrameStream(source, self._moments(), fps=self.fps, expected=None)
        finally:
            self.closed.set()

    def _moments(self) -> Iterator[Moment]:
        picture = torch.tensor([220, 30, 30], dtype=torch.uint8)[:, None, None].expand(3, 32, 32)
        for number in range(self.count):
            time.sleep(1 / self.fps)
            yield Moment(number / self.fps, 1 / self.fps, lambda: picture)


def test_a_slow_judge_of_a_camera_misses_windows_and_is_never_late(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Camera()
    monkeypatch.setattr(live, "stream_live", camera.open)

    def slow(features: FrameFeatures) -> Verdict:
        time.sleep(0.2)
        return judge(features)

    found = watch(Fake(Alone(), slow), "rtsp://camera", window=0.08, stride=0.01)
    answers = [next(found) for _ in range(12)]
    found.close()
    assert camera.closed.wait(5)
    assert all(answer.label == "red" for answer in answers)
    assert answers[-1].dropped >= 11 * 5  # some twenty windows begin while one is judged
    gaps = np.diff([answer.seconds for answer in answers])
    assert (gaps > 0.1).all()
    assert answers[-1].latency_ms < 1200  # the newest: in line, it would have waited for two seconds


def test_a_camera_that_ends_or_breaks_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    camera = Camera(frames=100, fps=500.0)
    monkeypatch.setattr(live, "stream_live", camera.open)
    answers = list(watch(Fake(Alone(), judge), "rtsp://camera", window=0.04))
    assert answers and camera.closed.is_set()
    monkeypatch.undo()
    with pytest.raises(VideoError, match="check the address"):
        list(watch(Fake(Alone(), judge), "http://127.0.0.1:9/nothing.mjpg"))
    with pytest.raises(VideoError, match="camera must be there"):
        list(watch(Fake(Alone(), judge), "/dev/null"))


def test_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no such file"):
        next(watch(Fake(Alone(), judge), tmp_path / "missing.mp4"))
