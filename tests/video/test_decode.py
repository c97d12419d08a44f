"""Frames read by number are exactly those of a plain decode from start to end, whatever the file is like."""

import random
import struct
from fractions import Fraction

import pytest
import torch
from footage import Footage, decoded_in_order, number_of, picture
from hypothesis import given, settings
from hypothesis import strategies as st

from openfsar.video import decode, probe, read_frames
from openfsar.video.index import FrameIndex, index_packets
from openfsar.video.source import VideoError, open_video

_GAPS = random.Random(0).choices([7, 20, 40, 41, 93, 200], k=39)
IRREGULAR = [sum(_GAPS[:i]) for i in range(40)]
VP9 = {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}}
OPEN_GOP = {"x264-params": "open-gop=1:scenecut=0:b-adapt=0"}

FOOTAGE = {
    "constant rate": Footage(),
    "every frame a keyframe": Footage(gop=1),
    "one keyframe": Footage(gop=250),
    "no B-frames": Footage(b_frames=0),
    "open groups": Footage(options=OPEN_GOP, b_frames=3),
    "open groups, B-frames as references": Footage(
        options={"x264-params": OPEN_GOP["x264-params"] + ":b-pyramid=2"}, b_frames=5
    ),
    "no keyframes but intra refresh": Footage(options={"x264-params": "intra-refresh=1"}),
    "variable rate, mp4": Footage(ticks=IRREGULAR),
    "variable rate, mkv": Footage(".mkv", ticks=IRREGULAR),
    "variable rate, webm": Footage(".webm", ticks=IRREGULAR, **VP9),
    "start offset": Footage(ticks=[3210 + 40 * i for i in range(40)]),
    "edit list within a group": Footage(skip=5),
    "edit list beyond a group": Footage(skip=17, gop=10),
    "odd size": Footage(pix_fmt="yuv444p", size=(51, 67)),
    "transport stream": Footage(".ts"),
    "vp9": Footage(".webm", **VP9),
    "vp8 with hidden frames": Footage(
        ".webm", codec="libvpx", options={"cpu-used": "8", "auto-alt-ref": "1", "lag-in-frames": "12"}
    ),
    "gif": Footage(".gif", codec="gif", pix_fmt="rgb8"),
    "avi of mpeg4": Footage(".avi", codec="mpeg4", b_frames=0, options={"q:v": "2"}),
    "avi of mpeg4 with B-frames": Footage(".avi", codec="mpeg4", options={"q:v": "2"}),
    "avi of h264 with B-frames": Footage(".avi"),
    "mpeg2 program stream": Footage(".mpg", codec="mpeg2video"),
    "bare h264": Footage(".h264"),
}
BY_DECODING = {
    "vp8 with hidden frames",
    "avi of mpeg4 with B-frames",
    "avi of h264 with B-frames",
    "mpeg2 program stream",
    "bare h264",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("footage")


@pytest.mark.parametrize("name", FOOTAGE)
def test_frames_by_number_equal_a_plain_decode(name, folder, monkeypatch):
    footage = FOOTAGE[name]
    path = footage.write(folder / name.replace(" ", "_").replace(",", ""))
    truth, times = decoded_in_order(path)
    fallbacks = []
    in_order = decode._decode_in_order
    monkeypatch.setattr(decode, "_decode_in_order", lambda *a: (fallbacks.append(a), in_order(*a)))

    assert probe(path).frames == len(truth) == footage.count - footage.skip
    count = len(truth)
    shown = [time - times[0] for time in times]
    if not all(a < b for a, b in zip(times, times[1:], strict=False)):
        shown = [i / 25 for i in range(count)]  # the file knows no display times; the rate is all there is
    choices = random.Random(1)
    sets = [[0], [count - 1], [count // 2], list(range(count)), [count - 1, 0, 7, 7, 3], [11, 12, 13]]
    sets += [choices.choices(range(count), k=choices.choice([1, 2, 5])) for _ in range(8)]
    for wanted in sets:
        clip = read_frames(path, wanted)
        assert torch.equal(clip.frames, truth[wanted])
        assert [number_of(frame) for frame in clip.frames] == [i + footage.skip for i in wanted]
        torch.testing.assert_close(clip.seconds, torch.tensor([shown[i] for i in wanted]), atol=1e-5, rtol=0)
    with open_video(path) as stream:
        assert (index_packets(stream) is None) == (name in BY_DECODING)
    if name != "no keyframes but intra refresh":  # where a seek to a frame that is only half refreshed fails
        assert (len(fallbacks) > 0) == (name in BY_DECODING)


@pytest.mark.parametrize(
    "name", ["open groups", "edit list within a group", "vp9", "avi of h264 with B-frames"]
)
def test_more_threads_give_the_same_frames(name, folder):
    path = FOOTAGE[name].write(folder / f"threads_{name.replace(' ', '_')}")
    for wanted in ([30, 2, 17], [0], [34, 33], [12]):
        assert torch.equal(read_frames(path, wanted, threads=2).frames, read_frames(path, wanted).frames)


def test_a_failed_seek_is_made_good_by_decoding_in_order(folder, monkeypatch):
    path = Footage().write(folder / "no_seek")
    truth, _ = decoded_in_order(path)
    monkeypatch.setattr(decode, "_decode_run", lambda *a: None)
    assert torch.equal(read_frames(path, [31, 4]).frames, truth[[31, 4]])


def test_unwanted_frames_are_never_converted(folder, monkeypatch):
    path = Footage().write(folder / "lazy")
    converted = []
    paint = decode.Canvas.put
    monkeypatch.setattr(decode.Canvas, "put", lambda *a: (converted.append(a[1]), paint(*a)))
    read_frames(path, [9, 30, 9])
    assert sorted(converted) == [9, 30]


def test_groups_between_wanted_frames_are_not_decoded(folder, monkeypatch):
    path = Footage(count=120, gop=10, options={"x264-params": "scenecut=0"}).write(folder / "long")
    fed = []
    plain = decode.decode
    monkeypatch.setattr(
        decode, "decode", lambda stream, packet: (fed.append(packet), plain(stream, packet))[1]
    )
    clip = read_frames(path, [3, 114])
    assert [number_of(frame) for frame in clip.frames] == [3, 114]
    assert len(fed) < 30


def test_indices_may_be_a_function_of_the_frame_count(folder):
    path = Footage(count=23).write(folder / "callable")
    clip = read_frames(path, lambda count: [count - 1, 0])
    assert [number_of(frame) for frame in clip.frames] == [22, 0]


def test_packed_b_frames_of_old_divx_files_are_counted_by_decoding(folder):
    """XviD wrote a B-frame into its reference's packet, and an empty packet after it."""
    import av

    plain = Footage(".avi", codec="mpeg4", b_frames=1, options={"q:v": "2", "b_strategy": "0"}).write(
        folder / "xv"
    )
    with av.open(str(plain)) as container:
        stream = container.streams.video[0]
        header = bytes(stream.codec_context.extradata or b"")
        packets = [(bytes(p), p.is_keyframe) for p in container.demux(stream) if p.size]
    vop = b"\x00\x00\x01\xb6"
    kinds = [data[data.index(vop) + 4] >> 6 for data, _ in packets]  # 0 I, 1 P, 2 B
    assert 2 in kinds
    packed, place = [], 0
    while place < len(packets):
        data, key = packets[place]
        if place + 1 < len(packets) and kinds[place + 1] == 2:
            packed += [(data + packets[place + 1][0], key), (vop + b"\x50\x00\x7f", False)]
            place += 2
        else:
            packed.append((data, key))
            place += 1
    path = folder / "packed.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width = stream.height = 64
        stream.codec_context.extradata = header + b"\x00\x00\x01\xb2DivX503b1393p"
        for number, (data, key) in enumerate(packed):
            packet = av.Packet(data)
            packet.pts = packet.dts = number
            packet.is_keyframe, packet.stream, packet.time_base = key, stream, Fraction(1, 25)
            container.mux(packet)

    truth, _ = decoded_in_order(path)
    with open_video(path) as stream:
        assert index_packets(stream) is None
    assert probe(path).frames == len(truth)
    assert torch.equal(read_frames(path, [20, 3]).frames, truth[[20, 3]])


# --- orientation and size ---------------------------------------------------------------------------------

TURNS = [(a, 0, 0, d) for a in (1, -1) for d in (1, -1)] + [(0, b, c, 0) for b in (1, -1) for c in (1, -1)]


@pytest.mark.parametrize("turn", TURNS)
def test_every_orientation_in_the_metadata_is_applied(turn, folder):
    stored = read_frames(Footage(count=3, size=(48, 96)).write(folder / "upright"), [0, 1, 2]).frames
    path = Footage(count=3, size=(48, 96), turn=turn).write(folder / f"turned{turn}".replace(" ", ""))
    a, b, c, d = turn
    y, x = torch.meshgrid(torch.arange(48), torch.arange(96), indexing="ij")
    right, down = a * x + c * y, b * x + d * y
    right, down = right - right.min(), down - down.min()
    expected = torch.zeros(3, 3, down.max() + 1, right.max() + 1, dtype=torch.uint8)
    expected[:, :, down, right] = stored
    assert torch.equal(read_frames(path, [0, 1, 2]).frames, expected)
    info = probe(path)
    assert (info.height, info.width) == tuple(expected.shape[2:])
    if a * d - b * c == 1:  # no mirror
        assert info.rotation == {(1, 0): 0, (0, 1): 90, (-1, 0): 180, (0, -1): 270}[a, b]


def test_a_quarter_turn_in_an_mp4_header_is_clockwise(folder):
    """Written by hand as the file format has it, so that the convention does not rest on PyAV's."""
    path = Footage(count=3, size=(48, 96)).write(folder / "portrait")
    plain = read_frames(path, [0, 1, 2]).frames
    one, identity = 1 << 16, struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    data = path.read_bytes()
    track = data.index(b"tkhd")
    place = data.index(identity, track)
    quarter = struct.pack(">9i", 0, one, 0, -one, 0, 0, 48 * one, 0, 1 << 30)
    path.write_bytes(data[:place] + quarter + data[place + len(quarter) :])
    assert torch.equal(read_frames(path, [0, 1, 2]).frames, plain.rot90(-1, (2, 3)))
    assert probe(path).rotation == 90


def test_frames_keep_the_colours_and_layout_of_the_picture(folder):
    path = Footage(pix_fmt="yuv444p", options={"qp": "1"}, count=3).write(folder / "exact")
    expected = torch.from_numpy(picture(2)).permute(2, 0, 1).int()
    error = (read_frames(path, [2]).frames[0].int() - expected).abs().float()
    assert error.max() <= 8 and error.mean() < 1


@pytest.mark.parametrize(
    ("size", "short_side", "expected"),
    [((96, 64), 32, (48, 32)), ((64, 96), 32, (32, 48)), ((64, 64), 65, (64, 64)), ((62, 100), 33, (33, 53))],
)
def test_short_side_shrinks_and_never_enlarges(size, short_side, expected, folder):
    path = Footage(size=size, count=4).write(folder / f"size_{size[0]}_{size[1]}")
    small = read_frames(path, [0, 3], short_side=short_side).frames
    full = read_frames(path, [0, 3]).frames
    assert tuple(small.shape[2:]) == expected
    pooled = torch.nn.functional.interpolate(full.float(), expected, mode="area")
    assert (small.float() - pooled).abs().mean() < 6


def test_probe_tells_what_the_file_holds(folder):
    info = probe(Footage(".mkv", count=30, size=(48, 64)).write(folder / "info"))
    assert (info.frames, info.width, info.height, info.rotation, info.codec, info.lost) == (
        30,
        64,
        48,
        0,
        "h264",
        0,
    )
    assert info.seconds == pytest.approx(1.2) and info.fps == pytest.approx(25)


# --- the plan ---------------------------------------------------------------------------------------------


def _regular(count: int, gop: int) -> FrameIndex:
    keys = [i // gop * gop for i in range(count)]
    return FrameIndex(
        list(range(count)),
        count,
        Fraction(1),
        packets=list(range(count)),
        keys=keys,
        key_times={k: (k, k) for k in keys},
    )


@settings(max_examples=200, deadline=None)
@given(st.data(), st.integers(1, 300), st.integers(1, 60))
def test_a_plan_covers_the_wanted_frames_and_seeks_only_where_it_saves(data, count, gop):
    wanted = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=8))
    runs = decode.plan(_regular(count, gop), wanted)
    assert sorted(frame for run in runs for frame in run.frames) == sorted(set(wanted))
    for run in runs:
        assert run.key == min(run.frames) // gop * gop and run.end == max(run.frames)
    for before, after in zip(runs, runs[1:], strict=False):
        assert after.key - before.end > decode.SEEK_COST


def test_a_frame_out_of_range_names_the_range(folder):
    path = Footage(count=5).write(folder / "five")
    for wrong in (5, -1):
        with pytest.raises(
            VideoError, match=rf"frame {wrong} was asked for, but the video has frames 0\.\.4"
        ):
            read_frames(path, [0, wrong])
    with pytest.raises(VideoError, match="no frame was asked for"):
        read_frames(path, [])
