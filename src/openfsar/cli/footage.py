"""Which videos the user means by a list of files and folders, and which of them can be read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from openfsar.cli.console import warn


class FootageError(ValueError):
    """Paths that lead to no video, or examples that do not say their class."""


def find_videos(paths: Sequence[str | Path]) -> list[Path]:
    """The files themselves, whatever their names, and every video below the folders, sorted within each.

    A file that is met again counts once; hidden files and folders are not looked at.

    Raises:
        FootageError: for a path that does not exist, or a folder without videos.
    """
    from openfsar.data.manifest import VIDEO_SUFFIXES

    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        if path.is_file():
            inside = [path]
        elif not path.is_dir():
            raise FootageError(f"{path} does not exist; check the spelling")
        else:
            inside = sorted(
                p
                for p in path.rglob("*")
                if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file() and not _hidden(p.relative_to(path))
            )
        if not inside:
            raise FootageError(
                f"{path} holds no video; files ending in {', '.join(sorted(VIDEO_SUFFIXES))} count as one"
            )
        for video in inside:
            found.setdefault(video.resolve(), video)
    return list(found.values())


def find_examples(examples: Sequence[str]) -> dict[str, list[Path]]:
    """Videos per label, from ``label=path`` pairs and from folders with one folder per label.

    A label may occur several times; its videos add up. Videos beside the folders have no label; they are
    listed and left out.

    Raises:
        FootageError: for what is neither, and for a video of two labels.
    """
    groups: dict[str, list[Path]] = {}
    for example in examples:
        folder = Path(example)
        label, equals, path = example.partition("=")
        if folder.is_dir():
            pairs = _labelled(folder)
        elif equals and label and path:
            pairs = [(label, Path(path))]
        else:
            raise FootageError(f"{example!r} is neither a folder with one folder per action nor label=path")
        for name, place in pairs:
            groups.setdefault(name, []).append(place)
    found = {name: find_videos(places) for name, places in groups.items()}
    _check_once(found)
    return found


def _labelled(folder: Path) -> list[tuple[str, Path]]:
    """The folders in a folder, by name."""
    from openfsar.data.manifest import VIDEO_SUFFIXES

    inside = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    folders = [(p.name, p) for p in inside if p.is_dir()]
    if not folders:
        raise FootageError(f"{folder} has no folders inside; make one per action, or write label={folder}")
    for loose in inside:
        if loose.is_file() and loose.suffix.lower() in VIDEO_SUFFIXES:
            warn(f"skipped: {loose} lies in no action's folder")
    return folders


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _check_once(groups: Mapping[str, Sequence[Path]]) -> None:
    """Refuse one video under two labels: an example of both tells them apart from neither."""
    labels: dict[Path, str] = {}
    for label, videos in groups.items():
        for video in videos:
            other = labels.setdefault(video.resolve(), label)
            if other != label:
                raise FootageError(f"{video} is given as {other!r} and as {label!r}; choose one of them")


def unreadable(videos: Sequence[Path], *, frames: int, workers: int) -> dict[Path, str]:
    """The videos that cannot be read and why, found by decoding the frames that would be used."""
    from concurrent.futures import ThreadPoolExecutor

    from openfsar.classifier.progress import batches
    from openfsar.video import VideoError, read_frames
    from openfsar.video.sampling import segments

    def fault(video: Path) -> str | None:
        try:
            read_frames(video, lambda length: segments(length, frames), short_side=64)
        except VideoError as error:
            return str(error)
        return None

    faults: dict[Path, str] = {}
    with ThreadPoolExecutor(workers) as pool:
        for start in batches(len(videos), workers, "checking", shown=True):
            some = videos[start : start + workers]
            faults |= {v: why for v, why in zip(some, pool.map(fault, some), strict=True) if why}
    return faults
