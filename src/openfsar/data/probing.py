"""A quick look at every video: can it be opened, is it whole. What was seen outlives the process."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from openfsar.data.files import whole_file
from openfsar.data.pool import Crash, in_parallel
from openfsar.data.store import stamp_of
from openfsar.video import VideoError, probe


def probe_videos(
    paths: Sequence[Path], journal: Path, *, workers: int = 2, progress: bool = True
) -> dict[Path, str]:
    """What is wrong with each video; empty if nothing is.

    The index of a file is read and one frame decoded; ``check_videos`` decodes them all. A video that has not
    changed since it was looked at is not looked at again.

    Args:
        journal: file that keeps what was seen, line by line.
        workers: processes; 0 looks in this one.
    """
    known = _read(journal)
    stamps = {path: _stamp(path) for path in paths}
    faults = {path: known[stamp] for path, stamp in stamps.items() if stamp in known}
    todo = [path for path in stamps if path not in faults]
    with whole_file(journal) as file:  # rid of what a kill left half-written, and of vanished files
        file.write(b"".join(_line(stamps[path], fault) for path, fault in faults.items()))
    with open(journal, "ab") as file:
        for path, outcome in in_parallel(
            _fault, todo, workers=workers, title="looking at videos", progress=progress
        ):
            faults[path] = outcome.reason if isinstance(outcome, Crash) else outcome
            file.write(_line(stamps[path], faults[path]))
            file.flush()
    return {path: faults[path] for path in stamps}


def add_faults(journal: Path, faults: Mapping[Path, str]) -> None:
    """Note what has turned out to be wrong with videos that looked right."""
    with open(journal, "ab") as file:
        file.write(b"".join(_line(_stamp(path), fault) for path, fault in faults.items()))


def _fault(path: Path) -> str:
    try:
        about = probe(path)
    except VideoError as error:
        return f"{error.reason}; {error.remedy}"
    whole = about.frames + about.lost
    return f"is cut short: {about.frames} of {whole} frames are there; fetch it again" if about.lost else ""


def _stamp(path: Path) -> str:
    """A video as it is at this moment."""
    size, time = stamp_of(path)
    return f"{os.path.abspath(path)}|{size}|{time}"


def _line(stamp: str, fault: str) -> bytes:
    return json.dumps([stamp, fault]).encode() + b"\n"


def _read(journal: Path) -> dict[str, str]:
    known: dict[str, str] = {}
    try:
        lines = journal.read_bytes().splitlines()
    except FileNotFoundError:
        return known
    for line in lines:
        try:
            stamp, fault = json.loads(line)
            known[str(stamp)] = str(fault)
        except (ValueError, TypeError):  # cut by a kill
            continue
    return known
