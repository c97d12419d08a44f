"""The drawings of docs/ideas are what the library computes today, small, and legible on any page."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import DOCS

FIGURES = DOCS / "ideas" / "figures"
NUMBER = re.compile(r"-?\d+\.\d+")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("figures")
    subprocess.run([sys.executable, DOCS / "figures.py", folder], check=True, timeout=200)
    return folder


def parts(svg: str) -> tuple[list[str], list[float]]:
    """What is drawn, and where."""
    # names that matplotlib makes of a path's own digits
    svg = re.sub(r"\b(C\d+_\d+_|m)[0-9a-f]{10}\b", "mark", svg)
    return NUMBER.split(svg), [float(number) for number in NUMBER.findall(svg)]


def differences(one: str, other: str) -> list[str]:
    """Words and marks that differ, and numbers by more than a twentieth of a point."""
    (words, numbers), (other_words, other_numbers) = parts(one), parts(other)
    if words != other_words:
        return ["words"]
    pairs = zip(numbers, other_numbers, strict=True)
    return [f"{a} and {b}" for a, b in pairs if abs(a - b) > 0.05]


@pytest.mark.slow
def test_every_drawing_is_up_to_date(drawn: Path) -> None:
    names = {path.name for path in FIGURES.glob("*")}
    assert names == {path.name for path in drawn.iterdir()} and len(names) >= 8
    for name in names:
        found = differences((FIGURES / name).read_text(), (drawn / name).read_text())
        assert not found, f"{name}: {found[:3]}; run `make docs`"


def test_a_changed_number_or_word_is_noticed() -> None:
    svg = '<text x="3.50">near 0.25</text>'
    assert not differences(svg, svg.replace("3.50", "3.52"))
    assert differences(svg, svg.replace("3.50", "3.62")) == ["3.5 and 3.62"]
    assert differences(svg, svg.replace("0.25", "0.35")) and differences(svg, svg.replace("near", "far"))


@pytest.mark.parametrize("path", sorted(FIGURES.glob("*.svg")), ids=lambda path: path.stem)
def test_a_drawing_is_light_and_follows_the_page(path: Path) -> None:
    svg = path.read_text()
    assert len(svg.encode()) < 60_000
    assert "prefers-color-scheme: dark" in svg and "currentColor" in svg and 'role="img"' in svg
    assert "<metadata" not in svg and "<image" not in svg and "http://www.w3.org/2000/svg" in svg
    used = {path.stem for page in FIGURES.parent.glob("*.md") if f"figures/{path.name}" in page.read_text()}
    assert used, "no page shows it"
