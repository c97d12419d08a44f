"""Tables: which lines make a row, and that every cell arrives as it is in Markdown, LaTeX and HTML."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from openfsar.encoders.tiny import tiny_encoder
from openfsar.engine.entries import Entry, our_entries, published_entries, read_lines
from openfsar.engine.flops import video_gflops
from openfsar.engine.markup import html, latex, markdown
from openfsar.engine.published import load_published
from openfsar.engine.results import COLUMNS, ResultsError
from openfsar.engine.tables import Row, Table, count, make_tables
from openfsar.methods.zoo import build


def line(**changes: str) -> dict[str, str]:
    values = dict.fromkeys(COLUMNS, "")
    values |= {"recipe": "otam/hmdb51", "method": "otam", "encoder": "clip-vit-b-16", "data": "hmdb51"}
    values |= {"split": "test", "way": "5", "shot": "1", "query": "1", "episodes": "10000", "seed": "0"}
    values |= {
        "accuracy": "70.52",
        "interval": "0.38",
        "protocol": "cached",
        "select": "val",
        "train_seed": "0",
    }
    values |= {"trainable": "843008", "seconds": "12.9"}
    return values | changes


def lines(*changes: dict[str, str]) -> list[tuple[int, dict[str, str]]]:
    return [(number, line(**change)) for number, change in enumerate(changes, 2)]


def test_a_line_is_an_entry() -> None:
    (found,) = our_entries(lines({}))
    assert (found.system, found.backbone, found.measure, found.way) == ("otam", "clip-vit-b-16", "1-shot", 5)
    assert (found.accuracy, found.select, found.transductive) == ("70.52 ± 0.38", "val", "no")
    assert (found.trainable, found.seconds, found.source, found.ours) == (843008, "13", "2", True)


def test_runs_of_several_training_seeds_are_one_entry_with_students_interval() -> None:
    accuracies = ["60.24", "58.93", "54.72"]
    (found,) = our_entries(lines(*({"train_seed": str(i), "accuracy": x} for i, x in enumerate(accuracies))))
    assert found.accuracy == "58.0 ± 7.2 (3 runs)" and found.source == "2, 3, 4"


def test_several_lists_of_episodes_of_one_run_are_pooled() -> None:
    (found,) = our_entries(lines({}, {"seed": "1", "accuracy": "70.92"}))
    assert found.accuracy == f"70.72 ± {0.38 / 2**0.5:.2f}"


def test_what_differs_in_more_than_seeds_stays_apart_and_so_do_repeats() -> None:
    changes = (
        {"shot": "5"},
        {"select": "test"},
        {"encoder": "toyclip"},
        {"protocol": "paper"},
        {"split": "val"},
    )
    found = our_entries(lines({}, *changes, {}))
    assert len(found) == 7
    assert [entry.system for entry in found].count("otam") == 5
    assert "otam (frames drawn anew)" in [entry.system for entry in found]
    assert "otam (split val)" in [entry.system for entry in found]


def test_protocols_are_told_apart() -> None:
    known = {
        "protocol": "known classes, text, 1x1 views",
        "way": "64",
        "shot": "",
        "seed": "",
        "episodes": "384",
    }
    new = known | {"protocol": "new classes, text, 1x1 views", "way": "24"}
    found = our_entries(lines({}, {"protocol": "cached, all-way", "way": "10"}, known, new))
    assert [entry.protocol for entry in found] == ["episodic", "all-way", "naming", "naming"]
    tables = make_tables(found)
    assert [table.title.split(", ")[1] for table in tables] == [
        *("5-way episodes", "K-shot"),
        "named among all classes",
    ]
    (row,) = tables[2].rows
    assert tables[2].columns[-3:-1] == ("known (64)", "new (24)") and row.cells[0] == "otam (text, 1x1 views)"


def test_an_untrained_or_transductive_system_is_called_so() -> None:
    (found,) = our_entries(lines({"recipe": "", "select": "", "train_seed": ""}))
    assert (found.system, found.trainable, found.select) == ("otam (untrained)", 0, "none")
    (found,) = our_entries(lines({"protocol": "cached, transductive", "recipe": "otam/hmdb51 (one graph)"}))
    assert (found.transductive, found.system) == ("yes", "otam (one graph)")


def test_ours_stand_below_the_published_ones_in_columns_of_their_own_shots() -> None:
    entries = [
        *our_entries(lines({}, {"shot": "5", "accuracy": "80.00"})),
        *published_entries(load_published()),
    ]
    (table,) = make_tables(entries, benchmarks=["hmdb51"], measures=["1-shot", "5-shot"], methods=["OTAM"])
    assert table.columns == (
        *(
            "system",
            "backbone",
            "selected on",
            "transductive",
            "trained",
            "eval s",
            "1-shot",
            "5-shot",
            "source",
        ),
    )
    assert table.numeric == (False, False, False, False, True, True, True, True, False)
    rows = {row.cells[:2]: row.cells for row in table.rows}
    assert rows["otam", "ResNet-50"][-3:-1] == ("54.5", "68.0")
    assert rows["otam (tuned from CLIP)", "CLIP ViT-B/16"][2:4] == ("test", "no")
    assert [row.ours for row in table.rows] == [False, False, False, True]
    assert table.rows[-1].cells[4:] == ("843 k", "13 / 13", "70.52 ± 0.38", "80.00 ± 0.38", "line 2 3")
    for row in table.rows[:-1]:
        assert table.sources[int(row.cells[-1].strip("[]")) - 1].startswith(("CLIP-FSAR", "MA-CLIP"))
    assert any(entry.startswith("selected on: val = validation classes") for entry in table.legend)
    assert make_tables(entries, benchmarks=["ucf101"], methods=["gghm"], measures=["7-shot"]) == []


def test_numbers_that_others_ran_again_bear_a_star() -> None:
    (table,) = make_tables(published_entries(load_published()), benchmarks=["ssv2-full"], methods=["hyrsm"])
    assert [row.cells[-3:-1] for row in table.rows] == [("54.3", "69.0"), ("51.5*", "67.5*")]
    assert "* run again by the authors of the source" in table.legend


def test_counts_read_as_people_say_them() -> None:
    assert [count(n) for n in (0, 999, 843_008, 18_540_000)] == ["0", "999", "843 k", "18.5 M"]


def test_lines_that_are_none_are_told_and_left_out(tmp_path: Path) -> None:
    path, good = tmp_path / "results.csv", ",".join(line().values())
    path.write_text(
        "\n".join([",".join(COLUMNS), good, f"{good},x", good.replace("70.52", "high"), good]) + "\n"
    )
    found, bad = read_lines(path)
    assert [number for number, _ in found] == [2, 5] and found[0][1] == line()
    assert f"{path}, line 3: 22 cells where the header has 21" in bad[0]
    assert "line 4: way, accuracy" in bad[1] and len(bad) == 2
    path.write_text("a,b\n")
    with pytest.raises(ResultsError, match="its first line is 'a,b'"):
        read_lines(path)


NASTY = [
    "a|b",
    r"\c{d}",
    "*e* _f_ `g`",
    "<b>h</b> & &amp;",
    "[i](j)",
    "50 % ± 3",
    "$k$ #l ~m~ ^n",
    "\"o\" 'p'",
    "![",
    "-",
    "- a",
    "+",
    "# a",
    "===",
    "---",
    "12. a",
    "1)",
]
texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" ")).map(
    lambda text: " ".join(text.split()) or "x"
)


def table(cells: list[str]) -> Table:
    """One published row and one of ours, all made of the same cells."""
    names, sides = tuple(cells), (False,) * len(cells)
    return Table(cells[0], names, sides, (Row(names, False), Row(names, True)), (cells[-1],), (cells[0],))


class Cells(HTMLParser):
    """Text of each cell of HTML, by tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.found.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self.open.remove(tag)

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.found[tag][-1] += data


