"""docs/claims.md says what was measured, and each of its numbers comes from lines of the table of results."""

import importlib.util
import json
import re
from collections import defaultdict
from types import ModuleType

import pytest
from blocks import DOCS, ROOT

from openfsar.engine.results import read_results
from openfsar.studies.numbers import Spread
from openfsar.studies.plan import FEW_SHOT
from openfsar.studies.run import Measured

HALF = re.compile(r"(\d+\.\d+) ± (\d+\.\d+)")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("claims_page", DOCS / "claims.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lines() -> list[dict[str, str]]:
    return read_results(ROOT / "results" / "results.csv")


def test_the_page_and_its_pictures_are_made_of_what_was_measured(script: ModuleType) -> None:
    for name, text in script.files(script.read()):
        if name.endswith(".md"):
            assert (DOCS / name).read_text() == text, "run make docs"
        else:  # fonts of other machines move its ink
            assert (DOCS / name).read_text().startswith("<svg")


def test_every_measurement_is_a_line_of_the_results(script: ModuleType, lines: list[dict[str, str]]) -> None:
    known = {
        (line["method"], line["data"], line["train_seed"], line["accuracy"], _measure(line)) for line in lines
    }
    for run in script.read().values():
        for measure, value in run.accuracy.items():
            line = (run.method, run.data, str(run.seed), f"{value:.2f}", measure)
            assert line in known, f"{run.title}: {line}"


def _measure(line: dict[str, str]) -> str:
    if line["shot"]:
        return FEW_SHOT
    which, head, _ = line["protocol"].split(", ")
    return f"{which.removesuffix(' classes')}, {head}"


def said(lines: list[dict[str, str]]) -> set[tuple[str, str]]:
    """Accuracies with intervals as a page may print them: of one line, or over runs with other seeds."""
    found, groups = set(), defaultdict(list)
    for line in lines:
        value, half = float(line["accuracy"]), float(line["interval"])
        found |= {(f"{value:.{n}f}", f"{half:.{n}f}") for n in (1, 2)}
        key = [
            line[name] for name in ("recipe", "data", "split", "way", "shot", "protocol", "seed", "episodes")
        ]
        groups[tuple(key)].append((line["train_seed"], value))
    for runs in groups.values():
        values = list(dict(runs).values())
        if 2 <= len(values) <= 10:
            spread = Spread.of(values)
            found.add((f"{spread.mean:.1f}", f"{spread.half:.1f}"))
    return found


def test_the_numbers_of_the_readme_are_lines_of_the_results(lines: list[dict[str, str]]) -> None:
    known = said(lines)
    text = (ROOT / "README.md").read_text()
    numbers = HALF.findall(text)
    assert len(numbers) > 20
    assert [number for number in numbers if number not in known] == []


def test_the_file_of_claims_is_complete() -> None:
    kept = json.loads((ROOT / "results" / "claims.json").read_text())
    assert all(Measured(**run).accuracy for run in kept.values())
    assert {int(key.rpartition("-")[2]) for key in kept} == {0, 1, 2}
