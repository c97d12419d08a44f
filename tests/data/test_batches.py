"""Batches of clips pass over all videos, look elsewhere every time, and are functions of their number."""

import pytest
import torch

from openfsar.data.batches import ClipDataset
from openfsar.data.dataset import VideoDataset


@pytest.fixture
def dataset(footage) -> VideoDataset:
    return VideoDataset(footage, "train", frames=2, size=32, train=True)


def test_every_pass_shows_every_video_once(dataset):
    batches = ClipDataset(dataset, 5, count=12)
    labels = torch.cat([batches[i].labels for i in range(12)])  # 60 clips: five passes over 12 videos
    assert [labels[12 * i : 12 * i + 12].bincount().tolist() for i in range(5)] == [[4, 4, 4]] * 5
    assert len({tuple(labels[12 * i : 12 * i + 12].tolist()) for i in range(5)}) == 5


def test_a_batch_holds_the_clips_of_its_videos_drawn_by_the_pass(dataset):
    batches = ClipDataset(dataset, 12, count=3, seed=4)
    for epoch in range(3):
        batch = batches[epoch]
        assert batch.vocabulary == dataset.classes and batch.clips.shape == (12, 2, 3, 32, 32)
        for clip, label in zip(batch.clips, batch.labels.tolist(), strict=True):
            same = [v for v in range(12) if torch.equal(dataset.clip(v, draw=epoch).frames, clip)]
            assert len(same) == 1 and dataset.labels[same[0]] == label
    assert not torch.equal(batches[0].clips.sum(0), batches[1].clips.sum(0))


def test_a_batch_depends_on_seed_and_number_alone(dataset):
    first = ClipDataset(dataset, 4, count=5)[3]
    assert torch.equal(ClipDataset(dataset, 4, count=9)[3].clips, first.clips)
    assert not torch.equal(ClipDataset(dataset, 4, count=5, seed=1)[3].clips, first.clips)


def test_batches_beyond_the_end_do_not_exist(dataset):
    with pytest.raises(IndexError, match="batch 5 of 5"):
        ClipDataset(dataset, 4, count=5)[5]
