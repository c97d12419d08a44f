"""A long video becomes a job: queued, followed, exported, cancelled, forgotten."""

import asyncio
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from plain import COLOURS, files, fresh, problem, service, teach, write_colour
from starlette.testclient import TestClient

from openfsar.serve import Limits, timelines
from openfsar.serve.metrics import Metrics
from openfsar.serve.model import Model
from openfsar.timeline import Timeline
from openfsar.video import write_video

SECONDS = 4


@pytest.fixture(scope="module")
def red_then_blue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of red, then of blue."""
    path = tmp_path_factory.mktemp("long") / "red then blue.mp4"
    frames = [
        torch.tensor(COLOURS[name], dtype=torch.uint8).view(1, 3, 1, 1).repeat(10 * SECONDS, 1, 32, 48)
        for name in ("red", "blue")
    ]
    write_video(path, torch.cat(frames), fps=10.0)
    return path


def follow(client: TestClient, key: str, *states: str) -> dict:
    """The job once it is in one of these states."""
    for _ in range(600):
        job = client.get(f"/api/timelines/{key}").json()
        if job["state"] in states:
            return job
        time.sleep(0.02)
    raise AssertionError(job)


def test_a_timeline_says_what_happens_when(tmp_path: Path, plain_clips: Path, red_then_blue: Path) -> None:
    with service(tmp_path) as client:
        problem(client.post("/api/timelines", files=files(red_then_blue)), 409)
        teach(client, plain_clips, "red", "blue")
        answer = client.post("/api/timelines?window=1", files=files(red_then_blue))
        assert answer.status_code == 202 and answer.json()["state"] in ("queued", "running")
        key = answer.json()["id"]
        job = follow(client, key, "done", "failed")
        assert (job["progress"], job["problem"], job["file"]) == (1.0, None, "red then blue.mp4")
        result = job["result"]
        assert result["seconds"] == pytest.approx(2 * SECONDS) and result["window"] == 1
        assert [segment["label"] for segment in result["segments"]] == ["red", "blue"]
        assert result["segments"][0]["end"] == pytest.approx(SECONDS, abs=0.5)
        scores = np.array([result["scores"][name] for name in ("red", "blue")])
        np.testing.assert_allclose(scores.sum(0), 1, atol=2e-3)
        assert scores.shape[1] == len(result["times"]) == len(result["known"])
        strict = client.get(f"/api/timelines/{key}?sure=1").json()["result"]["segments"]
        assert len(strict) < 2  # nothing is ever quite certain
        table = client.get(f"/api/timelines/{key}/export")
        assert table.headers["content-type"].startswith("text/csv")
        assert table.text.splitlines()[0] == "file,start,end,label,confidence"
        assert [line.split(",")[0] for line in table.text.splitlines()[1:]] == ["red then blue.mp4"] * 2
        assert client.get(f"/api/timelines/{key}/export?format=vtt").text.startswith("WEBVTT")
        for name in ("json", "label-studio", "fiftyone"):
            assert client.get(f"/api/timelines/{key}/export?format={name}").json()
        problem(client.get(f"/api/timelines/{key}/export?format=doc"), 422)
        assert client.delete(f"/api/timelines/{key}").status_code == 204
        problem(client.get(f"/api/timelines/{key}"), 404)
        assert list((tmp_path / ".model-uploads").iterdir()) == []


def test_a_video_of_the_servers_own_stays_where_it_is(
    tmp_path: Path, plain_clips: Path, red_then_blue: Path
) -> None:
    with service(tmp_path, paths=red_then_blue.parent) as client:
        teach(client, plain_clips, "red", "blue")
        answer = client.post("/api/timelines/paths", json={"path": red_then_blue.name})
        assert follow(client, answer.json()["id"], "done", "failed")["state"] == "done"
    assert red_then_blue.exists()


def test_what_is_no_long_video_is_refused_at_once(tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path, limits=Limits(video_seconds=0.5, video_bytes=100_000)) as client:
        teach(client, plain_clips, "red", "blue")
        problem(client.post("/api/timelines", files=files(names={"a.mp4": b"no video"})), 422)
        found = problem(client.post("/api/timelines", files=files(plain_clips / "red0.mp4")), 413)
        assert "lasts 1.0 s" in found["detail"]
        problem(client.post("/api/timelines", files=files(names={"a.mp4": b"x" * 100_001})), 413)
        problem(client.post("/api/timelines", data={"label": "x"}, files=[("", ("", b""))]), 422)
        problem(client.post("/api/timelines?window=0", files=files(plain_clips / "red0.mp4")), 422)
        assert list((tmp_path / ".model-uploads").iterdir()) == []


class Stuck:
    """Stands in for the work: goes on reporting until it is let go."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.running = 0

    def __call__(self, classifier, path, *, window, report) -> Timeline:
        self.running += 1
        report(0.25)
        while not self.release.wait(0.01):
            report(0.5)
        raise ZeroDivisionError("the work is wrong")


