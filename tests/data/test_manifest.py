import os
from pathlib import Path

import pytest
from PIL import Image

from openfsar.data.manifest import Manifest, ManifestError, VideoRecord, read_manifest, write_manifest


def tree(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def table(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_a_csv_file_names_videos_relative_to_its_folder(tmp_path):
    source = table(tmp_path / "list.csv", "path,label\na.mp4,walk\nsub/b.mp4,run\n/far/c.mp4,run\n")
    manifest = read_manifest(source)
    assert manifest.root == tmp_path
    assert manifest.records == (
        VideoRecord(tmp_path / "a.mp4", "walk"),
        VideoRecord(tmp_path / "sub/b.mp4", "run"),
        VideoRecord(Path("/far/c.mp4"), "run"),
    )


def test_columns_may_come_in_any_order_and_with_split_and_group(tmp_path):
    source = table(tmp_path / "list.csv", "group,label,split,path\ng1,walk,train,a.mp4\n,run,test,b.mp4\n")
    assert read_manifest(source).records == (
        VideoRecord(tmp_path / "a.mp4", "walk", "train", "g1"),
        VideoRecord(tmp_path / "b.mp4", "run", "test", ""),
    )


def test_quotes_commas_unicode_spaces_blank_lines_and_a_byte_order_mark_are_read(tmp_path):
    text = '\ufeffpath,label\r\n"über, 1.mp4", Handstand \r\n\r\n"a ""b"".mp4","jump, then run"\r\n'
    assert read_manifest(table(tmp_path / "list.csv", text)).records == (
        VideoRecord(tmp_path / "über, 1.mp4", "Handstand"),
        VideoRecord(tmp_path / 'a "b".mp4', "jump, then run"),
    )


def test_what_is_written_is_read_back(tmp_path):
    records = (
        VideoRecord(tmp_path / 'data/ü, "1".mp4', "jump, run", "train", "g 1"),
        VideoRecord(tmp_path / "data/new\nline.mp4", "走る", "test"),
        VideoRecord(Path("/elsewhere/b.mp4"), "sit", "val"),
    )
    write_manifest(Manifest(tmp_path, records), tmp_path / "manifest.csv")
    assert read_manifest(tmp_path) == Manifest(tmp_path, records)
    assert "/data" not in (tmp_path / "manifest.csv").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.csv"]


def test_a_manifest_written_elsewhere_still_finds_its_videos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_manifest(Manifest(Path("a"), (VideoRecord(Path("a/b.mp4"), "walk"),)), tmp_path / "lists/new.csv")
    assert read_manifest(tmp_path / "lists/new.csv").records == (VideoRecord(tmp_path / "a/b.mp4", "walk"),)


def test_a_failed_write_leaves_the_old_manifest(tmp_path, monkeypatch):
    old = Manifest(tmp_path, (VideoRecord(tmp_path / "a.mp4", "walk"),))
    write_manifest(old, tmp_path / "manifest.csv")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_manifest(Manifest(tmp_path, ()), tmp_path / "manifest.csv")
    assert read_manifest(tmp_path) == old
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_name_that_is_no_text_is_named(tmp_path):
    record = VideoRecord(tmp_path / os.fsdecode(b"caf\xe9.mp4"), "walk")
    with pytest.raises(ManifestError, match="not valid UTF-8.*rename"):
        write_manifest(Manifest(tmp_path, (record,)), tmp_path / "manifest.csv")


def test_a_folder_per_class_is_read_in_order(tmp_path):
    tree(
        tmp_path, "walk/b.mp4", "walk/a.AVI", "run fast/c.webm", "run fast/notes.txt", ".git/x.mp4", "README"
    )
    tree(tmp_path, "walk/frames/.hidden", "walk/.d.mp4")
    Image.new("RGB", (4, 4)).save(tmp_path / "walk/frames/1.png")
    assert read_manifest(tmp_path) == Manifest(
        tmp_path,
        (
            VideoRecord(tmp_path / "run fast/c.webm", "run fast"),
            VideoRecord(tmp_path / "walk/a.AVI", "walk"),
            VideoRecord(tmp_path / "walk/b.mp4", "walk"),
            VideoRecord(tmp_path / "walk/frames", "walk"),
        ),
    )


def test_folders_named_after_splits_hold_folders_of_classes(tmp_path):
    tree(tmp_path, "train/walk/a.mp4", "test/run/b.mp4")
    assert read_manifest(tmp_path).records == (
        VideoRecord(tmp_path / "train/walk/a.mp4", "walk", "train"),
        VideoRecord(tmp_path / "test/run/b.mp4", "run", "test"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column path and label"),
        ("path\na.mp4\n", "no column label.*path,label"),
        ("path,label,spilt\na.mp4,walk,train\n", "unknown column 'spilt'; did you mean 'split'"),
        ("path,label,fps\na.mp4,walk,25\n", "unknown column 'fps'; leave it out"),
        ("path,label,label\na.mp4,walk,run\n", "a column twice"),
        ("path,label\n", "lists no video"),
        ("path,label\na.mp4,walk\nb.mp4, \n", "line 3: path or label is empty"),
        ("path,label\n,walk\n", "line 2: path or label is empty"),
        ("path,label\na.mp4,jump, run\n", "line 2: 3 cells where the header has 2; put quotes"),
        ("path,label\na.mp4\n", "line 2: 1 cells where the header has 2"),
        ('path,label\n"a.mp4,walk\n', "no valid CSV"),
        ("path,label\na.mp4,walk\nx/../a.mp4,run\n", "a.mp4' listed more than once"),
        ("path,label,split\na.mp4,walk,training\n", "unknown split 'training'; a split is train, val, test"),
        ("path,label,split\na.mp4,walk,train\nb.mp4,run,\n", "those of 'run' have none"),
        ("path,label,split\na.mp4,walk,train\nb.mp4,walk,test\nc.mp4,run,test\n", "'walk' in train and test"),
    ],
)  # fmt: skip
def test_a_csv_file_that_contradicts_itself_is_refused(tmp_path, text, message):
    with pytest.raises(ManifestError, match=message):
        read_manifest(table(tmp_path / "list.csv", text))


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "video.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42\xff\xfe")
    with pytest.raises(ManifestError, match="not UTF-8 text"):
        read_manifest(tmp_path / "video.mp4")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "has no folders inside"),
        (("a.mp4",), "a.mp4 lies beside the class folders"),
        (("walk/a.mp4", "stray.mp4"), "stray.mp4 lies beside the class folders"),
        (("walk/a.mp4", "run/notes.txt"), "run holds no video"),
        (("train/walk/a.mp4", "walk/b.mp4"), "holds both 'train' and 'walk'"),
        (("train/walk/a.mp4", "test/walk/b.mp4", "test/run/c.mp4"), "'walk' in train and test"),
    ],
)
def test_a_folder_that_is_laid_out_otherwise_is_refused(tmp_path, names, message):
    with pytest.raises(ManifestError, match=message):
        read_manifest(tree(tmp_path, *names))


def test_a_missing_source_is_named(tmp_path):
    with pytest.raises(ManifestError, match="nowhere does not exist"):
        read_manifest(tmp_path / "nowhere")


def test_many_offenders_are_counted_not_listed(tmp_path):
    records = tuple(VideoRecord(tmp_path / f"{i // 2}.mp4", "walk") for i in range(20))
    with pytest.raises(ManifestError, match="and 7 more listed more than once"):
        Manifest(tmp_path, records)
