"""Reading list files of other code bases and official annotations; what a file is, its content tells."""

import csv
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

SNIFFED = 1000
"""Lines that decide what a file is."""

SPLIT_WORDS = {"train": "train", "validation": "val", "validate": "val", "val": "val", "test": "test"}
"""What lists call the splits; none before a longer one that begins with it."""

_INDEXED = re.compile(r"(train|val|test)(\d+)/+(\S.*)")
_NAMED = re.compile(r"(?:.*/)?([^/]*[^/\s][^/]*)/+([^/]*[^/\s])/?")
_OFFICIAL_SPLIT = re.compile(r"\S+\.avi \d+")
_SPLIT_WORD = re.compile("|".join(SPLIT_WORDS))
_BRACKETS = str.maketrans("", "", "[]")


class ListError(ValueError):
    """A file that is no list of videos, or lists that do not fit a benchmark."""


@dataclass(frozen=True)
class Format:
    """A form of list files."""

    name: str
    users: str
    """Whose files look so."""

    line: str
    """What a line means."""

    def __str__(self) -> str:
        return f"{self.name} ({self.users}): {self.line}"


INDEXED = Format(
    "numbered list",
    "CLIP-FSAR, MoLo, HyRSM; ssv2_OTAM of TRX, STRM and FSAR-lib",
    "train8/78687 is video 78687, of class 8 of split train, counted from 0; "
    "behind a double slash stands a path",
)
NAMED = Format(
    "named list",
    "CMN, TRX, STRM, FSAR-lib",
    "unboxing/zGuJDtD_OL0_000037_000047 is that video, of class unboxing; the file is named after the split",
)
SSV2 = Format(
    "official annotation of Something-Something V2",
    "JSON",
    "an entry gives the number of a video and, as template, its class",
)
SSV2_LABELS = Format(
    "official class names of Something-Something V2", "JSON", "an entry gives a class and its number"
)
KINETICS = Format(
    "official annotation of Kinetics",
    "CSV",
    "a line gives a class, YouTube's id, first and last second, and the official split",
)
FORMATS = (INDEXED, NAMED, SSV2, SSV2_LABELS, KINETICS)


class ListedVideo(NamedTuple):
    """A line of a list, as it stands there."""

    split: str
    """train, val, test; empty where the file does not say."""

    label: str
    """Name of the class, or its number in a numbered list; empty in a test set without labels."""

    name: str
    """Id or relative path."""

    line: int
    """Counted from 1; in JSON, the entry."""


@dataclass(frozen=True)
class Fault:
    """A line that was left out."""

    path: Path
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.reason}"


@dataclass(frozen=True)
class VideoList:
    """A list file that was read."""

    path: Path
    format: Format
    videos: tuple[ListedVideo, ...]
    faults: tuple[Fault, ...] = ()
    classes: tuple[str, ...] = ()
    """Class names in label order; of a file of class names alone."""


Row: TypeAlias = ListedVideo | tuple[int, str]
"""A video, or a line and what is wrong with it."""


def read_list(path: Path) -> VideoList:
    """The videos of one list file.

    Raises:
        ListError: the file cannot be read, or has none of the known forms.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ListError(f"{path} cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ListError(f"{path} is not UTF-8 text ({error.reason})") from error
    if text.lstrip()[:1] in ("[", "{"):
        return _read_json(path, text)
    lines = [(i, line.strip()) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    if lines and "youtube_id" in lines[0][1].split(","):
        return _gather(path, KINETICS, _kinetics(text, split_of(path)))
    sample = [line for _, line in lines[:SNIFFED]]
    if _most(_OFFICIAL_SPLIT.fullmatch, sample):
        raise ListError(
            f"{path} is an official split of UCF101 or HMDB51, which divides the videos of all classes; "
            "few-shot splits divide the classes, and need no list for these two"
        )
    if _most(_INDEXED.fullmatch, sample):
        return _gather(path, INDEXED, map(_indexed, lines))
    if _most(_NAMED.fullmatch, sample):
        split = split_of(path)
        return _gather(path, NAMED, (_named(line, split) for line in lines))
    first = f"its first line is {lines[0][1][:80]!r}" if lines else "it is empty"
    known = "; ".join(map(str, FORMATS))
    raise ListError(f"{path} is no list of videos: {first}. Known are: {known}")


def split_of(path: Path) -> str:
    """The split that a file is named after; empty if none or several."""
    found = {SPLIT_WORDS[word] for word in _SPLIT_WORD.findall(path.stem.casefold())}
    return found.pop() if len(found) == 1 else ""


def _most(fits: Callable[[str], object], lines: list[str]) -> bool:
    return 2 * sum(fits(line) is not None for line in lines) > len(lines)


def _gather(path: Path, form: Format, rows: Iterable[Row]) -> VideoList:
    videos: list[ListedVideo] = []
    faults: list[Fault] = []
    for row in rows:
        if isinstance(row, ListedVideo):
            videos.append(row)
        else:
            faults.append(Fault(path, *row))
    return VideoList(path, form, tuple(videos), tuple(faults))


def _indexed(line: tuple[int, str]) -> Row:
    match = _INDEXED.fullmatch(line[1])
    if match:
        return ListedVideo(match[1], str(int(match[2])), match[3], line[0])
    return line[0], f"{line[1][:80]!r} is not of the form train8/78687"


def _named(line: tuple[int, str], split: str) -> Row:
    match = _NAMED.fullmatch(line[1])
    if match:
        return ListedVideo(split, match[1].strip(), match[2], line[0])
    return line[0], f"{line[1][:80]!r} is not of the form class/video"


def _kinetics(text: str, split: str) -> Iterator[Row]:
    rows = csv.reader(text.splitlines())
    columns = [name.strip() for name in next(rows)]
    for row in filter(None, rows):
        cells = dict(zip(columns, row, strict=False))
        try:
            start, end = (round(float(cells[name])) for name in ("time_start", "time_end"))
            home = SPLIT_WORDS[cells["split"].strip()] if "split" in cells else split
            name = f"{cells['youtube_id'].strip()}_{start:06d}_{end:06d}"
            yield ListedVideo(home, cells.get("label", "").strip(), name, rows.line_num)
        except (KeyError, ValueError):
            yield rows.line_num, f"{','.join(row)[:80]!r} does not fit the header {','.join(columns)!r}"


def _read_json(path: Path, text: str) -> VideoList:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ListError(f"{path} is no valid JSON ({error})") from error
    if isinstance(content, list) and any(isinstance(entry, dict) and "id" in entry for entry in content[:1]):
        split = split_of(path)
        return _gather(path, SSV2, (_ssv2(i, entry, split) for i, entry in enumerate(content, 1)))
    if isinstance(content, dict) and content and all(_is_number(number) for number in content.values()):
        names = sorted(content, key=lambda name: int(content[name]))
        return VideoList(path, SSV2_LABELS, (), classes=tuple(map(_unbracketed, names)))
    raise ListError(f"{path} is JSON, but neither {SSV2} nor {SSV2_LABELS}")


def _ssv2(number: int, entry: Any, split: str) -> Row:
    try:
        template = entry.get("template", "") if split == "test" else entry["template"]
        return ListedVideo(split, _unbracketed(template), str(entry["id"]), number)
    except (AttributeError, KeyError, TypeError):
        return number, f"{json.dumps(entry)[:80]} lacks an id or a template"


def _unbracketed(template: str) -> str:
    return template.translate(_BRACKETS)


def _is_number(value: object) -> bool:
    return isinstance(value, int | str) and str(value).isdecimal()
