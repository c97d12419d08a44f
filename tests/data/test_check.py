import re

import pytest
from shades import shades, with_broken

from openfsar.data.check import check_videos
from openfsar.data.manifest import Manifest, VideoRecord
from openfsar.video import write_video


def test_broken_videos_are_told_from_good_ones(footage, tmp_path):
    manifest, broken = with_broken(footage, tmp_path)
    report = check_videos(manifest, workers=0, progress=False)
    assert report.clean == footage
    ((record, reason),) = report.broken
    assert record.path == broken
    assert "cannot be decoded" in reason
    assert "fetch it again" in reason


def test_a_video_that_breaks_off_late_is_broken(tmp_path):
    write_video(tmp_path / "whole.mp4", shades(40, 90))
    data = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 9 // 10])
    (tmp_path / "empty.mp4").touch()
    names = ("whole", "cut", "empty", "missing")
    records = tuple(VideoRecord(tmp_path / f"{name}.mp4", "run") for name in names)
    report = check_videos(Manifest(tmp_path, records), workers=0, progress=False)
    assert report.clean.records == records[:1]
    reasons = {record.path.stem: reason for record, reason in report.broken}
    assert list(reasons) == ["cut", "empty", "missing"]
    assert re.match(r"is cut short: \d\d of 40 frames are there; fetch it again", reasons["cut"])


@pytest.mark.slow
def test_processes_find_the_same(footage, tmp_path):
    manifest, _ = with_broken(footage, tmp_path)
    assert check_videos(manifest, workers=2, progress=False) == check_videos(
        manifest, workers=0, progress=False
    )
