"""From a folder of clips to named videos, by the command line alone."""

import csv
import json
import re
from pathlib import Path

import pytest
import torch

from openfsar.cli.footage import FootageError, find_examples, find_videos
from openfsar.cli.main import main
from openfsar.video import write_video

KTH = Path(__file__).parents[3] / "shared" / "data" / "kth_mini"


def write_bar(path: Path, *, vertical: bool, seed: int) -> None:
    """Two seconds of a bright bar that crosses a noisy dark frame."""
    generator = torch.Generator().manual_seed(seed)
    frames = torch.randint(0, 60, (20, 3, 64, 80), generator=generator, dtype=torch.uint8)
    for t in range(20):
        if vertical:
            frames[t, 0, :, 2 + 3 * t : 12 + 3 * t] = 250
        else:
            frames[t, 2, 2 + 2 * t : 12 + 2 * t, :] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, frames, fps=10.0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for seed in range(3):
        write_bar(folder / "upright" / f"{seed}.mp4", vertical=True, seed=seed)
        write_bar(folder / "level" / f"{seed}.mp4", vertical=False, seed=seed)
    return folder


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos, one of them in a folder within, a broken one, and a file that is none."""
    folder = tmp_path_factory.mktemp("fresh")
    write_bar(folder / "a, upright.mp4", vertical=True, seed=10)
    write_bar(folder / "b level.mp4", vertical=False, seed=11)
    write_bar(folder / "deep" / "er" / "[c] upright.MP4", vertical=True, seed=12)
    (folder / "broken.mp4").write_text("no video")
    (folder / "notes.txt").write_text("not a video and not named as one")
    return folder


@pytest.fixture(scope="module")
def model(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "mine"
    assert main(["fit", str(clips), "-o", str(folder)]) == 0
    return folder


def test_a_table_names_every_video_and_the_broken_one_is_reported(
    model: Path, fresh: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main(["predict", str(model), str(fresh)]) == 0
    printed = capsys.readouterr()
    head, *rows = [re.split(r"  +", line.strip()) for line in printed.out.splitlines()]
    assert head == ["file", "label", "probability", "next best"]
    assert [(Path(file).name, label) for file, label, _, _ in rows] == [
        ("a, upright.mp4", "upright"),
        ("b level.mp4", "level"),
        ("[c] upright.MP4", "upright"),  # brackets are no markup
    ]
    assert "skipped: " in printed.err and "broken.mp4" in printed.err and "Traceback" not in printed.err


def test_csv_and_json_hold_every_probability_and_every_file(model: Path, fresh: Path, tmp_path: Path) -> None:
    table, plain = tmp_path / "new" / "labels.csv", tmp_path / "new" / "labels.json"
    assert main(["predict", str(model), str(fresh), "-o", str(table)]) == 0
    assert main(["predict", str(model), str(fresh), "-o", str(plain)]) == 0
    assert sorted(p.name for p in table.parent.iterdir()) == ["labels.csv", "labels.json"]
    records = json.loads(plain.read_text())
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    names = ["a, upright.mp4", "b level.mp4", "broken.mp4", "[c] upright.MP4"]
    assert [Path(r["file"]).name for r in records] == [Path(r["file"]).name for r in rows] == names
    assert [r["label"] for r in records] == ["upright", "level", None, "upright"]
    assert [r["label"] for r in rows] == ["upright", "level", "", "upright"]
    for row, record in zip(rows, records, strict=True):
        if record["label"] is None:
            assert "broken.mp4" in record["error"] and row["error"] == record["error"]
            continue
        chances = record["probabilities"]
        assert set(chances) == {"upright", "level"} and sum(chances.values()) == pytest.approx(1, abs=2e-6)
        assert record["probability"] == max(chances.values()) == chances[record["label"]]
        assert {name: float(row[f"p({name})"]) for name in chances} == chances


def test_nothing_readable_is_an_error(
    model: Path, fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(model), str(fresh / "broken.mp4")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: none of the 1 videos")


def test_pairs_teach_the_same_as_folders(clips: Path, model: Path, fresh: Path, tmp_path: Path) -> None:
    pairs = [
        f"upright={clips / 'upright'}",
        *(f"level={clip}" for clip in sorted((clips / "level").iterdir())),
    ]
    assert main(["fit", *pairs, "--out", str(tmp_path / "pairs")]) == 0
    for folder in (model, tmp_path / "pairs"):
        assert main(["predict", str(folder), str(fresh), "-o", str(tmp_path / f"{folder.name}.json")]) == 0
    assert (tmp_path / "mine.json").read_text() == (tmp_path / "pairs.json").read_text()


def test_fitting_again_replaces_the_model_and_leaves_nothing_else(clips: Path, tmp_path: Path) -> None:
    for method in ("otam", "protonet"):
        assert main(["fit", str(clips), "-o", str(tmp_path / "model"), "--method", method]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_fitted_model_can_teach_other_actions(
    model: Path, clips: Path, fresh: Path, tmp_path: Path
) -> None:
    out = tmp_path / "other"
    assert (
        main(
            [
                "fit",
                f"tall={clips / 'upright'}",
                f"wide={clips / 'level'}",
                "--model",
                str(model),
                "-o",
                str(out),
            ]
        )
        == 0
    )
    assert main(["predict", str(out), str(fresh), "-o", str(tmp_path / "labels.json")]) == 0
    labels = [record["label"] for record in json.loads((tmp_path / "labels.json").read_text())]
    assert labels == ["tall", "wide", None, "tall"]


def test_videos_are_found_in_folders_and_named_files_are_taken_as_they_are(fresh: Path) -> None:
    found = find_videos([fresh])
    assert [p.name for p in found] == ["a, upright.mp4", "b level.mp4", "broken.mp4", "[c] upright.MP4"]
    assert find_videos([fresh / "notes.txt", fresh / "b level.mp4"]) == [
        fresh / "notes.txt",
        fresh / "b level.mp4",
    ]


def test_examples_add_up_over_folders_and_pairs(clips: Path, fresh: Path) -> None:
    groups = find_examples([str(clips), f"level={fresh / 'b level.mp4'}", f"new={fresh / 'deep'}"])
    assert {name: len(group) for name, group in groups.items()} == {"level": 4, "upright": 3, "new": 1}
    for wrong, message in (
        (str(clips / "upright"), "no folders inside"),
        ("nonsense", "neither"),
        ("=a", "neither"),
    ):
        with pytest.raises(FootageError, match=message):
            find_examples([wrong])


@pytest.mark.skipif(not KTH.is_dir(), reason="the real footage is not at hand")
def test_real_footage_goes_all_the_way(tmp_path: Path) -> None:
    videos = {action: sorted((KTH / action).iterdir()) for action in ("boxing", "running")}
    pairs = [f"{action}={video}" for action, group in videos.items() for video in group[:2]]
    assert main(["fit", *pairs, "-o", str(tmp_path / "model")]) == 0
    rest = [str(group[2]) for group in videos.values()]
    assert main(["predict", str(tmp_path / "model"), *rest, "-o", str(tmp_path / "labels.json")]) == 0
    records = json.loads((tmp_path / "labels.json").read_text())
    assert [record["file"] for record in records] == rest
    assert all(record["label"] in videos and record["error"] is None for record in records)
