"""The table of results: one header, one line per result, whoever writes at the same time."""

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from painted import tiny_recipe

from openfsar.engine import results
from openfsar.engine.evaluate import Result
from openfsar.engine.results import COLUMNS, ResultsError, append_result, read_results


def result(**changes) -> Result:
    values = dict(method="otam", encoder="tiny", data="kth, really", split="test", way=5, shot=1, query=1)
    values |= dict(
        episodes=100, seed=3, protocol="cached", transductive=False, accuracy=0.61234, interval=0.0123
    )
    values |= dict(
        per_class={"a": 0.5, "b": 1.0}, classes=("a", "b"), confusion=torch.tensor([[1, 1], [0, 2]])
    )
    values |= dict(episode_hash="00ff", trainable=12, encodes=10, seconds_encode=1.5, seconds_match=0.25)
    return Result(**values | changes)


def test_a_result_becomes_a_line(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.csv"
    append_result(result(), path)
    append_result(result(accuracy=0.5), path, recipe=tiny_recipe(seed=4, select="test"))
    first, second = read_results(path)
    assert tuple(first) == COLUMNS and path.read_text().count("recipe,") == 1
    assert (first["accuracy"], first["interval"], first["data"]) == ("61.23", "1.23", "kth, really")
    assert (first["recipe"], first["select"], first["train_seed"]) == ("", "", "")
    assert (first["seed"], first["seconds"], first["episode_hash"]) == ("3", "1.8", "00ff")
    assert (second["recipe"], second["select"], second["train_seed"]) == ("otam/painted", "test", "4")
    assert first["version"] and first["date"]


def test_another_table_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ResultsError, match="no table of results, its first line is 'a,b'"):
        append_result(result(), path)
    assert path.read_text() == "a,b\n1,2\n"


def test_lines_of_parallel_writers_never_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "_commit", lambda: "")
    path = tmp_path / "results.csv"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: append_result(result(seed=seed), path), range(200)))
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(COLUMNS)
    assert all(len(row) == len(COLUMNS) for row in rows)
    assert sorted(int(row[COLUMNS.index("seed")]) for row in rows[1:]) == list(range(200))
