"""The answers of a long run, line by line, beside the file they will become: what a stopped run goes on from.

A line belongs to a video as it was (path, size, time of change) and to a model as it was, so that neither a
new recording under an old name nor a refitted model is given an old answer. A line that was cut by a kill is
forgotten. Answers stay on disk: memory holds the name and the place of each.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Record = dict[str, Any]
"""What is known of one video; its ``error`` is None where the video could be read."""


def journal_path(out: Path) -> Path:
    """Where the answers lie until ``out`` is complete."""
    return out.with_name(f"{out.name}.partial.jsonl")


def fingerprint(folder: Path) -> str:
    """Tells a fitted model from every other: its records name weights and examples by their content."""
    from openfsar import hub
    from openfsar.classifier import storage

    digest = hashlib.sha256()
    for name in (hub.RECORD, storage.RECORD):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:16]


class Journal:
    """What one model answered for these videos, in a file that outlives the process."""

    def __init__(self, path: Path, model: str, videos: Sequence[Path]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.model = path, model
        self.keys = {video: _key(video) for video in videos}
        self.places: dict[str, int] = {}
        """Where in the file the answer to a video begins."""
        self.named: set[str] = set()
        """Videos with an answer; those that could not be read are tried again."""
        self.file = open(path, "a+b")
        self._read()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.path.exists() and self.path.stat().st_size == 0:
            self.path.unlink()

    def _read(self) -> None:
        """Find the answers of this model, and cut off what a kill left half-written."""
        wanted = set(self.keys.values())
        self.file.seek(0)
        end = 0
        for line in self.file:
            place, end = end, end + len(line)
            if not line.endswith(b"\n"):
                self.file.truncate(place)
                break
            try:
                entry = json.loads(line)
                key, known = entry["video"], entry["model"] == self.model and entry["video"] in wanted
                if known:
                    self._place(key, place, named=entry["answer"]["error"] is None)
            except (ValueError, KeyError, TypeError):  # a crash of the machine can leave anything
                continue

    def _place(self, key: str, place: int, *, named: bool) -> None:
        self.places[key] = place
        if named:
            self.named.add(key)

    @property
    def missing(self) -> list[Path]:
        """The videos that have no answer yet."""
        return [video for video, key in self.keys.items() if key not in self.named]

    def add(self, video: Path, answer: Record) -> None:
        """Keep an answer; from now on it outlives the process."""
        key = self.keys[video]
        place = self.file.seek(0, os.SEEK_END)
        self.file.write(json.dumps({"model": self.model, "video": key, "answer": answer}).encode() + b"\n")
        self.file.flush()
        self._place(key, place, named=answer["error"] is None)

    def answers(self) -> Iterator[Record]:
        """Of the videos that have been added, in order, one at a time, under the names they have now."""
        for video, key in self.keys.items():
            if key in self.places:
                self.file.seek(self.places[key])
                yield json.loads(self.file.readline())["answer"] | {"file": str(video)}

    def remove(self) -> None:
        """Forget everything, once it is written elsewhere."""
        self.path.unlink(missing_ok=True)


def _key(video: Path) -> str:
    """A video as it is at this moment."""
    place = str(video.absolute())
    try:
        about = video.stat()
    except OSError:  # it will be reported when it is read
        return place
    return f"{place}|{about.st_size}|{about.st_mtime_ns}"
