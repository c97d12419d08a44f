"""What the names of videos and classes say in each published benchmark, however a copy has changed them.

A video is told from all others of its benchmark by a key: the number in Something-Something, YouTube's id in
Kinetics, the name without its ending in UCF101 and HMDB51. Folders, endings, leading zeros and (but for
YouTube's ids) capitals do not matter.
"""

import re
from collections.abc import Callable
from functools import cache, lru_cache
from typing import NamedTuple

from openfsar.data.manifest import VIDEO_SUFFIXES
from openfsar.data.splits import SPLITS, load_split

_SUFFIX = re.compile(f"(?:{'|'.join(map(re.escape, sorted(VIDEO_SUFFIXES)))})+$", re.IGNORECASE)
_SSV2 = re.compile(r"0*(\d+)")
# v_ is some downloaders' prefix. The seconds of the cut are absent in some releases and bare in others.
_KINETICS = re.compile(r"(?:v_)?([\w-]{11})(?:_0*(\d+)(?:\.\d+)?_0*(\d+)(?:\.\d+)?)?", re.ASCII)
_UCF = re.compile(r"v_(\w+)_g0*(\d+)_c0*(\d+)", re.IGNORECASE | re.ASCII)
# What is visible, whether the camera moves, how many people, from where, how well, and the number of the cut.
_HMDB = re.compile(r"(.+)_[fhlu]_[cn]m_np\d+_(?:ba|fr|le|ri)_(?:bad|goo|med)_\d+", re.IGNORECASE)


class VideoName(NamedTuple):
    """What the name of a video says."""

    key: str
    """Tells it from all others of the benchmark."""

    label: str = ""
    """Its class; empty where names do not tell."""

    cut: str = ""
    """First and last second in the film it was cut from; empty where the name does not tell."""

    recording: str = ""
    """The film it was cut from; empty where names do not tell."""


def read_name(benchmark: str, name: str) -> VideoName | None:
    """What a file name or path says; None where videos of the benchmark are not called so."""
    return _READERS[benchmark](_SUFFIX.sub("", name.rstrip("/").rpartition("/")[2]))


def find_class(benchmark: str, name: str) -> tuple[str, str] | None:
    """Split and class that a name stands for, spaces, underscores, brackets and capitals aside."""
    return _classes(benchmark).get(plain(name))


@lru_cache(1 << 16)
def plain(name: str) -> str:
    """Letters and digits alone, in small letters."""
    return re.sub(r"[\W_]+", "", name.casefold())


def loose(key: str) -> str:
    """A key, whatever became of the characters that a file system or an archive did not like."""
    return re.sub(r"[^a-z0-9]+", "_", key.casefold())


@cache
def _classes(benchmark: str) -> dict[str, tuple[str, str]]:
    return {plain(name): (split, name) for split in SPLITS for name in load_split(benchmark, split).classes}


def _ssv2(stem: str) -> VideoName | None:
    match = _SSV2.fullmatch(stem)
    return match and VideoName(match[1])


def _kinetics(stem: str) -> VideoName | None:
    match = _KINETICS.fullmatch(stem)
    return match and VideoName(match[1], cut=f"{match[2]}-{match[3]}" if match[2] else "")


def _ucf(stem: str) -> VideoName | None:
    match = _UCF.fullmatch(stem)
    if not match:
        return None
    home = find_class("ucf101", match[1])
    recording = f"{match[1].casefold()}_g{int(match[2]):02d}"
    return VideoName(f"v_{recording}_c{int(match[3]):02d}", home[1] if home else "", recording=recording)


def _hmdb(stem: str) -> VideoName | None:
    match = _HMDB.fullmatch(stem)
    if not match:
        return None
    words = match[1].split("_")  # the film, then the class
    for start in range(len(words)):
        home = find_class("hmdb51", "_".join(words[start:]))
        if home:
            return VideoName(stem.casefold(), home[1], recording="_".join(words[:start]).casefold())
    return VideoName(stem.casefold())


_READERS: dict[str, Callable[[str], VideoName | None]] = {
    "ssv2-full": _ssv2,
    "ssv2-small": _ssv2,
    "kinetics-100": _kinetics,
    "ucf101": _ucf,
    "hmdb51": _hmdb,
}
