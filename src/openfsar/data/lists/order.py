"""Which class a numbered list means by a number: the order differs between code bases."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from openfsar.data.lists.formats import ListedVideo, ListError
from openfsar.data.lists.known import Finding, known_classes
from openfsar.data.naming import VideoName, find_class
from openfsar.data.splits import load_split

Place: TypeAlias = tuple[str, int]
"""Split and number of a class."""


@dataclass(frozen=True)
class Order:
    """The class behind each number."""

    classes: Mapping[Place, str]
    findings: tuple[Finding, ...] = ()


def find_order(
    videos: Sequence[tuple[ListedVideo, VideoName]], benchmark: str, labels: Mapping[str, str]
) -> Order:
    """The class behind each number of a list.

    It is told by the folders that the lines name, by official annotations, or by the videos themselves where
    a known list has the same in one class; where none of these speaks, the published order is taken.

    Args:
        labels: Class of each video, by key, as official annotations have it.

    Raises:
        ListError: some classes stand in another order, and nothing tells that of the rest.
    """
    numbered = [(video.split, int(video.label), name.key) for video, name in videos]
    members: set[Place] = {(split, number) for split, number, _ in numbered}
    names: dict[Place, Counter[str]] = defaultdict(Counter)
    for video, name in videos:
        place = video.split, int(video.label)
        folder = find_class(benchmark, video.name.rpartition("/")[0].rpartition("/")[2])
        label = (folder[1] if folder else "") or labels.get(name.key, "") or name.label
        if label:
            names[place][label] += 1
    told = {place: names[place].most_common(1)[0][0] for place in names}
    told = known_classes(benchmark, numbered) | told
    published = {
        (split, i): label
        for split in {split for split, _ in members}
        for i, label in enumerate(load_split(benchmark, split).classes)
    }
    silent = sorted((members & published.keys()) - told.keys())
    moved = [place for place, label in sorted(told.items()) if published.get(place) != label]
    if not moved:
        return Order(published, (_unconfirmed(benchmark, silent, len(published)),) if silent else ())
    split, number = moved[0]
    what = (
        f"in {len(moved)} of {len(members)} classes the numbers mean other classes here than in CLIP-FSAR's "
        f"lists of {benchmark}: {split}{number} is {told[moved[0]]!r}, there "
        f"{published.get(moved[0], 'not a class')!r}"
    )
    if silent or len(set(told.values())) < len(told):
        raise ListError(
            f"{what}; what the others mean is not certain, as for {len(silent)} classes nothing tells it. "
            "Add the official annotations to the folder of the lists, or give lists with class names"
        )
    return Order(
        told,
        (
            Finding(
                "label order",
                f"{what}. They were put right here by what the videos are; with the usual names in the usual "
                "order, text would be learnt and scored for the wrong classes, which visual matching alone "
                "does not notice.",
                trap=True,
            ),
        ),
    )


def _unconfirmed(benchmark: str, silent: Sequence[Place], total: int) -> Finding:
    split, number = silent[0]
    name = load_split(benchmark, split).classes[number]
    return Finding(
        "label order",
        f"the published label order is taken, but nothing confirms it for {len(silent)} of {total} classes "
        f"({split}{number} should be {name!r}). It differs between code bases: were it wrong, text would be "
        "scored for the wrong classes. The official annotations in the folder of the lists would confirm it.",
        trap=True,
    )
