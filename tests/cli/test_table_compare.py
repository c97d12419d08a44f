"""Fixed episodes, several seeds, paired comparison and tables by the command line, on a few tiny videos."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from openfsar.cli.main import main
from openfsar.data.manifest import Manifest, VideoRecord, write_manifest
from openfsar.engine.results import COLUMNS, read_results
from openfsar.video import write_video

COLOURS = {"white": (250, 250, 250), "purple": (250, 0, 250), "black": (0, 0, 0), "grey": (110, 120, 120)}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of one split, beside a folder per class."""
    folder = tmp_path_factory.mktemp("colours")
    records = []
    for name, colour in COLOURS.items():
        for seed in range(3):
            noise = torch.randint(0, 40, (6, 3, 32, 40), generator=torch.Generator().manual_seed(seed))
            pixels = torch.tensor(colour).view(3, 1, 1).maximum(noise).to(torch.uint8)
            path = folder / name / f"{seed}.mp4"
            path.parent.mkdir(exist_ok=True)
            write_video(path, pixels, fps=6.0)
            records.append(VideoRecord(path, name, "test"))
    write_manifest(Manifest(folder, tuple(records)), folder / "manifest.csv")
    return folder


@pytest.fixture(scope="module")
def kept(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers of protonet and of the names, on two lists of episodes, with the table of results."""
    folder = tmp_path_factory.mktemp("kept")
    options = ["--data", str(videos), "--way", "3", "--episodes", "30", "--seeds", "0,4"]
    assert (
        main(["eval", "protonet", *options, "--outcomes", str(folder), "--results", str(folder / "r.csv")])
        == 0
    )
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(list(words)) == 1
    return capsys.readouterr().err


def test_episodes_of_a_file_are_those_of_the_seed(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "e.npz"
    sizes = ["--way", "3", "--shot", "2", "--episodes", "25"]
    said = run(capsys, "data", "episodes", str(videos), *sizes, "--seed", "3", "-o", str(path))
    assert "25 of 3-way 2-shot from 12 videos of 4 classes" in said
    eval_ = ["eval", "zero-shot", "--data", str(videos)]
    (asked,) = json.loads(run(capsys, *eval_, "--episodes-file", str(path), "--json"))
    (drawn,) = json.loads(run(capsys, *eval_, *sizes, "--seeds", "3", "--json"))
    for name in ("episode_hash", "accuracy", "way", "shot", "episodes", "seed", "confusion"):
        assert asked[name] == drawn[name]
    assert asked["episode_hash"] in said and json.loads(np.load(path)["header"].item())["seed"] == 3
    said = refused(capsys, *eval_, "--episodes-file", str(path), "--way", "3", "--seeds", "3")
    assert "says itself which tasks there are; leave out --way, --seeds" in said
    assert "name it e.npz" in refused(capsys, "data", "episodes", str(videos), "-o", str(tmp_path / "e.json"))
    (tmp_path / "own" / "red").mkdir(parents=True)
    (tmp_path / "own" / "red" / "0.mp4").write_bytes((videos / "white" / "0.mp4").read_bytes())
    other = ["eval", "zero-shot", "--data", str(tmp_path / "own"), "--split", ""]
    said = refused(capsys, *other, "--episodes-file", str(path))
    assert "'black/0.mp4' is missing here, and 11 more" in said


def test_every_seed_has_its_line_and_all_together_one(
    videos: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_results(kept / "r.csv")
    assert [(row["method"], row["seed"]) for row in rows] == [
        *(("protonet", "0"), ("protonet", "4"), ("zero-shot", "0"), ("zero-shot", "4")),
    ]
    assert rows[0]["episode_hash"] == rows[2]["episode_hash"] != rows[1]["episode_hash"]
    options = ["--data", str(videos), "--way", "3", "--episodes", "30", "--seeds"]
    printed = run(capsys, "eval", "zero-shot", *options, "4, 0")
    mean = (float(rows[2]["accuracy"]) + float(rows[3]["accuracy"])) / 2
    half = (float(rows[2]["interval"]) ** 2 + float(rows[3]["interval"]) ** 2) ** 0.5 / 2
    assert "30 episodes of each seed" in " ".join(printed.split())
    (line,) = [line.split() for line in printed.splitlines() if line.split()[:2] == ["zero-shot", "all"]]
    assert (float(line[2]), float(line[4])) == pytest.approx((mean, half), abs=0.011)
    assert "none twice" in refused(capsys, "eval", "zero-shot", *options, "0,0")


def test_all_classes_are_asked_at_once(
    videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(videos), "--task", "all-way", "--shot", "2", "--episodes", "20"]
    results = tmp_path / "r.csv"
    found = json.loads(run(capsys, "eval", "protonet", *options, "--json", "--results", str(results)))
    assert {(each["way"], each["shot"], each["episodes"]) for each in found} == {(4, 2, 20)}
    assert [row["protocol"] for row in read_results(results)] == ["cached, all-way"] * 2
    assert "4-way 2-shot (all classes)" in run(capsys, "eval", "protonet", *options)
    assert "leave out --way 3" in refused(capsys, "eval", "protonet", *options, "--way", "3")


def test_two_systems_are_compared_from_kept_answers_and_afresh(
    videos: Path, kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = f"{videos.name}-test-3-way-1-shot-seed"
    files = [
        str(kept / f"{name}-{place}-{seed}.npz") for name in ("protonet", "zero-shot") for seed in (0, 4)
    ]
    assert sorted(files) == sorted(map(str, kept.glob("*.npz")))
    found = json.loads(run(capsys, "compare", files[0], files[2], "--json"))
    rows = read_results(kept / "r.csv")
    accuracies = [float(rows[i]["accuracy"]) for i in (0, 2)]
    assert [100 * share for share in found["accuracy"]] == pytest.approx(accuracies, abs=0.01)
    assert found["difference"] == pytest.approx(found["accuracy"][0] - found["accuracy"][1])
    assert found["difference"] > 0.3 and found["p"] < 1e-4  # colours need an example, not a name
    assert found["names"] == ["protonet", "zero-shot"] and found["verdict"].startswith("protonet is ahead")
    data = ["--data", str(videos)]
    assert json.loads(run(capsys, "compare", files[0], "zero-shot", *data, "--json")) == found
    sizes = ["--way", "3", "--episodes", "30", "--seed", "0"]
    assert json.loads(run(capsys, "compare", "protonet", "zero-shot", *data, *sizes, "--json")) == found
    printed = " ".join(run(capsys, "compare", files[0], files[2]).split())
    assert f"{100 * found['difference']:+.2f}" in printed and found["episode_hash"] in printed
    for name in (*COLOURS, "other videos of these classes", "other classes"):
        assert name in printed
    same = json.loads(run(capsys, "compare", files[0], files[0], "--json"))
    assert (same["difference"], same["p"], same["verdict"]) == (0, 1, "no difference")
    assert "seed differ, 0 and 4" in refused(capsys, "compare", files[0], files[1])
    assert "leave out --way" in refused(capsys, "compare", files[0], "zero-shot", *data, "--way", "3")


def test_a_table_sets_ours_beside_published_numbers(
    kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_results(kept / "r.csv")
    changed = [",".join(COLUMNS)]
    for row in rows:
        quoted = (
            f'"{value}"' if "," in value else value
            for value in (row | {"data": "hmdb51", "way": "5"}).values()
        )
        changed.append(",".join(quoted))
    results = tmp_path / "results.csv"
    results.write_text("\n".join([*changed, "half a line"]) + "\n")
    only = ["--benchmark", "HMDB51", "--shots", "1", "--results", str(results)]
    options = [*only, "--method", "protonet,otam"]
    assert main(["table", *options, "--format", "markdown", "-o", str(tmp_path / "t.md")]) == 0
    assert "line 6: 1 cells where the header has 21" in capsys.readouterr().err
    page = (tmp_path / "t.md").read_text()
    mean = (float(rows[0]["accuracy"]) + float(rows[1]["accuracy"])) / 2
    assert "| otam | ResNet-50 |" in page and "| 54.5 |" in page and "5-shot" not in page
    assert f"{mean:.2f} ±" in page and "**protonet (untrained)**" in page and "| line 2, 3 |" in page
    assert "MA-CLIP (arXiv 2308.01532 v1)" in page
    assert "<caption>hmdb51, 5-way episodes" in run(capsys, "table", *options, "--format", "html")
    assert r"\begin{tabular}" in run(capsys, "table", *options, "--format", "latex")
    counted = run(capsys, "table", *only, "--ours", "--gflops", "--format", "markdown")
    assert "| GFLOPs |" in counted and "ResNet-50" not in counted
    assert "hmdb51, 5-way episodes" in run(capsys, "table", *options)


def test_a_table_of_nothing_says_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean clip-fsar?" in refused(capsys, "table", "--method", "clipfsar")
    assert "hmdb51" in refused(capsys, "table", "--benchmark", "hmdb")
    assert "ask for less" in refused(capsys, "table", "--method", "gghm", "--shots", "9")
    assert "add --format" in refused(capsys, "table", "--method", "gghm", "-o", str(tmp_path / "t.md"))
