"""Building methods by name, and what is said when that cannot be."""

import pytest
import torch

from openfsar.encoders.tiny import tiny_encoder
from openfsar.methods.base import MethodSpec
from openfsar.methods.episodic import one_of
from openfsar.methods.zoo import METHODS, build, create


@pytest.mark.parametrize("name", METHODS)
def test_create_builds_every_method_in_eval_mode_and_remembers_how(name: str) -> None:
    method = create(name, encoder="tiny", pretrained=False, tune="full")
    assert not method.training and not method.encoder.training
    spec = method.spec
    assert (spec.method, spec.encoder, spec.pretrained) == (name, "tiny", False)
    assert spec.options["tune"] == "full" and len(spec.options) > 1  # defaults are written out


def test_the_same_seed_gives_the_same_random_encoder() -> None:
    first, same, other = (create("otam", encoder="tiny", pretrained=False, seed=s) for s in (3, 3, 4))
    pairs = list(zip(first.parameters(), same.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


def test_full_tuning_trains_the_visual_tower_and_nothing_else() -> None:
    method = build("otam", tiny_encoder())
    trained = {name for name, p in method.named_parameters() if p.requires_grad}
    vision = {f"encoder.vision.{name}" for name, _ in method.encoder.vision.named_parameters()}
    assert trained == vision == method.learnt
    assert method.spec == MethodSpec("otam", "tiny", False, dict(method.spec.options))


def test_a_learnt_scale_trains_where_the_encoder_does_not() -> None:
    assert build("otam", tiny_encoder(), tune="none", learn_scale=True).learnt == {"scale.log"}


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("otamm", {}, ("'otamm'", "did you mean 'otam'", "zero-shot, protonet, otam, bi-mhm")),
        ("qqq", {}, ("no method 'qqq'; choose from zero-shot",)),
        ("otam", {"smooting": 0.1}, ("'smooting'", "did you mean 'smoothing'", "tune, merge, smoothing")),
        ("protonet", {"smoothing": 0.1}, ("'protonet' has no option 'smoothing'", "metric")),
        ("otam", {"smoothing": -1.0}, ("smoothing=-1.0", "positive")),
        ("otam", {"scale": 0.0}, ("scale=0.0", "positive")),
        ("zero-shot", {"prompt": "photoo"}, ("prompt='photoo'", "'photo'", "'clip-fsar'")),
    ],
)
def test_a_wrong_name_or_value_is_answered_with_the_right_ones(
    name: str, options: dict[str, float | str], parts: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError) as raised:
        create(name, encoder="tiny", pretrained=False, **options)
    assert all(part in str(raised.value) for part in parts), raised.value


def test_a_wrong_choice_lists_the_choices() -> None:
    with pytest.raises(ValueError, match="option tune='half' is unknown; use one of 'full', 'none'"):
        one_of("tune", "half", "full", "none")
