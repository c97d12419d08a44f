"""Which videos the user means by a list of files and folders."""

from collections.abc import Sequence
from pathlib import Path


class FootageError(ValueError):
    """Paths that lead to no video, or examples that do not say their class."""


def find_videos(paths: Sequence[str | Path]) -> list[Path]:
    """The files themselves, whatever their names, and every video below the folders, sorted within each.

    Raises:
        FootageError: for a path that does not exist, or a folder without videos.
    """
    from openfsar.data.manifest import VIDEO_SUFFIXES

    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_file():
            found.append(path)
            continue
        if not path.is_dir():
            raise FootageError(f"{path} does not exist; check the spelling")
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES and p.is_file())
        if not inside:
            raise FootageError(
                f"{path} holds no video; files ending in {', '.join(sorted(VIDEO_SUFFIXES))} count as one"
            )
        found += inside
    return found


def find_examples(examples: Sequence[str]) -> dict[str, list[Path]]:
    """Videos per label, from ``label=path`` pairs and from folders with one folder per label.

    A label may occur several times; its videos add up.

    Raises:
        FootageError: for what is neither.
    """
    groups: dict[str, list[Path]] = {}
    for example in examples:
        folder = Path(example)
        label, equals, path = example.partition("=")
        if folder.is_dir():
            inside = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
            if not inside:
                raise FootageError(
                    f"{folder} has no folders inside; make one per action, or write label={folder}"
                )
            pairs = [(p.name, p) for p in inside]
        elif equals and label and path:
            pairs = [(label, Path(path))]
        else:
            raise FootageError(f"{example!r} is neither a folder with one folder per action nor label=path")
        for name, place in pairs:
            groups.setdefault(name, []).extend(find_videos([place]))
    return groups
