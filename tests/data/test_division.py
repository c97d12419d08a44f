"""Supervised parts of a data set never share a video or a recording, and depend on names and seed alone."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openfsar.data.division import base_part, first_classes, novel_part
from openfsar.data.manifest import Manifest, ManifestError, VideoRecord

PARTS = ("train", "val", "test")


def videos(split: str, classes: str, count: int = 10, per_recording: int = 1) -> list[VideoRecord]:
    return [
        VideoRecord(Path(f"{split}/{c}/{v}.mp4"), c, split, f"{c}{v // per_recording}")
        for c in classes
        for v in range(count)
    ]


def manifest(*records: VideoRecord) -> Manifest:
    return Manifest(Path("set"), records)


BY_CLASS = manifest(*videos("train", "ab"), *videos("val", "c"), *videos("test", "de"))
"""Few-shot splits."""
BY_VIDEO = manifest(*videos("train", "ab"), *videos("val", "ab", 3), *videos("test", "ab", 4))
"""Supervised splits."""


def names(part: Manifest) -> set[str]:
    return {record.path.as_posix() for record in part.records}


def test_videos_of_training_classes_are_held_out_where_splits_divide_the_classes() -> None:
    parts = {part: base_part(BY_CLASS, part) for part in PARTS}
    assert {part: len(found.records) for part, found in parts.items()} == {"train": 12, "val": 4, "test": 4}
    for part, found in parts.items():
        assert {record.split for record in found.records} == {part}
        assert Counter(record.label for record in found.records).keys() == {"a", "b"}
    assert set.union(*map(names, parts.values())) == names(BY_CLASS.only(["train"]))


def test_splits_that_divide_the_videos_are_taken_as_they_are() -> None:
    for part in PARTS:
        assert set(base_part(BY_VIDEO, part).records) == set(BY_VIDEO.only([part]).records)
    assert BY_VIDEO.shared == ("a", "b") and BY_CLASS.shared == ()


def test_only_the_missing_split_is_cut_from_the_training_videos() -> None:
    source = manifest(*videos("train", "ab"), *videos("test", "ab", 4))
    assert base_part(source, "test") == source.only(["test"])
    held = base_part(source, "val", held_out=0.3)
    assert len(held.records) == 6 and names(held) < names(source.only(["train"]))
    assert names(base_part(source, "train", held_out=0.3)) == names(source.only(["train"])) - names(held)


@settings(deadline=None, max_examples=60)
@given(st.integers(6, 30), st.integers(1, 2), st.floats(0.05, 0.45), st.integers(0, 5))
def test_no_recording_is_in_two_parts(count: int, per_recording: int, held_out: float, seed: int) -> None:
    source = manifest(*videos("train", "ab", count, per_recording))
    parts = [base_part(source, part, held_out=held_out, seed=seed) for part in PARTS]
    for label in "ab":
        groups = [{record.group for record in part.records if record.label == label} for part in parts]
        assert all(groups) and not any(a & b for a, b in zip(groups, groups[1:] + groups[:1], strict=True))
    assert sum(len(part.records) for part in parts) == 2 * count
    for part in parts[1:]:
        assert len(part.records) // 2 - held_out * count < per_recording + 0.5


def test_what_is_held_out_depends_on_names_and_seed_and_not_on_other_classes_or_order() -> None:
    first = base_part(BY_CLASS, "test")
    again = manifest(*reversed(videos("train", "b")), *videos("train", "xa"))
    assert names(base_part(again, "test")) - names(manifest(*videos("train", "x"))) == names(first)
    assert names(base_part(BY_CLASS, "test", seed=1)) != names(first)


def test_a_few_videos_per_class_are_a_part_of_the_training_videos() -> None:
    few = base_part(BY_CLASS, "train", videos_per_class=3)
    assert Counter(record.label for record in few.records) == {"a": 3, "b": 3}
    assert names(few) < names(base_part(BY_CLASS, "train"))
    assert base_part(BY_CLASS, "test", videos_per_class=3) == base_part(BY_CLASS, "test")
    shared = base_part(BY_VIDEO, "train", videos_per_class=3)
    assert Counter(record.label for record in shared.records) == {"a": 3, "b": 3}


def test_new_classes_are_those_of_another_split() -> None:
    assert novel_part(BY_CLASS, "test") == BY_CLASS.only(["test"])
    with pytest.raises(ManifestError, match="the classes of split 'test' of set are those of training"):
        novel_part(BY_VIDEO, "test")
    with pytest.raises(ManifestError, match="has no split 'val'"):
        novel_part(manifest(*videos("train", "a"), *videos("test", "b")), "val")


def test_what_cannot_be_divided_is_refused() -> None:
    with pytest.raises(ManifestError, match="has no split 'train'; supervised training needs one"):
        base_part(manifest(*videos("test", "a")), "train")
    with pytest.raises(ManifestError, match="no part 'novel' of labelled videos; there are train, val, test"):
        base_part(BY_CLASS, "novel")
    with pytest.raises(
        ManifestError, match="class 'a' has 2 recordings in split 'train', too few .* give it 3"
    ):
        base_part(manifest(*videos("train", "a", 4, 2)), "val")
    with pytest.raises(ManifestError, match="class 'a' has 6 videos to train on, videos_per_class=7 asks"):
        base_part(BY_CLASS, "train", videos_per_class=7)


@pytest.mark.parametrize("whole", [BY_CLASS, BY_VIDEO])
def test_the_first_training_classes_alone_remain_and_new_classes_stay(whole: Manifest) -> None:
    labels = list(dict.fromkeys(record.label for record in whole.only(["train"]).records))
    few = first_classes(whole, 1)
    assert {record.label for record in few.only(["train"]).records} == {labels[0]}
    rest = set(labels[1:])
    assert few.records == tuple(record for record in whole.records if record.label not in rest)
    assert len(few.records) < len(whole.records)
    assert first_classes(whole, 0) == whole == first_classes(whole, len(labels))
    with pytest.raises(ManifestError, match=f"base_classes={len(labels) + 1} asks for more"):
        first_classes(whole, len(labels) + 1)
