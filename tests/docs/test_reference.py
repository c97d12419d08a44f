"""docs/reference.md is what the code says today."""

import subprocess
import sys
from pathlib import Path

import pytest
from blocks import DOCS

import openfsar
from openfsar.cli.main import VERBS

PAGE = (DOCS / "reference.md").read_text()


def test_the_page_is_up_to_date(tmp_path: Path) -> None:
    page = tmp_path / "reference.md"
    subprocess.run([sys.executable, DOCS / "reference.py", page], check=True, timeout=200)
    assert page.read_text() == PAGE, "the code has changed; run `make docs`"


@pytest.mark.parametrize("name", [name for name in openfsar.__all__ if name not in ("data", "matchers")])
def test_every_public_name_is_described(name: str) -> None:
    assert any(f"### {part}.{name}\n" in PAGE for part in ("openfsar", "openfsar.classifier"))


@pytest.mark.parametrize("verb", list(VERBS))
def test_every_verb_is_described(verb: str) -> None:
    assert f"### openfsar {verb}" in PAGE


def test_signatures_and_shapes_read_as_in_the_source() -> None:
    assert '    distances: Float[Tensor, "*b T U"],' in PAGE
    assert "#### FewShotVideoClassifier.predict\n" in PAGE and "(self" not in PAGE
    assert "- `smoothing = 0.1`: Softness" in PAGE  # an option of a method
    assert "- `-o, --out`" in PAGE and "(default: model)" in PAGE  # of a verb
