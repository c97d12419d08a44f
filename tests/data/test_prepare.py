"""From videos on disk to a benchmark: found however they are called, looked at once, and counted."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch
from published import REAL, classes, clip_id, in_folders, named, tiny_video, write_lists

from openfsar.data import frames, probing
from openfsar.data import prepare as preparing
from openfsar.data.availability import ClassReport
from openfsar.data.frames import build_frame_cache
from openfsar.data.lists import ListError
from openfsar.data.manifest import read_manifest
from openfsar.data.prepare import (
    PrepareError,
    cache_frames,
    estimate_cache,
    find_benchmark,
    prepare_benchmark,
)
from openfsar.data.splits import SPLITS, load_split
from openfsar.data.store import FrameStore
from openfsar.video import write_video


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_video(tmp_path_factory.mktemp("clip") / "clip.mp4")


def place(clip: Path, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    os.link(clip, path)
    return path


def prepared(found, out, **options):
    return prepare_benchmark(found, out, **{"workers": 0, "progress": False, **options})


def end(sample, *, folder) -> float:
    """In place of timing: what a fault in a decoder does."""
    os._exit(3)


def rows(done) -> dict[str, ClassReport]:
    return {row.label: row for row in done.classes}


def topics(done) -> dict[str, str]:
    return {finding.topic: finding.text for finding in done.findings}


def kinetics(folder: Path, clip: Path, *, each: int = 2) -> Path:
    """Lists of Kinetics-100, and the videos of the test classes."""
    write_lists(folder / "lists", "kinetics-100", in_folders, clip_id, each=each, splits=["test"])
    for line in (folder / "lists" / "test.txt").read_text().splitlines():
        place(clip, folder / "videos" / line.split("//train_256/")[1])
    return folder


def test_videos_are_found_renamed_nested_converted_and_in_capitals(tmp_path, clip):
    label = classes("kinetics-100", "test")[0]
    (tmp_path / "lists").mkdir()
    names = [clip_id(i) for i in range(7)]
    (tmp_path / "lists" / "test.txt").write_text("".join(f"{label}/{name}\n" for name in names))
    home = tmp_path / "videos"
    paths = [
        place(clip, home / f"{names[0]}.mp4"),
        place(clip, home / "deep" / "er" / f"{names[1]}.MKV"),
        place(clip, home / f"{names[2][:11]}.webm"),
        place(clip, home / f"v_{names[3]}.mp4.avi"),
        place(clip, home / f"{names[4][:11]}_12_22.mp4"),
    ]
    recut = place(clip, home / f"{names[5][:11]}_000090_000100.mp4")
    place(clip, home / ".hidden" / f"{names[6]}.mp4")
    place(clip, home / label.replace(" ", "_") / "zzzzzzzzzzz.mp4")
    place(clip, home / "other.mp4")
    (home / "notes.txt").touch()
    found = find_benchmark("kinetics-100", home, tmp_path / "lists")
    assert list(found.paths.values()) == [*paths, recut]
    assert [video.name for video in found.missing] == names[6:]
    assert (dict(found.extra), found.others) == ({label: 1}, 1)
    (cut,) = found.findings
    assert cut.topic == "other cuts" and str(recut) in cut.text and cut.trap


def test_of_several_copies_the_one_where_the_list_says_is_taken(tmp_path, clip):
    write_lists(tmp_path / "lists", "kinetics-100", in_folders, clip_id, splits=["test"])
    label = classes("kinetics-100", "test")[0].replace(" ", "_")
    places = ["a", f"x/{label}", f"train_256/{label}"]
    copies = [place(clip, tmp_path / "videos" / p / f"{clip_id(0)}.mp4") for p in places]
    for best in reversed(copies):
        found = find_benchmark("kinetics-100", tmp_path / "videos", tmp_path / "lists")
        assert list(found.paths.values()) == [best]
        copies.remove(best)
        assert [str(len(copies)) in finding.text for finding in found.findings] == [True] * bool(copies)
        best.unlink()


def test_names_that_lost_their_odd_characters_are_found_where_they_are_unique(tmp_path, clip):
    (tmp_path / "lists").mkdir()
    name, twin = (
        "no_Knots!_clap_u_nm_np1_fr_med_1",
        ["a!b_clap_u_nm_np1_fr_med_1", "a_b_clap_u_nm_np1_fr_med_1"],
    )
    (tmp_path / "lists" / "train.txt").write_text("".join(f"clap/{n}\n" for n in [name, *twin]))
    there = place(clip, tmp_path / "v" / "clap" / f"{name.replace('!', '_')}.avi")
    place(clip, tmp_path / "v" / "clap" / f"{twin[1].replace('a_b', 'a-b')}.avi")
    found = find_benchmark("hmdb51", tmp_path / "v", tmp_path / "lists")
    assert list(found.paths.values()) == [there] and len(found.missing) == 2
    assert topics(found)["renamed"].startswith("1 files")


def test_folders_of_images_and_links_count(tmp_path, clip):
    from PIL import Image

    write_lists(tmp_path / "lists", "ssv2-small", named, str, splits=["val"])
    (tmp_path / "videos" / "0").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "videos" / "0" / "1.jpg")
    place(clip, tmp_path / "elsewhere" / "000001.webm")
    (tmp_path / "videos" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "videos")
    found = find_benchmark("ssv2-small", tmp_path / "videos", tmp_path / "lists")
    assert [path.name for path in found.paths.values()] == ["0", "000001.webm"]
    assert len(prepared(found, tmp_path / "out").manifest.records) == 2


def test_a_tree_needs_no_lists_and_folder_and_name_must_agree(tmp_path, clip):
    videos = tmp_path / "UCF"
    nested = place(clip, videos / "yo yo" / "YoYo" / "v_YoYo_g01_c01.avi")
    flat = place(clip, videos / "v_HandStandPushups_g01_c01.avi")
    place(clip, videos / "Archery" / "v_YoYo_g02_c01.avi")
    place(clip, videos / "Archery" / "my holiday.avi")
    found = find_benchmark("ucf101", videos)
    assert {video[:3]: path for video, path in found.paths.items()} == {
        ("train", "YoYo", "v_yoyo_g01_c01"): nested,
        ("val", "HandstandPushups", "v_handstandpushups_g01_c01"): flat,
    }
    assert "1 videos lie in the folder of one class" in found.selection.findings[0].text
    done = prepared(found, tmp_path / "out", recordings=True)
    assert [record.group for record in done.manifest.records] == [
        "YoYo yoyo_g01", "HandstandPushups handstandpushups_g01",
    ]  # fmt: skip
    row = rows(done)["YoYo"]
    published = load_split("ucf101", "train").videos[-1]
    assert (row.listed, row.good, row.missing) == (published, 1, published - 1)
    assert done.hash != done.listed_hash
    assert "1 of 9,154 train videos can be used (0.0%)" in next(
        f.text for f in done.findings if f.trap and "train" in f.text
    )


def test_missing_broken_and_extra_videos_are_counted_by_class(tmp_path, clip):
    home = kinetics(tmp_path, clip)
    first, second = classes("kinetics-100", "test")[:2]
    folders = [home / "videos" / label.replace(" ", "_") for label in (first, second)]
    (folders[0] / f"{clip_id(0)}.mp4").unlink()
    broken = folders[1] / f"{clip_id(2)}.mp4"
    broken.unlink()
    broken.write_bytes(b"no video")
    place(clip, folders[1] / "zzzzzzzzzzz.mp4")
    done = prepared(find_benchmark("kinetics-100", home / "videos", home / "lists"), home / "out")
    one, two = (rows(done)[label] for label in (first, second))
    assert (one.listed, one.good, one.missing, one.broken, one.extra) == (2, 1, 1, (), 0)
    assert one.missing_names[0].endswith(f"{clip_id(0)}.mp4")
    assert (two.listed, two.good, two.missing, two.extra) == (2, 1, 0, 1)
    assert two.broken[0][0] == str(broken) and two.broken[0][1]
    manifest = read_manifest(home / "out")
    assert len(manifest.records) == 46 and {record.split for record in manifest.records} == {"test"}
    assert broken not in {record.path for record in manifest.records}
    said = topics(done)
    assert (
        f"46 of 48 test videos can be used (95.8%), the fewest of {first!r}, 1 of 2" in said["availability"]
    )
    assert (
        "vanish from YouTube" in said["availability"] and "24 classes have fewer than 6" in said["few videos"]
    )
    report = json.loads((home / "out" / "report.json").read_text())
    assert report["videos"] == {"train": 0, "val": 0, "test": 46}
    assert (report["hash"], report["listed_hash"]) == (done.hash, done.listed_hash)
    assert report["classes"][76]["missing_names"] == list(one.missing_names)


def test_the_hash_depends_on_the_videos_and_not_on_where_they_lie(tmp_path, clip):
    home = kinetics(tmp_path, clip)
    done = prepared(find_benchmark("kinetics-100", home / "videos", home / "lists"), home / "out")
    assert done.hash == done.listed_hash
    (home / "moved").mkdir()
    for path in (home / "videos").rglob("*.mp4"):
        shutil.move(path, home / "moved" / path.name)
    moved = prepared(find_benchmark("kinetics-100", home / "moved", home / "lists"), home / "out2")
    assert moved.hash == done.hash
    next((home / "moved").iterdir()).unlink()
    fewer = prepared(find_benchmark("kinetics-100", home / "moved", home / "lists"), home / "out2")
    assert fewer.hash != done.hash == fewer.listed_hash


def test_nothing_there_is_said_with_what_was_looked_for(tmp_path, clip):
    home = kinetics(tmp_path, clip)
    with pytest.raises(ListError, match="kinetics-100 is a selection .* give them as --lists"):
        find_benchmark("kinetics-100", home / "videos")
    with pytest.raises(PrepareError, match="nowhere is no folder"):
        find_benchmark("kinetics-100", home / "nowhere", home / "lists")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PrepareError, match="holds no video at all"):
        find_benchmark("hmdb51", tmp_path / "empty")
    with pytest.raises(PrepareError, match=r"none of 48 videos .* is one of hmdb51"):
        find_benchmark("hmdb51", home / "videos")
    place(clip, tmp_path / "strange" / "dance.mp4")
    with pytest.raises(PrepareError, match=r"no name is like .*blasting_sand.* but like 'dance.mp4'"):
        find_benchmark("kinetics-100", tmp_path / "strange", home / "lists")
    with pytest.raises(PrepareError, match="does not tell which film it is cut from"):
        prepared(
            find_benchmark("kinetics-100", home / "videos", home / "lists"), home / "out", recordings=True
        )


def test_all_videos_broken_is_an_error(tmp_path):
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / "v_YoYo_g01_c01.avi").write_bytes(b"no video")
    with pytest.raises(PrepareError, match="none of 1 videos can be read; .*v_YoYo_g01_c01.avi"):
        prepared(find_benchmark("ucf101", tmp_path / "v"), tmp_path / "out")
    assert not (tmp_path / "out" / "manifest.csv").exists()


def test_a_video_is_looked_at_once_unless_it_changes(tmp_path, clip, monkeypatch):
    looked: list[Path] = []
    probe = probing.probe

    def counted(path: Path):
        looked.append(path)
        return probe(path)

    monkeypatch.setattr(probing, "probe", counted)
    paths = [shutil.copy(clip, tmp_path / f"{i}.mp4") for i in range(4)]
    paths[3].write_bytes(b"")
    journal = tmp_path / "probed.jsonl"

    def look() -> dict[Path, str]:
        looked.clear()
        return probing.probe_videos(paths, journal, workers=0, progress=False)

    first = look()
    assert looked == paths and [bool(fault) for fault in first.values()] == [False] * 3 + [True]
    assert look() == first and looked == []
    with open(journal, "ab") as file:
        file.write(b'["half')  # a kill
    shutil.copy(clip, paths[3])
    assert not any(look().values()) and looked == [paths[3]]
    journal.write_bytes(journal.read_bytes()[:-20])
    look()
    assert looked == [paths[3]] and look() and looked == []


def test_the_estimate_speaks_of_what_is_left(tmp_path, clip, monkeypatch):
    home = kinetics(tmp_path, clip)
    found = find_benchmark("kinetics-100", home / "videos", home / "lists")
    folder = home / "frames"
    work = estimate_cache(found, folder, workers=0)
    assert work is not None and (work.videos, len(FrameStore(folder))) == (40, 8)
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    assert 0.9 * stored / 8 * 40 < work.bytes < 1.2 * stored / 8 * 40 and work.seconds > 0
    assert {path.parent.name for path in found.paths.values()} >= {"blasting_sand", "tap_dancing"}
    done = prepared(found, home / "out")
    assert len(build_frame_cache(done.manifest, folder, workers=0, progress=False)) == 48
    rest = estimate_cache(found, folder, workers=0)
    assert rest is not None and (rest.videos, rest.seconds, rest.bytes) == (0, 0, 0)
    monkeypatch.setattr(preparing.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(9, 9, 9))
    with pytest.raises(PrepareError, match="the frames of 40 videos take about .* 0.0 GiB left; make room"):
        estimate_cache(found, home / "other", workers=0)


@pytest.mark.slow
def test_a_video_that_ends_its_process_does_not_end_the_estimate(tmp_path, clip, monkeypatch):
    home = kinetics(tmp_path, clip)
    found = find_benchmark("kinetics-100", home / "videos", home / "lists")
    monkeypatch.setattr(preparing, "_time_frames", end)
    assert estimate_cache(found, home / "frames", workers=2) is None


def test_a_video_that_looks_right_and_is_not_leaves_the_manifest(tmp_path, clip, monkeypatch):
    home = kinetics(tmp_path, clip)
    found = find_benchmark("kinetics-100", home / "videos", home / "lists")
    done = prepared(found, home / "out")
    bad = done.manifest.records[5].path
    extract = frames._extract

    def broken(record, **options):
        return frames.Extract((1, 1), reason="tears") if record.path == bad else extract(record, **options)

    monkeypatch.setattr(frames, "_extract", broken)
    after = cache_frames(done, home / "out", home / "out-frames", workers=0, progress=False)
    assert {record.path for record in done.manifest.records} - {r.path for r in after.manifest.records} == {
        bad
    }
    assert [row.broken for row in after.classes if row.broken] == [((str(bad), "tears"),)]
    assert len(read_manifest(home / "out").records) == 47
    again = prepared(find_benchmark("kinetics-100", home / "videos", home / "lists"), home / "out")
    assert again.hash == after.hash != done.hash
    assert cache_frames(again, home / "out", home / "out-frames", workers=0, progress=False) is again


PREPARE = """
import sys, time
from pathlib import Path
from openfsar.data import frames, probing
from openfsar.data.prepare import find_benchmark, prepare_benchmark
probe, extract = probing.probe, frames._extract
def slow_probe(path):
    time.sleep(0.05)
    return probe(path)
