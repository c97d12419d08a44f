"""What training needs is counted on tensors without content, and here compared with real ones."""

from itertools import chain
from pathlib import Path

import psutil
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from openfsar.encoders.tiny import tiny_encoder
from openfsar.encoders.trainable import trainable_parameters
from openfsar.methods import memory
from openfsar.methods.base import FewShotMethod
from openfsar.methods.memory import Budget, Kept, free_bytes, training_budget, training_bytes
from openfsar.methods.zoo import build

VIDEOS, FRAMES = 3, 4
CPU = torch.device("cpu")

CASES = {
    "otam": {},
    "clip-fsar": {"tune": "lora", "rank": 2},
    "ma-fsar": {},
    "m2-clip": {"classes": ["waving", "running"]},
    "actionclip": {"visual": "transf-cls", "tune": "visual", "layers": 2},
    "gghm": {},
    "sloshnet": {},
    "strm": {"frames": FRAMES},
}


def method_of(name: str) -> FewShotMethod:
    return build(name, tiny_encoder(), **CASES[name])


@pytest.mark.parametrize("name", CASES)
def test_bytes_are_those_that_a_real_pass_keeps(name: str) -> None:
    method = method_of(name)
    counted = training_bytes(method, VIDEOS, FRAMES)
    clips = torch.randint(0, 256, (VIDEOS, FRAMES, 3, 32, 32), dtype=torch.uint8)
    kept = Kept()
    state = [*method.parameters(), *method.buffers()]
    with sdpa_kernel(SDPBackend.MATH), kept.counting(beside=state):  # as it is counted
        method.train().encode(clips)
    moments = 3 * sum(x.nbytes for x in trainable_parameters(method).values())
    assert kept.bytes > 0
    assert counted - moments - sum(x.nbytes for x in state) == pytest.approx(kept.bytes, rel=0.02)


@pytest.mark.parametrize("name", ["ma-fsar", "sloshnet"])
def test_counting_changes_nothing(name: str) -> None:
    method = method_of(name).eval()
    tensors = dict(chain(method.named_parameters(), method.named_buffers()))
    before = {key: value.clone() for key, value in tensors.items()}
    random = torch.get_rng_state()
    training_bytes(method, VIDEOS, FRAMES)
    after = dict(chain(method.named_parameters(), method.named_buffers()))
    assert not method.training and torch.equal(torch.get_rng_state(), random)
    assert all(after[key] is tensors[key] and torch.equal(after[key], before[key]) for key in before)


def test_bytes_grow_with_videos_frames_and_pixels_and_shrink_by_recomputing() -> None:
    method = method_of("otam")
    one, two, three = (training_bytes(method, videos, FRAMES) for videos in (1, 2, 3))
    assert three - two == two - one > 0
    assert training_bytes(method, 1, 2 * FRAMES) - one == two - one
    assert training_bytes(method, 1, FRAMES, size=32) == one
    method.recompute_activations()
    assert training_bytes(method, 1, FRAMES) < one


def test_a_step_fits_into_three_fifths_of_what_is_free() -> None:
    assert Budget(60, 100).fits and not Budget(61, 100).fits
    assert str(Budget(32_100_000_000, 24_000_000_000)) == "32.1 GB, and 24.0 are free"
    found = training_budget(method_of("otam"), VIDEOS, FRAMES, device=CPU)
    assert found.needed == training_bytes(method_of("otam"), VIDEOS, FRAMES) and found.fits


def test_free_memory_knows_limits_of_containers_and_other_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_LIMITS", tmp_path)
    system = free_bytes(CPU)
    assert 0 < system <= psutil.virtual_memory().total
    (tmp_path / "memory.current").write_text("1000\n")
    (tmp_path / "memory.max").write_text("9000\n")
    assert free_bytes(CPU) == 8000 and free_bytes(CPU, sharing=4) == 2000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes(CPU) > 8000
