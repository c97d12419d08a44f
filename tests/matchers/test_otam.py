"""OTAM against its definition: every path of the published step rule, enumerated."""

import math
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from openfsar.matchers import otam, otam_path

HARD = {"smoothing": 0.0, "both_ways": False}
CASES = {
    "2x2": torch.tensor([[0.1, 0.6], [0.5, 0.2]]),
    "eye": 1 - torch.eye(3),
    "anti": 1 - torch.eye(3).flip(0),
    "zeros": torch.zeros(8, 8),
    "ones": torch.ones(8, 8),
    "ramp": torch.tensor([[0.05 + 0.1 * ((3 * i + 5 * j) % 7) for j in range(8)] for i in range(8)]),
}
CASES["ramp5"] = CASES["ramp"][:5]


def path_costs(table: list[list[float]], row: int, column: int) -> Iterator[float]:
    """Costs of all paths, repeated ones too, that reach a cell of the table with its two zero columns."""
    width = len(table[0])
    cost = table[row][column - 1] if 1 <= column <= width else 0.0
    if column == 0:
        yield 0.0
        return
    if row == 0:
        steps = [(0, column - 1)]
    elif column == 1 or column == width + 1:
        steps = [(row - 1, column - 1), (row - 1, column), (row, column - 1)]
    else:
        steps = [(row - 1, column - 1), (row, column - 1)]
    for step in steps:
        for before in path_costs(table, *step):
            yield before + cost


def enumerated(table: Tensor, smoothing: float) -> float:
    """The soft minimum over all enumerated paths, one direction."""
    costs = list(path_costs(table.tolist(), len(table) - 1, table.shape[1] + 1))
    if smoothing == 0:
        return min(costs)
    low = min(costs)
    return low - smoothing * math.log(sum(math.exp((low - cost) / smoothing) for cost in costs))


def recursion(table: Tensor, smoothing: float) -> Tensor:
    """The published table, cell by cell."""
    rows, columns = table.shape
    padded = torch.nn.functional.pad(table, (1, 1))
    cells = [[table.new_zeros(()) for _ in range(columns + 2)] for _ in range(rows)]
    for m in range(1, columns + 2):
        cells[0][m] = cells[0][m - 1] + padded[0, m]
    for row in range(1, rows):
        for m in range(1, columns + 2):
            options = [cells[row - 1][m - 1], cells[row][m - 1]]
            if m in (1, columns + 1):
                options.append(cells[row - 1][m])
            soft = -smoothing * torch.logsumexp(torch.stack(options) / -smoothing, 0)
            cells[row][m] = padded[row, m] + soft
    return cells[-1][-1]


def random_tables(*shape: int, seed: int = 0) -> Tensor:
    return 2 * torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_a_four_by_four_table_has_eighty_paths() -> None:
    assert len(list(path_costs(torch.zeros(4, 4).tolist(), 3, 5))) == 80


@pytest.mark.parametrize("smoothing", [0.0, 0.02, 0.1, 0.5, 3.0])
@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 4), (4, 1), (2, 2), (2, 5), (5, 2), (4, 4), (3, 6), (6, 3), (5, 5)]
)
def test_equals_the_enumeration_of_all_paths(shape: tuple[int, int], smoothing: float) -> None:
    table = random_tables(*shape)
    forth, back = enumerated(table, smoothing), enumerated(table.mT, smoothing)
    assert otam(table, smoothing=smoothing, both_ways=False).item() == pytest.approx(forth, abs=1e-12)
    assert otam(table, smoothing=smoothing).item() == pytest.approx(forth + back, abs=1e-12)


@pytest.mark.parametrize("shape", [(8, 8), (8, 5), (3, 16)])
def test_equals_the_recursion_cell_by_cell_and_its_gradient(shape: tuple[int, int]) -> None:
    ours, theirs = (random_tables(*shape).requires_grad_() for _ in range(2))
    value, expected = otam(ours, both_ways=False), recursion(theirs, 0.1)
    torch.testing.assert_close(value, expected, rtol=0, atol=1e-12)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("case", "smoothing", "forth", "back"),
    [
        ("2x2", 0.5, -0.2761074, -0.2712470),
        ("2x2", 0.1, 0.2923039, None),
        ("eye", 0.5, -0.3361781, -0.3361781),
        ("anti", 0.5, 0.6714584, 0.6714584),
        ("anti", 0.1, 1.7435020, 1.7435020),
        ("zeros", 0.5, -4.2177744, -4.2177744),
        ("zeros", 0.1, -0.8435550, -0.8435550),
        ("ones", 0.5, 4.2035670, 4.2035670),
        ("ones", 0.1, 7.2508326, 7.2508326),
        ("ramp", 0.5, -1.4248788, -1.3270684),
        ("ramp", 0.1, 0.9738035, 1.3394204),
        ("ramp5", 0.5, -0.5317520, -1.4645822),
    ],
)
def test_equals_the_published_code(case: str, smoothing: float, forth: float, back: float | None) -> None:
    table = CASES[case].double()
    assert otam(table, smoothing=smoothing, both_ways=False).item() == pytest.approx(forth, abs=1e-6)
    if back is not None:
        assert otam(table.mT, smoothing=smoothing, both_ways=False).item() == pytest.approx(back, abs=1e-6)
        assert otam(table, smoothing=smoothing).item() == pytest.approx(forth + back, abs=2e-6)


