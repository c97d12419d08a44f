"""``openfsar timeline``: what happens when in long videos, as a table or a file for another tool."""

from collections.abc import Callable, Iterator, Sequence
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING

from openfsar.cli.console import complain, note, show, warn
from openfsar.cli.footage import FootageError, find_videos
from openfsar.cli.progress import clock, progress

if TYPE_CHECKING:
    from openfsar.classifier import FewShotVideoClassifier
    from openfsar.timeline import Rules
    from openfsar.timeline.export import Annotated

ALONE = ("vtt", "mp4")
"""Formats whose files are about one video."""


def timeline(
    model: Path,
    videos: tuple[str, ...],
    *,
    out: Path | None = None,
    format: str | None = None,
    window: float = 2.0,
    stride: float | None = None,
    enter: float = 0.5,
    leave: float = 0.3,
    shortest: float = 0.5,
    gap: float = 0.5,
    overlap: float = 0.0,
    batch: int = 8,
    device: str | None = None,
    json: bool = False,
) -> int:
    """Find the actions of a fitted model in long videos: what, from when to when, and how sure.

    A window slides over each video and is named at every step; windows that agree become a segment. Where
    nothing happens the model must be able to say so: fit it with --background, best a rest from such videos.
    A video that cannot be read is reported and skipped; the exit code is 1 only where none could be read.

    Args:
        model: The model folder that `openfsar fit` wrote.
        videos: Files and folders; folders are searched for videos all the way down.
        out: Write to this .csv, .json, .vtt (subtitles) or .mp4 (names drawn in) file instead of printing a
            table. The last two are about one video; for several give a folder, and --format.
        format: csv, json, label-studio, fiftyone, vtt or mp4; needed where the suffix does not say it.
        window: Seconds named together; about as long as an action.
        stride: Seconds from one window to the next; by default a quarter of the window.
        enter: A segment somewhere reaches this probability.
        leave: It lasts as long as the probability is no lower.
        shortest: Segments of fewer seconds are dropped.
        gap: Segments of one action no more seconds apart become one.
        overlap: Of two segments that overlap more than this (intersection over union), the surer one stays.
        batch: Windows computed at a time; less needs less memory.
        device: Where to compute, such as cpu or cuda; by default the fastest there is.
        json: Print JSON lines instead of a table, each as soon as its video is done.

    Example:
        openfsar timeline model day.mp4
        openfsar timeline model day.mp4 -o day.vtt
        openfsar timeline model day.mp4 -o day-named.mp4 --window 3
        openfsar timeline model footage/ -o tasks.json --format label-studio
    """
    found = find_videos(videos)
    from openfsar.classifier import FewShotVideoClassifier
    from openfsar.timeline import Rules
    from openfsar.timeline.windows import Windows

    targets = _targets(out, format, found)
    rules = Rules(enter, leave, shortest, gap, overlap)
    classifier = FewShotVideoClassifier.load(model, device=device).set_params(batch=batch)
    Windows.of(window, stride, classifier.frames)  # refused now, not at each video
    told = _print_json if json else _print_table if out is None else None
    seen = list(_look(classifier, found, window, stride, rules, told))
    if not seen:
        complain(f"none of the {len(found)} videos could be read; see the lines above")
        return 1
    if out is not None and targets is not None:
        _write(seen, out, *targets)
        count = sum(len(video.segments) for video in seen)
        note(f"{count:,} segments in {len(seen):,} of {len(found):,} videos -> {out}")
    return 0


def _targets(
    out: Path | None, form: str | None, videos: Sequence[Path]
) -> tuple[str, dict[str, Path]] | None:
    """The format, and the file of each video where it has one of its own.

    Raises:
        FootageError: Files that cannot be.
    """
    from openfsar.timeline.export import SUFFIXES, choose_format, short_names

    if out is None:
        if form is not None:
            raise FootageError(f"--format {form} needs a file to write to: -o FILE")
        return None
    if form in ALONE and not out.suffix:
        names = short_names([str(video) for video in videos])
        files = [out / f"{name}{SUFFIXES[form]}" for name in names]
    else:
        form = choose_format(out, form)
        if form not in ALONE:
            return form, {}
        if len(videos) > 1:
            raise FootageError(
                f"{out} would hold one video, and there are {len(videos)}; give -o FOLDER --format {form}"
            )
        files = [out]
    for file, video in zip(files, videos, strict=True):
        if file.resolve() == video.resolve():
            raise FootageError(f"{file} is the video itself; choose another name")
    return form, {str(video): file for video, file in zip(videos, files, strict=True)}


def _look(
    classifier: "FewShotVideoClassifier",
    videos: Sequence[Path],
    window: float,
    stride: float | None,
    rules: "Rules",
    told: "Callable[[Annotated], None] | None",
) -> "Iterator[Annotated]":
    """The videos that can be read, one by one; each is told of once it is done."""
    from openfsar.timeline import timeline as look
    from openfsar.timeline.export import Annotated
    from openfsar.video import VideoError

    with progress("looking", len(videos)) as tell:
        for number, video in enumerate(videos):
            try:
                found = look(
                    classifier,
                    video,
                    window=window,
                    stride=stride,
                    batch=classifier.batch,
                    progress=lambda share, number=number: tell(number, share),
                )
            except VideoError as error:
                warn(f"skipped: {error}")
            else:
                seen = Annotated(found, found.segments(rules))
                if told is not None:
                    told(seen)
                yield seen
            tell(number + 1, 0.0)


def _write(seen: "Sequence[Annotated]", out: Path, form: str, files: dict[str, Path]) -> None:
    from openfsar.data.files import whole_file
    from openfsar.timeline.annotate import annotate
    from openfsar.timeline.export import TOGETHER, label_studio_config, to_vtt

    if not files:
        with whole_file(out) as file:
            file.write(TOGETHER[form](seen).encode("utf-8", "surrogateescape"))  # names of files as they are
        if form == "label-studio":
            print(f"labelling configuration of the project:\n{label_studio_config(seen[0].timeline.labels)}")
        return
    with progress("drawing", len(seen), shown=form == "mp4") as tell:
        for number, video in enumerate(seen):
            source = video.timeline.video
            if form == "mp4":
                files[source].parent.mkdir(parents=True, exist_ok=True)
                annotate(source, video.segments, files[source], progress=lambda x, n=number: tell(n, x))
            else:
                with whole_file(files[source]) as file:
                    file.write(to_vtt(video).encode("utf-8", "surrogateescape"))


def _print_json(seen: "Annotated") -> None:
    from openfsar.timeline.export import record

    print(dumps(record(seen)), flush=True)


def _print_table(seen: "Annotated") -> None:
    """The video, and a row per segment."""
    from rich.table import Table
    from rich.text import Text

    from openfsar.cli.answers import shown

    video, segments = seen
    show(Text(f"{shown(video.video)}  {clock(video.seconds)}", "bold"))
    if not segments:
        show(Text("  none of the actions", "yellow"))
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 1))
    table.add_column("start", justify="right", no_wrap=True)
    table.add_column("end", justify="right", no_wrap=True)
    table.add_column("action", no_wrap=True)
    table.add_column("confidence", justify="right", no_wrap=True)
    for s in segments:
        table.add_row(clock(s.start), clock(s.end), Text(s.label, "bold"), f"{s.confidence:.0%}")
    show(table, width=max(40, 40 + max(len(s.label) for s in segments)))
