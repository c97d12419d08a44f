"""Published files of CLIP-FSAR, made here name by name at small sizes, against the published computation."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clip_fsar_published import Shapes, State, head_shapes, published, resnet_shapes, vit_shapes
from torch.nn import functional as F
from transformers import CLIPModel

from openfsar import hub
from openfsar.encoders.clip import CLIP_MEAN, CLIP_STD
from openfsar.encoders.clip_fsar_files import split_clip_fsar
from openfsar.encoders.clip_resnet import ClipResNet
from openfsar.encoders.geometry import EncoderError, Geometry
from openfsar.encoders.openai import from_openai_visual, to_openai
from openfsar.encoders.tiny import tiny_resnet
from openfsar.encoders.tokens import byte_tokenizer
from openfsar.encoders.towers import VisionTower
from openfsar.encoders.weights import KNOWN, load_encoder
from openfsar.episode import Episode
from openfsar.hub import HubError
from openfsar.methods import released_clip_fsar
from openfsar.methods.clip_fsar import ClipFsar
from openfsar.temporal.transformer import TemporalBlock

NAMES = ("waving", "running", "jumping")
LABELS = torch.tensor([0, 1, 2, 0, 2])
PROMPT = ("a photo of {}",)


TEXT = {"text_width": 64, "text_layers": 1, "context": 40, "vocabulary": 258}
SMALL = {
    "vit": Geometry(32, 16, dim=48, vision_width=128, vision_layers=2, **TEXT),
    "resnet": Geometry(64, 32, dim=48, vision_width=8, vision_layers=(1, 2, 1, 1), **TEXT),
}
KINDS = pytest.mark.parametrize("kind", SMALL)


def tower_shapes(kind: str) -> Shapes:
    plan = SMALL[kind]
    same: dict[str, Any] = {"width": plan.vision_width, "layers": plan.vision_layers, "joint": plan.dim}
    side, patch = plan.image_size, plan.patch_size
    return vit_shapes(side=side, patch=patch, **same) if kind == "vit" else resnet_shapes(side=side, **same)


def drawn(shapes: Shapes, seed: int) -> State:
    """Random numbers of the sizes that such tensors have in trained models."""
    dice = torch.Generator().manual_seed(seed)
    state: State = {}
    for name, shape in shapes.items():
        x = torch.randn(shape, generator=dice)
        if name.endswith("num_batches_tracked"):
            x = torch.tensor(7)
        elif name.endswith("running_var"):
            x = 1 + 0.1 * x.abs()
        elif len(shape) > 1:
            x = x / x[0].numel() ** 0.5
        else:
            x = 0.1 * x + name.endswith("weight")
        state[name] = x
    return state


def weights(kind: str) -> State:
    """The bare names, as CLIP-SPM writes them."""
    state = {f"backbone.{name}": x for name, x in drawn(tower_shapes(kind), 1).items()}
    return state | drawn(head_shapes(SMALL[kind].dim), 2) | {"scale": torch.tensor([1.03])}


def config(**train: Any) -> dict[str, Any]:
    """The parts of a published configuration that are read, and some that are not."""
    return {
        "TRAIN": {"MERGE_BEFORE": True, "USE_CLASSIFICATION": True, "USE_CLASSIFICATION_VALUE": 3.0, **train},
        "TEST": {"CLASS_NAME": list(NAMES)},
        "DATA": {"MEAN": list(CLIP_MEAN), "STD": list(CLIP_STD), "NUM_INPUT_FRAMES": 8},
        "VIDEO": {"HEAD": {"NAME": "CNN_OTAM_CLIPFSAR", "BACKBONE_NAME": "RN50"}},
        "NUM_GPUS": 4,
    }


def by_authors(state: State, cfg: dict[str, Any]) -> dict[str, Any]:
    return {
        "epoch": 29,
        "model_state": {f"head.{name}": x for name, x in state.items()},
        "optimizer_state": {"state": {0: {"step": 7, "exp_avg": torch.zeros(3)}}, "param_groups": [{}]},
        "cfg": json.dumps(cfg, indent=2),
    }


def by_spm(state: State) -> dict[str, Any]:
    schedule = torch.optim.lr_scheduler.MultiStepLR(
        torch.optim.Adam([torch.nn.Parameter(torch.ones(1))]), milestones=[9], gamma=0.1
    )
    return {
        "iteration": 3000,
        "model_state_dict": state,
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 2e-6, "betas": (0.5, 0.999)}]},
        "scheduler": schedule.state_dict(),
        "acc": np.array([0.7, 0.8]).mean() * 100.0,  # numpy's own kind of number
    }


def write_clip(folder: Path, kind: str) -> Path:
    """OpenAI's file of the CLIP that the published one was tuned from, with its tokenizer."""
    folder.mkdir(exist_ok=True)
    plan = SMALL[kind]
    torch.manual_seed(0)
    stock = CLIPModel(plan.config()) if kind == "vit" else ClipResNet(plan)
    state = {
        name: x + 0.05 * torch.randn(x.shape) if x.ndim and "running" not in name else x
        for name, x in stock.state_dict().items()
        if not name.endswith("position_ids")
    }
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    torch.save(to_openai(state, plan), folder / "clip.pt")
    return folder / "clip.pt"


