"""Videos whose actions are colours, methods that see nothing else, and a judge of colours."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.methods.base import FewShotMethod, FrameFirst
from openfsar.video import write_video

COLOURS = {"blue": (30, 30, 220), "green": (30, 200, 30), "red": (220, 30, 30)}
LABELS = tuple(COLOURS)
GREY = (120, 120, 120)


def coloured_frames(parts: Sequence[tuple[str, float]], fps: int = 10, side: int = 32) -> Tensor:
    """Stretches of a colour, or of grey by any other name, each for some seconds."""
    colours = [COLOURS.get(name, GREY) for name, seconds in parts for _ in range(round(seconds * fps))]
    return torch.tensor(colours, dtype=torch.uint8)[:, :, None, None].repeat(1, 1, side, side)


def write_coloured(path: Path, parts: Sequence[tuple[str, float]], fps: int = 10) -> Path:
    write_video(path, coloured_frames(parts, fps), fps=fps)
    return path


class ColourEncoder(nn.Module):
    """The mean colour of each frame, counted."""

    image_size = 16

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.batches: list[int] = []
        """Frames of every call."""

    def frames(self, clips: UInt8[Tensor, "B T C H W"]) -> Float[Tensor, "B T D"]:
        self.batches.append(clips.shape[0] * clips.shape[1])
        return self.weight * clips.float().mean((-1, -2)) / 255


class _Colours(FewShotMethod):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = ColourEncoder()  # type: ignore[assignment]

    def text(self, names: Sequence[str]) -> None:
        return None

    def prepare(self, support: SupportSet) -> Task:
        raise NotImplementedError

    def score(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        raise NotImplementedError

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        raise NotImplementedError


class Alone(_Colours, FrameFirst):
    """Sees each frame alone, then smooths over the window."""

    def refine(self, raw: Float[Tensor, "B T D"]) -> FrameFeatures:
        return FrameFeatures(raw + raw.mean(1, keepdim=True))


class Together(_Colours):
    """Sees the same, and does not tell."""

    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> FrameFeatures:
        raw = self.encoder.frames(clips)
        return FrameFeatures(raw + raw.mean(1, keepdim=True))


@dataclass(frozen=True)
class Verdict:
    probabilities: Float[np.ndarray, "Q N"]
    known: Bool[np.ndarray, " Q"]


def judge(features: FrameFeatures) -> Verdict:
    """The nearest colour; grey is none of them."""
    seen = features.frames.mean(1) / 2
    colours = torch.tensor(list(COLOURS.values()), dtype=seen.dtype) / 255
    distances = torch.cdist(seen, colours)
    known = distances.min(1).values < 0.35
    return Verdict((-20 * distances).softmax(1).numpy(), known.numpy())


@dataclass
class Fake:
    """What names windows in these tests."""

    method_: FewShotMethod
    judge: Callable[[FrameFeatures], object]
    labels: Sequence[str] = LABELS
    frames: int = 8
    resize: Literal["aspect", "squash"] = "aspect"

    @property
    def classes_(self) -> np.ndarray:
        return np.array(self.labels)
