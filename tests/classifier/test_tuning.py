"""Tuning trains what is light, keeps what held-out clips approve of, and leaves the given method alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from colours import COLOURS, ColourMethod, clip
from sklearn.base import clone, is_classifier
from sklearn.model_selection import GridSearchCV, cross_val_score

from openfsar.classifier import FewShotVideoClassifier, tune
from openfsar.classifier.tune import Pool, _episode, _lighten, _merge
from openfsar.encoders.adapters.lora import add_lora, merge_lora
from openfsar.encoders.tiny import tiny_encoder
from openfsar.encoders.trainable import trainable_parameters
from openfsar.methods.zoo import create

EXAMPLES = {name: [clip(name, seed) for seed in range(5)] for name in COLOURS}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "STEPS", 10)
    monkeypatch.setattr(tune, "EVERY", 5)
    monkeypatch.setattr(tune, "WARMUP", 2)


def state(method) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in method.state_dict().items()}


@pytest.mark.parametrize(
    ("name", "options", "low_rank"),
    [
        ("otam", {"tune": "full"}, True),
        ("otam", {"tune": "none"}, True),
        ("clip-fsar", {"tune": "lora", "rank": 2}, False),
        ("ma-fsar", {}, False),
        ("m2-clip", {}, False),
        ("actionclip", {}, True),
    ],
)
def test_little_trains(name: str, options: dict, low_rank: bool) -> None:
    method = create(name, encoder="tiny", pretrained=False, **options)
    own = {n for n in trainable_parameters(method) if not n.startswith("encoder.")}
    assert _lighten(method) is low_rank
    trained = trainable_parameters(method)
    assert own <= set(trained)
    assert any(".lora_" in n for n in trained) is (low_rank or options.get("tune") == "lora")
    base = [n for n in trained if "base_layer" in n or n.startswith("encoder.text")]
    assert base == [] and len(trained) > len(own)


@torch.no_grad()
def test_merged_changes_compute_the_same() -> None:
    encoder = tiny_encoder().double()
    clips = torch.randint(
        256, (2, 3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    before = encoder.frames(clips)
    keys = set(encoder.state_dict())
    add_lora(encoder.vision, 3)
    encoder.double()
    torch.testing.assert_close(encoder.frames(clips), before)
    with torch.no_grad():
        for name, parameter in encoder.vision.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    changed = encoder.frames(clips)
    assert float((changed - before).abs().max()) > 1e-3
    merge_lora(encoder.vision)
    assert set(encoder.state_dict()) == keys
    torch.testing.assert_close(encoder.frames(clips), changed, rtol=1e-9, atol=1e-9)
    add_lora(encoder.vision, 2)  # and again


@pytest.mark.parametrize("name", ["otam", "ma-fsar", "clip-fsar", "m2-clip", "hyrsm"])
def test_what_is_kept_is_at_least_as_good_and_the_given_method_stays(
    name: str, short: None, tmp_path: Path
) -> None:
    method = create(name, encoder="tiny", pretrained=False)
    before = state(method)
    model = FewShotVideoClassifier(method, frames=2, tune=True).fit(EXAMPLES)
    done = model.tuned_
    assert done is not None and done.clips == 3 and done.after >= done.before
    assert all(torch.equal(value, before[key]) for key, value in method.state_dict().items())
    if done.steps == 0:
        assert model.method_ is method and "left as it was" in str(done)
    else:
        assert model.method_ is not method and f"after {done.steps} episodes" in str(done)
        assert not model.method_.training and not trainable_parameters(model.method_)
    query = [clip(colour, 60) for colour in COLOURS]
    model.save(tmp_path / "tuned")
    loaded = FewShotVideoClassifier.load(tmp_path / "tuned")
    np.testing.assert_allclose(loaded.decision_function(query), model.decision_function(query), rtol=1e-5)


def test_a_tuned_tower_is_stored_and_found_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On a published encoder the model folder must hold the merged tower, since its name gives another."""
    method = create("otam", encoder="toyclip", tune="none")
    learner = create("otam", encoder="toyclip", tune="none")
    assert _lighten(learner)
    with torch.no_grad():
        for parameter in trainable_parameters(learner).values():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    _merge(learner)
    learner.requires_grad_(False)
    query = [clip(colour, 60) for colour in COLOURS]
    few = {name: clips[:1] for name, clips in EXAMPLES.items()}
    tuned = FewShotVideoClassifier(learner, frames=2).fit(few)
    tuned.save(tmp_path / "tuned")
    loaded = FewShotVideoClassifier.load(tmp_path / "tuned")
    np.testing.assert_array_equal(loaded.decision_function(query), tuned.decision_function(query))
    plain = FewShotVideoClassifier(method, frames=2).fit(few)
    assert np.abs(plain.decision_function(query) - tuned.decision_function(query)).max() > 1e-3
    plain.save(tmp_path / "plain")
    sizes = {n: sum(f.stat().st_size for f in (tmp_path / n).glob("model-*")) for n in ("plain", "tuned")}
    assert sizes["plain"] < 1000 < sizes["tuned"]  # an untrained method stores nothing of its encoder


