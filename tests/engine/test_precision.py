"""``precision: auto`` takes what products of matrices say, keeps to it, and says so."""

from pathlib import Path

import pytest
import torch
from painted import painted, tiny_recipe

from openfsar.encoders.tiny import tiny_encoder
from openfsar.engine import precision
from openfsar.engine.precision import GAIN, fastest, product_rate
from openfsar.engine.recipe import load_recipe
from openfsar.engine.train import TrainResult, fit
from openfsar.methods.zoo import build

CPU = torch.device("cpu")


def multiplies(monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    """Pretend that this machine multiplies 16 bits ``gain`` times as fast as 32."""
    rates = {torch.float32: 1.0, torch.bfloat16: gain}
    monkeypatch.setattr(precision, "product_rate", lambda device, dtype: rates[dtype])


def run(out: Path, **changes) -> TrainResult:
    data = painted("train", train=True), painted(noise=180)
    return fit(build("otam", tiny_encoder()), tiny_recipe(**changes), *data, out, progress=True)


@pytest.mark.parametrize(("gain", "name"), [(6.0, "bf16"), (GAIN, "bf16"), (1.4, "fp32"), (0.01, "fp32")])
def test_the_faster_format_is_taken(monkeypatch: pytest.MonkeyPatch, gain: float, name: str) -> None:
    multiplies(monkeypatch, gain)
    assert fastest(CPU) == (name, gain)


def test_a_run_trains_in_what_was_found_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    multiplies(monkeypatch, 6.0)
    found = run(tmp_path / "auto", precision="auto", steps=1)
    assert "precision bf16: 16 bits multiply 6 times as fast as fp32 here" in capsys.readouterr().err
    assert load_recipe(tmp_path / "auto" / "recipe.yaml").precision == "bf16"
    asked = run(tmp_path / "asked", precision="bf16", steps=1)
    assert found.history.train == asked.history.train


def test_a_continued_run_keeps_its_format_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    multiplies(monkeypatch, 6.0)
    run(tmp_path, precision="auto", steps=1)
    multiplies(monkeypatch, 0.01)
    run(tmp_path, precision="auto", steps=1)
    assert "precision bf16: as this run began" in capsys.readouterr().err
    assert load_recipe(tmp_path / "recipe.yaml").precision == "bf16"


def test_this_machine_has_rates() -> None:
    """A product of 64 wide matrices is no faster than physics, and none takes no time."""
    assert 1e7 < product_rate(CPU, torch.float32) < 1e14
