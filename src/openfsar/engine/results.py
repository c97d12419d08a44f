"""One line per evaluation in a CSV file that any number of processes may append to."""

import csv
import io
import os
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from tempfile import NamedTemporaryFile

from openfsar.engine.evaluate import Result
from openfsar.engine.recipe import Recipe
from openfsar.engine.supervised import NamingResult

COLUMNS = (
    *("recipe", "method", "encoder", "data", "split", "way", "shot", "query", "episodes", "seed"),
    *("accuracy", "interval", "episode_hash", "protocol", "select", "train_seed", "trainable", "seconds"),
    *("commit", "date", "version"),
)
"""Accuracy and interval in %; ``select`` is the split that picked the model, "" for an untrained one.

Where videos were named among all classes, without examples, ``way`` is the number of classes, ``episodes``
that of videos, and ``protocol`` says whether the classes were known, by which head, and from how many views.
"""


class ResultsError(ValueError):
    """A file that is not a table of results."""


def append_result(
    result: Result, path: Path, *, recipe: Recipe | None = None, changed: str = "", selected: bool = True
) -> None:
    """Append a line; the file is made where it is absent. Lines of parallel runs never mix.

    Args:
        recipe: What the method was trained by; None for an untrained one.
        changed: What was changed in the recipe, in a word or two, such as a row of an ablation.
        selected: Whether the recipe's ``select`` split picked the state that was measured; otherwise it is
            the one after a fixed number of steps.

    Raises:
        ResultsError: if the file has other columns.
    """
    values = {column: getattr(result, column) for column in ("way", "shot", "query", "episodes", "seed")}
    values |= {"episode_hash": result.episode_hash, "protocol": result.label}
    values["seconds"] = f"{result.seconds_encode + result.seconds_match:.1f}"
    _append(result, values, path, recipe, changed, selected)


def append_naming(
    result: NamingResult,
    path: Path,
    *,
    known: bool,
    recipe: Recipe | None = None,
    changed: str = "",
    selected: bool = True,
) -> None:
    """``append_result`` for videos named among all classes.

    Args:
        known: Whether the method was trained on these classes.
    """
    views = f"{result.views}x{result.crops} views"
    values = {"way": len(result.classes), "episodes": result.videos}
    values |= {"shot": "", "query": "", "seed": "", "episode_hash": ""}
    values["protocol"] = f"{'known' if known else 'new'} classes, {result.head}, {views}"
    values["seconds"] = f"{result.seconds:.1f}"
    _append(result, values, path, recipe, changed, selected)


def _append(
    result: Result | NamingResult,
    values: Mapping[str, object],
    path: Path,
    recipe: Recipe | None,
    changed: str,
    selected: bool,
) -> None:
    row = {
        **values,
        **{column: getattr(result, column) for column in ("method", "encoder", "data", "split")},
        "recipe": f"{recipe.label} {changed}".strip() if recipe else "",
        "accuracy": f"{100 * result.accuracy:.2f}",
        "interval": f"{100 * result.interval:.2f}",
        "select": (recipe.select if selected else "fixed") if recipe else "",
        "train_seed": recipe.seed if recipe else "",
        "trainable": result.trainable,
        "commit": _commit(),
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "version": version("openfsar"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    _begin(path)
    with path.open(encoding="utf-8", newline="") as file:
        header = file.readline().rstrip("\r\n")
    if header != ",".join(COLUMNS):
        raise ResultsError(
            f"{path} is no table of results, its first line is {header!r}; choose another file"
        )
    with path.open("ab", buffering=0) as file:  # one write in append mode is never torn apart by another
        file.write(_line([row[column] for column in COLUMNS]))


def read_results(path: Path) -> list[dict[str, str]]:
    """Every line as a dictionary by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _begin(path: Path) -> None:
    """Make the file with its header in one step, unless it exists."""
    if path.exists():
        return
    with NamedTemporaryFile(dir=path.parent) as fresh:
        fresh.write(_line(COLUMNS))
        fresh.flush()
        with suppress(FileExistsError):  # another process was first
            os.link(fresh.name, path)


def _line(values: Sequence[object]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def _commit() -> str:
    """Of the checkout the package runs from, with "-dirty" where files differ; "" outside a checkout."""
    return (
        _git("describe", "--always", "--dirty", "--exclude=*")
        if _git("ls-files", Path(__file__).name)
        else ""
    )


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
