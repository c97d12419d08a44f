"""Published numbers: complete, possible, and the same ones that recipes and the notes on papers give."""

import re
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from openfsar.data.splits import BENCHMARKS
from openfsar.engine.published import Published, PublishedError, load_published, parse_published
from openfsar.methods.zoo import METHODS

ROOT = Path(__file__).parents[2]
SHEET = ROOT.parent / "shared" / "protocol" / "published_results.md"
ENTRIES = load_published()
HEADS = {"SSv2-Full": "ssv2-full", "SSv2-Small": "ssv2-small", "K100": "kinetics-100"}
HEADS |= {"UCF101": "ucf101", "HMDB51": "hmdb51"}
HEADER = ",".join(field.name for field in fields(Published)) + "\n"


def pairs(benchmark: str, method: str = "") -> set[tuple[str, str]]:
    """1-shot and 5-shot of one row."""
    rows: dict[tuple[object, ...], dict[str, str]] = {}
    for it in ENTRIES:
        if it.benchmark == benchmark and it.protocol == "episodic" and method in ("", it.method):
            rows.setdefault((it.method, it.variant, it.backbone, it.source), {})[it.measure] = it.accuracy
    return {(row.get("1-shot", ""), row.get("5-shot", "")) for row in rows.values()}


def test_every_number_stands_once_with_its_source() -> None:
    keys = Counter(
        (it.method, it.variant, it.backbone, it.protocol, it.benchmark, it.measure, it.source)
        for it in ENTRIES
    )
    assert len(ENTRIES) > 400 and [key for key, count in keys.items() if count > 1] == []
    assert {it.way for it in ENTRIES if it.protocol == "episodic"} == {5}
    assert {it.benchmark for it in ENTRIES if it.protocol == "episodic"} == set(BENCHMARKS)


def test_our_systems_bear_our_names() -> None:
    for name in {it.method for it in ENTRIES}:
        plain = name.lower().replace(" ", "-").replace("_", "-")
        assert plain not in METHODS or name == plain, name
    assert {"clip-fsar", "ma-fsar", "gghm", "sloshnet", "otam", "trx", "actionclip"} <= {
        it.method for it in ENTRIES
    }


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_headers_of_recipes_quote_the_same_numbers(benchmark: str) -> None:
    quoted = 0
    for path in sorted(ROOT.glob(f"recipes/*/{benchmark}.yaml")):
        head = path.read_text().partition("\n\n")[0].replace("\n#  ", " ")
        line = next(line for line in head.splitlines() if line.startswith("# published:"))
        for pair in re.findall(r"(\d\d\.\d) / (\d\d\.\d)", line):
            assert pair in pairs(benchmark, path.parent.name), (path, pair)
            quoted += 1
    assert quoted >= 4


@pytest.mark.skipif(not SHEET.is_file(), reason="the notes on published results are not at hand")
def test_no_number_was_mistyped() -> None:
    """Every pair of the notes' tables that is not from memory is here, unless its split is another."""
    sections = SHEET.read_text().split("\n## ")
    checked = 0
    for section in sections:
        if section[:2] not in ("1.", "2.", "3.", "4."):
            continue
        lines = [line for line in section.splitlines() if line.startswith("|")]
        names = [cell.strip() for cell in lines[0].strip("|").split("|")]
        for line in lines[2:]:
            cells = [cell.strip().replace("*", "") for cell in line.strip().strip("|").split("|")]
            row = dict(zip(names, cells, strict=True))
            for head, benchmark in HEADS.items():
                pair = [half.strip() for half in row[head].split("(")[0].split("/")]
                own_split = row.get("backbone", "").startswith(("R(2+1)D", "same")) and head.startswith(
                    "SSv2"
                )
                if len(pair) != 2 or own_split:
                    continue
                seen = tuple("" if "~" in half or half == "-" else half for half in pair)
                if seen != ("", ""):
                    assert seen in pairs(benchmark), (row["method"], benchmark, seen)
                    checked += 1
    assert checked > 180


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"select": "tset"}, "select is 'tset'"),
        ({"accuracy": "0.57"}, None),
        ({"accuracy": "101"}, "it is a percentage"),
        ({"accuracy": "~57.7"}, "could not convert"),
        ({"measure": "5 shots"}, "measure is '5 shots'"),
        ({"source": " "}, "source is empty"),
        ({"way": "five"}, "invalid literal"),
    ],
    ids=["select", "ok", "percent", "recalled", "measure", "source", "way"],
)
def test_an_impossible_line_is_named(changes: dict[str, str], reason: str | None) -> None:
    values = {
        "method": "otam",
        "variant": "",
        "backbone": "RN50",
        "protocol": "episodic",
        "benchmark": "hmdb51",
    }
    values |= {
        "measure": "1-shot",
        "way": "5",
        "accuracy": "54.5",
        "rerun": "",
        "select": "",
        "transductive": "no",
    }
    values |= {"trainable": "", "gflops": "", "source": "a paper", "note": ""}
    lines = [HEADER, ",".join((values | changes).values()) + "\n"]
    if reason is None:
        assert parse_published(lines)[0].accuracy == changes["accuracy"]
        return
    with pytest.raises(PublishedError, match="published.csv, line 2: ") as refused:
        parse_published(lines)
    assert reason in str(refused.value)


def test_other_columns_are_refused() -> None:
    with pytest.raises(PublishedError, match="instead of method"):
        parse_published(["method,accuracy\n", "otam,54.5\n"])
