"""A long run may be stopped at any moment: nothing is lost, nothing is done twice, nothing is mixed up."""

import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from openfsar.classifier import FewShotVideoClassifier, Labelled
from openfsar.cli import predict as verb
from openfsar.cli.journal import Journal, fingerprint, journal_path
from openfsar.cli.main import main
from openfsar.methods.frames import FrameMethod
from openfsar.video import write_video

PROGRAM = """
import hashlib, os, signal, sys
from openfsar.cli.main import main
from openfsar.methods.frames import FrameMethod

log, stop, *argv = sys.argv[1:]
encode, calls = FrameMethod.encode, []

def counted(self, clips, text=None):
    calls.append(len(clips))
    if len(calls) == int(stop):
        os.kill(os.getpid(), signal.SIGKILL)
    with open(log, "a") as file:
        file.writelines(hashlib.sha256(clip.numpy().tobytes()).hexdigest() + "\\n" for clip in clips)
    return encode(self, clips, text)

FrameMethod.encode = counted
sys.exit(main(argv))
"""
"""The command line, which kills itself in a certain call of the encoder and logs every clip before it."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven videos and one that cannot be read."""
    folder = tmp_path_factory.mktemp("many")
    for number in range(7):
        colour = torch.tensor([30 * number, 200 - 20 * number, 90], dtype=torch.uint8)
        write_video(folder / f"{number}.mp4", colour.view(3, 1, 1).expand(4, 3, 32, 32), fps=4.0)
    (folder / "3-broken.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def model(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fitted") / "model"
    pairs = [f"{label}={videos / f'{number}.mp4'}" for label, number in (("a", 0), ("b", 6))]
    assert main(["fit", *pairs, "-o", str(out), "--frames", "2"]) == 0
    return out


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A digest of every clip that was encoded in this process."""
    seen: list[str] = []
    encode = FrameMethod.encode

    def counted(self: FrameMethod, clips: torch.Tensor, text: torch.Tensor | None = None) -> Any:
        seen.extend(hashlib.sha256(clip.numpy().tobytes()).hexdigest() for clip in clips)
        return encode(self, clips, text)

    monkeypatch.setattr(FrameMethod, "encode", counted)
    return seen


def naming(model: Path, videos: Path, out: Path) -> list[str]:
    return ["predict", str(model), str(videos), "-o", str(out), "--batch", "2"]


@pytest.mark.slow
def test_a_killed_run_goes_on_without_encoding_anything_twice(
    model: Path, videos: Path, encoded: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, out, log = tmp_path / "whole.csv", tmp_path / "labels.csv", tmp_path / "log"
    assert main(naming(model, videos, whole)) == 0
    every = encoded[:]
    assert len(every) == len(set(every)) == 7
    encoded.clear()

    words = [sys.executable, "-c", PROGRAM, str(log), "3", *naming(model, videos, out)]
    done = subprocess.run(words, capture_output=True, timeout=120)
    assert done.returncode == -9
    assert not out.exists()  # nothing half-finished has the name of the whole
    journal = journal_path(out)
    kept = [json.loads(line)["answer"]["file"] for line in journal.read_text().splitlines()]
    assert [Path(file).name for file in kept] == ["0.mp4", "1.mp4", "2.mp4", "3-broken.mp4"]
    with journal.open("a") as file:
        file.write('{"model": "half a li')

    capsys.readouterr()
    assert main(naming(model, videos, out)) == 0
    assert "3 of 8 videos were named before" in capsys.readouterr().err
    assert log.read_text().split() + encoded == every
    assert out.read_text() == whole.read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["log", out.name, whole.name])


def test_an_interrupted_run_says_how_to_go_on_and_tells_json_readers_everything(
    model: Path,
    videos: Path,
    encoded: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, encode = tmp_path / "labels.jsonl", FrameMethod.encode

    def tired(self: FrameMethod, clips: torch.Tensor, text: torch.Tensor | None = None) -> Any:
        if len(encoded) == 3:
            raise KeyboardInterrupt
        return encode(self, clips, text)

    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(FrameMethod, "encode", tired)
        assert main([*naming(model, videos, out), "--json"]) == 130
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 4 and "stopped with 5 of 8 videos to go" in printed.err
    assert main([*naming(model, videos, out), "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(encoded) == len(set(encoded)) == 7
    assert sorted(record["file"] for record in told) == [str(p) for p in sorted(videos.iterdir())]
    assert sorted(out.read_text().splitlines()) == sorted(json.dumps(record) for record in told)


def test_a_new_recording_and_a_new_model_are_given_new_answers(videos: Path, tmp_path: Path) -> None:
    video, other = tmp_path / "video.mp4", tmp_path / "other.mp4"
    for path in (video, other):
        path.write_bytes((videos / "0.mp4").read_bytes())
    answer = {"file": "as it was called then", "label": "a", "error": None}
    place = tmp_path / "out.csv.partial.jsonl"
    with Journal(place, "model one", [video, other]) as journal:
        journal.add(video, answer)
        assert journal.missing == [other]
    with Journal(place, "model two", [video]) as journal:
        assert journal.missing == [video]
        journal.add(video, answer | {"label": "b"})
    with Journal(place, "model one", [video]) as journal:  # both are kept apart
        assert journal.missing == [] and list(journal.answers()) == [answer | {"file": str(video)}]
    os.utime(video, ns=(0, 0))
    with Journal(place, "model one", [video]) as journal:
        assert journal.missing == [video]


def test_what_could_not_be_read_is_tried_again_and_reported_if_it_fails_again(tmp_path: Path) -> None:
    place, video = tmp_path / "out.jsonl", tmp_path / "not yet here.mp4"
    with Journal(place, "m", [video]) as journal:
        journal.add(video, {"label": None, "error": "does not exist"})
        assert journal.missing == [video]
        assert [record["error"] for record in journal.answers()] == ["does not exist"]
        journal.add(video, {"label": "a", "error": None})
        assert journal.missing == [] and [record["label"] for record in journal.answers()] == ["a"]
        journal.remove()
    with Journal(place, "m", [video]) as journal:
        assert journal.missing == [video]
    assert list(tmp_path.iterdir()) == []  # an empty journal goes by itself


@settings(deadline=None, max_examples=40)
@given(cut=st.integers(0, 400), dirt=st.binary(max_size=8))
def test_a_file_cut_anywhere_keeps_every_whole_line(
    cut: int, dirt: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    names, place = [folder / name for name in "abcd"], folder / "journal"
    with Journal(place, "m", names) as journal:
        for name in names:
            journal.add(name, {"label": name.name, "error": None})
    content = place.read_bytes()
    rest = content[:cut] + dirt.replace(b"\n", b"")
    place.write_bytes(rest)
    whole = rest.count(b"\n")
    with Journal(place, "m", names) as journal:
        # the last whole line counts; one that dirt was put into at its end has lost its line break
        assert journal.missing == names[whole:]
        for name in journal.missing:
            journal.add(name, {"label": name.name, "error": None})
        assert [record["label"] for record in journal.answers()] == list("abcd")
    assert [json.loads(line)["answer"]["label"] for line in place.read_bytes().splitlines()] == list("abcd")


def test_a_refitted_model_is_another_one(model: Path, videos: Path, tmp_path: Path) -> None:
    classifier = FewShotVideoClassifier.load(model)
    before = fingerprint(model)
    classifier.save(tmp_path / "copy")
    assert fingerprint(tmp_path / "copy") == before
    classifier.add_examples("a", videos / "1.mp4").save(tmp_path / "copy")
    assert fingerprint(tmp_path / "copy") != before


def test_memory_does_not_grow_with_the_number_of_videos(tmp_path: Path) -> None:
    labels = [f"class {number}" for number in range(100)]
    chances = np.full(100, 0.01)

    def peak(count: int) -> int:
        videos = [tmp_path / str(number) for number in range(count)]
        with Journal(tmp_path / str(count), "m", videos) as journal:

            def stream(given: list[Path]) -> Iterator[Labelled]:
                return (Labelled(video, "class 0", chances) for video in given)

            classifier = cast(FewShotVideoClassifier, SimpleNamespace(stream=stream))
            tracemalloc.start()
            counts = verb._name_on(classifier, journal, labels, lambda record: None)
            with open(tmp_path / "out.csv", "wb") as file:
                verb.WRITERS[".csv"](file, journal.answers(), labels)
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert counts["named"] == count
        return found

    few, many = peak(20), peak(220)
    assert many - few < 200 * 1_000  # a record of 100 classes takes more than ten times that