@settings(deadline=None, max_examples=150)
@given(st.lists(texts | st.sampled_from(NASTY), min_size=1, max_size=4))
def test_html_arrives_as_it_is(cells: list[str]) -> None:
    found = Cells(html(table(cells))).found
    assert found["th"] == cells and found["td"] == [*cells, *cells]
    assert found["caption"] == [cells[0]] and found["p"] == [cells[0]] and found["li"] == [cells[-1]]
    assert html(table(cells)).count('class="ours"') >= 1


@settings(deadline=None, max_examples=150)
@given(st.lists(texts | st.sampled_from(NASTY), min_size=1, max_size=4))
def test_markdown_arrives_as_it_is(cells: list[str]) -> None:
    page = MarkdownIt("commonmark").enable("table").render(markdown(table(cells)))
    found = Cells(page.replace("<br />", "")).found
    assert [cell.strip() for cell in found["th"]] == cells
    assert [cell.strip() for cell in found["td"]] == [*cells, *cells]
    assert set(found) <= {
        "p",
        "strong",
        "table",
        "thead",
        "tbody",
        "tr",
        "th",
        "td",
    }  # nothing else came to be


UNESCAPED = {
    **{
        rf"\text{name}{{}}": char
        for name, char in (
            ("backslash", "\\"),
            ("asciitilde", "~"),
            ("asciicircum", "^"),
            ("less", "<"),
            ("greater", ">"),
            ("bar", "|"),
        )
    },
    **{rf"\{char}": char for char in "&%$#_{}"},
    **{r"$\pm$": "±", r"$\times$": "×", "{[}": "[", "{]}": "]", "{*}": "*"},
}
TOKEN = re.compile("|".join(map(re.escape, sorted(UNESCAPED, key=len, reverse=True))) + "|(.)", re.DOTALL)


