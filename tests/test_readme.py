"""What the README tells a newcomer to type works as it stands."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from openfsar.cli.main import VERBS
from openfsar.cli.parser import parse
from openfsar.video import write_video

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


COMMANDS = [
    line.partition("#")[0].strip() for block in blocks("bash") for line in block.splitlines() if line.strip()
]


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("openfsar")])
def test_every_command_is_one_the_parser_takes(command: str) -> None:
    parse(VERBS, shlex.split(command)[1:])  # leaves by SystemExit if not


def test_make_knows_every_target_that_is_named() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {line.removeprefix("make ") for line in COMMANDS if line.startswith("make ")}
    assert "demo" in named <= targets


def test_files_and_links_inside_the_repository_exist() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    recipes = re.findall(r"recipes/\S+\.yaml", README)
    assert links and recipes
    assert not [place for place in links + recipes if not (ROOT / place).exists()]


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = blocks("python")
    for number, name in enumerate(sorted(set(re.findall(r"\w+\.mp4", example)))):
        frames = torch.full((12, 3, 48, 64), 30 * number + 30, dtype=torch.uint8)
        write_video(tmp_path / name, frames)
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["model"].set_params(reject=None).predict("c.mp4") == "stir"
    assert names["model"].classes_.tolist() == ["pour", "stir", "whisk"]
    assert (tmp_path / "my_model").is_dir()
