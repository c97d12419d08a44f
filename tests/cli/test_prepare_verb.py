"""``openfsar data prepare`` at the command line, on a handful of tiny videos."""

import json
import os
from pathlib import Path
from typing import get_args

import pytest
import torch

from openfsar.cli.main import main
from openfsar.cli.prepare import Benchmark
from openfsar.data.manifest import read_manifest
from openfsar.data.splits import BENCHMARKS, load_split
from openfsar.data.store import FrameStore
from openfsar.video import write_video

LABELS = load_split("kinetics-100", "test").classes


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Lists of two test classes of Kinetics-100 and one wrong line; one video missing, one broken."""
    (tmp_path / "lists").mkdir()
    (tmp_path / "videos").mkdir()
    names = [f"{label}/{i:010d}{j}_000012_000022" for i, label in enumerate(LABELS[:2]) for j in range(10)]
    (tmp_path / "lists" / "test.txt").write_text("\n".join([*names, "rubbish"]))
    write_video(tmp_path / "clip.mp4", torch.full((4, 3, 16, 16), 90, dtype=torch.uint8))
    for name in names[2:]:
        os.link(tmp_path / "clip.mp4", tmp_path / "videos" / f"{name.split('/')[1]}.mp4")
    (tmp_path / "videos" / f"{names[1].split('/')[1]}.mp4").write_bytes(b"no video")
    return tmp_path


def run(home: Path, *options: str) -> int:
    given = ["--videos", str(home / "videos"), "--lists", str(home / "lists"), "--workers", "0", *options]
    return main(["data", "prepare", "kinetics-100", "-o", str(home / "out"), *given])


def test_the_benchmarks_are_those_with_splits() -> None:
    assert get_args(Benchmark) == BENCHMARKS


def test_it_finds_reports_and_extracts(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home) == 0
    printed = capsys.readouterr()
    assert f"skipped: {home / 'lists' / 'test.txt'}, line 21: 'rubbish'" in printed.err
    assert "frames of 11 videos: about a minute and" in printed.err
    assert [
        line.split()[-5:] for line in printed.out.splitlines() if "test: 1 of 2 classes complete" in line
    ] == [["20", "18", "1", "1", "0"]]
    assert [line.split()[-5:] for line in printed.out.splitlines() if LABELS[0] in line] == [
        ["10", "8", "1", "1", "0"]
    ]
    assert "broken: " in printed.err and "00000000001_000012_000022.mp4: " in printed.err
    assert "availability: 18 of 20 test videos can be used (90.0%)" in printed.err
    assert "neither CMN's nor CLIP-FSAR's" in printed.err
    assert (
        "complete it would be" in printed.out
        and f"manifest -> {home / 'out' / 'manifest.csv'}" in printed.out
    )
    assert len(read_manifest(home / "out").records) == 18
    assert f"frames of 18 videos -> {home / 'out-frames'}" in printed.err
    assert set(read_manifest(home / "out").records) and len(FrameStore(home / "out-frames")) >= 18
    assert run(home) == 0
    assert "has the frames of all videos" in capsys.readouterr().err


def test_json_alone_is_printed_with_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(home, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said == json.loads((home / "out" / "report.json").read_text())
    assert said["videos"] == {"train": 0, "val": 0, "test": 18}
    (row,) = [row for row in said["classes"] if row["missing"]]
    assert (row["label"], row["missing_names"]) == (LABELS[0], ["00000000000_000012_000022"])
    assert {finding["topic"] for finding in said["findings"]} >= {"classes", "replaced clips", "availability"}
    assert said["faults"][0].endswith("line 21: 'rubbish' is not of the form class/video")
    assert (home / "out-frames").is_dir()


def test_frames_can_be_left_out(home: Path) -> None:
    assert run(home, "--no-cache") == 0
    assert (home / "out" / "manifest.csv").is_file() and not (home / "out-frames").exists()


def test_errors_say_what_to_give(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "prepare", "kinetics-100", "--videos", str(home)]) == 1
    assert "give them as --lists" in capsys.readouterr().err
    assert main(["data", "prepare", "hmdb51", "--videos", str(home / "videos"), "--no-cache"]) == 1
    assert "none of 19 videos below" in capsys.readouterr().err
    assert run(home, "--recordings", "--no-cache") == 1
    assert "leave out --recordings" in capsys.readouterr().err
    assert main(["data", "prepare", "hmdb"]) == 2
    assert "kinetics-100" in capsys.readouterr().err
