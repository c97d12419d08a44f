"""Segments from scores, against the same written as loops."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float

from openfsar.timeline.segments import (
    Rules,
    close_gaps,
    find_segments,
    hysteresis,
    iou,
    stretches,
    suppress,
)

LEVELS = st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])


@st.composite
def score_tables(draw: st.DrawFn) -> Float[np.ndarray, "Q N"]:
    rows, columns = draw(st.integers(1, 14)), draw(st.integers(1, 3))
    return np.array(draw(st.lists(LEVELS, min_size=rows * columns, max_size=rows * columns))).reshape(
        rows, columns
    )


def slow_hysteresis(scores: Float[np.ndarray, "Q N"], enter: float, leave: float) -> np.ndarray:
    active = np.zeros(scores.shape, bool)
    for t, n in np.ndindex(scores.shape):
        low = high = t
        while low >= 0 and scores[low, n] >= leave:
            low -= 1
        while high < len(scores) and scores[high, n] >= leave:
            high += 1
        active[t, n] = scores[t, n] >= leave and (scores[low + 1 : high, n] >= enter).any()
    return active


@given(score_tables(), LEVELS, LEVELS)
def test_hysteresis_is_its_definition_and_the_same_backwards(
    scores: Float[np.ndarray, "Q N"], one: float, other: float
) -> None:
    enter, leave = max(one, other), min(one, other)
    found = hysteresis(scores, enter=enter, leave=leave)
    np.testing.assert_array_equal(found, slow_hysteresis(scores, enter, leave))
    np.testing.assert_array_equal(found[::-1], hysteresis(scores[::-1], enter=enter, leave=leave))


@given(score_tables())
def test_stretches_rebuild_what_they_came_from(scores: Float[np.ndarray, "Q N"]) -> None:
    active = scores > 0.5
    again = np.zeros_like(active)
    runs = list(zip(*(x.tolist() for x in stretches(active)), strict=True))
    for first, last, kind in runs:
        assert not again[max(first - 1, 0) : last + 1, kind].any()  # maximal and apart
        again[first:last, kind] = True
    np.testing.assert_array_equal(again, active)
    assert runs == sorted(runs, key=lambda run: (run[2], run[0]))


@given(score_tables(), st.sampled_from([0.0, 1.0, 2.5, 100.0]), st.data())
def test_gaps_are_closed_one_by_one(
    scores: Float[np.ndarray, "Q N"], gap: float, data: st.DataObject
) -> None:
    steps = data.draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=len(scores), max_size=len(scores)))
    edges = np.concatenate([[0.0], np.cumsum(steps)])
    first, last, kind = stretches(scores > 0.5)
    expected: list[list[int]] = []
    for a, b, n in zip(first.tolist(), last.tolist(), kind.tolist(), strict=True):
        if expected and expected[-1][2] == n and edges[a] - edges[expected[-1][1]] <= gap:
            expected[-1][1] = b
        else:
            expected.append([a, b, n])
    found = [x.tolist() for x in close_gaps(first, last, kind, edges, gap=gap)]
    assert [list(row) for row in zip(*found, strict=True)] == expected


def test_intersection_over_union() -> None:
    start, end = np.array([0.0, 5.0, 2.0, 20.0]), np.array([10.0, 15.0, 4.0, 30.0])
    np.testing.assert_allclose(iou(0.0, 10.0, start, end), [1, 5 / 15, 0.2, 0])


def test_the_surest_of_those_that_overlap_stay() -> None:
    start, end = np.array([0.0, 4.0, 9.0, 20.0]), np.array([5.0, 10.0, 12.0, 21.0])
    sure = np.array([0.8, 0.9, 0.7, 0.1])
    assert suppress(start, end, sure, overlap=0.0) == [1, 3]
    assert suppress(start, end, sure, overlap=0.1) == [1, 0, 3]  # 1 of 10 seconds, and 1 of 8
    assert suppress(start, end, sure, overlap=0.125) == [1, 0, 2, 3]
    touching = suppress(np.array([0.0, 5.0]), np.array([5.0, 6.0]), np.array([0.5, 0.6]), overlap=0.0)
    assert touching == [1, 0]


def test_a_day_in_numbers() -> None:
    """Rules at work on one class, 1 s a score."""
    scores = np.array([0.1, 0.4, 0.9, 0.4, 0.1, 0.8, 0.1, 0.1, 0.1, 0.4, 0.4, 0.1, 0.7])[:, None]
    edges = np.arange(14.0)

    def spans(**rules: float) -> list[tuple[float, float, float]]:
        found = find_segments(scores, edges, ["jump"], Rules(enter=0.6, leave=0.3, **rules))
        return [(s.start, s.end, round(s.confidence, 3)) for s in found]

    jumps = [(1, 4, round(1.7 / 3, 3)), (5, 6, 0.8), (12, 13, 0.7)]
    assert spans(gap=0.0) == jumps
    assert spans(gap=1.0) == [(1, 6, round(2.6 / 5, 3)), (12, 13, 0.7)]
    assert spans(gap=0.0, shortest=2.0) == jumps[:1]
    assert spans(gap=1.0, shortest=6.0) == []


@settings(deadline=None)
@given(
    score_tables(),
    st.sampled_from([0.0, 0.5, 1.5]),
    st.sampled_from([0.0, 1.0, 3.0]),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.data(),
)
def test_segments_lie_in_the_video_in_order_and_apart(
    scores: Float[np.ndarray, "Q N"], gap: float, shortest: float, overlap: float, data: st.DataObject
) -> None:
    steps = data.draw(st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=len(scores), max_size=len(scores)))
    edges = np.concatenate([[0.0], np.cumsum(steps)])
    rules = Rules(enter=0.6, leave=0.4, gap=gap, shortest=shortest, overlap=overlap)
    labels = ["a", "b", "c"][: scores.shape[1]]
    found = find_segments(scores, edges, labels, rules)
    assert found == sorted(found, key=lambda segment: segment.start)
    for number, segment in enumerate(found):
        assert 0 <= segment.start < segment.end <= edges[-1] and segment.seconds >= shortest
        column, inside = (
            labels.index(segment.label),
            (edges[:-1] >= segment.start) & (edges[1:] <= segment.end),
        )
        assert scores[inside, column].max() >= 0.6
        mean = np.average(scores[inside, column], weights=np.diff(edges)[inside])
        assert segment.confidence == pytest.approx(mean)
        for other in found[:number]:
            assert iou(segment.start, segment.end, other.start, other.end) <= overlap
    if overlap == 0:
        assert all(a.end <= b.start for a, b in zip(found, found[1:], strict=False))
        everything = find_segments(scores, edges, labels, Rules(0.6, 0.4, shortest, gap, overlap=1.0))
        for lost in set(everything) - set(found):  # only for a surer one
            assert any(
                iou(lost.start, lost.end, s.start, s.end) > 0 and s.confidence >= lost.confidence
                for s in found
            )


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"enter": 0.3, "leave": 0.4}, "enter=0.3 and leave=0.4"),
        ({"enter": 1.5}, "enter=1.5"),
        ({"leave": -0.1}, "leave=-0.1"),
        ({"shortest": -1.0}, "shortest=-1"),
        ({"gap": float("nan")}, "gap=nan"),
        ({"overlap": 1.1}, "overlap=1.1"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rules: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Rules(**rules)
