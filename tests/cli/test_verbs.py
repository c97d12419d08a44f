"""Data, training and evaluation by the command line, on a handful of tiny videos."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from openfsar.cli.demo import ACTIONS
from openfsar.cli.main import main
from openfsar.data.manifest import Manifest, VideoRecord, read_manifest, write_manifest
from openfsar.engine.recipe import Recipe
from openfsar.toy.dataset import TOY_SETS
from openfsar.video import write_video

CLASSES = {
    "train": ("red", "green", "blue"),
    "val": ("yellow", "cyan"),
    "test": ("white", "purple", "black"),
}
COLOURS = {
    **{"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250), "yellow": (250, 250, 0)},
    **{"cyan": (0, 250, 250), "white": (250, 250, 250), "purple": (250, 0, 250), "black": (0, 0, 0)},
}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest with splits, beside a folder per class."""
    folder = tmp_path_factory.mktemp("colours")
    records = []
    for split, names in CLASSES.items():
        for name in names:
            (folder / name).mkdir()
            for seed in range(3):
                noise = torch.randint(
                    0, 40, (6, 3, 32, 40), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
                )
                pixels = torch.tensor(COLOURS[name], dtype=torch.uint8).view(3, 1, 1).maximum(noise)
                write_video(folder / name / f"{seed}.mp4", pixels, fps=6.0)
                records.append(VideoRecord(folder / name / f"{seed}.mp4", name, split))
    write_manifest(Manifest(folder, tuple(records)), folder / "manifest.csv")
    return folder


