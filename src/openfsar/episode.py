"""What travels between the parts: frozen records of tensors, checked at birth and movable to a device."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

Self = TypeVar("Self", bound="Record")


@dataclass(frozen=True, eq=False)
class Record:
    """Base of the records: one function applied to every tensor inside, nested records included."""

    def map(self: Self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same record with ``function`` applied to each tensor."""

        def apply(value: Any) -> Any:
            if isinstance(value, Tensor):
                return function(value)
            return value.map(function) if isinstance(value, Record) else value

        return replace(self, **{field.name: apply(getattr(self, field.name)) for field in fields(self)})

    def to(self: Self, device: torch.device | str, dtype: torch.dtype | None = None) -> Self:
        """Moved to ``device``; ``dtype`` changes floating tensors only (labels and pixels keep theirs)."""
        return self.map(lambda x: x.to(device, dtype if dtype and x.is_floating_point() else x.dtype))

    @property
    def nbytes(self) -> int:
        """Of all its tensors."""
        sizes: list[int] = []
        self.map(lambda x: sizes.append(x.nbytes) or x)
        return sum(sizes)

    def __repr__(self) -> str:
        def show(value: Any) -> str:
            if isinstance(value, Tensor):
                return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
            return repr(value)

        body = ", ".join(f"{field.name}={show(getattr(self, field.name))}" for field in fields(self))
        return f"{type(self).__name__}({body})"


@dataclass(frozen=True, eq=False, repr=False)
class Clip(Record):
    """Frames of one video and when each is shown."""

    frames: UInt8[Tensor, "T C H W"]
    """RGB, 0..255; normalisation belongs to the encoder."""

    seconds: Float[Tensor, " T"]
    """Presentation time of each frame, from the start of the video."""

    def __post_init__(self) -> None:
        if len(self.frames) != len(self.seconds):
            raise ValueError(
                f"a clip needs one time per frame, got {len(self.frames)=} and {len(self.seconds)=}"
            )

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, eq=False, repr=False)
class FrameFeatures(Record):
    """What ``encode`` makes of videos: one vector per frame. A method that needs more fields subclasses it.

    Every field has the same leading axes, and indexing (``features[3]``, ``features[episode_index]``) indexes
    them all together, so a bank of cached videos is one ``FrameFeatures`` with leading axis ``V``.
    """

    frames: Float[Tensor, "*b T D"]

    def __getitem__(self: Self, index: Any) -> Self:
        return self.map(lambda x: x[index])

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def cat(cls: type[Self], parts: "list[Self]") -> Self:
        """Joined along the first axis."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def _check_labels(labels: Tensor, way: int, what: str) -> None:
    if labels.numel() and (labels.min() < 0 or labels.max() >= way):
        raise ValueError(
            f"{what} labels must lie in 0..{way - 1} for a {way}-way task, "
            f"got {int(labels.min())}..{int(labels.max())}; number the classes of the task from 0"
        )


@dataclass(frozen=True, eq=False, repr=False)
class SupportSet(Record):
    """The labelled examples of a task, already encoded. Leading axes ``*e`` hold many tasks of one shape.

    Classes may have different numbers of examples (uneven shots), but each needs at least one.
    """

    features: FrameFeatures
    """``(*e, S, U, D)``: every support video, in any order."""

    labels: Int[Tensor, "*e S"]
    """Class of each support video, 0..way-1."""

    way: int
    """Number of classes N."""

    text: Float[Tensor, "*e N D"] | None = None
    """Text features of the N classes, for methods that read class names."""

    def __post_init__(self) -> None:
        if self.features.frames.shape[: self.labels.ndim] != self.labels.shape:
            raise ValueError(
                f"support features {list(self.features.frames.shape)} and labels {list(self.labels.shape)} "
                "must agree in all but the frame and width axes"
            )
        if self.text is not None and self.text.shape[-2] != self.way:
            raise ValueError(
                f"a {self.way}-way task needs the text features of {self.way} class names, in the order of "
                f"its labels, got {self.text.shape[-2]}; give text=method.text(names) of these classes"
            )
        _check_labels(self.labels, self.way, "support")
        present = self.labels.new_zeros(*self.labels.shape[:-1], self.way)
        present.scatter_(-1, self.labels, 1)
        if not present.all():
            missing = sorted({int(i) for i in (present == 0).nonzero()[:, -1]})
            raise ValueError(
                f"classes {missing} of {self.way} have no support video; give each class at least one"
            )


@dataclass(frozen=True, eq=False, repr=False)
class Task(Record):
    """What ``score`` needs to know of a support set: exemplars with class labels.

    A prototype is an exemplar that stands for its whole class (then ``X = N``); a method that compares with
    each support video keeps ``X = S`` exemplars and merges their distances. Methods may subclass it.
    """

    exemplars: FrameFeatures
    """``(*e, X, U, D)``."""

    labels: Int[Tensor, "*e X"]
    """Class of each exemplar, 0..way-1."""

    way: int
    """Number of classes N."""

    text: Float[Tensor, "*e N D"] | None = None
    """Text features of the N classes, for methods that score with them."""


@dataclass(frozen=True, eq=False, repr=False)
class Episode(Record):
    """One N-way task in pixels: labelled support clips, query clips, and the names of the classes."""

    support: UInt8[Tensor, "S U C H W"]
    support_labels: Int[Tensor, " S"]
    query: UInt8[Tensor, "Q T C H W"]
    query_labels: Int[Tensor, " Q"]
    classes: tuple[str, ...]
    """Names of the N classes; label i means ``classes[i]``."""

    vocabulary: tuple[str, ...] = ()
    """Names of all classes the episode was drawn from; for losses over the whole training vocabulary."""

    def __post_init__(self) -> None:
        if len(self.support) != len(self.support_labels) or len(self.query) != len(self.query_labels):
            raise ValueError(
                f"one label per video: {len(self.support)=}, {len(self.support_labels)=}, "
                f"{len(self.query)=}, {len(self.query_labels)=}"
            )
        _check_labels(self.support_labels, self.way, "support")
        _check_labels(self.query_labels, self.way, "query")

    @property
    def way(self) -> int:
        return len(self.classes)


@dataclass(frozen=True, eq=False, repr=False)
class ClipBatch(Record):
    """Labelled clips for supervised training; label i means ``vocabulary[i]``."""

    clips: UInt8[Tensor, "B T C H W"]
    labels: Int[Tensor, " B"]
    vocabulary: tuple[str, ...]

    def __post_init__(self) -> None:
        _check_labels(self.labels, len(self.vocabulary), "clip")
