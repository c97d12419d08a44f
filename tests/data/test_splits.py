import json
from importlib.resources import files

import pytest

from openfsar.data.splits import BENCHMARKS, SPLITS, SplitError, check_disjoint, load_split

COUNTS = {
    "ssv2-full": (64, 12, 24),
    "ssv2-small": (64, 12, 24),
    "kinetics-100": (64, 12, 24),
    "ucf101": (70, 10, 21),
    "hmdb51": (31, 10, 10),
}


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_published_splits_have_their_published_sizes(benchmark):
    assert tuple(len(load_split(benchmark, split).classes) for split in SPLITS) == COUNTS[benchmark]


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_no_published_class_occurs_twice(benchmark):
    names = [name for split in SPLITS for name in load_split(benchmark, split).classes]
    assert len(set(names)) == len(names) == sum(COUNTS[benchmark])
    check_disjoint({split: load_split(benchmark, split).classes for split in SPLITS})


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_the_files_travel_as_package_data_and_say_what_they_are(benchmark):
    facts = json.loads((files("openfsar") / "data" / "splits" / f"{benchmark}.json").read_text("utf-8"))
    assert facts["name"] == benchmark
    assert facts["source"]
    assert facts["counts"] == dict(zip(SPLITS, COUNTS[benchmark], strict=True))


def test_classes_come_in_label_order():
    assert load_split("hmdb51", "test").classes == (
        "fencing", "kick", "kick_ball", "pick", "pour", "pushup", "run", "sit", "smoke", "talk",
    )  # fmt: skip
    assert load_split("ssv2-small", "train").classes[:2] == (
        "Pouring something into something",
        "Poking a stack of something without the stack collapsing",
    )
    assert load_split("ucf101", "train").classes[-1] == "YoYo"


def test_an_unknown_benchmark_or_split_names_the_known_ones():
    with pytest.raises(SplitError, match="'hmdb'.*ssv2-full.*hmdb51"):
        load_split("hmdb", "test")
    with pytest.raises(SplitError, match="'testing' in hmdb51; there are train, val, test"):
        load_split("hmdb51", "testing")


def test_a_class_in_two_splits_is_named_with_both():
    with pytest.raises(SplitError, match="'walk' in train and test"):
        check_disjoint({"train": ["run", "walk"], "val": ["jump"], "test": ["walk"]})