def test_check_lists_the_broken_and_writes_the_rest(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("red", "blue"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "good.mp4").write_bytes((videos / name / "0.mp4").read_bytes())
    (tmp_path / "red" / "cut.mp4").write_bytes((videos / "red" / "0.mp4").read_bytes()[:200])
    assert main(["data", "check", str(tmp_path), "--workers", "1"]) == 0
    printed = capsys.readouterr()
    assert "2 good, 1 broken" in printed.out and "cut.mp4" in printed.err
    clean = read_manifest(tmp_path / "manifest.clean.csv")
    assert sorted((r.path.name, r.label) for r in clean.records) == [
        ("good.mp4", "blue"),
        ("good.mp4", "red"),
    ]
    assert "cut.mp4: " in (tmp_path / "manifest.clean.broken.txt").read_text()


def test_cache_extracts_the_frames_once(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["data", "cache", str(videos), str(tmp_path), "--frames", "4", "--workers", "0"]) == 0
        assert f"24 videos -> {tmp_path}" in capsys.readouterr().out
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_eval_measures_a_method_by_name_beside_zero_shot(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.csv"
    options = ["--data", str(videos), "--way", "3", "--episodes", "40", "--results", str(results)]
    assert main(["eval", "protonet", *options, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [entry["method"] for entry in found] == ["protonet", "zero-shot"]
    assert found[0]["classes"] == sorted(CLASSES["test"])
    assert found[0]["accuracy"] > 0.9  # colours are not hard to tell apart
    assert found[0]["episode_hash"] == found[1]["episode_hash"]
    assert main(["eval", "protonet", *options]) == 0
    table = capsys.readouterr().out
    assert "3-way 1-shot" in table and found[0]["episode_hash"] in table
    assert f"{100 * found[0]['accuracy']:.2f} ± {100 * found[0]['interval']:.2f}" in table
    with results.open(newline="") as file:
        assert [row["method"] for row in csv.DictReader(file)] == ["protonet", "zero-shot"] * 2


def test_eval_can_choose_the_share_of_the_names_first(
    videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(videos), "--way", "2", "--episodes", "20", "--choose-text-share"]
    assert main(["eval", "protonet", *options]) == 0
    assert "share of the class names: 0" in capsys.readouterr().out
    assert main(["eval", "zero-shot", *options]) == 1
    assert "leave out --choose-text-share" in capsys.readouterr().err


def test_eval_without_data_says_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "otam"]) == 1
    assert "give --data" in capsys.readouterr().err


def test_a_recipe_is_trained_evaluated_and_fitted_on(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("otam", str(videos), way=3, query=2, eval_way=2, frames=4, steps=9, workers=0)
    recipe.save(tmp_path / "small.yaml")
    monkeypatch.chdir(tmp_path)
    changes = ["steps=2", "eval_episodes=20", "eval_every=1"]
    assert main(["train", "small.yaml", *changes]) == 0
    run = next(Path("runs").iterdir())
    assert str(run) in capsys.readouterr().out
    assert main(["train", "small.yaml", *changes]) == 0  # nothing left to do
    assert main(["train", "small.yaml", "stps=2", "-o", "other"]) == 1
    assert "did you mean 'steps'" in capsys.readouterr().err and not Path("other").exists()
    assert main(["eval", str(run), "--way", "3", "--episodes", "20", "--results", "r.csv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["split"] == "test"
    with Path("r.csv").open(newline="") as file:
        assert [row["recipe"] for row in csv.DictReader(file)] == [recipe.label, ""]
    pairs = [f"{name}={videos / name}" for name in CLASSES["test"]]
    assert main(["fit", *pairs, "--model", str(run), "-o", "model"]) == 0
    assert main(["predict", "model", str(videos / "purple"), "-o", "labels.json"]) == 0
    assert [r["label"] for r in json.loads(Path("labels.json").read_text())] == ["purple"] * 3


@pytest.fixture
def small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toy-motion with 19 of its 100 actions; the files of these are those of the whole set."""
    classes = TOY_SETS["toy-motion"].classes
    fewer = {"train": classes["train"][:6], "val": classes["val"][:6]}
    fewer["test"] = tuple(a for a in classes["test"] if a in ACTIONS or a in classes["test"][:3])
    monkeypatch.setitem(TOY_SETS, "toy-motion", replace(TOY_SETS["toy-motion"], classes=fewer))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_tells_its_story_in_place_of_an_older_one(
    small_world: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    for old in ("run/ma-fsar/last.pt", "fresh/old.mp4", "model/classifier.json"):  # none of them can be read
        (out / old).parent.mkdir(parents=True)
        (out / old).write_text("of an earlier demo")
    words = ["--videos", "2", "--steps", "1", "--episodes", "50", "--workers", "1"]
    assert main(["demo", *words, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "of 15 right" in said and said.count(" s  ") >= 12
    assert "trainable parameters" in said
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 7 and page.count("video-") == 15
    for system in ("zero-shot", "protonet", "otam", "clip-fsar", "ma-fsar"):
        assert f"<th>{system}<span" in page
    assert len(list((out / "fresh").iterdir())) == 15


def test_eval_names_known_and_new_classes_without_examples(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.csv"
    options = ["--data", str(videos), "--task", "base-to-novel", "--views", "2", "--results", str(results)]
    assert main(["eval", "zero-shot", *options, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    known, new = found["known"]["text"], found["new"]["text"]
    assert known["classes"] == sorted(CLASSES["train"]) and new["classes"] == sorted(CLASSES["test"])
    assert (known["videos"], new["videos"], known["views"]) == (3, 9, 2)
    (mean, _), a, b = found["harmonic_mean"]["text"], known["accuracy"], new["accuracy"]
    assert mean == pytest.approx(2 * a * b / max(a + b, 1e-9))
    with results.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["protocol"] for row in rows] == ["new classes, text, 2x1 views"] * 2
    assert [row["way"] for row in rows] == ["3", "3"]


def test_eval_prints_a_line_per_system_and_one_per_class(
    videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "protonet", "--data", str(videos), "--task", "supervised"]) == 0
    printed = capsys.readouterr().out
    assert "3 videos of 3 classes" in printed and "new" not in printed
    for word in ("protonet", "zero-shot", *CLASSES["train"]):
        assert f"\n{word}" in printed


def test_eval_names_all_videos_of_data_without_splits(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("red", "white"):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "own" / name / f"{i}.mp4").write_bytes((videos / name / f"{i}.mp4").read_bytes())
    options = ["--data", str(tmp_path / "own"), "--split", "", "--task"]
    assert main(["eval", "zero-shot", *options, "supervised", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["known"]["text"]["classes"] == ["red", "white"] and found["known"]["text"]["videos"] == 4
    assert main(["eval", "zero-shot", *options, "base-to-novel"]) == 1
    assert "needs a split of new classes" in capsys.readouterr().err


def test_videos_of_the_same_classes_in_several_splits_are_no_few_shot_data(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        VideoRecord(videos / name / f"{i}.mp4", name, split)
        for name in CLASSES["train"]
        for i, split in enumerate(("train", "val", "test"))
    ]
    write_manifest(Manifest(tmp_path, tuple(records)), tmp_path / "manifest.csv")
    assert main(["eval", "protonet", "--data", str(tmp_path), "--way", "3"]) == 1
    assert "class 'blue' and 2 more are in several splits" in capsys.readouterr().err
    assert main(["eval", "zero-shot", "--data", str(tmp_path), "--task", "supervised"]) == 0


def test_a_recipe_of_clips_is_trained_and_every_head_is_measured(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe("m2-clip", str(videos), training="clips", batch=3, frames=2, steps=2, workers=0)
    recipe.save(tmp_path / "clips.yaml")
    monkeypatch.chdir(tmp_path)
    assert main(["train", "clips.yaml", "lr_factors.encoder.text_tower=0.5", "-o", "run"]) == 0
    assert "accuracy on the val videos" in capsys.readouterr().err
    assert main(["eval", "run", "--results", "r.csv", "--json"]) == 0  # as it was trained: supervised
    first, zero_shot = json.loads(capsys.readouterr().out)
    assert list(first["known"]) == ["text", "visual", "average"] and list(zero_shot["known"]) == ["text"]
    with Path("r.csv").open(newline="") as file:
        rows = [(row["recipe"], row["protocol"]) for row in csv.DictReader(file)]
    heads = ("text", "visual", "average")
    known = [(recipe.label, f"known classes, {head}, 1x1 views") for head in heads]
    assert rows == [*known, ("", "new classes, text, 1x1 views")]
    assert main(["eval", "run", "--task", "base-to-novel"]) == 0
    printed = capsys.readouterr().out
    assert "m2-clip, average" in printed and "harmonic %" in printed
    assert main(["eval", "run", "--task", "few-shot", "--way", "3", "--episodes", "20", "--json"]) == 0
    assert [entry["way"] for entry in json.loads(capsys.readouterr().out)] == [3, 3]