def read_latex(text: str) -> str:
    """The text that LaTeX shows; no special character may stand but in the sequences for one."""
    bare = [found[1] for found in TOKEN.finditer(text) if found[1]]
    assert not set(bare) & set("\\&%$#_{}~^"), text
    return TOKEN.sub(lambda found: UNESCAPED.get(found[0], found[0]), text)


@settings(deadline=None, max_examples=150)
@given(st.lists(texts | st.sampled_from(NASTY), min_size=1, max_size=4))
def test_latex_arrives_as_it_is(cells: list[str]) -> None:
    page = latex(table(cells))
    rows = [row.removesuffix(r" \\") for row in page.splitlines() if row.endswith(r" \\")]
    assert len(rows) == 3
    for number, row in enumerate(rows):
        parts = re.split(r"(?<!\\) & ", row)
        if number == 2:
            parts[0] = parts[0].removeprefix(r"\textbf{").removesuffix("}")
        assert [read_latex(part) for part in parts] == cells
    assert page.count(r"\begin{") == page.count(r"\end{") == 2 and page.count(r"\hline") == 4


def test_the_arithmetic_of_a_transformer_is_that_of_its_shapes() -> None:
    method = build("protonet", tiny_encoder())
    width, hidden, side, patch, out, layers = 32, 128, 32, 8, 16, 2  # of the tiny encoder
    patches = (side // patch) ** 2
    tokens = patches + 1
    block = tokens * (4 * width**2 + 2 * width * hidden) + 2 * tokens**2 * width
    frame = patches * 3 * patch**2 * width + layers * block + width * out
    method.train()
    assert video_gflops(method, frames=3) == pytest.approx(3 * frame / 1e9, rel=1e-9)
    assert method.training


def test_entries_of_other_systems_never_share_a_row() -> None:
    changes = {
        "system": "b",
        "backbone": "c",
        "select": "test",
        "transductive": "yes",
        "trainable": 7,
        "gflops": 0.5,
    }
    base = Entry("a", "m", "x", "episodic", "toy", "1-shot", 5, "1.0", "val", "no", 3, None, "", "s", False)
    five = [Entry(**vars(base) | {"measure": "5-shot", name: value}) for name, value in changes.items()]
    (found,) = make_tables([base, *five])
    assert len(found.rows) == 1 + len(five)
    (found,) = make_tables([base, Entry(**vars(base) | {"measure": "5-shot"})])
    assert len(found.rows) == 1
