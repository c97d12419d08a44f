"""The report is one self-contained, well-formed page that shows what it was given."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from openfsar.engine import figures
from openfsar.engine.page import Accuracy, Alignment, Curve, Named, Report, Score, Tile
from openfsar.engine.report import build_report

CLASSES = ("wave", "clap & <stamp>", "slide left, then grow")


def frames(count: int, seed: int) -> torch.Tensor:
    return torch.randint(
        0, 255, (count, 3, 12, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


@pytest.fixture(scope="module")
def report() -> Report:
    strip = Alignment(
        query=frames(4, 0),
        support=frames(5, 1),
        distances=torch.linspace(0, 1, 20).view(4, 5),
        path=[(0, 0), (1, 1), (2, 3), (3, 4)],
        query_label="wave",
        support_label="clap & <stamp>",
    )
    probabilities = {"wave": 0.625, "clap & <stamp>": 0.25, "slide left, then grow": 0.125}
    return Report(
        title="A title",
        lead="What came out.",
        tiles=[Tile("81.9 %", "accuracy")],
        task="3-way 1-shot",
        scores=[
            Score("zero-shot", "names", Accuracy(0.251, 0.0041)),
            Score("OTAM", "order", Accuracy(0.352, 0.004), Accuracy(0.8191, 0.003)),
        ],
        chance=1 / 3,
        loss=Curve(range(1, 31), [2.0 / step for step in range(1, 31)]),
        accuracy=Curve([0, 15, 30], [0.33, 0.5, 0.75], [0.02, 0.02, 0.02]),
        confusion=torch.tensor([[0.5, 0.5, 0], [0.25, 0.75, 0], [0, 0, 1.0]]),
        classes=CLASSES,
        alignments=[strip],
        named=[Named("fresh/0.mp4", "clap & <stamp>", frames(3, 2), probabilities)],
        facts={"episode list": "ab12"},
    )


@pytest.fixture(scope="module")
def page(report: Report, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = build_report(report, tmp_path_factory.mktemp("report") / "new" / "report.html")
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]  # no half-written file stays
    return path.read_text(encoding="utf-8")


class Balance(HTMLParser):
    """Counts open tags and collects every address."""

    void = {"meta", "img", "br", "link", "path", "use", "rect"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_every_tag_is_closed_and_nothing_is_fetched(page: str) -> None:
    reader = Balance()
    reader.feed(page)
    assert reader.open == []
    assert reader.addresses
    assert all(address.startswith(("data:image/", "#")) for address in reader.addresses)
    assert "<script" not in page and "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_the_numbers_stand_in_the_page_as_given(page: str) -> None:
    reader = Balance()
    reader.feed(page)
    words = " ".join(reader.text.split())
    for shown in ("25.1 ± 0.4", "35.2 ± 0.4", "81.9 ± 0.3", "62 %", "25 %", "12 %", "ab12", "chance (33 %)"):
        assert shown in words, shown
    assert "truly clap & <stamp>" in words  # the wrong name is owned up to, and markup in names is text


def test_an_empty_report_leaves_its_parts_out(tmp_path: Path) -> None:
    page = build_report(Report(title="Nothing", lead="yet"), tmp_path / "r.html").read_text(encoding="utf-8")
    assert page.count("<h2>") == 0 and "<svg" not in page


def test_figures_take_the_ink_of_the_page_and_are_the_same_every_time(report: Report) -> None:
    assert report.confusion is not None and report.loss is not None and report.accuracy is not None
    drawings = [
        lambda: figures.confusion(report.confusion, report.classes),
        lambda: figures.alignment(report.alignments[0]),
        lambda: figures.loss_curve(report.loss),
        lambda: figures.accuracy_curve(report.accuracy, chance=0.2),
    ]
    for draw in drawings:
        svg = draw()
        assert svg == draw()
        assert "currentColor" in svg and figures.INK not in svg


def test_the_path_is_drawn_through_the_middle_of_its_cells(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    plot = figures.Axes.plot
    monkeypatch.setattr(
        figures.Axes, "plot", lambda axes, x, y, **k: drawn.append((x, y)) or plot(axes, x, y, **k)
    )
    figures.alignment(report.alignments[0])
    x, y = drawn[0]
    assert x.tolist() == [0.5, 1.5, 3.5, 4.5] and y.tolist() == [0.5, 1.5, 2.5, 3.5]


def test_the_running_mean_keeps_a_constant_and_its_length() -> None:
    assert figures._smooth([3.0] * 50).tolist() == pytest.approx([3.0] * 50, abs=1e-12)
    values = figures._smooth([float(i) for i in range(60)])
    assert len(values) == 60 and values[30] == pytest.approx(30, abs=1e-12)
