"""Batches of labelled clips: drawn by number, so that any worker, process or later run draws the same."""

import torch
from torch.utils.data import Dataset

from openfsar.data.dataset import VideoDataset, seeded
from openfsar.episode import ClipBatch

_STREAM = 0x636C6970
"""Keeps the order of the videos apart from other draws with the same seed."""


class ClipDataset(Dataset[ClipBatch]):
    """Item i holds clips ``i size`` to ``i size + size - 1`` of an endless row of shuffled passes over all
    videos; every pass looks at other frames.

    Batches are made already: use ``DataLoader(..., batch_size=None)``.
    """

    def __init__(self, dataset: VideoDataset, size: int, count: int, *, seed: int = 0) -> None:
        self.dataset, self.size, self.count, self.seed = dataset, size, count, seed

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, item: int) -> ClipBatch:
        if not 0 <= item < self.count:
            raise IndexError(f"batch {item} of {self.count}")
        total = len(self.dataset)
        places = range(item * self.size, (item + 1) * self.size)
        orders = {
            epoch: torch.randperm(total, generator=seeded(self.seed, _STREAM, epoch)).tolist()
            for epoch in {place // total for place in places}
        }
        drawn = [(orders[place // total][place % total], place // total) for place in places]
        return ClipBatch(
            clips=torch.stack([self.dataset.clip(video, draw=epoch).frames for video, epoch in drawn]),
            labels=self.dataset.labels[[video for video, _ in drawn]],
            vocabulary=self.dataset.classes,
        )
