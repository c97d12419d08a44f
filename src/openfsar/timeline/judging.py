"""From pictures to what is thought of each window: each frame is encoded as rarely as may be."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped, UInt8
from torch import Tensor

from openfsar.episode import FrameFeatures
from openfsar.methods.base import FewShotMethod, FrameFirst
from openfsar.timeline.windows import Windows, in_groups
from openfsar.video.transforms import Resize, eval_transform

DECODED_SIDE = 256
"""Pictures are shrunk to this short side before they are brought to the encoder's size, as clips are."""


@runtime_checkable
class Judged(Protocol):
    """What is thought of Q windows."""

    @property
    def probabilities(self) -> Float[np.ndarray, "Q N"]: ...

    @property
    def known(self) -> Bool[np.ndarray, " Q"]:
        """False where a window shows none of the classes."""
        ...


Judge: TypeAlias = Callable[[FrameFeatures], Judged]
"""Names windows from their features."""


@runtime_checkable
class Namer(Protocol):
    """Whoever names windows; ``FewShotVideoClassifier`` is one."""

    frames: int
    """That its examples were sampled at, and windows are."""
    resize: Resize
    """How frames come to the encoder's size."""

    @property
    def classes_(self) -> Shaped[np.ndarray, " N"]:
        """Names of the classes, in the order of probabilities."""
        ...

    @property
    def method_(self) -> FewShotMethod: ...

    def judge(self, features: FrameFeatures) -> Judged:
        """What is thought of windows that ``method_.encode`` has encoded."""
        ...


@dataclass(frozen=True)
class Scored:
    """Some windows in a row."""

    starts: tuple[int, ...]
    """Number of the first frame of each."""
    probabilities: Float[np.ndarray, "Q N"]
    known: Bool[np.ndarray, " Q"]


def decoded_side(method: FewShotMethod) -> int:
    """Short side that pictures need for the method."""
    return max(method.encoder.image_size, DECODED_SIDE)


def fit_picture(
    method: FewShotMethod, picture: UInt8[Tensor, "C _ _"], resize: Resize
) -> UInt8[Tensor, "C H W"]:
    """A picture at the size of the method's encoder."""
    return eval_transform(picture[None], method.encoder.image_size, resize=resize)[0]


def judge_windows(
    method: FewShotMethod,
    judge: Judge,
    pictures: Iterable[UInt8[Tensor, "C H W"]],
    windows: Windows,
    *,
    batch: int,
) -> Iterator[Scored]:
    """What is thought of each window, ``batch`` at a time, in constant memory.

    Where the method sees each frame alone, windows share its features; elsewhere they are encoded whole.
    """
    device = next(method.parameters()).device
    if isinstance(method, FrameFirst) and method.frames_first:
        items, look = encode_frames(method, pictures, batch=batch * windows.frames), method.refine
    else:
        items, look = pictures, method.encode
    for group in in_groups(windows.slide(items), batch):
        with torch.no_grad():
            features = look(torch.stack([torch.stack(window) for _, window in group]).to(device))
            judged = judge(features)
        yield Scored(tuple(start for start, _ in group), judged.probabilities, judged.known)


def encode_frames(
    method: FewShotMethod, pictures: Iterable[UInt8[Tensor, "C H W"]], *, batch: int
) -> Iterator[Float[Tensor, " D"]]:
    """The encoder's vector of every picture on its own, ``batch`` at a time."""
    device = next(method.parameters()).device
    for group in in_groups(pictures, batch):
        with torch.no_grad():
            vectors = method.encoder.frames(torch.stack(group)[:, None].to(device))[:, 0]
        yield from vectors
