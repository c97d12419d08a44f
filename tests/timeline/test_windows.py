"""Windows share a grid of frames, cover the video, and are made as its frames come."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfsar.timeline.windows import Windows, in_groups
from openfsar.video.sampling import dense_windows


@given(st.integers(1, 40), st.integers(1, 9), st.data())
def test_windows_are_those_of_the_whole_video(length: int, frames: int, data: st.DataObject) -> None:
    hop = data.draw(st.integers(1, frames))
    found = list(Windows(2.0, frames, hop).slide(range(length)))
    assert [window for _, window in found] == dense_windows(length, frames, hop=hop)
    assert [start for start, _ in found] == [window[0] for _, window in found]


def test_no_more_than_a_window_is_held_and_none_waits_for_later_frames() -> None:
    taken: list[int] = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    for start, window in Windows(1.0, 4, 2).slide(items()):
        assert taken[-1] == window[-1] == start + 3


def test_strides_are_rounded_to_frames_and_a_quarter_by_default() -> None:
    windows = Windows.of(2.0, 0.6, 8)
    assert (windows.step, windows.hop, windows.stride) == (0.25, 2, 0.5)
    assert Windows.of(2.0, None, 8).stride == 0.5
    assert Windows.of(2.0, None, 1).hop == Windows.of(2.0, 0.001, 8).hop == 1
    assert Windows.of(2.0, 2.0, 8).hop == 8


@pytest.mark.parametrize(
    ("window", "stride", "frames", "message"),
    [
        (0.0, None, 8, "window=0 "),
        (-1.0, None, 8, "window=-1 "),
        (float("nan"), None, 8, "window=nan"),
        (2.0, 2.5, 8, "cannot be 2.5 s apart.*0.25 s .*to 2 s"),
        (2.0, 0.0, 8, "cannot be 0 s apart"),
        (2.0, None, 0, "frames=0"),
    ],
)
def test_windows_that_cannot_be_are_refused(
    window: float, stride: float | None, frames: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Windows.of(window, stride, frames)


def test_groups_are_full_but_for_the_last() -> None:
    assert list(in_groups(iter(range(7)), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(in_groups([], 3)) == []
