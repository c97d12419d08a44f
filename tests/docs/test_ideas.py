"""The pages about ideas: their code says what it says it says, and every matcher has one."""

import re
from pathlib import Path
from typing import get_args

import pytest
from blocks import DOCS, blocks, run

from openfsar.methods.matching import MatcherName

PAGES = sorted(page for page in (DOCS / "ideas").glob("*.md") if page.name != "index.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_gives_the_numbers_on_the_page(page: Path) -> None:
    (code,) = blocks(page, "python")
    assert run(code, {}, page.name) >= 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_has_a_drawing_and_says_what_when_and_what_it_costs(page: Path) -> None:
    text = page.read_text()
    assert re.search(r"^!\[.+\]\(figures/.+\.svg\)$", text, re.MULTILINE)
    for part in ("**Cost**", "**When**", "In the library:"):
        assert part in text, f"{page.name} lacks {part}"
    assert "```math" in text


def test_every_matcher_has_a_page_and_every_page_is_in_the_index() -> None:
    index = (DOCS / "ideas" / "index.md").read_text()
    assert set(get_args(MatcherName)) <= {page.stem for page in PAGES}
    assert {page.name for page in PAGES} <= set(re.findall(r"\]\(([\w-]+\.md)\)", index))


def test_a_wrong_answer_is_noticed() -> None:
    assert run("x = 2\nx + 1  # 3\nx  # two\n", {}, "page") == 1
    with pytest.raises(AssertionError, match="x \\+ 1 is 3, not 4"):
        run("x = 2\nx + 1  # 4\n", {}, "page")
