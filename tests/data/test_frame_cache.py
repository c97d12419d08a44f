import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from shades import base_of, number_of, shades, with_broken

from openfsar.data import frames as building
from openfsar.data.dataset import VideoDataset
from openfsar.data.frames import build_frame_cache
from openfsar.data.manifest import Manifest, VideoRecord
from openfsar.data.store import CacheError, FrameStore
from openfsar.video import VideoError, write_video
from openfsar.video.sampling import segments


@pytest.fixture(scope="module")
def cache(footage, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    build_frame_cache(footage, folder, short_side=32, frames_per_video=8, workers=0, progress=False)
    return folder


@pytest.fixture
def copy(footage, tmp_path) -> Manifest:
    """A data set of three videos that may be damaged."""
    records = []
    for record in footage.records[:3]:
        shutil.copy(record.path, tmp_path / record.path.name)
        records.append(VideoRecord(tmp_path / record.path.name, record.label))
    return Manifest(tmp_path, tuple(records))


def build(manifest, folder, **options) -> FrameStore:
    return build_frame_cache(manifest, folder, **{"workers": 0, "progress": False, **options})


def shards(folder):
    return sorted(folder.glob("shard-*"))


def test_the_stored_frames_are_evenly_spaced_and_know_their_number_and_time(footage, cache):
    store = FrameStore(cache)
    places = store.rows(footage.records, footage.root)
    assert len(store) == 12
    for video, (place, length) in enumerate(zip(places, (20, 5, 31, 12) * 3, strict=True)):
        clip = store.read(place, range)
        expected = segments(length, min(8, length))
        assert store.kept(place) == (length, expected)
        assert number_of(clip.frames) == expected
        assert (base_of(clip.frames) - 20 * video).abs().max() < 4
        torch.testing.assert_close(clip.seconds, torch.tensor(expected) / 16)
        assert clip.frames.shape[1:] == (3, 32, 43)


def test_frames_come_in_the_order_asked_for_with_repeats(footage, cache):
    store = FrameStore(cache)
    place = store.rows(footage.records, footage.root)[0]
    whole, some = store.read(place, range), store.read(place, lambda length: [length - 1, 0, 0, 3])
    assert torch.equal(some.frames, whole.frames[[7, 0, 0, 3]])
    assert torch.equal(some.seconds, whole.seconds[[7, 0, 0, 3]])


def test_a_dataset_shows_the_same_frames_with_and_without_a_cache(footage, tmp_path):
    build(footage, tmp_path, frames_per_video=0)
    decoded = VideoDataset(footage, frames=4, size=32)
    cached = decoded.at(cache=tmp_path)
    for train in (False, True):
        for video in range(3):
            one, other = (dataset.at(train=train).clip(video) for dataset in (decoded, cached))
            assert torch.equal(one.seconds, other.seconds)
            assert (one.frames.double() - other.frames.double()).abs().mean() < 2  # JPEG


def test_a_cache_too_small_for_the_clips_is_refused(footage, cache):
    with pytest.raises(CacheError, match="keeps 8 frames per video, frames=16 need more"):
        VideoDataset(footage, frames=16, size=32, cache=cache)
    with pytest.raises(CacheError, match="keeps frames of 32 pixels, size=64 needs more"):
        VideoDataset(footage, frames=8, size=64, cache=cache)


def test_a_cached_dataset_travels_to_other_processes(footage, cache):
    dataset = VideoDataset(footage, frames=4, size=16, cache=cache)
    dataset.clip(0)
    data = pickle.dumps(dataset)
    assert len(data) < 20_000
    assert torch.equal(pickle.loads(data).clip(4).frames, dataset.clip(4).frames)


def test_a_finished_build_has_nothing_left_to_do(copy, tmp_path, monkeypatch):
    build(copy, tmp_path / "cache")
    before = shards(tmp_path / "cache")
    monkeypatch.setattr(building, "_extract", pytest.fail)
    assert len(build(copy, tmp_path / "cache")) == 3
    assert shards(tmp_path / "cache") == before


def test_a_changed_video_is_noticed_and_extracted_again(copy, tmp_path):
    store = build(copy, tmp_path / "cache")
    changed = copy.records[1].path
    write_video(changed, shades(9, 200))
    with pytest.raises(
        CacheError, match=f"{changed.name} has changed since .*build it again: openfsar data cache"
    ):
        store.rows(copy.records, copy.root)
    store = build(copy, tmp_path / "cache")
    assert len(shards(tmp_path / "cache")) == 2
    assert len(store) == 3
    place = store.rows(copy.records, copy.root)[1]
    assert store.kept(place)[0] == 9
    assert (base_of(store.read(place, range).frames) - 200).abs().max() < 4


def test_videos_that_are_gone_are_served_from_the_cache(copy, tmp_path):
    store = build(copy, tmp_path / "cache")
    copy.records[0].path.unlink()
    assert len(store.read(store.rows(copy.records, copy.root)[0], range)) == 20


def test_a_data_set_and_its_cache_may_move_together(copy, tmp_path):
    build(copy, tmp_path / "cache")
    home = tmp_path / "moved"
    home.mkdir()
    for name in ("cache", *(record.path.name for record in copy.records)):
        shutil.move(tmp_path / name, home / name)
    records = tuple(VideoRecord(home / record.path.name, record.label) for record in copy.records)
    assert len(FrameStore(home / "cache").rows(records, home)) == 3


def test_the_same_videos_listed_from_another_folder_are_found(copy, tmp_path):
    build(copy, tmp_path / "cache")
    elsewhere = Manifest(tmp_path / "lists", copy.records)
    assert len(FrameStore(tmp_path / "cache").rows(elsewhere.records, elsewhere.root)) == 3
    build(elsewhere, tmp_path / "cache")
    assert len(shards(tmp_path / "cache")) == 1


def test_missing_videos_are_counted_and_one_is_named(footage, copy, tmp_path):
    store = build(copy, tmp_path / "cache")
    with pytest.raises(CacheError, match=r"lacks 12 videos, such as .*0.mp4; build it again"):
        store.rows(footage.records, footage.root)


def test_broken_videos_are_listed_and_never_replaced(footage, tmp_path):
    manifest, broken = with_broken(footage, tmp_path)
    store = build(manifest, tmp_path / "cache")
    assert list(store.broken) == [str(broken)]
    assert "cannot be decoded" in store.broken[str(broken)]
    with pytest.raises(VideoError, match="broken.mp4.*cannot be decoded.*openfsar data check"):
        store.read(store.rows(manifest.records, manifest.root)[0], range)
    write_video(broken, shades(7, 100))
    assert build(manifest, tmp_path / "cache").broken == {}


def test_only_broken_videos_make_a_cache_too(tmp_path):
    (tmp_path / "broken.mp4").touch()
    manifest = Manifest(tmp_path, (VideoRecord(tmp_path / "broken.mp4", "run"),))
    assert list(build(manifest, tmp_path / "cache").broken) == ["broken.mp4"]


def test_long_videos_are_extracted_in_windows(copy, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "WINDOW", 7)
    store = build(copy, tmp_path / "cache", frames_per_video=0)
    clip = store.read(store.rows(copy.records, copy.root)[2], range)
    assert number_of(clip.frames) == list(range(31))
    torch.testing.assert_close(clip.seconds, torch.arange(31) / 16)


def test_other_settings_need_another_folder(copy, tmp_path):
    build(copy, tmp_path / "cache", short_side=64)
    with pytest.raises(CacheError, match="short_side=64.*not .*short_side=32.*choose another folder"):
        build(copy, tmp_path / "cache", short_side=32)


def test_what_is_no_cache_is_refused(tmp_path):
    with pytest.raises(CacheError, match="holds no frame cache; build it"):
        FrameStore(tmp_path)
    (tmp_path / "cache.json").write_text("{")
    with pytest.raises(CacheError, match="damaged"):
        FrameStore(tmp_path)
    (tmp_path / "cache.json").write_text(json.dumps({"other": 1}))
    with pytest.raises(CacheError, match="damaged"):
        FrameStore(tmp_path)


def test_a_damaged_shard_is_named(copy, tmp_path):
    build(copy, tmp_path / "cache")
    (shard,) = shards(tmp_path / "cache")
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(CacheError, match=f"{shard.name} is damaged.*delete it and build the cache again"):
        FrameStore(tmp_path / "cache")


def test_a_full_disk_ends_the_build_and_leaves_whole_shards_only(copy, tmp_path, monkeypatch):
    monkeypatch.setattr(building, "SHARD_VIDEOS", 1)
    sync, calls = os.fsync, []

    def full_at_the_third(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:  # settings, first shard, second shard
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full_at_the_third)
    with pytest.raises(CacheError, match="cannot be written.*No space left on device.*make room"):
        build(copy, tmp_path / "cache")
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".json", ".safetensors"}
    assert len(FrameStore(tmp_path / "cache")) == 1
    assert len(build(copy, tmp_path / "cache")) == 3
    assert len(shards(tmp_path / "cache")) == 3


