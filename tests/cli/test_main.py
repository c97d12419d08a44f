"""The command line helps at once, forgives typing errors, and never shows a traceback unasked."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from openfsar.cli import main as cli
from openfsar.cli.main import VERBS, main
from openfsar.cli.parser import nearest, parse

LEAVES = [
    [name, *inner]
    for name, run in VERBS.items()
    for inner in ([[leaf] for leaf in run] if isinstance(run, dict) else [[]])
]


def test_without_a_verb_the_overview_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["--help"], ["-h"]):
        assert main(argv) == 0
        out = capsys.readouterr().out
        assert out.startswith("openfsar: few-shot action recognition")
        assert all(f"openfsar {' '.join(verb)}" in out for verb in LEAVES)


@pytest.mark.parametrize("verb", LEAVES, ids=" ".join)
def test_the_help_of_every_verb_says_what_it_does_and_shows_an_example(
    verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*verb, "--help"]) == 0
    out = capsys.readouterr().out
    sentence, example = out.split("\n\n")[1], out.split("example:\n")[1]
    assert sentence.strip() and sentence.strip()[0].isupper()
    assert example.startswith(f"  openfsar {' '.join(verb)}")


@pytest.mark.parametrize("verb", LEAVES, ids=" ".join)
def test_the_examples_parse(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main([*verb, "--help"])
    for line in capsys.readouterr().out.split("example:\n")[1].splitlines():
        words = shlex.split(line)
        if words:
            assert words[0] == "openfsar"
            run, arguments = parse(VERBS, words[1:])
            assert callable(run) and isinstance(arguments, dict)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["predct", "m", "v"], "did you mean `openfsar predict`?"),
        (["data", "chek", "v"], "did you mean `openfsar data check`?"),
        (["fit", "clips", "--out", "m", "--metod", "otam"], "did you mean --method?"),
        (["fit"], "examples"),
        (["predict", "model"], "required"),
        (["fit", "clips", "-o", "m", "--frames", "many"], "frames"),
        (["data", "make-toy", "toy-story", "x"], "toy-motion"),
    ],
)
def test_misuse_ends_in_one_line_that_names_the_nearest_word_and_code_2(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert printed.err.startswith("error: ") and said in printed.err


@pytest.mark.parametrize(
    "argv",
    [
        ["predict", "{missing}", "{text}"],
        ["predict", "{folder}", "{text}"],
        ["predict", "{folder}", "{missing}"],
        ["predict", "{folder}", "{folder}"],
        ["predict", "{folder}", "{text}", "-o", "{folder}/out.xlsx"],
        ["fit", "{missing}", "-o", "{folder}/model"],
        ["fit", "{folder}", "-o", "{folder}/model"],
        ["fit", "a={text}", "b={text}", "-o", "{folder}/model"],
        ["fit", "a={text}", "-o", "{folder}/model", "--method", "otamm"],
        ["data", "check", "{missing}"],
        ["data", "cache", "{folder}", "{folder}/cache"],
        ["train", "{missing}.yaml"],
        ["eval", "{missing}", "--data", "{folder}"],
        ["eval", "otam", "--data", "{missing}"],
    ],
    ids=lambda argv: " ".join(argv),
)
def test_bad_input_ends_in_one_line_and_code_1(
    argv: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    places = {"folder": str(folder), "missing": str(tmp_path / "missing"), "text": str(text)}
    assert main([word.format_map(places) for word in argv]) == 1
    err = capsys.readouterr().err
    assert err.splitlines()[-1].startswith("error: ") and "Traceback" not in err
    assert list(folder.iterdir()) == []  # nothing half-written


def explode(**_: object) -> int:
    raise RuntimeError("tensor on the wrong planet")


def stop(**_: object) -> int:
    raise KeyboardInterrupt


def test_a_bug_says_so_and_the_traceback_comes_on_demand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "parse", lambda table, given: (explode, {}))
    assert main(["models"]) == 70
    err = capsys.readouterr().err
    assert "Traceback" not in err and err.count("\n") == 1
    assert "this is a bug in openfsar" in err and "--debug" in err and "wrong planet" in err
    assert main(["models", "--debug"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupted_command_leaves_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "parse", lambda table, given: (stop, {}))
    assert main(["models"]) == 130
    assert capsys.readouterr().err == "error: interrupted\n"


def test_the_nearest_word_is_found_without_its_value() -> None:
    assert nearest("--epsodes=3", ["--episodes", "--encoder", "--seed"]) == "--episodes"


def test_help_imports_nothing_heavy() -> None:
    program = """
import json, sys
from openfsar.cli.main import main
codes = [main(["--help"]), main(["fit", "--help"]), main(["demo", "--help"])]
heavy = {"torch", "transformers", "av", "numpy", "matplotlib"} & set(sys.modules)
print(json.dumps([codes, sorted(heavy)]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout.splitlines()[-1]) == [[0, 0, 0], []]
