"""Lists and trees of the form that the benchmarks have, written by hand; and where real lists are at hand."""

from collections.abc import Callable, Iterable
from pathlib import Path

from openfsar.data.splits import SPLITS, load_split
from openfsar.video import write_video

REAL = Path(__file__).parents[3] / "shared" / "protocol" / "lists"


def classes(benchmark: str, split: str) -> tuple[str, ...]:
    return load_split(benchmark, split).classes


def write_lists(
    folder: Path,
    benchmark: str,
    line: Callable[[str, int, str, str], str],
    video: Callable[[int], str],
    *,
    each: int = 2,
    splits: Iterable[str] = SPLITS,
    name: str = "{}.txt",
) -> Path:
    """One file per split; ``line`` gets split, number of the class, class and video."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for split in splits:
        lines: list[str] = []
        for number, label in enumerate(classes(benchmark, split)):
            for _ in range(each):
                lines.append(line(split, number, label, video(count)))
                count += 1
        (folder / name.format(split)).write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def numbered(split: str, number: int, label: str, video: str) -> str:
    return f"{split}{number}/{video}"


def in_folders(split: str, number: int, label: str, video: str) -> str:
    return f"{split}{number}//train_256/{label.replace(' ', '_')}/{video}.mp4"


def named(split: str, number: int, label: str, video: str) -> str:
    return f"{label}/{video}"


def clip_id(number: int) -> str:
    """A YouTube id with the seconds of a cut."""
    return f"-{number:08d}_A_000012_000022"


def tiny_video(path: Path) -> Path:
    """The smallest video there is: one grey frame."""
    import torch

    write_video(path, torch.full((1, 3, 16, 16), 90, dtype=torch.uint8))
    return path
