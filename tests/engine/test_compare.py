"""Paired comparison against brute force, closed forms, and what chance alone brings."""

from dataclasses import replace
from itertools import combinations, product
from math import sqrt
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from painted import Painted, painted
from torch import Tensor

from openfsar.data.episodes import EpisodeError, EpisodeSampler
from openfsar.data.fixed import FixedEpisodes
from openfsar.encoders.tiny import tiny_encoder
from openfsar.engine.compare import ComparisonError, compare
from openfsar.engine.evaluate import answer, evaluate
from openfsar.engine.metrics import mean_interval, pooled
from openfsar.engine.outcome import Outcome, summarise
from openfsar.engine.paired import LEAST_P, jackknife, sign_flip_test, student_interval, student_quantile
from openfsar.methods.zoo import build

METHOD = build("otam", tiny_encoder())


def outcome(
    answers: Tensor | None = None, *, way: int = 3, seed: int = 0, classes: int = 6, **form
) -> Outcome:
    """Given answers to episodes of painted videos; by default all are right."""
    count = 40 if answers is None else len(answers)
    data = painted(classes=classes, videos=6, **form)
    asked = FixedEpisodes.draw(data, way=way, shot=2, query=2, episodes=count, seed=seed)
    right = torch.arange(way).repeat_interleave(2).expand(count, -1)
    given = right if answers is None else answers
    return summarise(METHOD, asked, given, protocol="cached", encodes=1, seconds=(0.0, 0.0))


def answers(wrong: Tensor) -> Tensor:
    """Right but where told."""
    right = torch.arange(3).repeat_interleave(2).expand(len(wrong), -1)
    return torch.where(wrong, (right + 1) % 3, right)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_the_sign_flip_test_equals_all_choices_of_signs(differences: list[int]) -> None:
    far = abs(sum(differences))
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True))
        for signs in product((-1, 1), repeat=len(differences))
    ]
    share = sum(abs(total) >= far for total in sums) / len(sums)
    assert sign_flip_test(torch.tensor(differences)) == pytest.approx(share, abs=1e-12)


def test_the_sign_flip_test_of_one_sided_differences_is_a_power_of_two() -> None:
    assert sign_flip_test(torch.tensor([1] * 20 + [0] * 50)) == pytest.approx(2.0**-19, rel=1e-6)
    assert sign_flip_test(torch.tensor([3] * 5)) == pytest.approx(2.0**-4)
    assert sign_flip_test(torch.ones(200, dtype=torch.int64)) == LEAST_P
    assert sign_flip_test(torch.zeros(9, dtype=torch.int64)) == 1


def test_chance_alone_is_called_a_difference_as_often_as_it_should() -> None:
    dice = torch.Generator().manual_seed(0)
    draws = torch.randint(-3, 4, (2000, 150), generator=dice)
    found = torch.tensor([sign_flip_test(row) for row in draws])
    for level in (0.01, 0.05, 0.3):
        seen, allowed = float((found <= level).float().mean()), 4 * sqrt(level * (1 - level) / 2000)
        assert level - allowed - 0.01 < seen < level + allowed, level


def test_the_same_answers_differ_by_nothing() -> None:
    wrong = torch.rand(40, 6, generator=torch.Generator().manual_seed(1)) < 0.4
    one = outcome(answers(wrong))
    found = compare(one, one)
    assert (found.difference, found.p, found.over_episodes, found.over_videos, found.over_classes) == (
        0,
        1,
        0,
        0,
        0,
    )
    assert (found.only_first, found.only_second) == (0, 0) and found.verdict == "no difference"
    assert found.both + found.neither == 240 and found.neither == int(wrong.sum())
    assert all(row.difference == 0 == row.interval for row in found.classes)


def test_a_constructed_difference_has_its_interval() -> None:
    wrong = torch.zeros(40, 6, dtype=torch.bool)
    wrong[:10, 0] = True  # the second is wrong in one of six queries of a quarter of the episodes
    found = compare(outcome(), outcome(answers(wrong)), ("a", "b"))
    gains = [1 / 6] * 10 + [0.0] * 30
    mean = 10 / 240
    deviation = sqrt(sum((gain - mean) ** 2 for gain in gains) / 39)
    assert found.difference == pytest.approx(mean) == found.accuracy[0] - found.accuracy[1]
    assert found.over_episodes == pytest.approx(1.959964 * deviation / sqrt(40), rel=1e-6)
    assert found.p == pytest.approx(2.0**-9) and (found.only_first, found.only_second) == (10, 0)
    assert found.verdict.startswith("a is ahead for other tasks")
    assert compare(outcome(answers(wrong)), outcome(), ("b", "a")).difference == -found.difference


def test_classes_are_told_apart_as_by_a_loop() -> None:
    dice = torch.Generator().manual_seed(2)
    one, other = (outcome(answers(torch.rand(60, 6, generator=dice) < share)) for share in (0.2, 0.5))
    found = compare(one, other)
    names, plan = one.episodes.classes, one.episodes.plan
    values: dict[str, list[float]] = {}
    for episode, column in product(range(60), range(3)):
        pair = [int(each.correct[episode, column].sum()) / 2 for each in (one, other)]
        values.setdefault(names[int(plan.classes[episode, column])], []).append(pair[0] - pair[1])
    assert {row.name for row in found.classes} == set(values)
    for row in found.classes:
        mean, half = mean_interval(torch.tensor(values[row.name], dtype=torch.float64))
        assert (row.difference, row.interval) == pytest.approx((mean, half))
        assert row.difference == pytest.approx(row.first - row.second) and row.episodes == len(
            values[row.name]
        )
    shown = [row.difference for row in found.classes]
    assert shown == sorted(shown, reverse=True)
    assert sum(row.difference * row.episodes for row in found.classes) / 180 == pytest.approx(
        found.difference
    )


