"""Numbers against their definitions, by loops."""

import statistics

import pytest
import torch

from openfsar.engine.metrics import class_accuracy, confusion_matrix, episode_accuracy, mean_interval


def test_the_interval_is_that_of_the_textbook() -> None:
    values = torch.tensor([0.2, 0.4, 0.4, 1.0, 0.0])
    mean, half = mean_interval(values)
    deviation = statistics.stdev(values.tolist())
    assert mean == pytest.approx(0.4, abs=1e-8)
    assert half == pytest.approx(statistics.NormalDist().inv_cdf(0.975) * deviation / 5**0.5, abs=1e-12)


def test_the_interval_covers_the_truth_nineteen_times_in_twenty() -> None:
    draws = torch.rand(1000, 50, generator=torch.Generator().manual_seed(0))
    covered = sum(abs(mean - 0.5) <= half for mean, half in map(mean_interval, draws))
    assert 0.93 < covered / 1000 < 0.97


def test_one_episode_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two episodes, got 1"):
        mean_interval(torch.ones(1))


def test_confusion_and_class_accuracy_equal_a_loop() -> None:
    dice = torch.Generator().manual_seed(1)
    truth = torch.randint(0, 4, (300,), generator=dice)  # class 4 is never asked
    named = torch.randint(0, 5, (300,), generator=dice)
    expected = torch.zeros(5, 5, dtype=torch.int64)
    for t, n in zip(truth.tolist(), named.tolist(), strict=True):
        expected[t, n] += 1
    confusion = confusion_matrix(truth, named, 5)
    assert torch.equal(confusion, expected)
    shares = class_accuracy(confusion)
    for c in range(4):
        assert shares[c].item() == pytest.approx((named[truth == c] == c).double().mean().item(), abs=1e-15)
    assert shares[4].isnan()


def test_episode_accuracy_is_the_share_of_correct_queries() -> None:
    correct = torch.tensor([[True, True, False, False], [True, False, False, False]])
    assert torch.equal(episode_accuracy(correct), torch.tensor([0.5, 0.25], dtype=torch.float64))
