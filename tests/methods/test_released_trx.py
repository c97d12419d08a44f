"""Published files of TRX, made here name by name at a small size, against the published computation."""

import math
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import ResNetModel

from openfsar import hub
from openfsar.encoders.resnet import ResNetGeometry, from_torchvision, geometry_of
from openfsar.encoders.weights import KNOWN
from openfsar.episode import Episode
from openfsar.hub import HubError
from openfsar.methods.released_trx import _torchvision
from openfsar.methods.trx import Trx

Shapes = dict[str, tuple[int, ...]]
State = dict[str, Tensor]

NAMES = ("waving", "running", "jumping")
LABELS = torch.tensor([0, 1, 2, 0, 2])
KEYS, FRAMES, WIDTH = 24, 4, 64


def resnet_shapes(stem: int, widths: tuple[int, ...], depths: tuple[int, ...], *, bottleneck: bool) -> Shapes:
    """Names and sizes of ``resnet.*``: torchvision's children of a ResNet in a row, less the classifier."""
    shapes: Shapes = {"resnet.0.weight": (stem, 3, 7, 7)}
    norms, channels = {"resnet.1": stem}, stem
    for stage, (width, blocks) in enumerate(zip(widths, depths, strict=True)):
        inner = width // 4 if bottleneck else width
        for i in range(blocks):
            block = f"resnet.{4 + stage}.{i}"
            sizes = (
                [(inner, channels, 1, 1), (inner, inner, 3, 3), (width, inner, 1, 1)]
                if bottleneck
                else [(width, channels, 3, 3), (width, width, 3, 3)]
            )
            for n, size in enumerate(sizes, 1):
                shapes[f"{block}.conv{n}.weight"] = size
                norms[f"{block}.bn{n}"] = size[0]
            if i == 0 and (channels != width or stage):
                shapes[f"{block}.downsample.0.weight"] = (width, channels, 1, 1)
                norms[f"{block}.downsample.1"] = width
            channels = width
    for norm, size in norms.items():
        shapes |= {f"{norm}.{kind}": (size,) for kind in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{norm}.num_batches_tracked"] = ()
    return shapes


def head_shapes(width: int, key_width: int, frames: int) -> Shapes:
    """Pairs and triples; positions for half as many frames again."""
    shapes: Shapes = {}
    for i, size in enumerate((2, 3)):
        head = f"transformers.{i}"
        shapes[f"{head}.pe.pe"] = (1, int(1.5 * frames), width)
        for part in ("k_linear", "v_linear"):
            shapes[f"{head}.{part}.weight"] = (key_width, size * width)
            shapes[f"{head}.{part}.bias"] = (key_width,)
        for part in ("norm_k", "norm_v"):
            shapes |= {f"{head}.{part}.{kind}": (key_width,) for kind in ("weight", "bias")}
    return shapes


def positions(length: int, width: int) -> Tensor:
    table = torch.zeros(length, width)
    for t in range(length):
        for c in range(0, width, 2):
            angle = t / 10000 ** (c / width)
            table[t, c], table[t, c + 1] = 0.1 * math.sin(angle), 0.1 * math.cos(angle)
    return table[None]


def weights() -> State:
    dice = torch.Generator().manual_seed(1)
    shapes = resnet_shapes(8, (8, 16, 32, 64), (1, 1, 1, 1), bottleneck=False)
    state: State = {}
    for name, shape in (shapes | head_shapes(WIDTH, KEYS, FRAMES)).items():
        x = torch.randn(shape, generator=dice)
        if name.endswith("pe.pe"):
            x = positions(*shape[1:])
        elif name.endswith("num_batches_tracked"):
            x = torch.tensor(7)
        elif name.endswith("running_var"):
            x = 1 + 0.1 * x.abs()
        else:
            x = x / x[0].numel() ** 0.5 if len(shape) > 1 else 0.1 * x + name.endswith("weight")
        state[name] = x
    return state


def written(state: State) -> dict[str, Any]:
    return {
        "iteration": 40_000,
        "model_state_dict": state,
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 1e-3}]},
        "scheduler": {"milestones": {}, "gamma": 0.1},
    }


