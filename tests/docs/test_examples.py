"""The examples run as they are typed, on toy clips they draw themselves; one in a process of its own."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from blocks import ROOT

SCRIPTS = sorted((ROOT / "examples").glob("*.py"))

SAYS = {
    "01_label_my_clips": ["15 examples of 3 actions", "video-00.mp4  falls, then slides right ("],
    "02_none_of_these": ["None                 6 of 6                 0 of 6", "background "],
    "03_a_new_action": ["video-00.mp4 is now 'slides right, then falls'", "7 examples are left"],
    "04_a_long_video": ["  slides right, then falls (", "█"],
    "05_compare_methods": ["otam, centre", "first to last"],
}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_example_runs(
    script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if script is SCRIPTS[0]:  # the libraries are imported anew, which the others need not wait for
        command = [sys.executable, "-W", "error", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stderr
        said = done.stdout
    else:
        monkeypatch.setattr(sys, "argv", [str(script)])
        runpy.run_path(str(script), run_name="__main__")
        said = capsys.readouterr().out
    for words in SAYS[script.stem]:
        assert words in said, said
    assert list(tmp_path.iterdir()) == []  # all it wrote is gone


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_example_is_short_and_says_how_to_use_your_own_clips(script: Path) -> None:
    code = script.read_text()
    assert len(code.splitlines()) <= 50
    assert f"python examples/{script.name}" in code and "# yours" in code and 'ENCODER = "toyclip"' in code


def test_there_are_five() -> None:
    assert [path.stem for path in SCRIPTS] == list(SAYS)
