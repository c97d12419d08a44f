"""Bad input ends in exactly one VideoError that names the file, the reason and a remedy."""

import contextlib
import os
import pickle
import random
import struct

import av
import numpy as np
import pytest
import torch
from footage import Footage, number_of

from openfsar.video import VideoError, probe, read_frames, source
from openfsar.video.sampling import segments


def _refused(path, reason):
    for verb in (probe, lambda p: read_frames(p, lambda count: segments(count, 8))):
        with pytest.raises(VideoError, match=reason) as caught:
            verb(path)
        error = caught.value
        assert error.source == str(path) and error.reason and error.remedy
        assert str(error) == f"{path}: {error.reason}; {error.remedy}" and "\n" not in str(error)


def test_a_missing_file_is_refused(tmp_path):
    _refused(tmp_path / "nope.mp4", "no such file")
    _refused(tmp_path / "a\0b.mp4", "null")


def test_an_empty_file_is_refused(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    _refused(path, "empty")


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("no pictures here")
    _refused(tmp_path, "without images")


def test_a_device_or_pipe_is_refused_and_not_waited_for(tmp_path):
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)
    _refused(pipe, "not a regular file")


@pytest.mark.parametrize("text", ["hello\n" * 400, "\x1b[2J ansi art", "P3 3 2 255", "<html></html>", "x"])
def test_a_text_file_named_mp4_is_refused(text, tmp_path):
    path = tmp_path / "text.mp4"
    path.write_text(text)
    _refused(path, "cannot be decoded")


def test_a_playlist_does_not_smuggle_in_another_videos_frames(tmp_path):
    Footage(count=3).write(tmp_path / "other")
    for text in (
        "ffconcat version 1.0\nfile other.mp4\n",
        "#EXTM3U\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n",
    ):
        path = tmp_path / "list.mp4"
        path.write_text(text)
        _refused(path, "cannot be decoded")


def test_random_bytes_are_refused(tmp_path):
    path = tmp_path / "random.avi"
    path.write_bytes(random.Random(0).randbytes(200_000))
    _refused(path, "cannot be decoded")


def test_a_name_that_looks_like_a_protocol_is_just_a_name(tmp_path, monkeypatch):
    Footage(count=2).write(tmp_path / "plain").rename(tmp_path / "http:clip.mp4")
    monkeypatch.chdir(tmp_path)
    assert probe("http:clip.mp4").frames == 2


def test_audio_alone_is_refused(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        frame.rate, frame.pts = 16_000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _refused(path, "no video stream .found: audio")


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".mkv", "libx264"), (".avi", "mpeg4")])
def test_a_video_of_zero_frames_is_refused(suffix, codec, tmp_path):
    path = tmp_path / f"zero{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        container.start_encoding()
    _refused(path, "holds no video frame|no video stream|cannot be decoded")


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".avi"])
def test_a_video_of_one_frame_works(suffix, tmp_path):
    codec, pix_fmt = {".mp4": ("libx264", "yuv420p"), ".gif": ("gif", "rgb8"), ".avi": ("mpeg4", "yuv420p")}[
        suffix
    ]
    path = Footage(suffix, codec=codec, pix_fmt=pix_fmt, count=1).write(tmp_path / "one")
    info = probe(path)
    assert info.frames == 1 and info.seconds > 0 and info.fps > 0
    clip = read_frames(path, lambda count: segments(count, 8))
    assert len(clip) == 8 and (clip.frames == clip.frames[:1]).all() and not clip.seconds.any()


def test_a_header_of_20000_pixels_is_refused_before_decoding(tmp_path):
    path = Footage(".gif", codec="gif", pix_fmt="rgb8", count=2).write(tmp_path / "wide")
    data = bytearray(path.read_bytes())
    data[6:8] = struct.pack("<H", 20_000)  # the logical screen's width
    path.write_bytes(data)
    _refused(path, "20000x64 pixels, more than 16384 a side")


def test_a_real_video_20000_pixels_wide_is_refused(tmp_path):
    path = Footage(".mkv", codec="ffv1", size=(2, 20_000), count=1, b_frames=0).write(tmp_path / "wide")
    _refused(path, "20000x2 pixels, more than 16384 a side")


def test_too_many_pixels_are_refused_even_where_no_side_is_too_long():
    with pytest.raises(VideoError, match="16000x16000 pixels"):
        source.check_size("huge.mp4", 16_000, 16_000)
    source.check_size("8k.mp4", 7_680, 4_320)


