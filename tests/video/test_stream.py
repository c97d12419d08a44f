"""A video gone through once: the pictures at evenly spaced times, whatever the source does to its clock."""

import io
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from footage import Footage, number_of, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from openfsar.video import VideoError, read_frames
from openfsar.video.sampling import segments
from openfsar.video.stream import FrameStream, Moment, is_address, is_camera, stream_frames, stream_live


def moments(seconds: list[float | None], lasts: float = 1.0) -> Iterator[Moment]:
    """Frames that show their own number."""
    for number, second in enumerate(seconds):
        yield Moment(second, lasts, lambda n=number: torch.full((3, 1, 1), n, dtype=torch.uint8))


def grid(seconds: list[float | None], step: float, lasts: float = 1.0) -> list[int]:
    stream = FrameStream("it", moments(seconds, lasts), fps=1 / lasts, expected=None)
    return [int(shown.picture[0, 0, 0]) for shown in stream.every(step)]


@settings(deadline=None)
@given(
    gaps=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    start=st.integers(-5, 5),
    step=st.sampled_from([0.3, 0.7, 1.0, 2.5, 40.0]),
)
def test_a_time_shows_the_last_frame_that_began_before_it(gaps: list[int], start: int, step: float) -> None:
    times = np.cumsum([0, *gaps]) / 4
    end = times[-1] + 0.25
    centres = [t for k in range(1000) if (t := (k + 0.5) * step) < end] or [0.5 * step]
    expected = [max(i for i, time in enumerate(times) if time <= t + 1e-6) for t in centres]
    assert grid([float(t) + start for t in times], step, lasts=0.25) == expected


def test_a_clock_that_jumps_or_is_missing_goes_on_at_the_usual_rate() -> None:
    assert grid([0.0, 1.0, 5000.0, 5001.0, 2.0, 3.0], 1.0) == [0, 1, 2, 3, 4, 5]
    assert grid([None, None, None], 1.0) == [0, 1, 2]
    assert grid([0.0, 3.0, 2.5, 4.0], 1.0) == [0, 0, 0, 2, 3]  # shown too late to be seen


@pytest.mark.parametrize(
    "footage",
    [
        Footage(),
        Footage(skip=5),
        Footage(suffix=".webm", codec="libvpx", b_frames=0),
        Footage(ticks=[n * n * 7 + 40 * n for n in range(20)], count=20),
        Footage(turn=(0, 1, -1, 0), size=(48, 96)),
        Footage(suffix=".mkv", codec="mpeg4"),
    ],
    ids=["mp4", "trimmed", "vp8", "uneven", "turned", "mkv"],
)
def test_a_file_shows_the_frames_that_reading_gives(footage: Footage, tmp_path: Path) -> None:
    path = footage.write(tmp_path / "video")
    clip = read_frames(path, lambda length: range(length))
    with stream_frames(path, threads=2) as stream:
        shown = list(stream.every(0.1))
    assert stream.frames == len(clip)
    starts = clip.seconds.tolist()
    assert stream.seconds == pytest.approx(len(shown) * 0.1, abs=0.051) and stream.seconds > starts[-1]
    assert stream.expected == pytest.approx(stream.seconds, abs=0.7)  # good enough for progress
    for sample in shown:
        frame = max(i for i, start in enumerate(starts) if start <= sample.seconds + 1e-6)
        assert torch.equal(sample.picture, clip.frames[frame])


def test_windows_of_the_grid_are_the_segments_of_a_clip(tmp_path: Path) -> None:
    path = Footage(count=50).write(tmp_path / "video")  # two seconds
    with stream_frames(path) as stream:
        numbers = [number_of(shown.picture) for shown in stream.every(2.0 / 8)]
    assert numbers == segments(50, 8)


def test_only_what_is_asked_for_becomes_a_picture() -> None:
    painted: list[int] = []

    def counted() -> Iterator[Moment]:
        for moment in moments([n / 10 for n in range(100)], 0.1):
            yield Moment(moment.seconds, moment.lasts, lambda m=moment: painted.append(1) or m.paint())

    stream = FrameStream("it", counted(), fps=10.0, expected=None)
    assert len(list(stream.every(1.0))) == len(painted) == 10


def test_a_folder_of_images_is_a_video(tmp_path: Path) -> None:
    for number in range(12):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.png")
    with stream_frames(tmp_path, short_side=32) as stream:
        shown = list(stream.every(0.08))
    assert [number_of(sample.picture) for sample in shown] == [1, 3, 5, 7, 9, 11]
    assert stream.fps == 25 and stream.expected == pytest.approx(0.48) == stream.seconds
    assert shown[0].picture.shape == (3, 32, 32)


def as_bytes(kind: str, frames: int) -> bytes:
    target = io.BytesIO()
    with av.open(target, "w", format=kind) as container:
        stream = container.add_stream("libx264", rate=25, options={"threads": "1", "preset": "veryfast"})
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode(None))
    return target.getvalue()


@pytest.mark.parametrize("kind", ["matroska", "mpegts"])
def test_a_pipe_is_read_like_a_file(kind: str) -> None:
    class Pipe(io.RawIOBase):
        """Bytes that come in small pieces, and only once."""

        rest = as_bytes(kind, 40)

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            piece, self.rest = self.rest[:999], self.rest[999:]
            return piece

    with stream_live(Pipe()) as stream:
        assert [number_of(shown.picture) for shown in stream.every(0.16)] == list(range(2, 40, 4))


def test_sources_that_give_nothing_are_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="the pipe: cannot be decoded.*ffmpeg -i"):
        with stream_live(io.BytesIO(b"no video at all")):
            pass
    with pytest.raises(VideoError, match="camera must be there"):
        with stream_live("/dev/video99"):
            pass
    with pytest.raises(VideoError, match="check the address"):
        with stream_live("rtsp://127.0.0.1:9/nothing"):
            pass
    with pytest.raises(VideoError, match="shows no frame"):
        list(FrameStream("empty.mp4", moments([]), fps=25.0, expected=None).every(1.0))
    assert is_address("rtsp://a/b") and not is_address("a.mp4") and not is_address(io.BytesIO())
    assert is_camera("/dev/null") and not is_camera(tmp_path) and not is_camera("rtsp://a/b")


def test_a_playlist_from_the_network_or_a_pipe_cannot_name_local_files(tmp_path: Path) -> None:
    video = Footage(count=5).write(tmp_path / "secret")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:9,\nfile://{video}\n#EXT-X-ENDLIST\n".encode()
    with pytest.raises(VideoError):
        with stream_live(io.BytesIO(playlist)) as stream:
            list(stream.every(0.1))
