"""The chosen share of the class names, against an evaluation of each share by itself."""

import json
from pathlib import Path

import pytest
import torch
from painted import painted, tiny_recipe

from openfsar import hub
from openfsar.data.episodes import EpisodeSampler
from openfsar.encoders.tiny import tiny_encoder
from openfsar.engine.evaluate import encode_dataset, match
from openfsar.engine.fusion import SHARES, choose_text_share
from openfsar.engine.metrics import episode_accuracy
from openfsar.engine.recipe import RecipeError
from openfsar.engine.train import fit
from openfsar.methods.fusion import FusedMethod
from openfsar.methods.zoo import build, create

SIZES = dict(way=3, shot=2, query=2)


def make(name: str, **options) -> FusedMethod:
    method = build(name, tiny_encoder(), **options)
    assert isinstance(method, FusedMethod)
    return method


@pytest.mark.parametrize(
    ("name", "options"), [("otam", {"scale": 0.1}), ("clip-fsar", {}), ("ma-fsar", {"text_share": 0.2})]
)
def test_each_share_is_as_accurate_as_an_evaluation_finds_it(name: str, options: dict) -> None:
    data, method = painted(noise=90), make(name, **options)
    before = method.text_share
    shares = (0.0, 0.1, 0.4, 0.8, 1.0)
    found = choose_text_share(method, data, **SIZES, episodes=50, seed=3, shares=shares)
    plan = EpisodeSampler(data.labels, groups=data.groups, names=data.classes, **SIZES, seed=3).plan(50)
    for share, accuracy in zip(shares, found.accuracy, strict=True):
        other = make(name, **options)
        other.set_text_share(share)
        right = match(other, encode_dataset(other, data), plan) == torch.arange(3).repeat_interleave(2)
        assert accuracy == pytest.approx(episode_accuracy(right).mean().item())
    assert len(set(found.accuracy)) > 2  # or there was nothing to choose
    assert found.before == before
    assert found.share == shares[found.accuracy.index(max(found.accuracy))] == method.text_share
    assert max(found.accuracy) >= found.accuracy[0]  # never worse than without names


def test_a_video_is_encoded_once_whatever_the_number_of_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    data, method, seen = painted(), make("otam"), []
    encode = method.encode
    monkeypatch.setattr(method, "encode", lambda clips, text=None: seen.append(len(clips)) or encode(clips))
    choose_text_share(method, data, **SIZES, episodes=10)
    assert sum(seen) == len(data) and len(SHARES) == 21


def test_a_method_that_reads_no_names_has_no_share_to_choose() -> None:
    with pytest.raises(ValueError, match="names=True"):
        choose_text_share(make("ma-fsar", names=False), painted(), **SIZES, episodes=10)


def test_training_ends_with_the_share_that_is_best_on_the_validation_classes(tmp_path: Path) -> None:
    recipe = tiny_recipe(choose_text_share=True, steps=2, eval_every=2)
    method = create("otam", encoder="toyclip", tune="none", learn_scale=True)
    form = dict(size=method.encoder.image_size)
    result = fit(method, recipe, painted("train", **form), painted("val", **form), tmp_path, progress=False)
    assert result.text_share is not None
    saved = json.loads((tmp_path / "text-share.json").read_text())
    assert saved["share"] == result.text_share.share and saved["split"] == "val"
    assert len(saved["accuracy"]) == len(saved["shares"]) == 21
    best = hub.load(result.best)
    assert isinstance(best, FusedMethod) and best.text_share == result.text_share.share


def test_zero_shot_has_nothing_to_fuse(tmp_path: Path) -> None:
    recipe = tiny_recipe(method="zero-shot", choose_text_share=True)
    with pytest.raises(RecipeError, match="choose_text_share=true needs"):
        fit(build("zero-shot", tiny_encoder(), tune="full"), recipe, painted("train"), painted(), tmp_path)
