"""A small data set of real video files."""

import pytest
from shades import CLASSES, LENGTHS, shades

from openfsar.data.manifest import Manifest, VideoRecord, write_manifest
from openfsar.video import write_video


@pytest.fixture(scope="session")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Three classes of four videos, two recordings each; video v has the base level 20 v."""
    root = tmp_path_factory.mktemp("footage")
    records = []
    for label in CLASSES:
        (root / label).mkdir()
        for i, length in enumerate(LENGTHS):
            path = root / label / f"{i}.mp4"
            write_video(path, shades(length, 20 * len(records)), crf=4)
            records.append(VideoRecord(path, label, "train", f"{label} {i // 2}"))
    manifest = Manifest(root, tuple(records))
    write_manifest(manifest, root / "manifest.csv")
    return manifest