def test_the_jackknife_of_a_sum_over_classes_is_the_textbooks() -> None:
    """Every task of 3 of 7 classes, many times over: the mean is that of the classes, and so is its error."""
    effects = torch.tensor([0.5, -0.2, 0.1, 0.4, -0.6, 0.0, 0.3], dtype=torch.float64)
    units = torch.tensor(list(combinations(range(7), 3))).repeat(3000, 1)
    half = jackknife(effects[units].mean(1), units)
    assert half == pytest.approx(student_quantile(6) * effects.std().item() / sqrt(7), rel=1e-3)


def test_the_jackknife_covers_new_classes_and_the_interval_over_episodes_does_not() -> None:
    dice = torch.Generator().manual_seed(3)
    labels, covered, plain, runs = torch.arange(20).repeat_interleave(10), 0, 0, 120
    for seed in range(runs):
        plan = EpisodeSampler(labels, way=5, shot=1, query=1, seed=seed).plan(800)
        own = 0.3 * torch.randn(
            20, generator=dice
        )  # of each class; 0 on average over all classes there could be
        values = (own[plan.classes] + torch.randn(800, 5, generator=dice)).mean(1)
        mean, half = mean_interval(values)
        over_classes = jackknife(values, plan.classes)
        assert over_classes is not None and over_classes >= 0.99 * half
        covered += abs(mean) <= over_classes
        plain += abs(mean) <= half
    assert 0.9 <= covered / runs <= 1 and plain / runs < 0.8


def test_a_unit_in_every_episode_cannot_be_left_out() -> None:
    every = torch.arange(4).expand(10, -1)
    assert jackknife(torch.rand(10), every) is None
    found = compare(outcome(way=6), outcome(way=6))
    assert found.over_classes is None and found.over_videos is not None


def test_students_quantiles_are_those_of_the_tables() -> None:
    table = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 10: 2.228, 23: 2.069, 120: 1.980, 10_000: 1.960}
    for freedom, value in table.items():
        assert student_quantile(freedom) == pytest.approx(value, abs=6e-4)
    assert student_interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.303 / sqrt(3)), rel=1e-4)
    with pytest.raises(ValueError, match="at least two, got 1"):
        student_interval([1.0])


def test_pooled_seeds_are_one_list_of_episodes() -> None:
    values = torch.rand(3, 500, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    mean, half = pooled([mean_interval(row) for row in values])
    assert (mean, half) == pytest.approx(mean_interval(values.flatten()), rel=2e-2)
    assert mean == pytest.approx(values.mean().item())


def test_other_episodes_are_refused() -> None:
    base = outcome()
    for other, what in (
        (outcome(way=2), r"way, shot and queries per class differ, \(3, 2, 2\) and \(2, 2, 2\)"),
        (outcome(answers(torch.zeros(30, 6, dtype=torch.bool))), "number of episodes differ, 40 and 30"),
        (outcome(split="test"), "data differ, painted val and painted test"),
        (outcome(seed=5), "seed differ, 0 and 5"),
    ):
        with pytest.raises(ComparisonError, match=what):
            compare(base, other)
    moved = replace(base.episodes, videos=("elsewhere.mp4", *base.episodes.videos[1:]))
    with pytest.raises(ComparisonError, match="their videos differ;"):
        compare(base, replace(base, episodes=moved))


def test_several_lists_are_answered_as_each_alone_from_videos_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = painted(classes=4, noise=120)
    sizes = {"way": 3, "shot": 1, "query": 1, "episodes": 30}
    lists = [FixedEpisodes.draw(data, **sizes, seed=seed) for seed in (0, 4)]
    read, clip = [], Painted.clip
    monkeypatch.setattr(Painted, "clip", lambda self, i, *how: (read.append(i), clip(self, i, *how))[1])
    found = answer(METHOD, data, lists)
    assert sorted(read) == list(range(len(data)))
    for seed, each in zip((0, 4), found, strict=True):
        alone = evaluate(METHOD, data, **sizes, seed=seed)
        assert (each.result.accuracy, each.result.episode_hash) == (alone.accuracy, alone.episode_hash)
        assert each.result.accuracy == pytest.approx(each.correct.double().mean().item())
    with pytest.raises(EpisodeError, match="is missing here"):
        answer(METHOD, painted(classes=3), lists)


def test_answers_are_kept_and_come_back(tmp_path: Path) -> None:
    wrong = torch.rand(40, 6, generator=torch.Generator().manual_seed(5)) < 0.3
    first = outcome(answers(wrong))
    first.save(tmp_path / "a.npz")
    again = Outcome.load(tmp_path / "a.npz")
    assert torch.equal(again.answers, first.answers) and again.result.to_json() == first.result.to_json()
    assert compare(first, again).difference == 0
    assert FixedEpisodes.load(tmp_path / "a.npz").plan.digest == first.episodes.plan.digest
    first.episodes.save(tmp_path / "e.npz")
    with pytest.raises(EpisodeError, match="holds episodes without answers"):
        Outcome.load(tmp_path / "e.npz")


def test_a_result_says_when_every_class_is_asked_or_queries_see_each_other() -> None:
    assert outcome().result.label == "cached"
    assert outcome(way=6).result.label == "cached, all-way"
    assert replace(outcome().result, transductive=True).label == "cached, transductive"
