"""The order of the tests, and what their process need not look through again and again."""

import gc

import pytest


def pytest_collection_finish() -> None:
    """Training ends with a collection of garbage, which would visit every object of every library."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)  # behind the deselection, which decides how many there are
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several processes, slow tests come first: one that starts last would keep all waiting."""
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    if workers > 1:
        items[:] = slow_first(items, workers)


def slow_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Each process is handed a stretch of the list: every stretch opens with its share of the slow tests.

    Those of a file stay together, for the sake of the fixtures that they share.
    """
    slow: dict[object, list[pytest.Item]] = {}
    quick = []
    for item in items:
        if item.get_closest_marker("slow"):
            slow.setdefault(item.path, []).append(item)
        else:
            quick.append(item)
    shares: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for file in slow.values():
        min(shares, key=len).extend(file)
    ordered: list[pytest.Item] = []
    for number, share in enumerate(shares):
        room = (len(items) - len(ordered)) // (workers - number) - len(share)
        ordered += [*share, *quick[: max(room, 0)]]
        del quick[: max(room, 0)]
    return ordered + quick
