"""The lists in circulation, known by digests of their classes, and what they do to a comparison."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from openfsar.data.splits import SPLITS, load_split, read_facts

DIGEST = 10
"""Hex digits that tell one set of videos from another."""

SHORT, WHOLE = 67_013, 77_500
"""Training videos of SSv2-Full in the list that circulates, and in the one it is the beginning of."""


@dataclass(frozen=True)
class Finding:
    """Something to know about the data before comparing results."""

    topic: str
    text: str
    trap: bool = False
    """Whether it spoils a comparison that does not mention it."""

    def __str__(self) -> str:
        return f"{self.topic}: {self.text}"


def digest(keys: Iterable[str], length: int = DIGEST) -> str:
    """Names a set of videos, in any order."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:length]


def known_classes(benchmark: str, videos: Sequence[tuple[str, int, str]]) -> dict[tuple[str, int], str]:
    """The class behind each split and number of which a known list has the very same videos.

    Args:
        videos: split, number of the class and key of each, in the order of the list.
    """
    members: dict[tuple[str, int], list[str]] = defaultdict(list)
    seen: Counter[str] = Counter()
    for split, number, key in videos:
        seen[split] += 1
        if benchmark != "ssv2-full" or seen[split] <= SHORT:  # the longer list begins with the known one
            members[split, number].append(key)
    labels = {(split, code): label for split, label, code, _ in _digests(benchmark)}
    coded = {place: (place[0], digest(keys)) for place, keys in members.items()}
    return {place: labels[code] for place, code in coded.items() if code in labels}


def findings(benchmark: str, videos: Sequence[tuple[str, str, str]]) -> list[Finding]:
    """Which known lists these are, and what to know about them.

    Args:
        videos: split, class and key of each.
    """
    members: dict[tuple[str, str], list[str]] = defaultdict(list)
    for split, label, key in videos:
        members[split, label].append(key)
    present = [split for split in SPLITS if any(home == split for home, _ in members)]
    found: list[Finding] = []
    sources = {split: _source(benchmark, split, members) for split in present}
    if benchmark == "ssv2-full" and "train" in sources:
        found.append(_training_list(sum(split == "train" for split, _, _ in videos)))
    if benchmark == "kinetics-100":
        found.append(_replaced(sources))
    else:
        found.append(_which(benchmark, sources))
    return found


def _digests(benchmark: str) -> Iterable[tuple[str, str, str, str]]:
    """Split, class, digest and the name of the list, of every class of every known list."""
    for name, known in read_facts(benchmark)["lists"].items():
        for split in SPLITS:
            for label, code in zip(load_split(benchmark, split).classes, known[split], strict=True):
                yield split, label, code, name


def _source(
    benchmark: str, split: str, members: Mapping[tuple[str, str], Sequence[str]]
) -> tuple[str, int, int]:
    """The known list with most of its classes here, how many these are, and of how many."""
    here = {(home, label): digest(keys) for (home, label), keys in members.items() if home == split}
    counts = Counter(
        name
        for home, label, code, name in _digests(benchmark)
        if home == split and here.get((home, label)) == code
    )
    name, count = counts.most_common(1)[0] if counts else ("", 0)
    return name, count, len(load_split(benchmark, split).classes)


def missing_classes(benchmark: str, videos: Iterable[tuple[str, str]]) -> list[Finding]:
    """Classes without a video, in the splits that have any.

    Args:
        videos: split and class of each.
    """
    here = set(videos)
    found: list[Finding] = []
    for split in SPLITS:
        names = load_split(benchmark, split).classes
        missing = [name for name in names if (split, name) not in here]
        if 0 < len(missing) < len(names):
            found.append(
                Finding(
                    "classes",
                    f"{len(missing)} of the {len(names)} {split} classes have no video in the lists, such as "
                    f"{missing[0]!r}; tasks are then drawn from fewer classes than in the papers.",
                    trap=True,
                )
            )
    return found


def _which(benchmark: str, sources: Mapping[str, tuple[str, int, int]]) -> Finding:
    lists = read_facts(benchmark)["lists"]
    strange = [
        f"{split} (the same names in {same} of {total} classes)"
        for split, (_, same, total) in sources.items()
        if same < total and not (benchmark == "ssv2-full" and split == "train")
    ]
    about = next(iter(lists.values()))["about"]
    if not strange:
        return Finding("lists", f"video for video those in circulation: {about}.")
    return Finding(
        "lists",
        f"not, video for video, those in circulation ({about}): {', '.join(strange)}. Unless they were only "
        "renamed, results compare with published ones as far as other test videos are equally hard.",
        trap=True,
    )


def _training_list(count: int) -> Finding:
    if count == SHORT:
        return Finding(
            "training list",
            f"it has {SHORT:,} videos, the first lines of a list of {WHOLE:,} that CLIP-MEI and CLIP-SPM "
            "have; all 64 classes, validation and test are the same. TRX, STRM, FSAR-lib, HyRSM, MoLo and "
            f"CLIP-FSAR publish it, so their figures were most likely trained on {SHORT / WHOLE:.0%} of what "
            "was meant: compare with those, and say so beside those of the longer list.",
            trap=True,
        )
    if count == WHOLE:
        return Finding(
            "training list",
            f"it has {WHOLE:,} videos. TRX, STRM, FSAR-lib, HyRSM, MoLo and CLIP-FSAR publish a list that "
            f"ends after {SHORT:,} lines, so that a gain over their figures may come from "
            f"{WHOLE / SHORT - 1:.0%} more training videos: train on both, or say so.",
            trap=True,
        )
    return Finding(
        "training list",
        f"it has {count:,} videos; the two in circulation have {SHORT:,} and {WHOLE:,}. Results compare with "
        "neither as they stand.",
        trap=True,
    )


def _replaced(sources: Mapping[str, tuple[str, int, int]]) -> Finding:
    apart = (
        "CLIP-FSAR's (and HyRSM's and MoLo's) lists replace 179 of 6,400 training, 41 of 1,200 validation "
        "and 57 of 2,400 test videos of CMN's (and TRX's), which had vanished from YouTube"
    )
    names = {name for name, same, total in sources.values() if same == total}
    if len(names) == 1 and all(same == total for _, same, total in sources.values()):
        about = read_facts("kinetics-100")["lists"][names.pop()]["about"]
        return Finding(
            "replaced clips",
            f"these are {about}. {apart}: 2.4 % of the test videos differ between papers, and results differ "
            "for that alone; say which list yours is.",
            trap=True,
        )
    parts = ", ".join(f"{split}: {same} of {total}" for split, (_, same, total) in sources.items())
    return Finding(
        "replaced clips",
        f"these are neither CMN's nor CLIP-FSAR's lists (classes with the very same videos: {parts}). "
        f"{apart}; yours differ from both, so name them beside any result.",
        trap=True,
    )