def episode(kind: str, frames: int = 4) -> Episode:
    dice, side = torch.Generator().manual_seed(4), SMALL[kind].image_size
    draw = partial(torch.randint, 0, 256, dtype=torch.uint8, generator=dice)
    support, query = draw((5, frames, 3, side, side)), draw((3, frames, 3, side, side))
    return Episode(support, LABELS, query, torch.arange(3), NAMES)


def doubled(state: State) -> State:
    return {name: x.double() if x.is_floating_point() else x for name, x in state.items()}


def loaded(folder: Path, kind: str, content: dict[str, Any]) -> ClipFsar:
    torch.save(content, folder / "file.pyth")
    method = hub.load(folder / "file.pyth", encoder=str(write_clip(folder, kind)))
    assert isinstance(method, ClipFsar) and not method.training
    assert {p.dtype for p in method.parameters()} == {torch.float32}
    return method


LAYOUTS: dict[str, tuple[Callable[[State], dict[str, Any]], str, str]] = {
    "authors, five shots": (lambda state: by_authors(state, config()), "before", "clip"),
    "authors, one shot": (lambda state: by_authors(state, config(MERGE_BEFORE=False)), "after", "clip"),
    "clip-spm": (by_spm, "after", "raw"),
}
"""How it is written, where shots are averaged, and the normalisation."""


@KINDS
@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_a_file_scores_as_the_published_code_does(tmp_path: Path, kind: str, layout: str) -> None:
    write, merge, pixels = LAYOUTS[layout]
    state, task = weights(kind), episode(kind)
    method = loaded(tmp_path, kind, write(state)).double()
    text = load_encoder(str(tmp_path / "clip.pt")).double().text(NAMES, PROMPT, unit=False)
    costs, _ = published(doubled(state), task, text, merge=merge, pixels=pixels)
    torch.testing.assert_close(method.logits(task), -costs / 4, rtol=0, atol=1e-10)
    assert (costs.max(1).values - costs.min(1).values).min() > 1e-3
    assert method.spec.options["prompt"] == "clip-fsar" and method.encoder.pretrained
    assert method.spec.encoder == str(tmp_path / "clip.pt")


@pytest.mark.parametrize(
    ("switches", "share"),
    [({"EVAL_TEXT": True}, 1.0), ({"COMBINE": True}, 0.9), ({"COMBINE": True, "TEXT_COFF": 0.4}, 0.4)],
)
@torch.no_grad()
def test_a_run_that_was_tested_with_names_is_scored_with_names(
    tmp_path: Path, switches: dict[str, Any], share: float
) -> None:
    state, task = weights("vit"), episode("vit", frames=8)
    method = loaded(tmp_path, "vit", by_authors(state, config(**switches))).double()
    text = load_encoder(str(tmp_path / "clip.pt")).double().text(NAMES, PROMPT, unit=False)
    costs, means = published(doubled(state), task, text, merge="before", pixels="clip")
    named = (1.03 * F.normalize(means, dim=-1) @ F.normalize(text, dim=-1).T).softmax(-1)
    seen = ((8 - costs) / 8).softmax(-1)
    product = F.normalize(named**share * seen ** (1 - share), p=1, dim=-1)
    torch.testing.assert_close(method.logits(task).softmax(-1), product, rtol=0, atol=1e-7)


