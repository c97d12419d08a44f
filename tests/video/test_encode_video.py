"""What is written comes back: same size, same count, near the same colours, the same bytes every time."""

import av
import pytest
import torch
from footage import number_of, picture

from openfsar.video import VideoError, probe, read_frames, write_video


def _frames(count=20, height=64, width=80):
    return torch.stack([torch.from_numpy(picture(i, height, width)).permute(2, 0, 1) for i in range(count)])


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(("height", "width"), [(64, 80), (51, 80), (64, 67), (33, 35)])
def test_frames_come_back_in_their_size_order_and_colours(height, width, suffix, tmp_path):
    frames = _frames(12, height, width)
    path = tmp_path / f"clip{suffix}"
    write_video(path, frames, crf=10)
    clip = read_frames(path, range(12))
    assert clip.frames.shape == frames.shape
    assert [number_of(frame) for frame in clip.frames] == list(range(12))
    assert (clip.frames.int() - frames.int()).abs().float().mean() < 5
    torch.testing.assert_close(clip.seconds, torch.arange(12) / 16, atol=1e-3, rtol=0)


@pytest.mark.parametrize("colour", [(230, 30, 40), (20, 200, 60), (40, 60, 220), (255, 255, 255), (0, 0, 0)])
def test_plain_colours_survive_within_a_few_levels(colour, tmp_path):
    frames = torch.tensor(colour, dtype=torch.uint8).view(1, 3, 1, 1).expand(4, 3, 64, 64)
    write_video(tmp_path / "flat.mp4", frames)
    got = read_frames(tmp_path / "flat.mp4", [0, 3]).frames
    assert (got.int() - frames[:2].int()).abs().max() <= 3


def test_colours_are_tagged_so_that_players_need_not_guess(tmp_path):
    write_video(tmp_path / "tags.mp4", _frames(2))
    with av.open(str(tmp_path / "tags.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (int(frame.colorspace), int(frame.color_range), frame.format.name) == (1, 1, "yuv420p")


def test_rate_and_keyframe_distance_are_kept(tmp_path):
    path = tmp_path / "rate.mp4"
    write_video(path, _frames(20), fps=29.97, gop=5)
    info = probe(path)
    assert info.fps == pytest.approx(29.97, abs=1e-3) and info.frames == 20
    with av.open(str(path)) as container:
        keys = [n for n, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    assert keys[0] == 0 and max(b - a for a, b in zip(keys, [*keys[1:], 20], strict=True)) <= 5


def test_the_same_frames_give_the_same_bytes(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, _frames())
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_one_frame_is_a_video(tmp_path):
    write_video(tmp_path / "one.mp4", _frames(1))
    assert probe(tmp_path / "one.mp4").frames == 1


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    write_video(path, _frames(3))
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("openfsar.video.encode._to_yuv", fail)
    with pytest.raises(VideoError, match="cannot be written .disk full"):
        write_video(path, _frames(5))
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["clip.mp4"]


def test_bad_requests_are_refused(tmp_path):
    with pytest.raises(VideoError, match="no frame was given"):
        write_video(tmp_path / "a.mp4", _frames(1)[:0])
    for path, codec in (("a.mp4", "h999"), ("a.mp4", "aac"), ("a.xyz", "libx264"), ("none/a.mp4", "libx264")):
        with pytest.raises(VideoError, match="cannot be written"):
            write_video(tmp_path / path, _frames(1), codec=codec)
    assert list(tmp_path.iterdir()) == []
