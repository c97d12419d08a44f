"""What a report shows, as plain records; nothing here draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jaxtyping import Float, UInt8
from torch import Tensor

from openfsar.engine.cost import Cost


@dataclass(frozen=True)
class Tile:
    """One number that matters, in large type."""

    value: str
    caption: str


@dataclass(frozen=True)
class Accuracy:
    """A measured accuracy, 0..1, with the half width of its 95 % interval."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{100 * self.mean:.1f} ± {100 * self.half:.1f}"


@dataclass(frozen=True)
class Score:
    """A line of the accuracy table; None is "not run"."""

    system: str
    reads: str
    """What the system compares, in a few words."""
    before: Accuracy | None
    after: Accuracy | None = None
    cost: Cost | None = None
    """Of training it."""


@dataclass(frozen=True)
class Curve:
    """A quantity over training steps; ``intervals`` are half widths, or empty."""

    steps: Sequence[int]
    values: Sequence[float]
    intervals: Sequence[float] = ()


@dataclass(frozen=True, eq=False)
class Alignment:
    """A query video beside the support video it was matched with."""

    query: UInt8[Tensor, "T C H W"]
    support: UInt8[Tensor, "U C H W"]
    distances: Float[Tensor, "T U"]
    path: Sequence[tuple[int, int]]
    """Aligned frames as (row, column) of ``distances``, in order of time."""
    query_label: str
    support_label: str


@dataclass(frozen=True, eq=False)
class Named:
    """A fresh video with the probabilities it was given."""

    file: str
    truth: str
    frames: UInt8[Tensor, "T C H W"]
    probabilities: Mapping[str, float]

    @property
    def ranking(self) -> list[tuple[str, float]]:
        """Labels and probabilities, likeliest first."""
        return sorted(self.probabilities.items(), key=lambda item: -item[1])


@dataclass(frozen=True, eq=False)
class Report:
    """Everything on the page, from top to bottom; empty parts are left out."""

    title: str
    lead: str
    """Two sentences: what was done, and what came out."""
    tiles: Sequence[Tile] = ()
    task: str = ""
    """What the accuracies mean, such as "5-way 1-shot on 24 unseen actions, 10,000 episodes"."""
    scores: Sequence[Score] = ()
    chance: float = 0.2
    loss: Curve | None = None
    accuracy: Curve | None = None
    confusion: Float[Tensor, "A A"] | None = None
    classes: Sequence[str] = ()
    alignments: Sequence[Alignment] = ()
    named: Sequence[Named] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