@KINDS
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_loaded_file_trains_on_is_saved_and_comes_back(tmp_path: Path, kind: str, layout: str) -> None:
    write, merge, pixels = LAYOUTS[layout]
    method, task = loaded(tmp_path, kind, write(weights(kind))), episode(kind)
    method(task)["loss"].backward()
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter -= 1e-3 * parameter.grad
        hub.save(method, tmp_path / "model")
        again = hub.load(tmp_path / "model")
        assert again.spec == method.spec and again.origin == method.origin == "file.pyth"
        assert torch.equal(again.encoder.mean, method.encoder.mean)
        assert torch.equal(again.logits(task), method.logits(task))
    mean = CLIP_MEAN if pixels == "clip" else (0, 0, 0)
    assert again.encoder.mean.flatten().tolist() == pytest.approx(mean)
    assert "| read from | file.pyth, a published checkpoint |" in (tmp_path / "model/README.md").read_text()
    assert method.spec.options["text_weight"] == (3.0 if pixels == "clip" else 1.0)


def test_models_of_several_gpus_have_levels_more(tmp_path: Path) -> None:
    state, task = weights("vit"), episode("vit")
    method = loaded(tmp_path, "vit", by_authors(state, config()))
    content = by_authors(state, config())
    content["model_state"] = {f"module.{name}": x for name, x in content["model_state"].items()}
    assert torch.equal(loaded(tmp_path, "vit", content).logits(task), method.logits(task))
    wrapped = {name.replace("backbone.", "backbone.module."): x for name, x in state.items()}
    plain = loaded(tmp_path, "vit", by_spm(state)).logits(task)
    assert torch.equal(loaded(tmp_path, "vit", by_spm(wrapped)).logits(task), plain)


def test_without_settings_the_shipped_ones_hold(tmp_path: Path) -> None:
    content = by_authors(weights("vit"), config())
    method = loaded(tmp_path, "vit", content)
    del content["cfg"]
    bare = loaded(tmp_path, "vit", content)
    assert bare.spec.options == method.spec.options | {"text_weight": 1.0}
    assert torch.equal(bare.logits(episode("vit")), method.logits(episode("vit")))


VIT_B_16 = vit_shapes(width=768, layers=12, patch=16, side=224, joint=512)
RN50 = resnet_shapes(width=64, layers=(3, 4, 6, 3), side=224, joint=1024)


@pytest.mark.parametrize(
    ("shapes", "name", "tensors", "parameters"),
    [(VIT_B_16, "clip-vit-b-16", 164, 86_192_640), (RN50, "clip-rn50", 351, 38_316_896)],
    ids=["ViT-B/16", "RN50"],
)
def test_the_published_sizes_fit_the_known_towers(
    shapes: Shapes, name: str, tensors: int, parameters: int
) -> None:
    plan = KNOWN[name].geometry
    assert isinstance(plan, Geometry)
    with torch.device("meta"):
        tower = VisionTower(CLIPModel(plan.config())) if shapes is VIT_B_16 else ClipResNet(plan).visual
        temporal = TemporalBlock(plan.dim)
        state = {f"head.backbone.{n}": torch.zeros(shape) for n, shape in shapes.items()}
        state |= {f"head.{n}": torch.zeros(shape) for n, shape in head_shapes(plan.dim).items()}
    assert len(state) == tensors
    parts = split_clip_fsar({"model_state": state | {"head.scale": torch.ones(1)}})
    assert parts is not None
    ours = from_openai_visual(parts.vision, tower)
    assert {n: x.shape for n, x in ours.items()} == {n: x.shape for n, x in tower.state_dict().items()}
    assert sum(p.numel() for p in tower.parameters()) == parameters
    block = {released_clip_fsar._BLOCK[n]: x.shape for n, x in parts.block.items()}
    assert block == {n: x.shape for n, x in temporal.state_dict().items()}