def slow_extract(*args, **options):
    time.sleep(0.05)
    return extract(*args, **options)
probing.probe, frames._extract, frames.SHARD_VIDEOS = slow_probe, slow_extract, 4
home = Path(sys.argv[1])
done = prepare_benchmark(find_benchmark("kinetics-100", home / "videos", home / "lists"), home / "out",
                         workers=0, progress=False)
frames.build_frame_cache(done.manifest, home / "out-frames", workers=0, progress=False)
"""


def test_a_video_that_breaks_off_is_broken(tmp_path):
    write_video(
        tmp_path / "v.mp4", torch.arange(40, dtype=torch.uint8).mul(6).view(40, 1, 1, 1).expand(-1, 3, 32, 32)
    )
    data = (tmp_path / "v.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 9 // 10])
    (fault,) = probing.probe_videos(
        [tmp_path / "cut.mp4"], tmp_path / "journal", workers=0, progress=False
    ).values()
    assert re.match(r"is cut short: \d\d of 40 frames are there; fetch it again", fault)


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_stopped(tmp_path, clip, monkeypatch):
    home = kinetics(tmp_path, clip)
    journal, folder = home / "out" / "probed.jsonl", home / "out-frames"

    def run_until(there) -> None:
        process = subprocess.Popen([sys.executable, "-c", PREPARE, str(home)])
        deadline = time.monotonic() + 200
        while not there() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()

    run_until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 5)
    seen = journal.read_bytes().count(b"\n")
    assert 5 <= seen < 48 and not (home / "out" / "manifest.csv").exists()
    run_until(lambda: len(list(folder.glob("shard-*"))) >= 2)
    assert journal.read_bytes().count(b"\n") == 48 and len(read_manifest(home / "out").records) == 48
    kept = len(FrameStore(folder))
    assert 8 <= kept < 48
    monkeypatch.setattr(probing, "probe", pytest.fail)
    done = prepared(find_benchmark("kinetics-100", home / "videos", home / "lists"), home / "out")
    assert done.hash == done.listed_hash
    assert len(build_frame_cache(done.manifest, folder, workers=0, progress=False)) == 48


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the published lists are not at hand")
def test_hmdb51_has_exactly_the_published_counts(tmp_path, clip):
    names = REAL / "fsar_lib" / "hmdb_ARN"
    for split in SPLITS:
        for line in (names / f"{split}.txt").read_text("utf-8").splitlines():
            label, _, name = line.partition("/")
            (tmp_path / "videos" / label).mkdir(parents=True, exist_ok=True)
            os.link(clip, tmp_path / "videos" / label / f"{name}.avi")
    for lists in (None, names):
        done = prepared(find_benchmark("hmdb51", tmp_path / "videos", lists), tmp_path / "out")
        records = read_manifest(tmp_path / "out").records
        for split, count in zip(SPLITS, (4_280, 1_194, 1_292), strict=True):
            about = load_split("hmdb51", split)
            found = Counter(record.label for record in records if record.split == split)
            assert found.total() == count
            assert found == dict(zip(about.classes, about.videos, strict=True))
        assert done.hash == done.listed_hash == "ac2a731e93930433"
        assert not any(row.missing or row.broken or row.extra for row in done.classes)
        assert not any(finding.trap for finding in done.findings)
