"""Segments as files that other tools read.

.csv            a row per segment
.json           everything, by video
label-studio    tasks with predictions, to be corrected in Label Studio; frames counted from 1
fiftyone        labels.json of a FiftyOneTemporalDetectionDataset
.vtt            subtitles of one video (WebVTT)
.mp4            one video with the names drawn into it (annotate.py)
"""

import csv
import io
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.sax.saxutils import quoteattr

from openfsar.timeline.scan import Timeline
from openfsar.timeline.segments import Segment


class ExportError(ValueError):
    """A format that is not there, or that a file cannot have."""


class Annotated(NamedTuple):
    """A video and what happens in it."""

    timeline: Timeline
    segments: Sequence[Segment]


def to_csv(videos: Sequence[Annotated]) -> str:
    """A row per segment; seconds from the first frame."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "start", "end", "label", "confidence"])
    for timeline, segments in videos:
        for s in segments:
            writer.writerow([timeline.video, *_rounded(s.start, s.end), s.label, *_rounded(s.confidence)])
    return text.getvalue()


def to_json(videos: Sequence[Annotated]) -> str:
    """A list with a record per video, its segments inside."""
    return json.dumps([record(video) for video in videos], indent=2)


def record(video: Annotated) -> dict[str, Any]:
    """A video as plain data."""
    timeline = video.timeline
    return {
        "file": timeline.video,
        "seconds": round(timeline.seconds, 3),
        "window": timeline.window,
        "stride": timeline.stride,
        "labels": list(timeline.labels),
        "segments": [
            {
                "start": round(s.start, 3),
                "end": round(s.end, 3),
                "label": s.label,
                "confidence": round(s.confidence, 3),
            }
            for s in video.segments
        ],
    }


def to_label_studio(videos: Sequence[Annotated]) -> str:
    """Tasks to import into a project with the configuration that ``label_studio_config`` gives.

    A task names its video as the command line did: change it to an address that Label Studio can reach.
    """
    tasks = []
    for number, (timeline, segments) in enumerate(videos):
        last = max(1, round(timeline.seconds * timeline.fps))
        regions = [
            {
                "id": f"video{number}-segment{place}",
                "type": "timelinelabels",
                "from_name": "segments",
                "to_name": "video",
                "value": {
                    "ranges": [_frames(segment, timeline.fps, last)],
                    "timelinelabels": [segment.label],
                },
                "score": round(segment.confidence, 3),
            }
            for place, segment in enumerate(segments)
        ]
        prediction: dict[str, Any] = {"model_version": "openfsar", "result": regions}
        if segments:
            prediction["score"] = round(sum(s.confidence for s in segments) / len(segments), 3)
        data = {"video": timeline.video, "fps": round(timeline.fps, 3)}
        tasks.append({"data": data, "predictions": [prediction]})
    return json.dumps(tasks, indent=2)


def label_studio_config(labels: Sequence[str]) -> str:
    """The labelling configuration of the project; ``$fps`` comes with each task."""
    inside = "".join(f"\n    <Label value={quoteattr(label)}/>" for label in labels)
    return (
        '<View>\n  <Video name="video" value="$video" framerate="$fps" timelineHeight="120"/>\n'
        f'  <TimelineLabels name="segments" toName="video">{inside}\n  </TimelineLabels>\n</View>'
    )


def _frames(segment: Segment, fps: float, last: int) -> dict[str, int]:
    """First and last frame, from 1."""
    first = min(math.floor(segment.start * fps + 1e-6) + 1, last)
    return {"start": first, "end": min(max(first, math.ceil(segment.end * fps - 1e-6)), last)}


def to_fiftyone(videos: Sequence[Annotated]) -> str:
    """Detections in seconds by video, which goes by its short name.

    To import: ``fiftyone.Dataset.from_dir(data_path=FOLDER_OF_VIDEOS, labels_path=FILE,
    dataset_type=fiftyone.types.FiftyOneTemporalDetectionDataset)``.
    """
    classes = sorted({label for timeline, _ in videos for label in timeline.labels})
    names = short_names([timeline.video for timeline, _ in videos])
    found = {
        name: [
            {
                "label": classes.index(segment.label),
                "timestamps": _rounded(segment.start, segment.end),
                "confidence": round(segment.confidence, 3),
            }
            for segment in segments
        ]
        for name, (_, segments) in zip(names, videos, strict=True)
    }
    return json.dumps({"classes": classes, "labels": found}, indent=2)


def short_names(videos: Sequence[str]) -> list[str]:
    """Each video's path from the folder that all share, without suffix unless two would be called alike."""
    files = [Path(video).absolute() for video in videos]
    shared = os.path.commonpath([file.parent for file in files])
    stems = [file.relative_to(shared).with_suffix("").as_posix() for file in files]
    return [
        stem if stems.count(stem) == 1 else file.relative_to(shared).as_posix()
        for stem, file in zip(stems, files, strict=True)
    ]


def to_vtt(video: Annotated) -> str:
    """A cue per segment: its name and how sure it is."""
    cues = [
        f"{_clock(s.start)} --> {_clock(s.end)}\n{_cue_text(s.label)} {s.confidence:.0%}"
        for s in video.segments
    ]
    return "\n\n".join(["WEBVTT", *cues]) + "\n"


def _clock(seconds: float) -> str:
    thousandths = round(seconds * 1000)
    minutes, rest = divmod(thousandths, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"


def _cue_text(label: str) -> str:
    plain = " ".join(label.split())
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _rounded(*numbers: float) -> list[float]:
    return [round(number, 3) for number in numbers]


TOGETHER: Mapping[str, Callable[[Sequence[Annotated]], str]] = {
    "csv": to_csv,
    "json": to_json,
    "label-studio": to_label_studio,
    "fiftyone": to_fiftyone,
}
"""Formats that hold any number of videos."""

SUFFIXES = {
    "csv": ".csv",
    "json": ".json",
    "label-studio": ".json",
    "fiftyone": ".json",
    "vtt": ".vtt",
    "mp4": ".mp4",
}
"""Every format and the suffix of its files. A suffix alone means the first format that has it."""


def choose_format(path: Path, name: str | None = None) -> str:
    """The format that is named, or that the suffix means.

    Raises:
        ExportError: There is no such format, or its files have another suffix.
    """
    known = ", ".join(SUFFIXES)
    suffix = path.suffix.lower()
    if name is None:
        meant = next((form for form, end in SUFFIXES.items() if end == suffix), None)
        if meant is None:
            endings = ", ".join(dict.fromkeys(SUFFIXES.values()))
            raise ExportError(f"{path} must end in {endings}, or give --format, one of {known}")
        return meant
    if name not in SUFFIXES:
        raise ExportError(f"format {name!r} is unknown; choose from {known}")
    if suffix != SUFFIXES[name]:
        raise ExportError(f"{path} is to hold {name} and must end in {SUFFIXES[name]}")
    return name