def spoilt(state: State, content: dict[str, Any], how: str) -> dict[str, Any]:
    match how:
        case "no scale":
            del state["head.scale"]
        case "scale below zero":
            state["head.scale"] = torch.tensor([-1.0])
        case "no block":
            del state["head.context2.layers.0.0.fn.to_k.weight"]
        case "block of another width":
            state["head.context2.layers.0.1.net.0.bias"] = torch.zeros(1024)
        case "two layers":
            state["head.context2.layers.1.0.norm.weight"] = torch.zeros(48)
        case "tower incomplete":
            del state["head.backbone.ln_post.bias"]
        case "tower with more":
            state["head.backbone.fc.weight"] = torch.zeros(3, 3)
        case "tower of another size":
            state["head.backbone.transformer.resblocks.1.attn.in_proj_bias"] = torch.zeros(383)
        case "projection turned":
            state["head.backbone.proj"] = state["head.backbone.proj"].T
        case "more beside it":
            state["head.classification_layer.weight"] = torch.zeros(3, 3)
        case "a number":
            state["head.scale"] = 1.0
        case "odd settings":
            content["cfg"] = "TRAIN:\n  WAY: 5"
        case "settings without data":
            content["cfg"] = json.dumps({"TRAIN": {}, "TEST": {}})
        case "settings no text":
            content["cfg"] = {"TRAIN": {}}
        case "one direction":
            content["cfg"] = json.dumps(config(SINGLE_DIRECT=True))
        case "a prior":
            content["cfg"] = json.dumps(config() | {"TEMPO_PRIOR": {}})
        case "another prompt":
            content["cfg"] = json.dumps(config() | {"TEST": {"PROMPT": "see {} here"}})
    return content


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no scale", r"\['scale'\] are missing; copy the file again"),
        ("scale below zero", r"'scale' of this CLIP-FSAR is \[-1.0\] and must be one positive number"),
        ("no block", r"\['context2.layers.0.0.fn.to_k.weight'\] are missing; copy"),
        (
            "block of another width",
            r"'context2.layers.0.1.net.0.bias' has shape \[1024\].* has \[2048\]; copy",
        ),
        ("two layers", "several layers .TRANSFORMER_DEPTH.; of the heads .* only CLIP-FSAR's is read"),
        ("tower incomplete", r"does not fit .*\['ln_post.bias'\] missing or left over; .*encoder=\.\.\."),
        ("tower with more", r"does not fit .*\['fc.weight'\] missing or left over; copy"),
        ("tower of another size", r"1.attn.in_proj_bias' has shape \[383\] where the tower has \[384\]"),
        ("projection turned", r"'proj' has shape \[48, 128\] where the tower has \[128, 48\]"),
        ("more beside it", r"\['classification_layer.weight'\] are left over"),
        ("a number", r"\['scale'\] are no tensors"),
        ("odd settings", "'cfg' is not the JSON text of a run .JSONDecodeError.*take 'cfg' out of it"),
        ("settings without data", "'cfg' is not the JSON text of a run .KeyError: 'DATA'"),
        ("settings no text", "'cfg' is not the JSON text of a run .TypeError"),
        ("one direction", "its run set SINGLE_DIRECT, .* no method here computes that"),
        ("a prior", "its run set TEMPO_PRIOR, "),
        ("another prompt", "'see {} here', which is none of the prompts here: a photo of {}., a photo of {}"),
    ],
)
def test_a_damaged_or_odd_file_says_why(tmp_path: Path, how: str, message: str) -> None:
    content = by_authors(weights("vit"), config())
    with pytest.raises(HubError, match=f"file.pyth is a file; .*{message}"):
        loaded(tmp_path, "vit", spoilt(content["model_state"], content, how))


