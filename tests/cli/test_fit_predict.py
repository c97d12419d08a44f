"""From a folder of clips to named videos, by the command line alone."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import get_args

import pytest
import torch

from openfsar.classifier.calibration import OWN
from openfsar.cli.fit import Prompt
from openfsar.cli.footage import FootageError, find_examples, find_videos
from openfsar.cli.main import main
from openfsar.encoders.prompts import TEMPLATES
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
    model: Path, fresh: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    assert "1 of 4 videos could not be read" in printed.err


def test_csv_and_json_hold_every_probability_and_every_file(model: Path, fresh: Path, tmp_path: Path) -> None:
    table, plain, lines = (tmp_path / "new" / f"labels.{suffix}" for suffix in ("csv", "json", "jsonl"))
    for out in (table, plain, lines):
        assert main(["predict", str(model), str(fresh), "-o", str(out)]) == 0
    assert sorted(p.name for p in table.parent.iterdir()) == ["labels.csv", "labels.json", "labels.jsonl"]
    records = json.loads(plain.read_text())
    assert [json.loads(line) for line in lines.read_text().splitlines()] == records
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = ["a, upright.mp4", "b level.mp4", "broken.mp4", "[c] upright.MP4"]
    assert [Path(r["file"]).name for r in records] == [Path(r["file"]).name for r in rows] == names
    assert [r["label"] for r in records] == ["upright", "level", None, "upright"]
    assert [r["label"] for r in rows] == ["upright", "level", "", "upright"]
    for row, record in zip(rows, records, strict=True):
        if record["label"] is None:
            assert "broken.mp4" in record["error"] and row["error"] == record["error"]
            assert record["nearest"] is record["probability"] is record["probabilities"] is None
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


def test_videos_are_found_once_in_folders_and_named_files_are_taken_as_they_are(
    fresh: Path, tmp_path: Path
) -> None:
    found = find_videos([fresh])
    assert [p.name for p in found] == ["a, upright.mp4", "b level.mp4", "broken.mp4", "[c] upright.MP4"]
    assert find_videos([fresh, fresh / "b level.mp4", fresh / "deep"]) == found
    assert find_videos([fresh / "notes.txt", fresh / "b level.mp4"]) == [
        fresh / "notes.txt",
        fresh / "b level.mp4",
    ]
    for name in ("._a.mp4", ".trash/b.mp4", "c.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert find_videos([tmp_path]) == [tmp_path / "c.mp4"]


def test_examples_add_up_over_folders_and_pairs(
    clips: Path, fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    groups = find_examples([str(clips), f"level={fresh / 'b level.mp4'}", f"new={fresh / 'deep'}"])
    assert {name: len(group) for name, group in groups.items()} == {"level": 4, "upright": 3, "new": 1}
    for wrong, message in (
        ([str(clips / "upright")], "no folders inside"),
        (["nonsense"], "neither"),
        (["=a"], "neither"),
        ([str(clips), f"other={clips / 'level' / '0.mp4'}"], "given as 'level' and as 'other'"),
    ):
        with pytest.raises(FootageError, match=message):
            find_examples(wrong)
    assert capsys.readouterr().err == ""
    (tmp_path / "wave").symlink_to(clips / "level")
    (tmp_path / "loose.mp4").touch()
    assert list(find_examples([str(tmp_path)])) == ["wave"]
    assert "skipped: " in (err := capsys.readouterr().err) and "loose.mp4" in err


def test_bad_examples_are_all_listed_and_the_rest_is_learnt(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "clips"
    shutil.copytree(clips, own)
    (own / "level" / "cut.mp4").write_bytes((clips / "level" / "0.mp4").read_bytes()[:300])
    (own / "upright" / "empty.mp4").touch()
    (own / "nothing").mkdir()
    (own / "nothing" / "text.mp4").write_text("no video")
    out = tmp_path / "model"
    assert main(["fit", str(own), "-o", str(out), "--json"]) == 0
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert told["examples"] == {"level": 3, "upright": 3} and told["model"] == str(out)
    assert [Path(bad["file"]).name for bad in told["skipped"]] == ["cut.mp4", "text.mp4", "empty.mp4"]
    assert all(Path(bad["file"]).name in bad["error"] for bad in told["skipped"])
    assert all(name in printed.err for name in ("cut.mp4", "text.mp4", "empty.mp4", "action 'nothing'"))
    assert told["calibration"]["clips"] == 6 and told["reject"] == 0.95 and told["tuned"] is None
    assert json.loads((out / "classifier.json").read_text())["names"] == ["level"] * 3 + ["upright"] * 3


def test_too_little_to_learn_from_lists_what_is_bad_and_writes_nothing(
    clips: Path, fresh: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [f"level={clips / 'level'}", f"other={fresh / 'broken.mp4'}", f"third={fresh / 'notes.txt'}"]
    assert main(["fit", *pairs, "-o", str(tmp_path / "model")]) == 1
    err = capsys.readouterr().err.splitlines()
    assert "broken.mp4" in err[0] and "notes.txt" in err[1]
    assert err[-1].startswith("error: 1 of 3 actions")
    assert list(tmp_path.iterdir()) == []


def test_a_strange_video_is_none_of_these_unless_every_video_is_to_be_named(
    model: Path, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = tmp_path / "strange.mp4"
    write_video(strange, torch.full((8, 3, 64, 64), 250, dtype=torch.uint8), fps=4.0)
    capsys.readouterr()
    assert main(["predict", str(model), str(strange), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["label"] == "none of these" and told["nearest"] in ("level", "upright")
    assert told["probability"] == max(told["probabilities"].values())
    assert main(["predict", str(model), str(strange)]) == 0
    row = re.split(r"  +", capsys.readouterr().out.splitlines()[1].strip())
    assert row == [str(strange), "none of these", f"{told['nearest']} {told['probability']:.0%}"]
    for extra, label, said in (
        (["--reject", "never"], told["nearest"], "never said"),
        (["--background", str(strange)], "none of these", "more like the 1 background"),
    ):
        out = tmp_path / extra[-1].replace("/", "")
        assert main(["fit", str(clips), "-o", str(out), *extra]) == 0
        assert said in capsys.readouterr().out
        assert main(["predict", str(out), str(strange), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["label"] == label


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--reject", "background"], "--background FOLDER"),
        (["--reject", "1.5"], "between 0 and 1"),
        (["--reject", "0"], "say never"),
        (["--text-share", "2"], "between 0 (clips alone) and 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wishes_that_cannot_be_granted_are_refused(
    extra: list[str], said: str, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(clips), "-o", str(tmp_path / "model"), *extra]) == 1
    assert said in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_every_prompt_there_is_can_be_chosen() -> None:
    assert set(get_args(Prompt)) == {OWN, *TEMPLATES}


def test_an_action_cannot_be_called_none_of_these(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [f"none of these={clips / 'level'}", f"a={clips / 'upright'}"]
    assert main(["fit", *pairs, "-o", str(tmp_path / "model")]) == 1
    assert "--background" in capsys.readouterr().err


@pytest.mark.skipif(not KTH.is_dir(), reason="the real footage is not at hand")
def test_real_footage_goes_all_the_way(tmp_path: Path) -> None:
    videos = {action: sorted((KTH / action).iterdir()) for action in ("boxing", "running")}
    pairs = [f"{action}={video}" for action, group in videos.items() for video in group[:2]]
    assert main(["fit", *pairs, "-o", str(tmp_path / "model")]) == 0
    rest = [str(group[2]) for group in videos.values()]
    assert main(["predict", str(tmp_path / "model"), *rest, "-o", str(tmp_path / "labels.json")]) == 0
    records = json.loads((tmp_path / "labels.json").read_text())
    assert [record["file"] for record in records] == rest
    assert all(record["nearest"] in videos and record["error"] is None for record in records)


@pytest.mark.parametrize(("method", "random"), [("trx", True), ("otam", False)])
def test_a_method_that_nobody_trained_is_told_from_one_that_needs_no_training(
    method: str, random: bool, clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", str(clips), "--method", method, "--frames", "2", "-o", str(tmp_path / "m")]) == 0
    assert ("that nothing has trained" in capsys.readouterr().err) is random
