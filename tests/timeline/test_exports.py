"""Every export read back as the tool that it is for would read it."""

import csv
import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from coloured import GREY, LABELS, write_coloured

from openfsar.timeline import Segment, Timeline
from openfsar.timeline.annotate import annotate, banner, draw
from openfsar.timeline.export import (
    SUFFIXES,
    TOGETHER,
    Annotated,
    ExportError,
    choose_format,
    label_studio_config,
    to_csv,
    to_fiftyone,
    to_json,
    to_label_studio,
    to_vtt,
)
from openfsar.video import VideoError, probe, read_frames


def annotated(video: str, segments: list[Segment], *, seconds: float = 20.0, fps: float = 25.0) -> Annotated:
    nothing = np.zeros((1, 3), dtype=np.float32)
    timeline = Timeline(
        video, seconds, fps, LABELS, 2.0, 0.5, np.zeros(1), nothing, known=np.ones(1, dtype=bool)
    )
    return Annotated(timeline, segments)


RED, BLUE = Segment(1.0, 3.5, "red", 0.91), Segment(10.04, 20.0, "blue", 0.625)
VIDEOS = [annotated("a/day.mp4", [RED, BLUE]), annotated("b/day.mp4", []), annotated("night, 2.mp4", [RED])]


def test_csv_has_a_row_per_segment() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(VIDEOS))))
    assert rows[1] == {
        "file": "a/day.mp4",
        "start": "10.04",
        "end": "20.0",
        "label": "blue",
        "confidence": "0.625",
    }
    assert [row["file"] for row in rows] == ["a/day.mp4", "a/day.mp4", "night, 2.mp4"]


def test_json_holds_every_video() -> None:
    records = json.loads(to_json(VIDEOS))
    assert [record["file"] for record in records] == ["a/day.mp4", "b/day.mp4", "night, 2.mp4"]
    assert records[0]["segments"] == [
        {"start": 1.0, "end": 3.5, "label": "red", "confidence": 0.91},
        {"start": 10.04, "end": 20.0, "label": "blue", "confidence": 0.625},
    ]
    assert records[1]["segments"] == [] and records[1]["labels"] == list(LABELS)
    assert records[0]["seconds"] == 20.0


def test_label_studio_tasks_match_their_configuration() -> None:
    tasks = json.loads(to_label_studio(VIDEOS))
    config = ElementTree.fromstring(label_studio_config([*LABELS, 'a "b" & <c>']))
    player, control = config.find("Video"), config.find("TimelineLabels")
    assert player is not None and control is not None
    assert [label.get("value") for label in control] == [*LABELS, 'a "b" & <c>']
    assert player.get("value") == "$video" and player.get("framerate") == "$fps"
    assert control.get("toName") == player.get("name")
    identities = []
    for task, (timeline, segments) in zip(tasks, VIDEOS, strict=True):
        assert task["data"] == {"video": timeline.video, "fps": 25.0}
        (prediction,) = task["predictions"]
        for region, segment in zip(prediction["result"], segments, strict=True):
            assert region["from_name"] == control.get("name") and region["to_name"] == player.get("name")
            assert region["type"] == "timelinelabels" and region["score"] == segment.confidence
            assert region["value"]["timelinelabels"] == [segment.label]
            identities.append(region["id"])
    assert len(set(identities)) == 3
    ranges = [region["value"]["ranges"] for region in tasks[0]["predictions"][0]["result"]]
    assert ranges == [
        [{"start": 26, "end": 88}],
        [{"start": 252, "end": 500}],
    ]  # from 1, the last one included


@pytest.mark.parametrize("fps", [0.5, 10.0, 29.97, 240.0])
def test_label_studio_frames_are_those_shown_in_the_segment(fps: float) -> None:
    generator = np.random.default_rng(0)
    for _ in range(50):
        start, end = sorted(generator.uniform(0, 20, 2).tolist())
        text = to_label_studio([annotated("v.mp4", [Segment(start, end, "red")], fps=fps)])
        (span,) = json.loads(text)[0]["predictions"][0]["result"][0]["value"]["ranges"]
        times = np.arange(max(1, round(20 * fps))) / fps
        shown = np.flatnonzero((times < end) & (times + 1 / fps > start)) + 1
        assert (span["start"], span["end"]) == (shown[0], shown[-1])


def test_fiftyone_labels_are_found_by_path_and_class_number() -> None:
    found = json.loads(to_fiftyone(VIDEOS))
    assert found["classes"] == sorted(LABELS)
    assert set(found["labels"]) == {"a/day", "b/day", "night, 2"}
    first, second = found["labels"]["a/day"]
    assert found["classes"][first["label"]] == "red" and first["timestamps"] == [1.0, 3.5]
    assert found["classes"][second["label"]] == "blue" and second["confidence"] == 0.625
    assert found["labels"]["b/day"] == []
    alone = json.loads(to_fiftyone([annotated("some/where/clip.v2.mp4", [])]))
    assert set(alone["labels"]) == {"clip.v2"}


