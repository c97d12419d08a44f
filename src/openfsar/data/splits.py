"""Class splits of the published benchmarks: facts in JSON files beside this module, in label order."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

BENCHMARKS = ("ssv2-full", "ssv2-small", "kinetics-100", "ucf101", "hmdb51")
SPLITS = ("train", "val", "test")


class SplitError(ValueError):
    """A benchmark or split that does not exist, or splits that share a class."""


@dataclass(frozen=True)
class Split:
    """The classes of one split; label i of the benchmark's lists means ``classes[i]``."""

    benchmark: str
    name: str
    classes: tuple[str, ...]

    videos: tuple[int, ...] = ()
    """How many videos of each class the published lists have."""

    prompts: tuple[str, ...] = ()
    """What CLIP-FSAR calls each class in its sentences, slips included ("Blow DryHair"); empty for split val,
    whose classes it does not name."""


def load_split(benchmark: str, split: str) -> Split:
    """Class names of a published split: ``load_split("hmdb51", "test").classes``.

    Names are those of the data sets themselves: folder names for UCF101 and HMDB51, plain sentences for
    Kinetics and, without brackets, for Something-Something V2.

    Raises:
        SplitError: for an unknown benchmark or split.
    """
    facts = read_facts(benchmark)
    if split not in SPLITS:
        raise SplitError(f"no split {split!r} in {benchmark}; there are {', '.join(SPLITS)}")
    prompts = facts["prompts"].get(split, ())
    return Split(benchmark, split, tuple(facts[split]), tuple(facts["videos"][split]), tuple(prompts))


@cache
def read_facts(benchmark: str) -> Mapping[str, Any]:
    """What the file of a benchmark says.

    Raises:
        SplitError: for an unknown benchmark.
    """
    if benchmark not in BENCHMARKS:
        raise SplitError(f"no benchmark {benchmark!r}; there are {', '.join(BENCHMARKS)}")
    file = files("openfsar.data") / "splits" / f"{benchmark}.json"
    return json.loads(file.read_text(encoding="utf-8"))


def check_disjoint(classes: Mapping[str, Iterable[str]]) -> None:
    """Refuse splits that share a class: few-shot accuracy on classes seen in training means nothing.

    Args:
        classes: the class names of each split.

    Raises:
        SplitError: naming the first few shared classes and their splits.
    """
    homes: dict[str, list[str]] = {}
    for split, names in classes.items():
        for name in sorted(set(names)):
            homes.setdefault(name, []).append(split)
    shared = [f"{name!r} in {' and '.join(home)}" for name, home in homes.items() if len(home) > 1]
    if shared:
        more = f" and {len(shared) - 5} more" if len(shared) > 5 else ""
        raise SplitError(
            f"classes must belong to one split only, but {', '.join(shared[:5])}{more}; "
            "few-shot splits divide classes, not videos: give each class to one split (for supervised "
            "training every class of val and test is one of train)"
        )
