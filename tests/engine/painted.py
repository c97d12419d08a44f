"""Videos that exist in memory only: a class is a sequence of colours, a video is that with its own noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor, nn

from openfsar.data.dataset import VideoDataset, seeded
from openfsar.data.manifest import Manifest, VideoRecord
from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.tiny import tiny_encoder
from openfsar.engine.checkpoint import load_checkpoint
from openfsar.engine.recipe import Recipe
from openfsar.episode import Clip, ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.matchers import frame_distances
from openfsar.methods.base import FewShotMethod
from openfsar.methods.episodic import classification, prototype_task, tuned
from openfsar.methods.zoo import METHODS, build
from openfsar.prototypes import class_means


@dataclass(frozen=True, eq=False)
class Painted(VideoDataset):
    """Frames are computed; other draws in training bring other noise."""

    noise: int = 60

    def clip(self, i: int, draw: int = 0, view: int = 0) -> Clip:
        label = self.records[i].label
        colours = torch.randint(60, 195, (self.frames, 3, 1, 1), generator=seeded(*label.encode()))
        dice = seeded(self.seed, i, draw if self.train else 0)
        noise = torch.randint(
            -self.noise, self.noise + 1, (self.frames, 3, self.size, self.size), generator=dice
        )
        return Clip((colours + noise).to(torch.uint8), torch.arange(self.frames) / 8)


def painted(
    split: str = "val", *, classes: int = 6, videos: int = 5, grouped: bool = False, **form
) -> Painted:
    """That many classes of that many videos each; with groups, two videos share a recording."""
    records = [
        VideoRecord(Path(f"{split}{c}-{v}.mp4"), f"{split} {c}", split, f"{c}-{v // 2}" if grouped else "")
        for c in range(classes)
        for v in range(videos)
    ]
    return Painted(Manifest(Path("painted"), tuple(records)), split, **{"frames": 3, "size": 32, **form})


def tiny_recipe(**changes) -> Recipe:
    """A run of seconds."""
    values = dict(method="otam", data="painted", encoder="tiny", pretrained=False, frames=3, way=3, query=2)
    values |= dict(
        steps=6, episodes_per_step=2, lr=1e-3, weight_decay=0.01, schedule="cosine", warmup_steps=1
    )
    values |= dict(clip_norm=1.0, eval_every=3, eval_episodes=20, eval_way=3, checkpoint_every=1, workers=0)
    return Recipe(**values | changes)


class Wobbly(FewShotMethod):
    """ProtoNet with dropout: its training reads random numbers."""

    def __init__(self, encoder: ClipEncoder) -> None:
        super().__init__()
        self.encoder = tuned(encoder, "full")
        self.dropout = nn.Dropout(0.3)

    def text(self, names: Sequence[str]) -> None:
        return None

    def encode(self, clips: Tensor, text: Tensor | None = None) -> FrameFeatures:
        return FrameFeatures(self.dropout(self.encoder.frames(clips)))

    def prepare(self, support: SupportSet) -> Task:
        return prototype_task(class_means(support.features.frames, support.labels, support.way), support)

    def score(self, query: FrameFeatures, task: Task) -> Tensor:
        return -10 * frame_distances(query.frames, task.exemplars.frames).mean((-1, -2))

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        assert isinstance(batch, Episode)
        return classification(self.logits(batch), batch.query_labels)


def wobbly() -> FewShotMethod:
    """In double precision, so that what should be equal is equal to many digits."""
    with patch.dict(METHODS, wobbly=Wobbly):
        return build("wobbly", tiny_encoder()).double()


def weights(folder: Path) -> dict[str, Tensor]:
    """What training left in a run folder."""
    return load_checkpoint(folder / "last.pt").weights
