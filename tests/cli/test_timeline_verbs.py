"""From long videos to segments and from a stream to names, by the command line alone."""

import csv
import io
import json
import os
import sys
import threading
from pathlib import Path

import av
import pytest
import torch
from torch import Tensor

from openfsar.cli.main import main
from openfsar.cli.progress import clock, progress
from openfsar.video import probe, write_video

SIDE = 64


def bars(kind: str, frames: int, seed: int) -> Tensor:
    """A bright bar that stands somewhere in a dark noisy frame, or the noise alone."""
    generator = torch.Generator().manual_seed(seed)
    pictures = torch.randint(0, 60, (frames, 3, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    for t in range(frames):
        at = 2 + 7 * seed % 50
        if kind == "upright":
            pictures[t, 0, :, at : at + 10] = 250
        elif kind == "level":
            pictures[t, 2, at : at + 10, :] = 250
    return pictures


def long_video(kinds: list[str], seed: int) -> Tensor:
    """Two seconds of each kind, 10 frames a second."""
    return torch.cat([bars(kind, 20, seed + n) for n, kind in enumerate(kinds)])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for kind in ("upright", "level", "nothing"):
        (folder / kind).mkdir()
        for seed in range(4):
            write_video(folder / kind / f"{seed}.mp4", bars(kind, 20, seed), fps=10.0)
    out = folder / "model"
    pairs = [f"upright={folder / 'upright'}", f"level={folder / 'level'}"]
    assert main(["fit", *pairs, "--background", str(folder / "nothing"), "-o", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two long videos, one of them in a folder within, and a broken one."""
    folder = tmp_path_factory.mktemp("footage")
    (folder / "deep").mkdir()
    first = long_video(["nothing", "upright", "nothing", "level", "nothing"], 100)
    write_video(folder / "a day.mp4", first, fps=10.0)
    write_video(folder / "deep" / "b [night].mp4", long_video(["level", "nothing"], 200), fps=10.0)
    (folder / "broken.mp4").write_text("no video")
    return folder


def told(text: str) -> list[tuple[str, float, float]]:
    """Label, start and end of each segment that JSON lines tell, video after video."""
    records = [json.loads(line) for line in text.splitlines()]
    return [(s["label"], s["start"], s["end"]) for record in records for s in record["segments"]]


def test_segments_are_told_and_the_broken_video_is_skipped(
    model: Path, footage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["timeline", str(model), str(footage), "--window", "1", "--stride", "0.25"]
    assert main([*arguments, "--json"]) == 0
    printed = capsys.readouterr()
    found = told(printed.out)
    assert [label for label, _, _ in found] == ["upright", "level", "level"]
    for (_, start, end), (true_start, true_end) in zip(found, [(2, 4), (6, 8), (0, 2)], strict=True):
        assert abs(start - true_start) < 0.7 and abs(end - true_end) < 0.7
    assert "skipped: " in printed.err and "broken.mp4" in printed.err and "Traceback" not in printed.err
    assert main(arguments) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0][-2:] == ["day.mp4", "0:10.0"]
    rows = [line for line in lines if line and line[0][0].isdigit()]
    assert [(row[2], row[0]) for row in rows] == [(label, clock(start)) for label, start, _ in found]
    assert all(row[3].endswith("%") for row in rows)


def test_files_of_every_format_say_the_same(
    model: Path, footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    look = ["timeline", str(model), str(footage), "--window", "1"]
    assert main([*look, "--json"]) == 0
    found = told(capsys.readouterr().out)
    for name, more in (
        ("out.csv", []),
        ("out.json", []),
        ("tasks.json", ["--format", "label-studio"]),
        ("labels.json", ["--format", "fiftyone"]),
        ("subtitles", ["--format", "vtt"]),
    ):
        assert main([*look, "-o", str(tmp_path / "new" / name), *more]) == 0
    printed = capsys.readouterr()
    assert "3 segments in 2 of 3 videos" in printed.err and '<TimelineLabels name="segments"' in printed.out
    new = tmp_path / "new"
    names = ["labels.json", "out.csv", "out.json", "subtitles", "tasks.json"]
    assert sorted(p.name for p in new.iterdir()) == names
    rows = list(csv.DictReader(io.StringIO((new / "out.csv").read_text())))
    assert [(row["label"], float(row["start"]), float(row["end"])) for row in rows] == found
    records = json.loads((new / "out.json").read_text())
    assert [len(record["segments"]) for record in records] == [2, 1]
    tasks = json.loads((new / "tasks.json").read_text())
    starts = [r["value"]["ranges"][0]["start"] for t in tasks for r in t["predictions"][0]["result"]]
    assert starts == [int(start * 10 + 1e-6) + 1 for _, start, _ in found]
    assert set(json.loads((new / "labels.json").read_text())["labels"]) == {"a day", "deep/b [night]"}
    subtitles = sorted(p.relative_to(new).as_posix() for p in (new / "subtitles").rglob("*.vtt"))
    assert subtitles == ["subtitles/a day.vtt", "subtitles/deep/b [night].vtt"]
    assert (new / subtitles[0]).read_text().count("-->") == 2


def test_an_annotated_video_can_be_played(model: Path, footage: Path, tmp_path: Path) -> None:
    out = tmp_path / "named.mp4"
    assert main(["timeline", str(model), str(footage / "a day.mp4"), "-o", str(out), "--window", "1"]) == 0
    info = probe(out)
    assert (info.frames, info.width, info.height, info.fps) == (100, SIDE, SIDE, 10.0)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["-o", "out.txt"], "must end in .csv"),
        (["--format", "csv"], "--format csv needs a file"),
        (["-o", "out.vtt"], "would hold one video, and there are 3"),
        (["-o", "out.csv", "--format", "vtt"], "must end in .vtt"),
        (["--window", "0"], "window=0"),
        (["--stride", "5"], "without gaps"),
        (["--enter", "0.2", "--leave", "0.4"], "enter=0.2 and leave=0.4"),
    ],
)
def test_wrong_wishes_are_refused_before_any_work(
    model: Path, footage: Path, more: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["timeline", str(model), str(footage), *more]) == 1
    printed = capsys.readouterr()
    assert message in printed.err and not printed.out and "skipped" not in printed.err


def test_a_video_is_never_written_over_itself(
    model: Path, footage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video = footage / "a day.mp4"
    before = video.read_bytes()
    assert main(["timeline", str(model), str(video), "-o", str(video)]) == 1
    assert "is the video itself" in capsys.readouterr().err and video.read_bytes() == before


def test_nothing_readable_is_an_error(
    model: Path, footage: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    assert main(["timeline", str(model), str(footage / "broken.mp4"), "-o", str(out)]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: none of the 1 videos")
    assert not out.exists()


def test_watching_a_file_tells_a_line_per_answer(
    model: Path, footage: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", str(model), str(footage / "a day.mp4"), "--window", "1"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert len(lines) == 37 and all(" ms " in line and "frames/s" in line for line in lines)
    for name, second in (("none of these", "1.2"), ("upright", "3.4"), ("level", "7.4")):
        assert any(line.split()[0] == second and name in line for line in lines), (name, printed.out)
    assert "37 answers, 0 windows passed over" in printed.err


def test_watching_a_pipe_tells_json(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = os.pipe()

    def send() -> None:
        with open(ends[1], "wb", buffering=0) as sink, av.open(sink, "w", format="matroska") as container:
            stream = container.add_stream("mpeg4", rate=10, options={"qscale": "2"})
            stream.width = stream.height = SIDE
            stream.pix_fmt = "yuv420p"
            for picture in long_video(["upright", "level"], 300):
                array = picture.permute(1, 2, 0).contiguous().numpy()
                container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
            container.mux(stream.encode(None))

    sender = threading.Thread(target=send)
    sender.start()
    with open(ends[0]) as standard:
        monkeypatch.setattr(sys, "stdin", standard)
        assert main(["watch", str(model), "-", "--json", "--window", "1"]) == 0
    sender.join()
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(answers) == 13 and {"upright", "level"} <= {answer["label"] for answer in answers}
    assert set(answers[0]) == {
        "seconds",
        "label",
        "probability",
        "latency_ms",
        "frames_per_second",
        "dropped",
    }


def test_a_source_that_is_not_there_is_an_error(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", str(model), str(tmp_path / "missing.mp4")]) == 1
    assert "missing.mp4" in capsys.readouterr().err


def test_clocks_and_progress(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [clock(t) for t in (0.04, 59.96, 61.0, 3600.0, 7384.25)] == [
        "0:00.0",
        "1:00.0",
        "1:01.0",
        "1:00:00.0",
        "2:03:04.2",
    ]
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with progress("looking", 4) as tell:
        for second in range(1, 101):
            now += 1
            tell(second // 25, second % 25 / 25)
    assert capsys.readouterr().err.splitlines() == [
        "looking: 30%, 1:10.0 left",
        "looking: 60%, 0:40.0 left",
        "looking: 90%, 0:10.0 left",
    ]
