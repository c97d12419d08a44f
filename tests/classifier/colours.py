"""A method that names videos by their mean colour and counts what it encodes, and videos for it."""

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from openfsar.episode import Clip, ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.methods.base import FewShotMethod
from openfsar.prototypes import class_means

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}


class ColourMethod(FewShotMethod):
    """Names videos by their mean colour; counts what it encodes."""

    def __init__(self, *, support_reads_text: bool = False) -> None:
        super().__init__()
        self.encoder = SimpleNamespace(image_size=16, name="colours")
        self.scale = nn.Parameter(torch.ones(()))
        self.support_reads_text = support_reads_text  # type: ignore[misc]
        self.batches: list[int] = []
        self.named: list[tuple[str, ...]] = []
        self.texts: list[Tensor | None] = []

    def text(self, names: Sequence[str]) -> Float[Tensor, "N D"] | None:
        self.named.append(tuple(names))
        return torch.arange(3.0 * len(names)).view(len(names), 3)

    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> FrameFeatures:
        self.batches.append(len(clips))
        self.texts.append(text)
        return FrameFeatures(clips.float().mean((-1, -2)) / 255)

    def prepare(self, support: SupportSet) -> Task:
        means = class_means(support.features.frames, support.labels, support.way)
        labels = torch.arange(support.way).expand(means.shape[:-2])
        return Task(FrameFeatures(means), labels, support.way, support.text)

    def score(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        return -10 * torch.cdist(query.frames.mean(-2), task.exemplars.frames.mean(-2))

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        raise NotImplementedError


def clip(name: str, seed: int, length: int = 10) -> Clip:
    """A noisy stretch of one colour."""
    return plain(COLOURS[name], seed, length)


def plain(colour: tuple[int, int, int], seed: int = 0, length: int = 10) -> Clip:
    """As ``clip``, of any colour."""
    noise = torch.randint(-20, 20, (length, 3, 24, 32), generator=torch.Generator().manual_seed(seed))
    pixels = torch.tensor(colour).view(3, 1, 1) + noise
    return Clip(pixels.clamp(0, 255).to(torch.uint8), torch.arange(length) / 10)
