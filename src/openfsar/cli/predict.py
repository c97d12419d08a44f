"""``openfsar predict``: names for new videos, as a table or a file."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from openfsar.cli.answers import WRITERS, Rows, record_of
from openfsar.cli.console import complain, note, warn
from openfsar.cli.footage import FootageError, find_videos
from openfsar.cli.journal import Journal, Record, fingerprint, journal_path

if TYPE_CHECKING:
    from openfsar.classifier import FewShotVideoClassifier


def predict(
    model: Path,
    videos: tuple[str, ...],
    *,
    out: Path | None = None,
    batch: int = 8,
    workers: int = 2,
    device: str | None = None,
    json: bool = False,
) -> int:
    """Name the action in new videos with a fitted model, or say that it is none of those it knows.

    A video that cannot be read is reported and skipped; the exit code is 1 only where none could be read.

    With --out a run may be stopped at any moment and goes on where it was when the same command is given
    again: until the file is complete, answers lie beside it (labels.csv.partial.jsonl).

    Args:
        model: The model folder that `openfsar fit` wrote.
        videos: Files and folders; folders are searched for videos all the way down.
        out: Write every probability to this .csv, .json or .jsonl file instead of printing a table.
        batch: Videos computed at a time; less needs less memory.
        workers: Threads that decode.
        device: Where to compute, such as cpu or cuda; by default the fastest there is.
        json: Print JSON lines instead of a table, each as soon as its video is named.

    Example:
        openfsar predict model new_videos/
        openfsar predict model a.mp4 b.mp4 -o labels.csv
        openfsar predict model new_videos/ --json
    """
    if out is not None and out.suffix.lower() not in WRITERS:
        raise FootageError(f"{out} must end in {', '.join(WRITERS)}, which also decides the format")
    found = find_videos(videos)
    from openfsar.classifier import FewShotVideoClassifier
    from openfsar.data.files import whole_file

    # lines of JSON stay whole: no bar is drawn on the terminal they are printed to
    classifier = FewShotVideoClassifier.load(
        model, device=device, progress=not (json and sys.stdout.isatty())
    ).set_params(batch=batch, workers=workers)
    labels = [str(name) for name in classifier.classes_]
    tell = _print_json if json else Rows(found, labels).add if out is None else _keep_quiet
    if out is None:
        counts = _name(classifier, found, labels, tell)
    else:
        with Journal(journal_path(out), fingerprint(classifier.home_), found) as journal:
            counts = _name_on(classifier, journal, labels, tell)
            with whole_file(out) as file:
                WRITERS[out.suffix.lower()](file, journal.answers(), labels)
            journal.remove()
        note(f"{counts['named']:,} of {len(found):,} videos named -> {out}")
    if counts["bad"]:
        warn(f"{counts['bad']:,} of {len(found):,} videos could not be read and were skipped; see above")
    if not counts["named"]:
        complain(f"none of the {len(found)} videos could be read; see the lines above")
    return 0 if counts["named"] else 1


def _name(
    classifier: "FewShotVideoClassifier",
    videos: Sequence[Path],
    labels: Sequence[str],
    tell: Callable[[Record], None],
    keep: Callable[[Path, Record], None] | None = None,
) -> Counter[str]:
    """Name videos one after the other; how many could be named, and how many not be read ("bad")."""
    counts: Counter[str] = Counter()
    with closing(classifier.stream(videos)) as answers:  # its bar vanishes before an error is told
        for video, answer in zip(videos, answers, strict=True):
            record = record_of(answer, labels)
            if keep is not None:
                keep(video, record)
            tell(record)
            if answer.error is not None:
                warn(f"skipped: {answer.error}")
            counts["named" if answer.error is None else "bad"] += 1
    return counts


def _name_on(
    classifier: "FewShotVideoClassifier",
    journal: Journal,
    labels: Sequence[str],
    tell: Callable[[Record], None],
) -> Counter[str]:
    """As ``_name``, from where the journal ends."""
    missing = journal.missing
    before = len(journal.keys) - len(missing)
    if before:
        note(f"{before:,} of {len(journal.keys):,} videos were named before; going on with the others")
        for record in journal.answers():
            if record["error"] is None:
                tell(record)
    try:
        counts = _name(classifier, missing, labels, tell, journal.add)
    except KeyboardInterrupt:
        left = len(journal.missing)
        note(
            f"stopped with {left:,} of {len(journal.keys):,} videos to go; the same command goes on from here"
        )
        raise
    counts["named"] += before
    return counts


def _print_json(record: Record) -> None:
    print(dumps(record), flush=True)


def _keep_quiet(record: Record) -> None:
    """The answers go to a file."""
