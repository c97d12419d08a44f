"""A checkpoint is whole or absent, and gives back what it was given."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from openfsar.data.files import clear_partial
from openfsar.engine import checkpoint as module
from openfsar.engine.checkpoint import (
    Checkpoint,
    CheckpointError,
    History,
    load_checkpoint,
    load_trained_state,
    save_checkpoint,
    trained_state,
)


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    net[2].requires_grad_(False)
    return net


def some(step: int) -> Checkpoint:
    model = net()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad])
    model(torch.randn(8, 3)).sum().backward()
    optimizer.step()
    history = History(
        [{"step": 1, "loss": 0.5}],
        [{"step": 0, "accuracy": 0.25, "interval": 0.01}, {"step": 1, "accuracy": 0.5}],
    )
    recipe = {"lr": 0.1, "betas": (0.9, 0.99), "milestones": (), "options": {"smoothing": 0.1}}
    return Checkpoint(step, trained_state(model), optimizer.state_dict(), {}, history, recipe)


def same(a: object, b: object) -> bool:
    if isinstance(a, Tensor):
        return isinstance(b, Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


def test_loading_gives_back_what_was_saved(tmp_path: Path) -> None:
    given = some(7)
    save_checkpoint(given, tmp_path / "last.pt")
    found = load_checkpoint(tmp_path / "last.pt")
    for name, value in vars(given).items():
        assert same(value, getattr(found, name)), name


def test_the_trained_state_is_what_training_can_change() -> None:
    state = trained_state(net())
    expected = {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert set(state) == expected | {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    other = net(1)
    frozen = other[2].weight.clone()
    load_trained_state(other, state)
    assert same(trained_state(other), state) and torch.equal(other[2].weight, frozen)


def test_the_state_of_another_model_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"disagree about 0\.bias"):
        load_trained_state(net(), {k: v for k, v in trained_state(net()).items() if k != "0.bias"})


def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(some(1), path)
    before = path.read_bytes()

    def full(content: object, file) -> None:
        file.write(b"half a checkpoint")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(some(2), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


def test_what_a_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    (tmp_path / ".last.pt.0123abcd.partial").write_bytes(b"half")
    (tmp_path / "last.pt").write_bytes(b"whole")
    clear_partial(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "foreign", "pickle"])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "last.pt"
    save_checkpoint(some(1), path)
    match damage:
        case "empty":
            path.write_bytes(b"")
        case "cut":
            path.write_bytes(path.read_bytes()[:-200])
        case "text":
            path.write_text("hello")
        case "foreign":
            torch.save({"weights": torch.zeros(2)}, path)
        case "pickle":
            torch.save({"format": Path("anything")}, path)
    with pytest.raises(CheckpointError, match=r"last\.pt is not a checkpoint"):
        load_checkpoint(path)


def test_the_best_is_the_earliest_of_the_highest_and_patience_counts_from_it() -> None:
    entries = [{"step": i, "accuracy": a} for i, a in enumerate([0.2, 0.5, 0.4, 0.5, 0.3])]
    history = History([], entries)
    assert history.best is entries[1] and history.stale == 3
    assert History().best is None and History().stale == 0
