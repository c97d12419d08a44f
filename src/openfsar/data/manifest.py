"""Which videos there are and what they show: CSV files and folders in, one checked record per video out.

A CSV manifest has the columns ``path`` and ``label``, and optionally ``split`` (train, val or test) and
``group`` (videos cut from one recording share it). Relative paths start at its folder. Splits divide the
classes, as few-shot recognition wants it, or the videos of the same classes, as supervised sets do.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from openfsar.data.files import whole_file
from openfsar.data.splits import SPLITS, SplitError, check_disjoint
from openfsar.video.images import SUFFIXES as IMAGE_SUFFIXES

COLUMNS = ("path", "label", "split", "group")
VIDEO_SUFFIXES = frozenset(".mp4 .m4v .mov .avi .mkv .webm .gif .mpg .mpeg .ts .wmv .flv .3gp".split())
"""What counts as a video inside a folder; a manifest may name any file."""


class ManifestError(ValueError):
    """A list of videos that cannot be read, or that contradicts itself."""


@dataclass(frozen=True)
class VideoRecord:
    """One labelled video: a file, or a folder of images."""

    path: Path
    """As it can be opened: absolute, or relative to the working directory."""

    label: str
    split: str = ""
    """train, val, test, or empty where the data set is not split."""

    group: str = ""
    """The recording it was cut from; empty where nothing is known."""


@dataclass(frozen=True)
class Manifest:
    """Labelled videos, checked: no video twice, every label named, splits that divide either the classes or
    the videos of all classes.

    Raises:
        ManifestError: naming the first offenders.
    """

    root: Path
    """Folder that relative paths in a file start from."""

    records: tuple[VideoRecord, ...]

    def __post_init__(self) -> None:
        for record in self.records:
            if not record.label.strip():
                raise ManifestError(f"{record.path} has an empty label; name its class or leave it out")
        _check_splits(self.records)
        paths = Counter(os.path.abspath(record.path) for record in self.records)
        twice = [path for path, count in paths.items() if count > 1]
        if twice:
            raise ManifestError(f"{_some(twice)} listed more than once; keep one line for each video")

    @property
    def shared(self) -> tuple[str, ...]:
        """Classes that have videos in several splits, sorted; few-shot recognition allows none."""
        homes = {(record.label, record.split) for record in self.records}
        counts = Counter(label for label, _ in homes)
        return tuple(sorted(label for label, count in counts.items() if count > 1))

    def only(self, splits: Collection[str]) -> "Manifest":
        """The videos of these splits."""
        return Manifest(self.root, tuple(record for record in self.records if record.split in splits))


def read_manifest(source: Path) -> Manifest:
    """The videos of a CSV file, a folder with a ``manifest.csv``, a folder per class, or splits of these.

    Inside a folder, the folder names are labels, and videos and folders of images count; sorted by name.

    Raises:
        ManifestError: for anything else; the message says what to change.
    """
    source = Path(source)
    if source.is_dir() and (source / "manifest.csv").is_file():
        source = source / "manifest.csv"
    if source.is_dir():
        manifest = Manifest(source, tuple(_read_folder(source)))
    elif source.is_file():
        manifest = Manifest(source.parent, tuple(_read_csv(source)))
    else:
        raise ManifestError(
            f"{source} does not exist; give a manifest (CSV) or a folder with a folder per class"
        )
    if not manifest.records:
        raise ManifestError(f"{source} lists no video; add at least one line below the header")
    return manifest


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a CSV manifest; videos below its folder are named relative to it, others absolutely."""
    home = os.path.abspath(Path(path).parent)
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for record in manifest.records:
        place = Path(os.path.abspath(record.path))
        named = place.relative_to(home) if place.is_relative_to(home) else place
        table.writerow((named.as_posix(), record.label, record.split, record.group))
    try:
        data = text.getvalue().encode("utf-8")
    except UnicodeEncodeError as error:
        raise ManifestError(
            f"a file name is not valid UTF-8: {error.object[error.start :][:80]!r}; rename it"
        ) from error
    with whole_file(Path(path)) as file:
        file.write(data)