@pytest.mark.parametrize(
    ("key", "names", "message"),
    [
        (
            "model_state_dict",
            "backbone.conv1.weight token_tr.mlp.net.0.weight",
            "head of CLIP-MEI or CLIP-SPM",
        ),
        ("model_state_dict", "backbone.conv1.weight motion_conv1.weight", "CPM2C's head"),
        ("model_state_dict", "backbone.conv1.weight mapm.layers.0.0.norm.bias", "STEN's head"),
        ("model_state_dict", "resnet.0.weight transformers.0.k_linear.weight fr_enrich.x", "STRM's head"),
        (
            "model_state_dict",
            "backbone.0.weight backbone.7.2.bn3.bias",
            "another head; that of OTAM has 0.01 more",
        ),
        ("model_state", "head.backbone.0.weight head.class_token_motion", "MoLo's head"),
    ],
)
def test_other_heads_of_these_code_bases_are_named(
    tmp_path: Path, key: str, names: str, message: str
) -> None:
    torch.save({key: {name: torch.zeros(1) for name in names.split()}}, tmp_path / "file.pt")
    with pytest.raises(HubError, match=f"{message}.*; of the heads .* only CLIP-FSAR's is read"):
        hub.load(tmp_path / "file.pt")


@pytest.mark.parametrize(("kind", "name"), [("vit", "clip-vit-b-16"), ("resnet", "clip-rn50")])
def test_the_text_tower_is_that_of_the_clip_the_code_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str
) -> None:
    asked, clip = [], write_clip(tmp_path, kind)
    torch.save(by_spm(weights(kind)), tmp_path / "file.pt")

    def found(asked_for: str) -> object:
        asked.append(asked_for)
        return load_encoder(str(clip))

    def offline(asked_for: str) -> object:
        raise EncoderError(f"cannot fetch {asked_for!r}")

    monkeypatch.setattr(released_clip_fsar, "load_encoder", found)
    assert isinstance(hub.load(tmp_path / "file.pt"), ClipFsar) and asked == [name]
    monkeypatch.setattr(released_clip_fsar, "load_encoder", offline)
    with pytest.raises(
        HubError, match=rf"text tower, and that of '{name}' cannot be had: cannot .*encoder=\.\.\."
    ):
        hub.load(tmp_path / "file.pt")


def test_an_encoder_may_be_handed_over_and_must_be_that_clip(tmp_path: Path) -> None:
    content, clip = by_authors(weights("vit"), config()), load_encoder(str(write_clip(tmp_path, "vit")))
    method = loaded(tmp_path, "vit", content)
    given = hub.load(tmp_path / "file.pyth", encoder=clip)
    assert given.encoder is clip and torch.equal(given.logits(episode("vit")), method.logits(episode("vit")))
    with pytest.raises(
        HubError, match="needs the text tower of the CLIP .* 'tiny-imagenet-resnet' reads no names"
    ):
        hub.load(tmp_path / "file.pyth", encoder=tiny_resnet())
    with pytest.raises(HubError, match=r"the backbone.\* of this CLIP-FSAR does not fit 'toyclip'"):
        hub.load(tmp_path / "file.pyth", encoder="toyclip")


def test_a_file_is_no_encoder_by_itself(tmp_path: Path) -> None:
    for content in (by_authors(weights("vit"), config()), by_spm(weights("vit"))):
        torch.save(content, tmp_path / "file.pyth")
        with pytest.raises(EncoderError, match=r"is a CLIP-FSAR, whose visual tower .*openfsar.load\(file\)"):
            load_encoder(str(tmp_path / "file.pyth"))


def test_records_written_before_statistics_were_kept_are_read(tmp_path: Path) -> None:
    method = loaded(tmp_path, "vit", by_authors(weights("vit"), config()))
    hub.save(method, tmp_path / "model")
    path = tmp_path / "model/openfsar.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({name: x for name, x in record.items() if name not in ("pixels", "origin")}))
    assert torch.equal(hub.load(tmp_path / "model").encoder.mean, method.encoder.mean)
    for spoil in ({"pixels": [[0.5], [0.5]]}, {"pixels": [[0.5] * 3]}, {"origin": 3}, {"more": 1}):
        path.write_text(json.dumps(record | spoil))
        with pytest.raises(HubError, match="is not a record of openfsar"):
            hub.load(tmp_path / "model")
