"""Class means against plain loops over classes."""

import torch

from openfsar.prototypes import class_means, merge_shots

LABELS = torch.tensor([[2, 0, 1, 1, 2, 2], [0, 1, 2, 0, 0, 0]])  # uneven shots, in any order


def test_prototypes_are_the_means_of_uneven_classes_in_every_episode() -> None:
    features = torch.randn(2, 6, 4, 8, dtype=torch.float64)
    means = class_means(features, LABELS, 3)
    for e in range(2):
        for n in range(3):
            expected = features[e, LABELS[e] == n].mean(0)
            torch.testing.assert_close(means[e, n], expected, rtol=0, atol=1e-14)


def test_merged_shots_are_the_mean_distances_per_class() -> None:
    distances = torch.rand(2, 5, 6, dtype=torch.float64)
    merged = merge_shots(distances, LABELS, 3)
    assert merged.shape == (2, 5, 3)
    for e in range(2):
        for n in range(3):
            expected = distances[e][:, LABELS[e] == n].mean(1)
            torch.testing.assert_close(merged[e, :, n], expected, rtol=0, atol=1e-14)


def test_one_shot_prototypes_are_the_videos_themselves() -> None:
    features = torch.randn(4, 3, 8)
    labels = torch.tensor([3, 1, 0, 2])
    torch.testing.assert_close(class_means(features, labels, 4)[labels], features, rtol=0, atol=0)


def test_half_precision_is_summed_in_float32_and_autocast_changes_nothing() -> None:
    features = torch.randn(6, 4, 8).bfloat16()
    labels = LABELS[0]
    exact = class_means(features.double(), labels, 3).bfloat16()
    torch.testing.assert_close(class_means(features, labels, 3), exact, rtol=0, atol=0)
    distances = torch.rand(5, 6) * 20
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = merge_shots(distances, labels, 3)
    torch.testing.assert_close(coarse, merge_shots(distances, labels, 3), rtol=0, atol=0)


def test_gradients_are_right() -> None:
    features = torch.randn(6, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: class_means(x, LABELS[0], 3), features)
