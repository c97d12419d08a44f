"""Bi-MHM against double loops."""

from typing import Literal

import pytest
import torch

from openfsar.matchers import bi_mhm


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("shape", [(1, 1), (4, 7), (8, 8)])
def test_equals_double_loops(shape: tuple[int, int], reduction: Literal["sum", "mean"]) -> None:
    table = torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rows, columns = ([min(line) for line in t.tolist()] for t in (table, table.mT))
    share = (len(rows), len(columns)) if reduction == "mean" else (1, 1)
    expected = sum(rows) / share[0] + sum(columns) / share[1]
    assert bi_mhm(table, reduction=reduction).item() == pytest.approx(expected, abs=1e-14)


def test_equals_the_published_code() -> None:
    ramp = torch.tensor([[0.05 + 0.1 * ((3 * i + 5 * j) % 7) for j in range(8)] for i in range(8)])
    assert bi_mhm(ramp.double()).item() == pytest.approx(0.8, abs=1e-6)


def test_the_order_of_frames_plays_no_part() -> None:
    tables = torch.rand(3, 5, 6, 4, dtype=torch.float64)
    shuffled = tables[..., torch.randperm(6), :][..., torch.randperm(4)]
    torch.testing.assert_close(bi_mhm(shuffled), bi_mhm(tables), rtol=0, atol=1e-14)


def test_half_precision_is_reduced_in_float32() -> None:
    tables = torch.rand(3, 8, 8).bfloat16()
    assert bi_mhm(tables).dtype == torch.float32
    torch.testing.assert_close(bi_mhm(tables), bi_mhm(tables.float()), rtol=0, atol=0)


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(Exception, match="reduction|median"):  # the shape checker or we
        bi_mhm(torch.zeros(2, 2), reduction="median")  # type: ignore[arg-type]