def test_long_distances_stay_finite_where_the_published_code_overflows() -> None:
    table = torch.full((8, 8), 1.5)
    assert otam(table, both_ways=False).item() == pytest.approx(11.2508, abs=1e-4)
    assert otam(table * 100, smoothing=0.01).isfinite()


@pytest.mark.parametrize("both_ways", [True, False])
@pytest.mark.parametrize("shape", [(8, 8), (5, 8)])
def test_many_tables_at_once_equal_one_by_one(shape: tuple[int, int], both_ways: bool) -> None:
    tables = random_tables(2, 3, 4, *shape)
    batched = otam(tables, both_ways=both_ways)
    single = torch.stack([otam(table, both_ways=both_ways) for table in tables.flatten(0, 2)])
    torch.testing.assert_close(batched, single.view(2, 3, 4), rtol=0, atol=1e-13)
    assert otam(tables[:0], both_ways=both_ways).shape == (0, 3, 4)


def test_the_layout_of_the_tables_in_memory_does_not_matter() -> None:
    tables = random_tables(3, 7, 8, 4)
    strided = tables.permute(3, 1, 0, 2)  # (4, 7, 3, 8)
    torch.testing.assert_close(otam(strided), otam(strided.contiguous()), rtol=0, atol=0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("shape", [(2, 4, 4), (2, 3, 5), (2, 1, 4), (2, 4, 1)])
def test_gradients_are_right(shape: tuple[int, ...], smoothing: float) -> None:
    table = random_tables(*shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: otam(x, smoothing=smoothing), table)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.floats(0.01, 2), st.integers(0, 10**6))
def test_both_ways_are_symmetric_and_bounded_by_the_hard_minimum(
    rows: int, columns: int, smoothing: float, seed: int
) -> None:
    table = random_tables(rows, columns, seed=seed)
    soft = otam(table, smoothing=smoothing)
    torch.testing.assert_close(otam(table.mT, smoothing=smoothing), soft, rtol=0, atol=1e-10)
    hard = otam(table, smoothing=0.0)
    assert soft <= hard + 1e-12
    paths = [len(list(path_costs(t.tolist(), len(t) - 1, t.shape[1] + 1))) for t in (table, table.mT)]
    assert soft >= hard - smoothing * sum(map(math.log, paths)) - 1e-10


def test_a_small_smoothing_approaches_the_hard_minimum() -> None:
    tables = random_tables(20, 8, 8)
    torch.testing.assert_close(otam(tables, smoothing=1e-5), otam(tables, smoothing=0.0), rtol=0, atol=1e-3)


def test_reversing_both_videos_keeps_the_hard_minimum_and_reversing_one_does_not() -> None:
    table = 1 - torch.eye(8, dtype=torch.float64)
    assert otam(table, smoothing=0.0) == otam(table.flip(0, 1), smoothing=0.0) == 0
    assert otam(table.flip(0), smoothing=0.0) > 5


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_accumulated_in_float32(dtype: torch.dtype) -> None:
    tables = random_tables(6, 8, 8).to(dtype)
    result = otam(tables)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, otam(tables.float()), rtol=0, atol=0)


def test_float32_and_float64_agree_and_keep_their_dtype() -> None:
    tables = random_tables(50, 8, 8)
    single = otam(tables.float())
    assert single.dtype == torch.float32 and otam(tables).dtype == torch.float64
    torch.testing.assert_close(single.double(), otam(tables), rtol=0, atol=1e-5)


@pytest.mark.parametrize("smoothing", [-0.1, math.nan])
def test_an_impossible_smoothing_is_refused(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"smoothing=.* must be 0"):
        otam(torch.zeros(2, 2), smoothing=smoothing)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 10**6), st.booleans())
def test_the_path_is_allowed_and_costs_the_hard_minimum(
    rows: int, columns: int, seed: int, signed: bool
) -> None:
    table = random_tables(rows, columns, seed=seed) - (1.0 if signed else 0.0)
    path = otam_path(table)
    assert [c for _, c in path if c] == list(range(1, columns))  # each column once, but for the first
    for (row, column), (next_row, next_column) in zip(path, path[1:], strict=False):
        assert next_row - row in ((1,) if next_column == column else (0, 1))
    cost = sum(table[cell].item() for cell in path)
    assert cost == pytest.approx(otam(table, **HARD).item(), abs=1e-12)


def test_the_path_of_a_clean_diagonal_is_the_diagonal() -> None:
    assert otam_path(1 - torch.eye(5)) == [(i, i) for i in range(5)]


@pytest.mark.slow
def test_compiles_into_one_graph() -> None:
    script = (
        "import torch; from openfsar.matchers import frame_distances, otam\n"
        "f = lambda q, p: otam(frame_distances(q, p))\n"
        "q, p = torch.randn(2, 3, 8, 16), torch.randn(2, 4, 8, 16)\n"
        "fast = torch.compile(f, fullgraph=True, backend='aot_eager')\n"
        "torch.testing.assert_close(fast(q, p), f(q, p), rtol=0, atol=1e-5)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=200)
