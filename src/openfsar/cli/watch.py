"""``openfsar watch``: what is happening now, before a camera or in a stream."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from openfsar.cli.console import note
from openfsar.cli.footage import FootageError

if TYPE_CHECKING:
    from openfsar.timeline import Live
    from openfsar.video.source import Pipe

Tell: TypeAlias = "Callable[[Live, float], None]"
"""Told an answer, and how many frames a second arrive."""


def watch(
    model: Path,
    source: str,
    *,
    window: float = 2.0,
    stride: float | None = None,
    device: str | None = None,
    json: bool = False,
) -> None:
    """Name what is happening now with a fitted model, until the source ends or Ctrl-C is pressed.

    Cameras and network streams are never kept waiting: where the computer is too slow, windows are passed
    over (and counted), and the newest is named. Files and pipes are named to the last window.

    Args:
        model: The model folder that `openfsar fit` wrote.
        source: A camera (/dev/video0), an address (rtsp://.. or http://..), a file, or - for standard input,
            as in `ffmpeg -i VIDEO -f matroska - | openfsar watch model -`.
        window: Seconds named together; about as long as an action.
        stride: Seconds from one answer to the next; by default a quarter of the window.
        device: Where to compute, such as cpu or cuda; by default the fastest there is.
        json: Print JSON lines instead of one line that changes.

    Example:
        openfsar watch model /dev/video0
        openfsar watch model rtsp://camera.local/stream --window 3
        openfsar watch model - --json
    """
    from openfsar.classifier import NONE, FewShotVideoClassifier
    from openfsar.timeline import watch as look

    classifier = FewShotVideoClassifier.load(model, device=device)
    answers = look(
        classifier,
        _standard_input() if source == "-" else source,
        window=window,
        stride=stride,
    )
    count = dropped = 0
    rate = _Rate()
    with closing(answers), _line(json, NONE) as tell:
        try:
            for answer in answers:
                tell(answer, rate(answer.frames))
                count, dropped = count + 1, answer.dropped
        except KeyboardInterrupt:  # the usual end of a camera
            pass
    note(f"{count:,} answers, {dropped:,} windows passed over")


def _standard_input() -> "Pipe":
    """Without a buffer: what has arrived is read at once."""
    if sys.stdin is None or sys.stdin.isatty():
        raise FootageError("- reads a video from standard input: pipe one in, `ffmpeg .. -f matroska - | ..`")
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


@contextmanager
def _line(json: bool, none: str) -> Iterator[Tell]:
    """What tells an answer: a line that changes on a terminal, a line each elsewhere, or JSON."""
    from rich.console import Console
    from rich.live import Live as Display
    from rich.text import Text

    console = Console(highlight=False)

    def as_json(answer: "Live", fps: float) -> None:
        about = {"seconds": round(answer.seconds, 3), "label": answer.label or none}
        about |= {"probability": round(answer.probability, 6), "latency_ms": round(answer.latency_ms, 1)}
        print(dumps({**about, "frames_per_second": round(fps, 1), "dropped": answer.dropped}), flush=True)

    def as_text(answer: "Live", fps: float) -> Text:
        name = Text(answer.label or none, "bold" if answer.label else "yellow")
        sure = f"{answer.probability:.0%}" if answer.label else ""
        rest = f"{answer.latency_ms:.0f} ms  {fps:.0f} frames/s"
        missed = f"  {answer.dropped} windows passed over" if answer.dropped else ""
        return Text.assemble(
            (f"{answer.seconds:8.1f} s  ", "cyan"), name, f"  {sure:>4}  ", (rest + missed, "dim")
        )

    if json:
        yield as_json
    elif console.is_terminal:
        with Display(console=console, auto_refresh=False) as display:
            yield lambda answer, fps: display.update(as_text(answer, fps), refresh=True)
    else:
        yield lambda answer, fps: print(as_text(answer, fps).plain, flush=True)


class _Rate:
    """Frames a second over the last answers."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque([(time.perf_counter(), 0)], maxlen=20)

    def __call__(self, frames: int) -> float:
        now = time.perf_counter()
        self._seen.append((now, frames))
        began, before = self._seen[0]
        return (frames - before) / max(now - began, 1e-6)