def test_nothing_is_kept_where_training_harms(
    short: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tune, "RATE", 50.0)  # blows the weights up
    monkeypatch.setattr(tune, "_measure", lambda method, pool, wishes: (0.5, float(not method.training) - 2))
    method = create("ma-fsar", encoder="tiny", pretrained=False)
    model = FewShotVideoClassifier(method, frames=2, tune=True, progress=True).fit(EXAMPLES)
    assert model.tuned_ is not None and model.tuned_.steps == 0 and model.method_ is method
    assert "tuning takes about" in capsys.readouterr().err


def test_episodes_ask_about_clips_that_are_not_among_the_answers() -> None:
    numbers = torch.arange(12, dtype=torch.uint8).view(12, 1, 1, 1, 1).expand(12, 4, 3, 2, 2)
    labels = torch.arange(3).repeat_interleave(4)
    pool = Pool(
        numbers, labels, torch.tensor([0, 4, 8]), torch.tensor([1, 2, 3, 5, 6, 7, 9, 10, 11]), ("a", "b", "c")
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        episode = _episode(pool, generator)
        support, query = (x[:, 0, 0, 0, 0].tolist() for x in (episode.support, episode.query))
        assert set(support).isdisjoint(query) and {0, 4, 8}.isdisjoint([*support, *query])
        names = [episode.classes[label] for label in episode.support_labels.tolist()]
        assert [("a", "b", "c")[number // 4] for number in support] == names
        assert episode.support.shape[1] == 2  # one frame of each pair


@pytest.mark.parametrize(
    ("method", "examples", "message"),
    [
        ("otam", {name: clips[:2] for name, clips in EXAMPLES.items()}, "at least 3 clips of at least 2"),
        ("colours", EXAMPLES, "nothing light to train in ColourMethod"),
    ],
)
def test_what_cannot_be_tuned_is_refused(method: str, examples: dict, message: str) -> None:
    built = create(method, encoder="tiny", pretrained=False) if method == "otam" else frozen_colours()
    with pytest.raises(ValueError, match=message):
        FewShotVideoClassifier(built, frames=2, tune=True).fit(examples)


def frozen_colours() -> ColourMethod:
    method = ColourMethod()
    method.encoder = torch.nn.Module()  # type: ignore[assignment]
    method.encoder.vision = torch.nn.Linear(2, 2)
    method.encoder.image_size, method.encoder.name = 16, "colours"  # type: ignore[assignment]
    return method.requires_grad_(False)


def test_scikit_learn_takes_it_for_a_classifier() -> None:
    videos = [video for clips in EXAMPLES.values() for video in clips]
    labels = [name for name, clips in EXAMPLES.items() for _ in clips]
    model = FewShotVideoClassifier(ColourMethod(), frames=2)
    assert is_classifier(model) and clone(model).get_params().keys() == model.get_params().keys()
    found = cross_val_score(model, videos, labels, cv=5)
    assert found.tolist() == [1.0] * 5
    search = GridSearchCV(model, {"frames": [1, 3], "temperature": [None, 0.5]}, cv=2).fit(videos, labels)
    assert search.best_score_ == 1.0 and search.predict([clip("blue", 70)]).tolist() == ["blue"]