BUILD = """
import sys, time
from pathlib import Path
from openfsar.data import frames
from openfsar.data.manifest import read_manifest
extract = frames._extract
def slowly(*args, **options):
    time.sleep(0.2)
    return extract(*args, **options)
frames._extract, frames.SHARD_VIDEOS = slowly, 2
frames.build_frame_cache(read_manifest(Path(sys.argv[1])), Path(sys.argv[2]), workers=0, progress=False)
"""


@pytest.mark.slow
def test_a_killed_build_goes_on_where_it_stopped(footage, tmp_path, monkeypatch):
    process = subprocess.Popen([sys.executable, "-c", BUILD, str(footage.root), str(tmp_path / "cache")])
    deadline = time.monotonic() + 200
    while len(shards(tmp_path / "cache")) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(FrameStore(tmp_path / "cache"))
    assert 4 <= kept < 12
    extract, extracted = building._extract, []

    def counting(record: VideoRecord, **options: int) -> building.Extract:
        extracted.append(record)
        return extract(record, **options)

    monkeypatch.setattr(building, "_extract", counting)
    store = build(footage, tmp_path / "cache")
    assert len(extracted) == 12 - kept
    assert len(store.rows(footage.records, footage.root)) == 12


@pytest.mark.slow
def test_processes_store_the_same_frames(footage, cache, tmp_path):
    store = build(footage, tmp_path / "cache", short_side=32, frames_per_video=8, workers=2)
    here = FrameStore(cache)
    for one, other in zip(
        store.rows(footage.records, footage.root), here.rows(footage.records, footage.root), strict=True
    ):
        assert torch.equal(store.read(one, range).frames, here.read(other, range).frames)