def _read_csv(path: Path) -> Iterator[VideoRecord]:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path} is not UTF-8 text ({error.reason}); save it as CSV in UTF-8") from error
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = _columns(path, next(rows, []))
        for row in filter(None, rows):
            place = f"{path}, line {rows.line_num}"
            if len(row) != len(columns):
                raise ManifestError(
                    f"{place}: {len(row)} cells where the header has {len(columns)}; "
                    "put quotes around a cell that contains a comma"
                )
            cells = dict(zip(columns, row, strict=True))
            video = cells.pop("path")
            cells = {name: cell.strip() for name, cell in cells.items()}
            if not video.strip() or not cells["label"]:
                raise ManifestError(f"{place}: path or label is empty; every line needs both")
            yield VideoRecord(path.parent / video, **cells)
    except csv.Error as error:
        raise ManifestError(f"{path}, line {rows.line_num}: no valid CSV ({error})") from error


def _columns(path: Path, header: list[str]) -> list[str]:
    """The header, refused unless every column is known: a mistyped ``split`` must not pass for none."""
    remedy = f"the first line names the columns: path,label and, where known, {','.join(COLUMNS[2:])}"
    missing = [name for name in COLUMNS[:2] if name not in header]
    if missing:
        raise ManifestError(f"{path} has no column {' and '.join(missing)}, but {header}; {remedy}")
    for name in header:
        if name not in COLUMNS:
            near = get_close_matches(name, COLUMNS, 1)
            hint = f"did you mean {near[0]!r}?" if near else "leave it out"
            raise ManifestError(f"{path} has an unknown column {name!r}; {hint} {remedy.capitalize()}")
    if len(set(header)) < len(header):
        raise ManifestError(f"{path} names a column twice: {header}; {remedy}")
    return header


def _read_folder(root: Path) -> Iterator[VideoRecord]:
    names = [folder.name for folder in _folders(root)]
    splits = [name for name in SPLITS if name in names]
    if splits and len(splits) < len(names):
        others = [name for name in names if name not in SPLITS]
        raise ManifestError(
            f"{root} holds both {_some(splits)} and {_some(others)}; folders are either all splits "
            f"({', '.join(SPLITS)}) or all classes: move the others out, or write a CSV manifest"
        )
    for split in splits or [""]:
        home = root / split
        for folder in _folders(home):
            videos = [path for path in sorted(folder.iterdir()) if _is_video(path)]
            if not videos:
                raise ManifestError(
                    f"{folder} holds no video and no folder of images; videos lie directly in the folder "
                    "of their class: fill it or remove it"
                )
            yield from (VideoRecord(path, folder.name, split) for path in videos)


def _folders(home: Path) -> list[Path]:
    """Folders of classes or splits; a video beside them has no label and is refused."""
    inside = [path for path in sorted(home.iterdir()) if path.name[0] != "."]
    for path in inside:
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            raise ManifestError(f"{path} lies beside the class folders; move it into the folder of its class")
    folders = [path for path in inside if path.is_dir()]
    if not folders:
        raise ManifestError(f"{home} has no folders inside; make one for each class and put its videos there")
    return folders


def _is_video(path: Path) -> bool:
    if path.name[0] == ".":
        return False
    if path.is_dir():
        return any(image.suffix.lower() in IMAGE_SUFFIXES for image in path.iterdir())
    return path.suffix.lower() in VIDEO_SUFFIXES


def _check_splits(records: tuple[VideoRecord, ...]) -> None:
    classes: dict[str, set[str]] = {}
    for record in records:
        classes.setdefault(record.split, set()).add(record.label)
    unknown = sorted(set(classes) - {"", *SPLITS})
    if unknown:
        raise ManifestError(f"unknown split {_some(unknown)}; a split is {', '.join(SPLITS)} or empty")
    if "" in classes and len(classes) > 1:
        raise ManifestError(
            f"some videos have a split, but those of {_some(sorted(classes['']))} have none; "
            "give it to all or to none"
        )
    if all(names <= classes.get("train", set()) for names in classes.values()):
        return  # the videos of the same classes are divided
    try:
        check_disjoint(classes)
    except SplitError as error:
        raise ManifestError(str(error)) from error


def _some(names: list[str]) -> str:
    """The first few names, quoted, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(repr(name) for name in names[:3]) + more
