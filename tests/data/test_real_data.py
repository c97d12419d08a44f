"""Real footage, where it is at hand: KTH actions and clips from the wild."""

import re
from pathlib import Path

import pytest
import torch

from openfsar.data.dataset import VideoDataset
from openfsar.data.episodes import EpisodeDataset, EpisodeSampler
from openfsar.data.manifest import Manifest, VideoRecord, read_manifest

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="real footage is not at hand")


def test_episodes_of_real_actions_keep_people_apart():
    found = read_manifest(DATA / "kth_mini")
    records = tuple(
        VideoRecord(record.path, record.label, group=record.path.name.split("_")[0])
        for record in found.records
    )
    dataset = VideoDataset(Manifest(found.root, records), frames=4, size=64)
    assert dataset.classes == ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
    assert len(dataset) == 48
    groups = dataset.groups
    assert groups is not None
    sampler = EpisodeSampler(dataset.labels, way=5, shot=4, query=1, groups=groups, names=dataset.classes)
    plan = sampler.plan(200)
    assert not (groups[plan.support] == groups[plan.query]).any()
    episode = EpisodeDataset(dataset, sampler, count=1)[0]
    assert episode.support.shape == (20, 4, 3, 64, 64)
    assert episode.query.shape == (5, 4, 3, 64, 64)


def test_clips_from_the_wild_are_read():
    dataset = VideoDataset(read_manifest(DATA / "in_the_wild"), size=64)
    assert dataset.classes == ("HorseRace", "Punch", "YoYo")
    assert len(dataset) == 18
    assert all(re.search(r"_g\d+_c\d+\.avi$", record.path.name) for record in dataset.records)
    clip = dataset.clip(0)
    assert clip.frames.shape == (8, 3, 64, 64)
    assert clip.frames.double().std() > 20
    assert (torch.diff(clip.seconds) > 0).all()
