import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from shades import CLASSES, base_of, number_of, with_broken

from openfsar.data.dataset import VideoDataset
from openfsar.data.episodes import EpisodeDataset, EpisodeSampler
from openfsar.data.frames import build_frame_cache
from openfsar.data.manifest import Manifest, ManifestError, VideoRecord, read_manifest
from openfsar.data.store import CacheError
from openfsar.video import VideoError
from openfsar.video.sampling import segments


@pytest.fixture
def dataset(footage) -> VideoDataset:
    return VideoDataset(footage, frames=4, size=32)


def test_videos_are_numbered_by_class_and_path_in_whatever_order_they_are_listed(footage, dataset):
    shuffled = VideoDataset(Manifest(footage.root, footage.records[::-1]), frames=4, size=32)
    assert shuffled.records == dataset.records == footage.records
    assert dataset.classes == CLASSES
    assert dataset.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert dataset.groups is not None
    assert dataset.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert len(dataset) == 12


def test_the_name_is_that_of_the_folder(footage, monkeypatch):
    assert VideoDataset(footage).name == footage.root.name
    monkeypatch.chdir(footage.root)
    assert VideoDataset(read_manifest(Path("."))).name == footage.root.name


def test_a_clip_holds_the_segment_centres_in_a_centre_crop(dataset):
    for video, length in enumerate((20, 5, 31, 12)):
        clip = dataset.clip(video)
        assert clip.frames.shape == (4, 3, 32, 32)
        assert number_of(clip.frames) == segments(length, 4)
        torch.testing.assert_close(clip.seconds, torch.tensor(segments(length, 4)) / 16)
        assert (base_of(clip.frames) - 20 * video).abs().max() < 4


def test_training_clips_depend_on_seed_video_and_draw_alone(dataset):
    train = dataset.at(train=True)
    first = train.clip(2, draw=7).frames
    train.clip(3)
    assert torch.equal(train.at(train=True).clip(2, draw=7).frames, first)
    others = [train.clip(2, draw=draw).frames for draw in range(6)]
    assert len({tuple(number_of(frames)) for frames in others}) > 2
    assert not torch.equal(train.at(seed=1).clip(2, draw=7).frames, first)
    for frames in others:
        assert np.searchsorted([7, 15, 23, 31], number_of(frames), "right").tolist() == [0, 1, 2, 3]


def test_random_frames_can_do_without_random_crops(dataset):
    drawn, centred = dataset.at(train=True), dataset.at(train=True, random_crops=False)
    for draw in range(4):
        assert number_of(centred.clip(2, draw).frames) == number_of(drawn.clip(2, draw).frames)
    still = dataset.at(frames=31), centred.at(frames=31)  # as many as the video has: nothing left to draw
    assert torch.equal(still[0].clip(2).frames, still[1].clip(2).frames)
    assert not torch.equal(still[0].clip(2).frames, drawn.at(frames=31).clip(2).frames)


def test_without_training_the_draw_changes_nothing(dataset):
    assert torch.equal(dataset.clip(2, draw=1).frames, dataset.clip(2).frames)


def test_the_same_videos_in_another_form(dataset):
    other = dataset.at(size=16, frames=2, sampling="trx")
    assert other.clip(0).frames.shape == (2, 3, 16, 16)
    assert number_of(dataset.at(sampling="trx").clip(0).frames) == [1, 6, 12, 18]
    assert dataset.clip(0).frames.shape == (4, 3, 32, 32)


def test_a_subset_keeps_some_classes(dataset):
    subset = dataset.subset(["walk", "jump"])
    assert subset.classes == ("jump", "walk")
    assert len(subset) == 8
    with pytest.raises(ManifestError, match="no video of class 'fly'; there are jump, run, walk"):
        dataset.subset(["fly"])


def test_a_split_is_a_part_of_the_manifest(footage):
    records = (*footage.records[:4], VideoRecord(footage.root / "x.mp4", "sit", "test"))
    manifest = Manifest(footage.root, records)
    assert VideoDataset(manifest, "test").classes == ("sit",)
    assert len(VideoDataset(manifest)) == 5
    with pytest.raises(ManifestError, match="no video in split 'val'; the manifest has 'test', 'train'"):
        VideoDataset(manifest, "val")


def test_videos_without_a_group_are_recordings_of_their_own(footage):
    first, second, third, fourth = footage.records[:4]
    records = (first, second, VideoRecord(third.path, third.label), VideoRecord(fourth.path, fourth.label))
    plain = tuple(VideoRecord(record.path, record.label) for record in records)
    mixed = tuple(VideoRecord(record.path, record.label, "", record.group) for record in records)
    groups = VideoDataset(Manifest(footage.root, mixed)).groups
    assert groups is not None
    assert groups.tolist() == [0, 0, 1, 2]
    assert VideoDataset(Manifest(footage.root, plain)).groups is None


@pytest.mark.parametrize(("option", "message"), [({"frames": 0}, "frames must"), ({"size": 0}, "size must")])
def test_impossible_clips_are_refused(footage, option, message):
    with pytest.raises(ValueError, match=message):
        VideoDataset(footage, **option)


