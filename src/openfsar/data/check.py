"""Decode everything once, before training trusts it."""

from dataclasses import dataclass

from openfsar.data.manifest import Manifest, VideoRecord
from openfsar.data.pool import Crash, in_parallel
from openfsar.video import VideoError, probe, read_frames

SIDE = 16
"""Decoded frames are kept this small: an hour of video then takes 100 MB."""


@dataclass(frozen=True)
class CheckReport:
    """Which videos can be used."""

    clean: Manifest
    """Those that are complete and decode from the first frame to the last, in their old order."""

    broken: tuple[tuple[VideoRecord, str], ...]
    """The others, each with the reason and what to do."""


def check_videos(manifest: Manifest, *, workers: int = 2, progress: bool = True) -> CheckReport:
    """Decode every frame of every video. One that crashes its decoder is reported like any other.

    Args:
        workers: processes that decode; 0 decodes in this one.
    """
    outcomes = in_parallel(
        _complaint, manifest.records, workers=workers, title="checking videos", progress=progress
    )
    found = {
        record: outcome.reason if isinstance(outcome, Crash) else outcome for record, outcome in outcomes
    }
    good = tuple(record for record in manifest.records if not found[record])
    broken = tuple((record, found[record]) for record in manifest.records if found[record])
    return CheckReport(Manifest(manifest.root, good), broken)


def _complaint(record: VideoRecord) -> str:
    """What is wrong with a video; empty if nothing is."""
    try:
        frames = len(read_frames(record.path, range, short_side=SIDE))
        lost = probe(record.path).lost
    except VideoError as error:
        return f"{error.reason}; {error.remedy}"
    return f"is cut short: {frames} of {frames + lost} frames are there; fetch it again" if lost else ""