def test_an_endless_file_is_given_up(tmp_path, monkeypatch):
    monkeypatch.setattr("openfsar.video.index.MAX_PACKETS", 10)
    _refused(Footage(count=30).write(tmp_path / "long"), "more than 10 packets")


@pytest.mark.parametrize("share", [0.4, 0.7, 0.85])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_truncated_file_gives_what_it_holds_and_refuses_the_rest(suffix, share, tmp_path):
    options = {"movflags": "+faststart"} if suffix == ".mp4" else {}
    footage = Footage(suffix, count=60, size=(96, 96), options=options, b_frames=0)
    footage.codec, footage.options = (
        ("mpeg4", {"q:v": "2"}) if suffix == ".avi" else ("libx264", {"crf": "10"})
    )
    whole = footage.write(tmp_path / "whole")
    if suffix == ".mp4":
        whole = _with_index_in_front(whole)
    path = tmp_path / f"cut{suffix}"
    data = whole.read_bytes()
    path.write_bytes(data[: int(share * len(data))])

    info = probe(path)
    assert 0 < info.frames < 60
    if suffix != ".mkv":  # which has no frame count in its header
        assert info.lost == 60 - info.frames
    clip = read_frames(path, range(info.frames))
    assert [number_of(frame) for frame in clip.frames] == list(range(info.frames))
    with pytest.raises(VideoError, match="frame 59 was asked for, but the video has frames"):
        read_frames(path, [59])


def _with_index_in_front(path):
    front = path.with_name("front.mp4")
    with av.open(str(path)) as source, av.open(str(front), "w", options={"movflags": "+faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    return front


def test_a_cut_mp4_whose_index_was_at_the_end_is_refused(tmp_path):
    path = Footage().write(tmp_path / "cut")
    path.write_bytes(path.read_bytes()[:-200])
    _refused(path, "cannot be decoded")


def test_a_wanted_frame_that_cannot_be_decoded_is_named(tmp_path):
    path = Footage(".avi", codec="mpeg4", b_frames=0, gop=1, count=10, options={"q:v": "2"}).write(
        tmp_path / "hole"
    )
    with av.open(str(path)) as container:
        holes = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    start, size = holes[6][0], holes[6][1]
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    assert [number_of(frame) for frame in read_frames(path, [5, 7]).frames] == [5, 7]
    with pytest.raises(VideoError, match="frame 6 cannot be decoded"):
        read_frames(path, [5, 6, 7])


def test_the_error_survives_the_way_back_from_a_worker():
    error = pickle.loads(pickle.dumps(VideoError("a.mp4", "is empty", "fetch it again")))
    assert (str(error), error.remedy) == ("a.mp4: is empty; fetch it again", "fetch it again")


def test_ffmpeg_does_not_write_to_the_terminal(tmp_path, capfd):
    path = Footage().write(tmp_path / "noisy")
    data = bytearray(path.read_bytes())
    for place in range(2_000, len(data) - 2_000, 300):
        data[place] ^= 0xFF
    path.write_bytes(data)
    capfd.readouterr()
    with contextlib.suppress(VideoError):
        read_frames(path, range(40))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("seed", range(4))
def test_damage_of_any_kind_gives_frames_or_the_one_error(seed, tmp_path):
    dice = random.Random(seed)
    footage = [Footage(), Footage(".mkv"), Footage(".avi", codec="mpeg4"), Footage(".ts")][seed]
    whole = footage.write(tmp_path / "whole").read_bytes()
    path = tmp_path / f"damaged{footage.suffix}"
    for _ in range(40):
        data = bytearray(whole)
        reach = dice.choice([600, len(data)])
        for _ in range(dice.choice([1, 5, 30])):
            data[dice.randrange(reach)] = dice.randrange(256)
        path.write_bytes(data[: dice.choice([len(data), dice.randrange(1, len(data))])])
        try:
            assert len(read_frames(path, lambda count: [0, count // 2, count - 1])) == 3
        except VideoError as error:
            assert error.source == str(path)


class _Reader(torch.utils.data.Dataset):
    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return read_frames(self.path, [index]).frames


def test_a_data_loader_worker_passes_the_same_message_on(tmp_path):
    path = tmp_path / "nope.mp4"
    with pytest.raises(VideoError) as here:
        read_frames(path, [0])
    with pytest.raises(VideoError) as there:
        next(iter(torch.utils.data.DataLoader(_Reader(path), batch_size=None, num_workers=1)))
    assert str(there.value) == str(here.value)