def test_a_broken_video_raises_and_no_other_takes_its_place(footage, tmp_path):
    manifest, broken = with_broken(footage, tmp_path)
    dataset = VideoDataset(manifest, frames=2, size=16)
    number = [record.path for record in dataset.records].index(broken)
    with pytest.raises(VideoError, match="broken.mp4"):
        dataset.clip(number)


def test_a_dataset_travels_to_other_processes(dataset):
    dataset.clip(0)
    again = pickle.loads(pickle.dumps(dataset))
    assert torch.equal(again.clip(5).frames, dataset.clip(5).frames)


def test_a_cache_that_lacks_a_video_is_refused_at_once(footage, tmp_path):
    build_frame_cache(footage, tmp_path, workers=0, progress=False)
    more = Manifest(footage.root, (*footage.records, VideoRecord(footage.root / "new.mp4", "run", "train")))
    with pytest.raises(CacheError, match="lacks 1 videos, such as new.mp4"):
        VideoDataset(more, cache=tmp_path)


@pytest.fixture
def episodes(dataset) -> EpisodeDataset:
    sampler = EpisodeSampler(dataset.labels, way=2, shot=2, query=1, seed=3)
    return EpisodeDataset(dataset.at(train=True), sampler, count=5, start=10)


def test_an_episode_shows_the_planned_videos_under_their_names(episodes):
    for item in range(len(episodes)):
        episode = episodes[item]
        plan = episodes.sampler.plan(1, 10 + item)
        names = [CLASSES[i] for i in plan.classes[0].tolist()]
        assert list(episode.classes) == names
        assert episode.vocabulary == CLASSES
        for label in range(2):
            shown = base_of(episode.support[episode.support_labels == label]).mean(-1) / 20
            assert sorted(shown.round().long().tolist()) == sorted(plan.support[0, label].tolist())
            shown = base_of(episode.query[episode.query_labels == label]).mean(-1) / 20
            assert shown.round().long().tolist() == plan.query[0, label].tolist()


def test_the_support_set_is_shuffled(dataset):
    sampler = EpisodeSampler(dataset.labels, way=3, shot=2, query=1)
    episodes = EpisodeDataset(dataset.at(frames=1, size=8), sampler, count=8)
    orders = {tuple(episodes[item].support_labels.tolist()) for item in range(8)}
    assert len(orders) > 3
    assert all(sorted(order) == [0, 0, 1, 1, 2, 2] for order in orders)


def test_the_same_video_looks_different_in_another_episode(dataset):
    sampler = EpisodeSampler(dataset.labels, way=3, shot=3, query=1)
    clips = [
        frames
        for episode in map(EpisodeDataset(dataset.at(train=True), sampler, count=3).__getitem__, range(3))
        for frames in episode.support
        if (base_of(frames).mean() / 20).round() == 2
    ]
    assert len(clips) > 1
    assert not torch.equal(clips[0], clips[1])


def test_items_beyond_the_end_do_not_exist(episodes):
    for item in (-1, 5):
        with pytest.raises(IndexError):
            episodes[item]
    assert len(list(episodes)) == 5


def test_any_number_of_workers_shows_the_same_pixels(episodes):
    here = [episodes[item] for item in range(5)]
    for workers in (0, 1, 2):
        loader = torch.utils.data.DataLoader(episodes, batch_size=None, num_workers=workers)
        for one, other in zip(here, loader, strict=True):
            assert torch.equal(one.support, other.support)
            assert torch.equal(one.query, other.query)
            assert torch.equal(one.support_labels, other.support_labels)
            assert one.classes == other.classes


def test_views_are_spread_over_the_video_and_crops_over_its_longer_side(dataset):
    viewed = dataset.at(frames=2, views=2, crops=3)
    for video, length in enumerate((20, 5, 31, 12)):
        seen = [viewed.clip(video, view=view).frames for view in range(6)]
        assert len({frames.flatten()[0].item() for frames in seen}) > 1
        for view, frames in enumerate(seen):
            left = (5 * torch.tensor(segments(length, 2, at=(view // 3 + 0.5) / 2))).double()
            if view % 3 == 0:  # the left end shows the left half of the picture, which counts frames
                assert number_of(frames) == segments(length, 2, at=(view // 3 + 0.5) / 2)
            if view % 3 == 2:
                assert (base_of(frames) - 20 * video).abs().max() < 4
            assert len(left) == len(frames)
    middle = dataset.at(views=1, crops=3).clip(1, view=1).frames
    assert torch.equal(middle, dataset.clip(1).frames)


def test_half_of_the_training_clips_are_mirrored_where_asked(dataset):
    mirrored = dataset.at(train=True, mirror=True)
    left = [
        bool(mirrored.clip(3, draw=draw).frames[:, :, 2:-2, :4].double().mean() > 40) for draw in range(40)
    ]
    assert 8 < sum(left) < 32
    assert dataset.at(mirror=True).clip(3).frames.equal(dataset.clip(3).frames)


def test_the_sampling_of_trx_has_one_view(footage):
    with pytest.raises(ValueError, match="sampling='trx' takes one view of a video, got views=2"):
        VideoDataset(footage, sampling="trx", views=2)
