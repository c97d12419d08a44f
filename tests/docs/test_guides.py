"""Tutorial and how-to pages: their Python runs, their commands exist, their links lead somewhere."""

import re
import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
from blocks import DOCS, ROOT, blocks, run

from openfsar.cli.main import VERBS, main
from openfsar.cli.parser import parse

TUTORIAL = DOCS / "tutorial.md"
GUIDES = sorted((DOCS / "howto").glob("*.md"))
PAGES = [DOCS / "index.md", TUTORIAL, *GUIDES, *sorted((DOCS / "ideas").glob("*.md"))]


def commands(page: Path) -> list[list[str]]:
    """The ``openfsar`` commands of a page, without what is piped into them or out of them."""
    lines = [line.split("|")[0].strip() for block in blocks(page, "bash") for line in block.splitlines()]
    assert all(line.startswith("openfsar ") for line in lines if line), lines
    return [shlex.split(line, comments=True)[1:] for line in lines if line]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the tutorial's Python has run from beginning to end."""
    folder = tmp_path_factory.mktemp("tutorial")
    names: dict = {}
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as said:
        patch.chdir(folder)
        checked = sum(run(code, names, TUTORIAL.name) for code in blocks(TUTORIAL, "python"))
    assert checked >= 15
    first, (shown, *_) = said.getvalue().splitlines()[0], blocks(TUTORIAL, "text")
    assert re.sub(r"[\d.]+", "#", first) == re.sub(r"[\d.]+", "#", shown.strip())
    return folder


@pytest.mark.slow
def test_the_tutorial_goes_on_at_the_command_line(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    for command in commands(TUTORIAL):
        assert main(command) == 0, command
    assert {"again", "labels.csv", "why.svg"} <= {path.name for path in place.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", [page for page in GUIDES if blocks(page, "python")], ids=lambda page: page.stem
)
def test_the_python_of_a_page_runs_where_the_tutorial_ended(
    page: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    names: dict = {}
    assert sum(run(code, names, page.name) for code in blocks(page, "python")) >= 1


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_commands_are_those_the_parser_takes(page: Path) -> None:
    for command in commands(page):
        parse(VERBS, command)  # leaves by SystemExit if not


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_options_named_in_the_text_exist(page: Path) -> None:
    known = (DOCS / "reference.md").read_text()
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for option in re.findall(r"`(--[a-z-]+)", prose):
        assert f"{option}`" in known, f"{page.name}: no verb has {option}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_python_that_is_not_run_is_python(page: Path) -> None:
    for code in blocks(page, "python no-run"):
        compile(code, page.name, "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}-{page.stem}")
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text()):
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), f"{page.name}: {link}"
        assert ROOT in target.parents
        if anchor:
            titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_guide_is_in_the_index_and_about_a_screen_long() -> None:
    index = (DOCS / "index.md").read_text()
    for page in GUIDES:
        assert f"(howto/{page.name})" in index
        assert len(page.read_text().splitlines()) <= 60, page.name
    assert len(GUIDES) == 12


def test_the_service_has_every_address_on_its_page(tmp_path: Path) -> None:
    from openfsar.serve import create_app, open_model

    app = create_app(open_model(tmp_path / "model"), tmp_path / "model")
    known = {"/metrics", "/api/openapi.json", *app.openapi()["paths"]}
    named = set(re.findall(r"/(?:api/[\w/.]+|metrics)\b", (DOCS / "howto" / "service.md").read_text()))
    assert len(named) >= 4 and named <= known, named - known
