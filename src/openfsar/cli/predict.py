"""``openfsar predict``: names for new videos, as a table or a file."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from openfsar.cli.console import complain, warn
from openfsar.cli.footage import FootageError, find_videos

if TYPE_CHECKING:
    from openfsar.classifier import Labelled


def predict(
    model: Path,
    videos: tuple[str, ...],
    *,
    out: Path | None = None,
    batch: int = 8,
    device: str | None = None,
) -> int:
    """Name the action in new videos with a fitted model.

    A video that cannot be read is reported and skipped; the exit code is 1 only where none could be read.

    Args:
        model: The model folder that `openfsar fit` wrote.
        videos: Files and folders; folders are searched for videos all the way down.
        out: Write every probability to this .csv or .json file instead of printing a table.
        batch: Videos computed at a time; less needs less memory.
        device: Where to compute, such as cpu or cuda; by default the fastest there is.

    Example:
        openfsar predict model new_videos/
        openfsar predict model a.mp4 b.mp4 -o labels.csv
    """
    if out is not None and out.suffix.lower() not in (".csv", ".json"):
        raise FootageError(f"{out} must end in .csv or .json, which also decides the format")
    found = find_videos(videos)
    from openfsar.classifier import FewShotVideoClassifier
    from openfsar.data.files import whole_file

    classifier = FewShotVideoClassifier.load(model, device=device, progress=True).set_params(batch=batch)
    labels = [str(name) for name in classifier.classes_]
    answers = list(classifier.stream(found))
    read = [answer for answer in answers if answer.error is None]
    if out is not None:
        records = [_record(answer, labels) for answer in answers]
        text = _csv(records, labels) if out.suffix.lower() == ".csv" else json.dumps(records, indent=2)
        with whole_file(out) as file:
            file.write(text.encode())
        print(f"{len(read)} of {len(answers)} videos named -> {out}")
    elif read:
        Console().print(_table(read, labels))
    for answer in answers:
        if answer.error is not None:
            warn(f"skipped: {answer.error}")
    if not read:
        complain(f"none of the {len(answers)} videos could be read; see the lines above")
    return 0 if read else 1


def _record(answer: "Labelled", labels: Sequence[str]) -> dict[str, Any]:
    """One video as plain data; without label where it could not be read."""
    if answer.probabilities is None:
        return {"file": str(answer.video), "label": None, "probability": None, "error": str(answer.error)}
    chances = [round(float(p), 6) for p in answer.probabilities]
    best = int(answer.probabilities.argmax())
    return {
        "file": str(answer.video),
        "label": labels[best],
        "probability": chances[best],
        "probabilities": dict(zip(labels, chances, strict=True)),
        "error": None,
    }


def _csv(records: Sequence[dict[str, Any]], labels: Sequence[str]) -> str:
    """A row per video, a column ``p(label)`` per class."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["file", "label", "probability", *(f"p({label})" for label in labels), "error"])
    for row in records:
        chances = row.get("probabilities", {})
        writer.writerow(
            [
                row["file"],
                row["label"],
                row["probability"],
                *(chances.get(label) for label in labels),
                row["error"],
            ]
        )
    return text.getvalue()


def _table(answers: Sequence["Labelled"], labels: Sequence[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("file", overflow="fold")
    table.add_column("label")
    table.add_column("probability", justify="right")
    table.add_column("next best", style="dim")
    for answer in answers:
        assert answer.probabilities is not None
        first, second = (int(i) for i in answer.probabilities.argsort()[::-1][:2])
        table.add_row(
            Text(str(answer.video)),
            Text(labels[first], "bold"),
            f"{answer.probabilities[first]:.0%}",
            Text(f"{labels[second]} {answer.probabilities[second]:.0%}"),
        )
    return table