CUE = re.compile(r"(\d\d+):([0-5]\d):([0-5]\d\.\d{3}) --> (\d\d+):([0-5]\d):([0-5]\d\.\d{3})")


def parse_vtt(text: str) -> list[tuple[float, float, str]]:
    """Cues of a WebVTT file: blocks behind the header, times, then text without markup."""
    header, *blocks = text.rstrip("\n").split("\n\n")
    assert header == "WEBVTT" and text.endswith("\n")
    cues = []
    for block in blocks:
        times, *lines = block.split("\n")
        found = CUE.fullmatch(times)
        assert found is not None and lines and not any("-->" in line or not line for line in lines)
        assert not re.search(r"<|&(?!amp;|lt;|gt;)", "".join(lines))
        h, m, s, hh, mm, ss = found.groups()
        start, end = int(h) * 3600 + int(m) * 60 + float(s), int(hh) * 3600 + int(mm) * 60 + float(ss)
        assert start < end
        said = "\n".join(lines).replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        cues.append((start, end, said))
    return cues


def test_webvtt_can_be_parsed() -> None:
    late = Segment(3599.9996, 360_000.5, "a <b> & c\n\n--> d", 0.5)
    cues = parse_vtt(to_vtt(annotated("v.mp4", [RED, BLUE, late])))
    assert cues == [
        (1.0, 3.5, "red 91%"),
        (10.04, 20.0, "blue 62%"),
        (3600.0, 360_000.5, "a <b> & c --> d 50%"),
    ]
    assert parse_vtt(to_vtt(VIDEOS[1])) == []


def test_the_annotated_video_carries_banners_where_something_happens(tmp_path: Path) -> None:
    video = write_coloured(tmp_path / "v.mp4", [("none", 3.0)])
    done: list[float] = []
    out = tmp_path / "out.mp4"
    annotate(
        video, [Segment(0.5, 1.5, "red", 0.9), Segment(1.0, 2.0, "blue", 0.5)], out, progress=done.append
    )
    info = probe(out)
    assert (info.frames, info.width, info.height, info.fps) == (30, 32, 32, 10.0)
    frames = read_frames(out, range(30)).frames
    grey = torch.tensor(GREY)[:, None, None]
    assert (frames[:, :, :24] - grey).abs().max() <= 6  # above the banner nothing has changed
    dark = (frames[:, :, -2:].float().mean((1, 2, 3)) < 100).tolist()
    assert dark == [0.5 <= (n + 0.5) / 10 < 2.0 for n in range(30)]
    assert done == sorted(done) and done[-1] == pytest.approx(1.0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.mp4", "v.mp4"]


def test_a_banner_shows_the_surest_name_as_large_as_fits(tmp_path: Path) -> None:
    picture = np.full((100, 300, 3), 120, np.uint8)
    assert (draw(picture, "red")[:90] == 120).all()
    assert not (banner("red", 300, 10) == banner("blue", 300, 10)).all()
    for text in ("a", "a rather long name of an action"):
        strip = banner(text, 300, 20).max(2) > 128
        assert strip.any() and not strip[:, -6:].any()
    wide = banner("a name that is far too long for any banner" * 9, 300, 20)
    assert wide.shape == (20, 300, 3)


def test_an_unreadable_video_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_text("no video")
    with pytest.raises(VideoError, match=r"v\.mp4"):
        annotate(tmp_path / "v.mp4", [], tmp_path / "out.mp4")
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(write_coloured(tmp_path / "whole.mp4", [("red", 2.0)]).read_bytes()[:600])
    with pytest.raises(VideoError, match=r"cut\.mp4"):
        annotate(cut, [], tmp_path / "out.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.mp4", "v.mp4", "whole.mp4"]


def test_the_suffix_or_a_name_chooses_the_format() -> None:
    meant = {name: choose_format(Path(f"out{suffix}"), name) for name, suffix in SUFFIXES.items()}
    assert all(name == form for name, form in meant.items()) and set(TOGETHER) < set(meant)
    assert [choose_format(Path(f"o.{s}")) for s in ("csv", "JSON", "vtt", "mp4")] == [
        "csv",
        "json",
        "vtt",
        "mp4",
    ]
    with pytest.raises(
        ExportError, match=r"out\.txt must end in \.csv, \.json, \.vtt, \.mp4, or give --format"
    ):
        choose_format(Path("out.txt"))
    with pytest.raises(ExportError, match=r"must end in \.json"):
        choose_format(Path("out.csv"), "fiftyone")
    with pytest.raises(ExportError, match="'word' is unknown.*label-studio"):
        choose_format(Path("out.csv"), "word")
