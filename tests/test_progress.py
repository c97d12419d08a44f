"""How far it is and how long to go: a bar on a terminal, lines elsewhere, and stdout stays clean."""

from collections.abc import Iterator

import pytest

from openfsar.classifier import progress
from openfsar.classifier.progress import batches, told


def test_every_video_belongs_to_one_batch(capsys: pytest.CaptureFixture[str]) -> None:
    for shown in (True, False):
        assert list(batches(7, 3, "encoding", shown=shown)) == [0, 3, 6]
        assert list(batches(0, 3, "encoding", shown=shown)) == []
    assert capsys.readouterr() == ("", "")  # a short run has nothing to say off a terminal


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (50, 200, 25.0, "encoding: 50 of 200 videos, 2.0/s, 75 s left"),
        (600, 10_000, 300.0, "encoding: 600 of 10,000 videos, 2.0/s, 78 min left"),
        (100, 10_000, 400.0, "encoding: 100 of 10,000 videos, 0.25/s, 11.0 h left"),
    ],
    ids=["seconds", "minutes", "hours"],
)
def test_the_line_is_arithmetic(done: int, total: int, seconds: float, line: str) -> None:
    assert told("encoding", done, total, seconds) == line


def test_off_a_terminal_a_line_comes_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock: Iterator[float] = iter([0.0, 10.0, 20.0, 31.0, 40.0, 50.0, 62.0, 100.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    list(batches(13, 2, "encoding", shown=True))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.splitlines() == [  # after 31 and 62 seconds; at the end there is nothing to wait for
        "encoding: 6 of 13 videos, 0.19/s, 36 s left",
        "encoding: 12 of 13 videos, 0.19/s, 5 s left",
    ]


def test_on_a_terminal_a_bar_is_drawn_and_what_is_piped_away_does_not_pass_through_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    for start in batches(5, 2, "encoding", shown=True):
        print(start)
    printed = capsys.readouterr()
    assert printed.out.split() == ["0", "2", "4"]
    assert "encoding" in printed.err and "5/5" in printed.err and "videos" in printed.err
