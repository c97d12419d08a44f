"""Episodes in a file: what another program reads, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from openfsar.data.dataset import VideoDataset
from openfsar.data.episodes import EpisodeError, EpisodePlan, EpisodeSampler
from openfsar.data.fixed import FixedEpisodes, video_names
from openfsar.data.manifest import Manifest, VideoRecord


def dataset(
    root: str = "home/set", *, classes: int = 4, videos: int = 4, split: str = "test"
) -> VideoDataset:
    names = [f"class {c}" for c in range(classes)]
    records = [
        VideoRecord(Path(root, name, f"{v}.mp4"), name, split) for name in names for v in range(videos)
    ]
    return VideoDataset(Manifest(Path(root), tuple(records)), split)


def drawn(**changes: int) -> FixedEpisodes:
    return FixedEpisodes.draw(
        dataset(), **{"way": 3, "shot": 2, "query": 1, "episodes": 20, "seed": 7, **changes}
    )


def test_they_are_the_samplers_own() -> None:
    plan = EpisodeSampler.of(dataset(), way=3, shot=2, query=1, seed=7).plan(20)
    assert drawn().plan.digest == plan.digest and drawn().shape == (3, 2, 1)
    assert drawn(seed=8).plan.digest != plan.digest


def test_numpy_and_json_are_all_another_program_needs(tmp_path: Path) -> None:
    drawn().save(tmp_path / "e.npz")
    parts = np.load(tmp_path / "e.npz")
    header = json.loads(parts["header"].item())
    assert header["videos"][0] == "class 0/0.mp4" and (header["split"], header["seed"]) == ("test", 7)
    plan = EpisodeSampler.of(dataset(), way=3, shot=2, query=1, seed=7).plan(20)
    for episode in range(20):
        for column in range(3):
            name = header["classes"][parts["classes"][episode, column]]
            shown = [header["videos"][row] for row in parts["support"][episode, column]]
            records = [dataset().records[row] for row in plan.support[episode, column].tolist()]
            assert shown == [f"{name}/{record.path.name}" for record in records]
            assert {record.label for record in records} == {name}
    assert header["digest"] == plan.digest


def test_the_same_episodes_make_the_same_bytes_and_come_back(tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        drawn().save(tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = FixedEpisodes.load(tmp_path / "a.npz")
    assert again.plan.digest == drawn().plan.digest and again.plan.support.dtype == torch.int64
    for name in ("videos", "labels", "classes", "data", "split", "seed"):
        assert getattr(again, name) == getattr(drawn(), name)
    assert EpisodePlan.load(tmp_path / "a.npz").digest == again.plan.digest  # the numbers alone
    again.check(dataset("moved/elsewhere/set"))  # the folder may move


def test_a_big_file_is_small(tmp_path: Path) -> None:
    videos = dataset(classes=24, videos=30)
    FixedEpisodes.draw(videos, way=5, shot=1, query=1, episodes=10_000).save(tmp_path / "e.npz")
    assert (tmp_path / "e.npz").stat().st_size < 300_000


def other(**changes: object) -> VideoDataset:
    """The same data set but for its first record."""
    first, *rest = dataset().records
    return VideoDataset(Manifest(Path("home/set"), (replace(first, **changes), *rest)), "test")


@pytest.mark.parametrize(
    ("videos", "difference"),
    [
        (dataset(classes=3), "'class 3/0.mp4' is missing here, and 3 more"),
        (dataset(videos=5), "'class 0/4.mp4' is new here, and 3 more"),
        (other(path=Path("home/set/x.mp4")), "'class 0/0.mp4' is missing here;"),
        (other(label="class 1"), "'class 0/0.mp4' is 'class 0' there and 'class 1' here"),
    ],
    ids=["fewer", "more", "renamed", "relabelled"],
)
def test_another_manifest_is_refused_by_its_difference(videos: VideoDataset, difference: str) -> None:
    with pytest.raises(EpisodeError, match=r"of the 16 videos of set test, not of set test with") as refused:
        drawn().check(videos)
    assert difference in str(refused.value)


def test_names_are_relative_to_the_manifest_where_they_can_be() -> None:
    records = (VideoRecord(Path("home/set/a/1.mp4"), "a"), VideoRecord(Path("home/far/2.mp4"), "b"))
    found = video_names(VideoDataset(Manifest(Path("home/set"), records)))
    assert found == ("a/1.mp4", str(Path("home/far/2.mp4").absolute()))


def spoilt(tmp_path: Path, **changes: object) -> Path:
    """A file in which some arrays, or entries of the header, are others."""
    arrays = drawn().arrays()
    header = json.loads(arrays["header"].item())
    for name, value in changes.items():
        if name in arrays:
            arrays[name] = value(arrays[name]) if callable(value) else value
        else:
            header[name] = value
    plan = EpisodePlan(*(torch.from_numpy(arrays[name]).long() for name in ("classes", "support", "query")))
    header["digest"] = changes.get("digest", plan.digest)
    path = tmp_path / "spoilt.npz"
    np.savez(path, **{**arrays, "header": np.array(json.dumps(header))})
    return path


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"digest": "0" * 16}, "the header says 0000000000000000"),
        ({"format": "episodes 9"}, "its format is 'episodes 9'"),
        ({"videos": ["a"]}, "1 videos have 16 labels"),
        ({"support": lambda x: x + 16}, "support has rows outside 0..15"),
        ({"query": lambda x: (x + 4) % 16}, "query has videos of another class than their column"),
        ({"query": None}, "asks for a video it shows"),
    ],
    ids=["digest", "format", "videos", "rows", "classes", "overlap"],
)
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict, reason: str) -> None:
    if changes.get("query", 0) is None:
        changes = {"query": drawn().arrays()["support"][:, :, :1]}
    with pytest.raises(EpisodeError, match="holds no episodes of the form") as refused:
        FixedEpisodes.load(spoilt(tmp_path, **changes))
    assert reason in str(refused.value)


def test_a_plan_without_names_is_refused(tmp_path: Path) -> None:
    drawn().plan.save(tmp_path / "plan.npz")
    with pytest.raises(EpisodeError, match="holds no episodes of the form"):
        FixedEpisodes.load(tmp_path / "plan.npz")
