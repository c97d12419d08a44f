"""``openfsar explain`` draws a video beside the example it is most like, and says the same in numbers."""

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from openfsar.classifier import Explanation, FewShotVideoClassifier
from openfsar.classifier.encode import film_strip
from openfsar.cli import explain_figure
from openfsar.cli.explain_figure import draw, frames_of
from openfsar.cli.main import main
from openfsar.video import write_video

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two examples each of two colours that grow brighter, a fitted model, and a new red video."""
    place = tmp_path_factory.mktemp("explained")
    for name, colour in COLOURS.items():
        for number in range(3):
            light = torch.linspace(0.3 + 0.1 * number, 1, 8).view(8, 1, 1, 1)
            frames = (torch.tensor(colour).view(3, 1, 1) * light).to(torch.uint8).expand(8, 3, 40, 48)
            write_video(place / f"{name} {number}.mp4", frames, fps=4.0)
    pairs = [f"{name}={place / f'{name} {number}.mp4'}" for name in COLOURS for number in range(2)]
    assert main(["fit", *pairs, "-o", str(place / "model"), "--frames", "4", "--reject", "never"]) == 0
    return place


@pytest.fixture(scope="module")
def found(folder: Path) -> Explanation:
    return FewShotVideoClassifier.load(folder / "model").explain(folder / "red 2.mp4")


def test_the_numbers_are_those_of_the_classifier(
    folder: Path, found: Explanation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, out = folder / "red 2.mp4", tmp_path / "why.json"
    capsys.readouterr()
    assert main(["explain", str(folder / "model"), str(video), "-o", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads(out.read_text())
    assert told["file"] == str(video) and told["label"] == told["nearest"] == "red"
    assert told["probabilities"] == pytest.approx(found.probabilities, abs=1e-6)
    assert told["example"] == {"number": found.example, "source": found.source}
    assert re.fullmatch(r"red [01]\.mp4", Path(found.source).name)
    assert [(step["video"], step["example"]) for step in told["path"]] == found.path
    assert torch.tensor(told["distances"]).allclose(found.distances, atol=1e-6)
    assert list(tmp_path.iterdir()) == [out]  # numbers alone draw nothing


def test_a_picture_is_drawn_and_its_place_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explain", str(folder / "model"), str(folder / "red 2.mp4")]) == 0
    out = capsys.readouterr().out.splitlines()
    assert re.search(r"red 2\.mp4: red \(\d+%\)$", out[0]) and "example of red" in out[1]
    assert out[2] == "-> explain.png"
    with Image.open("explain.png") as picture:
        assert picture.format == "PNG" and picture.width > 1000
    assert [p.name for p in tmp_path.iterdir()] == ["explain.png"]


def test_the_drawing_says_what_was_found(found: Explanation) -> None:
    many = {f"class {number:02d}": 0.01 for number in range(12)}
    name = "a$b$" + "long " * 20 + "name.mp4"
    for known, said in ((True, "red ("), (False, "none of these; the nearest is red")):
        shown = replace(found, known=known, probabilities=found.probabilities | many)
        svg = draw(shown, name, "svg").decode()
        assert svg == draw(shown, name, "svg").decode()
        assert said in svg and "…" in svg and "name.mp4" in svg and "How to read it" in svg
        assert Path(found.source).name in " ".join(re.findall(r">([^<>]*)</text>", svg))
        assert svg.count("<image") == 4 + 4 + 2  # the frames, the distances, the scale
        bars = re.findall(r">(red|green|class \d\d)</text>", svg)
        assert set(bars) == {"red", "green", *list(many)[:6]}  # the likeliest eight


def test_the_video_runs_along_the_top_and_the_example_down_the_side(
    found: Explanation, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple] = []
    whole = explain_figure.draw_alignment

    def caught(axes, *given):
        drawn.append(given)
        return whole(axes, *given)

    monkeypatch.setattr(explain_figure, "draw_alignment", caught)
    oblong = replace(
        found,
        distances=torch.linspace(0, 1, 12).view(4, 3),
        path=[(0, 0), (1, 0), (2, 1), (3, 2)],
        support_strip=film_strip(torch.full((3, 3, 64, 64), 200, dtype=torch.uint8)),
    )
    draw(oblong, "video.mp4", "png")
    ((across, down, distances, path),) = drawn
    assert len(across) == 4 and len(down) == 3
    assert torch.equal(distances, oblong.distances.T)
    assert path == [(0, 0), (0, 1), (1, 2), (2, 3)]


def test_a_strip_comes_apart_into_its_frames() -> None:
    shades = torch.tensor([10, 90, 170, 250], dtype=torch.uint8)
    frames = shades.view(4, 1, 1, 1).expand(4, 3, 32, 32)
    cut = frames_of(film_strip(frames), 4)
    assert cut.shape == (4, 3, 64, 64)
    inner = cut[:, :, 8:-8, 8:-8].float()
    assert (inner - shades.view(4, 1, 1, 1)).abs().max() < 4
    assert Image.open(io.BytesIO(film_strip(frames))).size == (256, 64)


@pytest.mark.parametrize(
    ("video", "extra", "said"),
    [
        ("red 2.mp4", ["-o", "why.pdf"], ".png, .svg, .json"),
        ("missing.mp4", [], "does not exist"),
        ("notes.mp4", [], "cannot be decoded"),
    ],
    ids=["suffix", "missing", "unreadable"],
)
def test_what_cannot_be_explained_is_said_in_one_line(
    video: str,
    extra: list[str],
    said: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folder / "notes.mp4").write_text("no video")
    monkeypatch.chdir(tmp_path)
    assert main(["explain", str(folder / "model"), str(folder / video), *extra]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and said in err and list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_line_to_type_is_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    words = ["explain", str(folder / "model"), str(folder / "red 2.mp4"), "-o", str(tmp_path / "why.png")]
    assert main(words) == 1
    assert "pip install 'openfsar[report]'" in capsys.readouterr().err
    words[-1] = str(tmp_path / "why.json")
    assert main(words) == 0
