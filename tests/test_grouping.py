"""Things brought together by class, against loops over classes."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from openfsar.grouping import by_class, members


@given(
    st.integers(1, 4).flatmap(
        lambda way: st.lists(st.integers(1, 4), min_size=way, max_size=way).flatmap(
            lambda sizes: st.permutations([label for label, n in enumerate(sizes) for _ in range(n)])
        )
    )
)
def test_every_class_gets_its_own_in_their_order(labels: list[int]) -> None:
    way = max(labels) + 1
    order, present = members(torch.tensor(labels), way)
    values = torch.arange(len(labels), dtype=torch.float32)[:, None]
    found = by_class(values, order, way)[..., 0]
    for label in range(way):
        own = [float(place) for place, other in enumerate(labels) if other == label]
        assert found[label][present[label]].tolist() == own


def test_several_tasks_of_uneven_classes() -> None:
    labels = torch.tensor([[2, 0, 1, 1, 2, 2], [0, 1, 2, 0, 0, 0]])
    order, present = members(labels, 3)
    assert order is not None and order.shape == present.shape == (2, 3, 4)
    assert present.sum(-1).tolist() == [[1, 2, 3], [4, 1, 1]]
    values = torch.randn(2, 6, 5)
    found = by_class(values, order, 3)
    for task in range(2):
        for label in range(3):
            own = values[task, labels[task] == label]
            assert torch.equal(found[task, label][present[task, label]], own)


@pytest.mark.parametrize("way", [1, 3])
def test_what_lies_class_by_class_is_not_copied(way: int) -> None:
    labels = torch.arange(way).repeat_interleave(2).expand(4, -1)
    order, present = members(labels, way)
    assert order is None and present.all() and present.shape == (4, way, 2)
    values = torch.randn(4, 2 * way, 5)
    assert by_class(values, order, way).data_ptr() == values.data_ptr()


def test_memory_grows_with_the_things_and_not_with_the_table_of_classes_and_things() -> None:
    """A table of 30,000 classes by 30,001 things would take 900 MB as bools alone."""
    labels = torch.cat([torch.arange(30_000), torch.tensor([7])])
    order, present = members(labels, 30_000)
    assert order is not None and order.shape == (30_000, 2) and int(present.sum()) == 30_001
    assert order[7].tolist() == [7, 30_000]
