"""ToyResNet's training goes on where it was killed, and what we ship is worth its card."""

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ResNetModel

from openfsar.toy import pretrain_resnet
from openfsar.toy.facts import Facts
from openfsar.toy.pretrain_resnet import PretrainResNetConfig, pooled, pretrain
from openfsar.toy.stills import SIDE, pool_seeds, render_pool, still_pair, stills
from openfsar.toy.training import normalise, pace
from openfsar.toy.world import FRAME

SHIPPED = Path(str(files("openfsar"))) / "toy" / "resnet_weights"


def small_run(out: Path) -> PretrainResNetConfig:
    return PretrainResNetConfig(
        out=out, steps=3, batch=8, warmup=1, pool=48, width=8, judged=16, checkpoint_every=1, device="cpu"
    )


def watch_steps(monkeypatch: pytest.MonkeyPatch, killed_at: int | None = None) -> list[int]:
    """The steps training takes, recorded as they begin."""
    taken = []

    def watched(step: int, steps: int, warmup: int) -> float:
        if step == killed_at:
            raise KeyboardInterrupt
        taken.append(step)
        return pace(step, steps, warmup)

    monkeypatch.setattr(pretrain_resnet, "pace", watched)
    return taken


def test_a_killed_run_goes_on_to_the_weights_of_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = small_run(tmp_path / "whole"), small_run(tmp_path / "killed")
    taken = watch_steps(monkeypatch)
    pretrain(whole)
    assert taken == [0, 1, 2]
    watch_steps(monkeypatch, killed_at=2)
    with pytest.raises(KeyboardInterrupt):
        pretrain(killed)
    assert not (killed.out / "model.safetensors").exists()
    taken = watch_steps(monkeypatch)
    pretrain(killed)
    assert taken == [2]
    weights = "model.safetensors"
    assert (killed.out / weights).read_bytes() == (whole.out / weights).read_bytes()
    reports = [json.loads((run.out / "pretraining.json").read_text()) for run in (whole, killed)]
    assert reports[0]["quality"] == reports[1]["quality"]
    assert set(reports[0]["quality"]) == {"new_stills", "held_out_kinds"}


def test_the_side_of_a_still_changes_nothing_but_its_size() -> None:
    for seed in range(5):
        (small, seen), (native, again) = still_pair(seed), still_pair(seed, side=FRAME)
        assert seen == again and small.shape == (SIDE, SIDE, 3) and native.shape == (FRAME, FRAME, 3)
        pixels = torch.from_numpy(native).permute(2, 0, 1)[None].float()
        reduced = F.interpolate(pixels, (SIDE, SIDE), mode="bicubic", antialias=True).clamp(0, 255).round()
        np.testing.assert_array_equal(reduced[0].permute(1, 2, 0).byte().numpy(), small)


def test_the_pool_holds_the_stills_of_its_seeds_and_runs_share_none() -> None:
    images, subjects = render_pool(3, seed=2, workers=0)
    for number, seed in enumerate(pool_seeds(3, seed=2)):
        image, seen = still_pair(seed)
        np.testing.assert_array_equal(images[number], image)
        assert subjects[number] == seen
    assert not set(pool_seeds(60_000, seed=0)) & set(pool_seeds(60_000, seed=1))


def test_the_shipped_folder_is_a_resnet_of_transformers() -> None:
    model, found = ResNetModel.from_pretrained(SHIPPED, output_loading_info=True)
    assert not found["missing_keys"] and not found["unexpected_keys"] and not found["mismatched_keys"]
    assert all(p.dtype == torch.float32 for p in model.parameters())
    with torch.inference_mode():
        maps = model.eval()(torch.zeros(1, 3, FRAME, FRAME), output_hidden_states=True).hidden_states[1:]
    assert [tuple(m.shape[1:]) for m in maps] == [(32, 24, 24), (64, 12, 12), (128, 6, 6), (256, 3, 3)]
    preprocessing = json.loads((SHIPPED / "preprocessor_config.json").read_text())
    assert preprocessing["image_mean"] == [0.45] * 3 and preprocessing["image_std"] == [0.25] * 3
    assert preprocessing["size"] == {"shortest_edge": FRAME}


@torch.inference_mode()
def features(model: ResNetModel, images: np.ndarray) -> Tensor:
    parts = torch.from_numpy(images).split(100)
    return torch.cat([pooled(model, normalise(part)) for part in parts])


def test_a_linear_reader_finds_the_facts_in_features_of_kinds_the_shipped_model_never_met() -> None:
    """Ridge regression on new stills of the kinds of training, judged on held-out ones."""
    model = ResNetModel.from_pretrained(SHIPPED).eval()
    images, subjects = stills(pool_seeds(500, seed=1), side=FRAME)
    others, unseen = stills(range(10_000, 10_200), held_out=True, side=FRAME)
    known, new = features(model, images), features(model, others)
    mean, std = known.mean(0), known.std(0) + 1e-5
    known, new = (F.pad((x - mean) / std, (0, 1), value=1.0) for x in (known, new))
    facts = Facts(subjects, 1)
    floors = {"scene": 0.95, "colour": 0.95, "place": 0.75, "state": 0.65, "shape": 0.35}
    for fact, floor in floors.items():
        truth, wanted = facts.truth(fact, subjects), facts.truth(fact, unseen)
        assert (truth >= 0).all() and (wanted >= 0).all()
        targets = F.one_hot(truth).float()
        reader = torch.linalg.solve(known.T @ known + 100 * torch.eye(known.shape[1]), known.T @ targets)
        right = ((new @ reader).argmax(1) == wanted).float().mean().item()
        assert right > floor, f"{fact}: {right:.3f}"
