"""Freezing, releasing and collecting parameters."""

import pytest
import torch
from torch import nn

from openfsar.encoders import (
    count_parameters,
    freeze,
    parameter_groups,
    tiny_encoder,
    trainable_parameters,
    unfreeze,
)
from openfsar.encoders.adapters import Bottleneck


def test_every_parameter_is_either_frozen_or_named():
    encoder = tiny_encoder()
    assert trainable_parameters(encoder) == {}
    encoder.vision.blocks[1].beside = Bottleneck(32, skip=False)
    named = trainable_parameters(encoder)
    assert set(named) == {
        f"vision.blocks.1.beside.{n}" for n in ("down.weight", "down.bias", "up.weight", "up.bias")
    }
    assert named.keys() <= encoder.state_dict().keys()
    frozen = [p for p in encoder.parameters() if not p.requires_grad]
    assert len(frozen) + len(named) == len(list(encoder.parameters()))
    assert trainable_parameters(unfreeze(encoder)).keys() == dict(encoder.named_parameters()).keys()
    assert trainable_parameters(freeze(encoder)) == {}


def test_counts_add_up_and_shared_parameters_count_once():
    shared = nn.Linear(3, 4)
    module = nn.ModuleList([shared, shared, freeze(nn.Linear(5, 2))])
    count = count_parameters(module)
    assert (count.trainable, count.frozen) == (16, 12)
    assert str(count) == "16 of 28 parameters trained (57.1%)"


def test_groups_hold_every_trainable_parameter_once():
    module = nn.ModuleDict(
        {"tower": nn.Linear(2, 2), "head": nn.Linear(2, 3), "rest": freeze(nn.Linear(1, 1))}
    )
    groups = parameter_groups(module, slow=module["tower"], fast=module["head"])
    assert {part: list(group) for part, group in groups.items()} == {
        "slow": ["tower.weight", "tower.bias"],
        "fast": ["head.weight", "head.bias"],
    }
    with pytest.raises(ValueError, match=r"'head.weight' belongs to none of the parts \['slow'\]"):
        parameter_groups(module, slow=module["tower"])
    with pytest.raises(ValueError, match=r"'head.weight' belongs to \['all', 'fast'\]"):
        parameter_groups(module, all=module, fast=module["head"])


def test_freezing_returns_the_same_module():
    module = nn.Linear(2, 2)
    assert freeze(module) is module and not module.weight.requires_grad
    assert unfreeze(module) is module and module.weight.requires_grad
    assert torch.is_grad_enabled()
