"""Average precision and frame accuracy, by hand and by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openfsar.timeline.metrics import average_precision, frame_accuracy, mean_average_precision
from openfsar.timeline.segments import Segment


def seg(start: float, end: float, confidence: float = 1.0, label: str = "a") -> Segment:
    return Segment(float(start), float(end), label, float(confidence))


TRUTH = [[seg(0, 10), seg(20, 30)], [seg(0, 4)]]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([[seg(0, 10, 0.9), seg(20, 30, 0.8)], [seg(0, 4, 0.7)]], 1.0),
        ([[], []], 0.0),
        ([[seg(0, 10)], []], 1 / 3),
        # right, wrong, right: precisions 1, 1/2, 2/3 at recalls 1/3, 1/3, 2/3
        ([[seg(0, 10, 0.9), seg(40, 50, 0.8), seg(20, 30, 0.7)], []], (1 + 2 / 3) / 3),
        # wrong, right, right, right: the best precision from each recall on is 3/4
        ([[seg(40, 50, 0.9), seg(0, 10, 0.8), seg(20, 30, 0.7)], [seg(0, 4, 0.6)]], 3 / 4),
        # two for one: the second is wrong
        ([[seg(0, 10, 0.9), seg(1, 10, 0.8)], []], 1 / 3),
        # IoU 0.5 exactly is right, less is wrong, and so is the right time in the other video
        ([[seg(0, 5, 0.9)], []], 1 / 3),
        ([[seg(0, 4.9, 0.9)], [seg(20, 30)]], 0.0),
        # the second best partner is free
        ([[seg(0, 10, 0.9), seg(0, 10, 0.8)], []], 1 / 3),
    ],
)
def test_average_precision_by_hand(found: list[list[Segment]], expected: float) -> None:
    assert average_precision(found, TRUTH, "a") == pytest.approx(expected)


def test_a_taken_partner_is_passed_over_for_a_free_one() -> None:
    truth = [[seg(0, 10), seg(2, 12)]]
    found = [[seg(1, 10, 0.9), seg(1, 10, 0.8)]]  # nearest to the first one, both
    assert average_precision(found, truth, "a") == 1.0


def test_the_mean_is_over_true_classes() -> None:
    truth = [[seg(0, 10), seg(10, 20, label="b")]]
    found = [[seg(0, 10), seg(10, 20, label="c")]]
    assert mean_average_precision(found, truth) == 0.5
    with pytest.raises(ValueError, match="0 classes"):
        mean_average_precision([[]], [[]])
    with pytest.raises(ValueError, match="2 videos"):
        mean_average_precision([[], []], truth)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4), st.integers(1, 9)), max_size=6), st.data())
def test_better_confidence_of_right_ones_never_harms(
    drawn: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    truth = [[seg(0, 3), seg(5, 9)]]
    found = [[seg(start, start + length, c / 10) for start, length, c in drawn]]
    before = average_precision(found, truth, "a")
    assert 0 <= before <= 1
    wrong = [[*found[0], seg(20, 21, 0.01)]]
    assert average_precision(wrong, truth, "a") == pytest.approx(before)  # a wrong one after all others
    sure = [[*found[0], seg(20, 21, 1.0)]]
    assert average_precision(sure, truth, "a") <= before + 1e-12


def test_frame_accuracy_by_hand() -> None:
    truth = [[seg(2, 6), seg(6, 8, label="b")]]
    assert frame_accuracy(truth, truth, [10.0]) == 1.0
    assert frame_accuracy([[]], truth, [10.0]) == pytest.approx(0.4)  # the background
    found = [[seg(1, 5), seg(7, 12, label="b")]]
    assert frame_accuracy(found, truth, [10.0]) == pytest.approx((1 + 3 + 1) / 10)
    two = [seg(0, 10, 0.6), seg(2, 6, 0.5, label="b")]  # the surer one counts
    assert frame_accuracy([two], [[seg(0, 10)]], [10.0]) == 1.0
    assert frame_accuracy([[], []], [truth[0], []], [10.0, 30.0]) == pytest.approx(34 / 40)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6), st.sampled_from("ab")), max_size=4),
    st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6), st.sampled_from("ab")), max_size=4),
)
def test_frame_accuracy_counts_frames(
    one: list[tuple[int, int, str]], other: list[tuple[int, int, str]]
) -> None:
    def parts(drawn: list[tuple[int, int, str]]) -> list[Segment]:
        return [seg(s, s + n, 1 - i / 10, label) for i, (s, n, label) in enumerate(drawn)]

    def name(segments: list[Segment], time: float) -> str:
        return next((s.label for s in segments if s.start <= time < s.end), "")

    found, truth = parts(one), parts(other)
    expected = np.mean([name(found, t + 0.5) == name(truth, t + 0.5) for t in range(15)])
    assert frame_accuracy([found], [truth], [15.0]) == pytest.approx(expected)
