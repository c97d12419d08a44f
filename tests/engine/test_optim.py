"""Learning rates follow their definition, and every trainable parameter is in exactly one group."""

from math import cos, pi

import pytest
import torch
from painted import tiny_recipe
from torch import nn

from openfsar.engine.optim import build_optimizer, learning_rate, optimizer_groups, set_learning_rate


def module() -> nn.Module:
    net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    net[2].requires_grad_(False)
    return net


def test_the_groups_hold_every_trainable_parameter_once_and_spare_vectors() -> None:
    net = module()
    decayed, spared = optimizer_groups(net, tiny_recipe(weight_decay=0.1))
    assert [id(p) for p in decayed["params"]] == [id(net[0].weight)]
    assert [id(p) for p in spared["params"]] == [id(net[0].bias), id(net[1].weight), id(net[1].bias)]
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)


def test_all_parameters_decay_where_asked() -> None:
    (group,) = optimizer_groups(module(), tiny_recipe(weight_decay=0.1, decay_vectors=True))
    assert len(group["params"]) == 4 and group["weight_decay"] == 0.1


def test_a_shared_parameter_is_stepped_once() -> None:
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    (group,) = optimizer_groups(net, tiny_recipe())
    assert len(group["params"]) == 1


def test_a_method_without_trainable_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="otam/painted: no parameter is trainable"):
        build_optimizer(module().requires_grad_(False), tiny_recipe())


@pytest.mark.parametrize(
    "name, kind, given",
    [
        ("adam", torch.optim.Adam, {"betas": (0.8, 0.9)}),
        ("adamw", torch.optim.AdamW, {"betas": (0.8, 0.9)}),
        ("sgd", torch.optim.SGD, {"momentum": 0.7}),
    ],
)
def test_the_optimiser_is_the_recipes(name: str, kind: type, given: dict) -> None:
    optimizer = build_optimizer(module(), tiny_recipe(optimizer=name, lr=0.25, weight_decay=0.5, **given))
    assert type(optimizer) is kind
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.5, 0.0]
    for group in optimizer.param_groups:
        assert group["lr"] == 0.25 and given.items() <= group.items()


def rates(**changes: object) -> list[float]:
    recipe = tiny_recipe(lr=1.0, steps=10, **changes)
    return [learning_rate(step, recipe) for step in range(10)]


def test_warm_up_rises_to_the_rate_and_cosine_falls_to_zero() -> None:
    expected = [0.25, 0.5, 0.75, 1.0] + [(1 + cos(pi * i / 6)) / 2 for i in range(6)]
    assert rates(schedule="cosine", warmup_steps=4) == pytest.approx(expected, abs=1e-15)
    assert learning_rate(
        10, tiny_recipe(lr=1.0, steps=10, schedule="cosine", warmup_steps=4)
    ) == pytest.approx(0)


def test_steps_multiply_at_each_milestone() -> None:
    found = rates(schedule="steps", milestones=(3, 7), gamma=0.1, warmup_steps=0)
    assert found == pytest.approx([1.0] * 3 + [0.1] * 4 + [0.01] * 3, abs=1e-15)


def test_constant_is_constant_after_warm_up() -> None:
    assert rates(schedule="constant", warmup_steps=2) == [0.5] + [1.0] * 9
    assert rates(schedule="constant", warmup_steps=0) == [1.0] * 10


def test_setting_the_rate_reaches_every_group() -> None:
    optimizer = build_optimizer(module(), tiny_recipe())
    set_learning_rate(optimizer, 0.125)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]


def test_parts_have_learning_rates_of_their_own() -> None:
    net = nn.ModuleDict({"head": nn.Linear(2, 2), "tower": nn.ModuleDict({"a": nn.Linear(2, 2)})})
    recipe = tiny_recipe(lr=0.5, lr_factors={"head": 10.0, "tower": 2.0, "tower.a.bias": 0.5})
    optimizer = build_optimizer(net, recipe)
    set_learning_rate(optimizer, 0.25)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    found = {name: rates[id(p)] for name, p in net.named_parameters()}
    assert found == {
        "head.weight": 2.5,
        "head.bias": 2.5,
        "tower.a.weight": 0.5,
        "tower.a.bias": 0.125,
    }


def test_a_factor_for_no_parameter_is_refused() -> None:
    with pytest.raises(ValueError, match="lr_factors names 'heads', and no trainable parameter begins so"):
        build_optimizer(module(), tiny_recipe(lr_factors={"heads": 10.0}))
