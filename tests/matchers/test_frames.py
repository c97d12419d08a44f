"""Frame distances against double loops."""

import pytest
import torch
from torch import Tensor

from openfsar.matchers import frame_distances, squared_distances


def features(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("eps", [0.0, 0.01])
def test_every_entry_is_one_minus_the_cosine(eps: float) -> None:
    query, prototypes = features(3, 4, 6), features(2, 5, 6, seed=1)
    distances = frame_distances(query, prototypes, eps=eps)
    expected = torch.empty(3, 2, 4, 5, dtype=torch.float64)
    for q, n, t, u in torch.cartesian_prod(*map(torch.arange, expected.shape)).tolist():
        x, y = query[q, t], prototypes[n, u]
        expected[q, n, t, u] = 1 - x @ y / (x.norm() * y.norm() + eps)
    torch.testing.assert_close(distances, expected, rtol=0, atol=1e-14)


def test_batch_axes_equal_one_by_one() -> None:
    query, prototypes = features(2, 3, 2, 4, 8), features(2, 3, 5, 6, 8, seed=1)
    batched = frame_distances(query, prototypes)
    assert batched.shape == (2, 3, 2, 5, 4, 6)
    for i in range(2):
        for j in range(3):
            single = frame_distances(query[i, j], prototypes[i, j])
            torch.testing.assert_close(batched[i, j], single, rtol=0, atol=1e-14)


def test_the_epsilon_is_added_to_the_product_of_norms() -> None:
    p = torch.tensor([[[4.0, 3.0]]], dtype=torch.float64)
    for x, cosine in ([3.0, 4.0], 0.9596), ([0.03, 0.04], 0.9231):
        q = torch.tensor([[x]], dtype=torch.float64)
        assert 1 - frame_distances(q, p, eps=0.01).item() == pytest.approx(cosine, abs=5e-5)
        assert 1 - frame_distances(q, p).item() == pytest.approx(0.96, abs=1e-14)


@pytest.mark.parametrize("eps", [0.0, 0.01])
def test_zero_vectors_are_at_distance_one_with_finite_gradients(eps: float) -> None:
    query, prototypes = features(2, 3, 4), features(2, 3, 4, seed=1)
    query[0, 1] = 0
    prototypes[1, 2] = 0
    distances = frame_distances(query.requires_grad_(), prototypes.requires_grad_(), eps=eps)
    assert (distances[0, :, 1] == 1).all() and (distances[:, 1, :, 2] == 1).all()
    distances.sum().backward()
    assert query.grad is not None and query.grad.isfinite().all()
    assert prototypes.grad is not None and prototypes.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    query, prototypes = (100 * features(2, 8, 64)).to(dtype), (100 * features(3, 8, 64, seed=1)).to(dtype)
    distances = frame_distances(query, prototypes)
    assert distances.dtype == torch.float32
    exact = frame_distances(query.double(), prototypes.double())
    torch.testing.assert_close(distances.double(), exact, rtol=0, atol=1e-6)


def test_autocast_does_not_coarsen_the_distances() -> None:
    query, prototypes = features(2, 8, 64).float(), features(3, 8, 64, seed=1).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        distances = frame_distances(query, prototypes)
    torch.testing.assert_close(distances, frame_distances(query, prototypes), rtol=0, atol=0)


def test_gradients_are_right() -> None:
    query, prototypes = features(2, 3, 4).requires_grad_(), features(3, 2, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda q, p: frame_distances(q, p, eps=0.01), (query, prototypes))


def test_squared_distances_equal_cdist_squared() -> None:
    query, prototypes = features(2, 3, 4), features(2, 5, 4, seed=1)
    expected = torch.cdist(query, prototypes).square()
    torch.testing.assert_close(squared_distances(query, prototypes), expected, rtol=0, atol=1e-12)
    assert squared_distances(query.half(), prototypes.half()).dtype == torch.float32