def episode() -> Episode:
    draw = partial(torch.randint, 0, 256, dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    clips = [draw((videos, FRAMES, 3, 32, 32)) for videos in (5, 3)]
    return Episode(clips[0], LABELS, clips[1], torch.arange(3), NAMES)


def loaded(folder: Path, state: State) -> Trx:
    torch.save(written(state), folder / "checkpoint.pt")
    method = hub.load(folder / "checkpoint.pt")
    assert isinstance(method, Trx) and not method.training
    return method


def tower(s: State, x: Tensor) -> Tensor:
    def norm(y: Tensor, name: str) -> Tensor:
        parts = ("running_mean", "running_var", "weight", "bias")
        mean, var, scale, shift = (s[f"{name}.{part}"][:, None, None] for part in parts)
        return (y - mean) / (var + 1e-5).sqrt() * scale + shift

    x = norm(F.conv2d(x, s["resnet.0.weight"], stride=2, padding=3), "resnet.1").relu()
    x = F.max_pool2d(x, 3, stride=2, padding=1)
    for stage in range(4):
        block, stride = f"resnet.{4 + stage}.0", 2 if stage else 1
        y = F.conv2d(x, s[f"{block}.conv1.weight"], stride=stride, padding=1)
        y = F.conv2d(norm(y, f"{block}.bn1").relu(), s[f"{block}.conv2.weight"], padding=1)
        if stage:
            x = norm(F.conv2d(x, s[f"{block}.downsample.0.weight"], stride=stride), f"{block}.downsample.1")
        x = (norm(y, f"{block}.bn2") + x).relu()
    return x.mean((2, 3))


def published(s: State, task: Episode) -> Tensor:
    """Logits, one query, class and cardinality at a time."""
    support, query = (
        tower(s, clips.flatten(0, 1).double() / 255).unflatten(0, clips.shape[:2])
        for clips in (task.support, task.query)
    )
    logits = torch.zeros(3, 3, dtype=torch.float64)
    for i, size in enumerate((2, 3)):
        head = f"transformers.{i}"
        chosen = list(combinations(range(FRAMES), size))

        def maps(video: Tensor, head: str = head, chosen: list[Any] = chosen) -> tuple[Tensor, Tensor]:
            placed = video + s[f"{head}.pe.pe"][0, :FRAMES]
            tuples = torch.stack([torch.cat([placed[t] for t in one]) for one in chosen])
            keys, values = (
                F.linear(tuples, s[f"{head}.{part}.weight"], s[f"{head}.{part}.bias"])
                for part in ("k_linear", "v_linear")
            )
            return F.layer_norm(keys, (KEYS,), s[f"{head}.norm_k.weight"], s[f"{head}.norm_k.bias"]), values

        for q, video in enumerate(query):
            asked, own = maps(video)
            for n in range(3):
                known = [maps(other) for other, label in zip(support, LABELS, strict=True) if label == n]
                keys, values = (torch.cat(parts) for parts in zip(*known, strict=True))
                answers = (asked @ keys.T / KEYS**0.5).softmax(-1) @ values
                logits[q, n] -= (own - answers).square().sum() / len(chosen) / 2
    return logits


@torch.no_grad()
def test_a_file_scores_as_the_published_code_does(tmp_path: Path) -> None:
    state, task = weights(), episode()
    method = loaded(tmp_path, state)
    assert {p.dtype for p in method.parameters()} == {torch.float32}
    assert (method.spec.options["sizes"], method.spec.options["key_width"]) == ([2, 3], KEYS)
    doubled = {name: x.double() if x.is_floating_point() else x for name, x in state.items()}
    expected = published(doubled, task)
    torch.testing.assert_close(method.double().logits(task), expected, rtol=0, atol=1e-5)  # float32 positions
    assert (expected.max(1).values - expected.min(1).values).min() > 1e-3


def test_a_loaded_file_trains_on_is_saved_and_comes_back_without_other_weights(tmp_path: Path) -> None:
    method, task = loaded(tmp_path, weights()), episode()
    method(task)["loss"].backward()
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter -= 1e-3 * parameter.grad
        hub.save(method, tmp_path / "model")
        (tmp_path / "checkpoint.pt").unlink()
        again = hub.load(tmp_path / "model")
        assert again.spec == method.spec and again.origin == "checkpoint.pt"
        assert torch.equal(again.logits(task), method.logits(task))
    assert again.encoder.mean.flatten().tolist() == [0, 0, 0]
    card = (tmp_path / "model/README.md").read_text()
    assert "| read from | checkpoint.pt, a published checkpoint |" in card and "random weights" not in card


@torch.no_grad()
def test_a_tower_on_several_gpus_has_a_level_more(tmp_path: Path) -> None:
    state, task = weights(), episode()
    plain = loaded(tmp_path, state).logits(task)
    wrapped = {name.replace("resnet.", "resnet.module."): x for name, x in state.items()}
    assert torch.equal(loaded(tmp_path, wrapped).logits(task), plain)


def test_the_published_sizes_are_those_of_resnet_50() -> None:
    shapes = resnet_shapes(64, (256, 512, 1024, 2048), (3, 4, 6, 3), bottleneck=True)
    with torch.device("meta"):
        state = {_torchvision(name): torch.zeros(shape) for name, shape in shapes.items()}
        stock = ResNetModel(ResNetGeometry().config())
    assert geometry_of(state) == KNOWN["resnet-50"].geometry and len(state) == 318
    ours = {name: x.shape for name, x in from_torchvision(state).items()}
    assert ours == {name: x.shape for name, x in stock.state_dict().items()}


def change(name: str, value: object) -> Callable[[State], object]:
    return lambda state: state.__setitem__(name, value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("transformers.1.norm_k.bias"), r"\['transformers.1.norm_k.bias'\] are missing; co"),
        (change("classifier.weight", torch.zeros(1)), r"\['classifier.weight'\] are left over"),
        (change("transformers.0.pe.pe", 3), r"\['transformers.0.pe.pe'\] are no tensors"),
        (change("transformers.0.pe.pe", torch.zeros(1, 6, 64)), "'transformers.0.pe.pe' is not 0.1 of the"),
        (
            change("transformers.1.k_linear.weight", torch.zeros(24, 65)),
            r"shape \[24, 65\], and must have 24",
        ),
        (change("transformers.1.k_linear.bias", torch.zeros(7)), r"has shape \[7\], and .* \[24\]; copy"),
        (lambda s: s.pop("resnet.7.0.conv1.weight"), "do not fit .*stages.3.layers.0.*; copy the file again"),
        (lambda s: s.pop("resnet.0.weight"), "lacks conv1.weight; copy"),
        (change("resnet.4.0.bn2.weight", torch.zeros(9)), "only ResNet-50 is known here"),
    ],
)
def test_a_damaged_file_says_why(tmp_path: Path, spoil: Callable[[State], object], message: str) -> None:
    state = weights()
    spoil(state)
    with pytest.raises(HubError, match=f"checkpoint.pt is a file; .*{message}"):
        loaded(tmp_path, state)


def test_it_takes_no_other_encoder(tmp_path: Path) -> None:
    torch.save(written(weights()), tmp_path / "checkpoint.pt")
    with pytest.raises(HubError, match="a TRX holds its own encoder; load it without encoder="):
        hub.load(tmp_path / "checkpoint.pt", encoder="toyresnet")
