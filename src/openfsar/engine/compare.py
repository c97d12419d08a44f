"""Two systems on the same episodes: where they differ, by how much, and how far that can be trusted."""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from openfsar.engine.metrics import mean_interval
from openfsar.engine.outcome import Outcome
from openfsar.engine.paired import jackknife, sign_flip_test


class ComparisonError(ValueError):
    """Outcomes that cannot be compared pair by pair."""


@dataclass(frozen=True)
class ClassDifference:
    """One class, as the query's own. Fractions, 0..1; positive differences are in favour of the first."""

    name: str
    episodes: int
    """In which it was asked for."""
    first: float
    second: float
    difference: float
    interval: float | None
    """Half the 95 % interval over episodes; of two dozen of these one is exceeded by chance. None for one."""


@dataclass(frozen=True)
class Comparison:
    """Fractions, 0..1; differences are of the first less the second, with half their 95 % intervals."""

    names: tuple[str, str]
    data: str
    split: str
    way: int
    shot: int
    query: int
    episodes: int
    episode_hash: str
    accuracy: tuple[float, float]
    interval: tuple[float, float]
    """Of each accuracy, over episodes. Where these overlap, the paired difference can still be clear."""
    difference: float
    over_episodes: float
    """For other tasks from the same videos."""
    p: float
    """Of the exact sign-flip test on episodes; speaks of the same as ``over_episodes``."""
    over_videos: float | None
    """For other videos of the same classes; None where a video is in every episode."""
    over_classes: float | None
    """For other classes, whose accuracy is what papers want to know; None where every episode holds all."""
    only_first: int
    """Queries that the first alone named right."""
    only_second: int
    both: int
    neither: int
    classes: tuple[ClassDifference, ...]
    """From the first's best to the second's best."""

    @property
    def verdict(self) -> str:
        """One sentence: who is ahead, and for what the difference stands."""
        if self.difference == 0:
            return "no difference"
        size = abs(self.difference)
        ahead = self.names[0] if self.difference > 0 else self.names[1]
        if size <= self.over_episodes:
            return "the difference does not exceed its interval even for other tasks from these videos"
        reach = [
            name
            for name, half in (("other videos", self.over_videos), ("other classes", self.over_classes))
            if half is not None and size > half
        ]
        scope = " and for ".join(["other tasks from these videos", *reach])
        unsure = (self.over_videos, self.over_classes) != (None, None) and len(reach) < 2
        return f"{ahead} is ahead for {scope}" + (", no further" if unsure else "")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"verdict": self.verdict}


def compare(first: Outcome, second: Outcome, names: tuple[str, str] | None = None) -> Comparison:
    """Pair the answers of two systems, episode by episode.

    Args:
        names: What to call the two; by default by their methods.

    Raises:
        ComparisonError: they were asked other episodes.
    """
    _check_same(first, second)
    results = first.result, second.result
    plan = first.episodes.plan
    correct = first.correct, second.correct
    gains = correct[0].int() - correct[1].int()  # of each query: 1, 0 or -1
    means = gains.double().mean((1, 2))
    difference, interval = mean_interval(means)
    videos = torch.cat([plan.support.flatten(1), plan.query.flatten(1)], 1)
    together = correct[0] & correct[1]
    return Comparison(
        names=names or (results[0].method, results[1].method),
        data=results[0].data,
        split=results[0].split,
        way=results[0].way,
        shot=results[0].shot,
        query=results[0].query,
        episodes=len(plan),
        episode_hash=plan.digest,
        accuracy=(results[0].accuracy, results[1].accuracy),
        interval=(results[0].interval, results[1].interval),
        difference=difference,
        over_episodes=interval,
        p=sign_flip_test(gains.sum((1, 2))),
        over_videos=jackknife(means, videos),
        over_classes=jackknife(means, plan.classes),
        only_first=int((gains > 0).sum()),
        only_second=int((gains < 0).sum()),
        both=int(together.sum()),
        neither=int((~(correct[0] | correct[1])).sum()),
        classes=_by_class(first, second),
    )


def _by_class(first: Outcome, second: Outcome) -> tuple[ClassDifference, ...]:
    """An episode gives each of its classes one value: the mean over the queries of that class."""
    names, labels = first.episodes.classes, first.episodes.plan.classes.flatten()
    shares = [outcome.correct.double().mean(2).flatten() for outcome in (first, second)]
    found = []
    for label, name in enumerate(names):
        one, other = (share[labels == label] for share in shares)
        if len(one) == 0:
            continue
        gain = (one - other).mean().item()
        interval = mean_interval(one - other)[1] if len(one) > 1 else None
        found.append(ClassDifference(name, len(one), one.mean().item(), other.mean().item(), gain, interval))
    return tuple(sorted(found, key=lambda it: (-it.difference, it.name)))


def _check_same(first: Outcome, second: Outcome) -> None:
    """Refuse answers to different questions, naming the first difference."""
    one, other = first.episodes, second.episodes
    told = {
        "way, shot and queries per class": (one.shape, other.shape),
        "number of episodes": (len(one.plan), len(other.plan)),
        "data": (f"{one.data} {one.split}", f"{other.data} {other.split}"),
        "seed": (one.seed, other.seed),
        "episode list": (one.plan.digest, other.plan.digest),
    }
    if all(a == b for a, b in told.values()) and (one.videos, one.classes) == (other.videos, other.classes):
        return
    what, (a, b) = next(
        ((what, pair) for what, pair in told.items() if pair[0] != pair[1]), ("videos", ("", ""))
    )
    raise ComparisonError(
        f"the two were asked other episodes: their {what} differ{f', {a} and {b}' if a != b else ''}; "
        "measure both on the same file (openfsar eval --episodes-file FILE --outcomes FOLDER)"
    )