def test_jobs_wait_are_cancelled_and_fail_alone(
    tmp_path: Path, plain_clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Stuck()
    monkeypatch.setattr(timelines, "look_at", work)
    clip = write_colour(tmp_path / "clip.mp4", "red")
    with service(tmp_path, limits=Limits(queued=2, kept_seconds=0.3)) as client:
        teach(client, plain_clips, "red", "blue")
        keys = [client.post("/api/timelines", files=files(clip)).json()["id"] for _ in range(3)]
        found = follow(client, keys[0], "running")
        while (found := client.get(f"/api/timelines/{keys[0]}").json())["progress"] < 0.5:
            time.sleep(0.01)
        assert found["progress"] == 0.5 and found["seconds_left"] >= 0 and found["result"] is None
        assert [client.get(f"/api/timelines/{key}").json()["ahead"] for key in keys] == [0, 1, 2]
        full = client.post("/api/timelines", files=files(clip))
        assert problem(full, 429)["remedy"] and full.headers["retry-after"] == "30"
        problem(client.get(f"/api/timelines/{keys[0]}/export"), 409)
        assert client.delete(f"/api/timelines/{keys[1]}").status_code == 204  # one that waits
        assert client.delete(f"/api/timelines/{keys[0]}").status_code == 204  # the one at work
        follow(client, keys[2], "running")
        assert work.running == 2
        work.release.set()
        failed = follow(client, keys[2], "failed")
        assert failed["problem"]["status"] == 500 and "wrong" not in str(failed["problem"])
        assert list((tmp_path / ".model-uploads").iterdir()) == []
        time.sleep(0.4)
        problem(client.get(f"/api/timelines/{keys[2]}"), 404)  # forgotten


def test_a_server_that_stops_does_not_wait_for_a_long_video(
    tmp_path: Path, plain_clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timelines, "look_at", Stuck())
    with service(tmp_path) as client:
        teach(client, plain_clips, "red", "blue")
        key = client.post("/api/timelines", files=files(plain_clips / "red0.mp4")).json()["id"]
        follow(client, key, "running")
        start = time.monotonic()
    assert time.monotonic() - start < 5 and not (tmp_path / ".model-uploads").exists()


def test_neighbours_are_joined_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timelines, "POINTS", 3)
    chances = np.linspace(0, 1, 7, dtype=np.float32)
    found = Timeline(
        video="a.mp4",
        seconds=8.0,
        fps=10.0,
        labels=("up", "down"),
        window=2.0,
        stride=1.0,
        starts=np.arange(7, dtype=np.float64),
        probabilities=np.stack([chances, 1 - chances], 1),
        known=np.array([False, False, False, True, False, False, False]),
    )
    told = timelines.told(found, timelines.rules(0.5))
    assert told.times == [1.0, 4.0, 7.0] and told.known == [False, True, False]
    assert told.scores == {"up": [0.333, 0.833, 1.0], "down": [1.0, 0.5, 0.0]}


def test_the_timeline_is_made_by_the_classifier_as_it_was(tmp_path: Path, red_then_blue: Path) -> None:
    """What is taught meanwhile changes a copy."""
    clips = {name: [write_colour(tmp_path / f"{name}.mp4", name)] for name in ("red", "blue")}
    model = Model(fresh().fit(clips), tmp_path / "model", limits=Limits(), metrics=Metrics())
    before = model.classifier
    labels: list[tuple[str, ...]] = []

    def report(share: float) -> None:
        if not labels:
            labels.append(tuple(model.classifier.classes_.tolist()))
            asyncio.run(model.remove_class("red"))

    found = timelines.look_at(before, red_then_blue, window=1.0, report=report)
    assert found.labels == ("blue", "red") == labels[0]
    assert model.classifier.classes_.tolist() == ["blue"] and before.classes_.tolist() == ["blue", "red"]
