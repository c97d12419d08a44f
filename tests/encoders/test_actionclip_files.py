"""Published files of ActionCLIP, written here key by key at a small size, and what is said of wrong ones."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import CLIPModel

from openfsar import hub
from openfsar.encoders import EncoderError, Geometry, load_encoder
from openfsar.encoders.actionclip_files import split_actionclip
from openfsar.encoders.openai import to_openai
from openfsar.encoders.tokens import byte_tokenizer
from openfsar.episode import ClipBatch, Episode
from openfsar.hub import HubError
from openfsar.methods.actionclip import ActionClip
from openfsar.methods.zoo import build, create

SMALL = Geometry(
    image_size=32,
    patch_size=16,
    dim=128,
    vision_width=64,
    vision_layers=2,
    text_width=64,
    text_layers=1,
    context=60,
    vocabulary=258,
)
NAMES = ("waving", "running", "jumping")
PARTS = {
    "self_attn.in_proj_weight": "attn.in_proj_weight",
    "self_attn.in_proj_bias": "attn.in_proj_bias",
    "self_attn.out_proj.weight": "attn.out_proj.weight",
    "self_attn.out_proj.bias": "attn.out_proj.bias",
    "norm1.weight": "ln_1.weight",
    "norm1.bias": "ln_1.bias",
    "norm2.weight": "ln_2.weight",
    "norm2.bias": "ln_2.bias",
    "linear1.weight": "mlp.c_fc.weight",
    "linear1.bias": "mlp.c_fc.bias",
    "linear2.weight": "mlp.c_proj.weight",
    "linear2.bias": "mlp.c_proj.bias",
}


def halved(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As the authors store it: norms and embeddings in float32, the rest in float16."""
    kept = ("ln_", "embedding", "logit_scale")
    return {name: x if any(part in name for part in kept) else x.half() for name, x in state.items()}


def openai_clip(seed: int = 0) -> dict[str, Tensor]:
    """Half of its numbers are representable in float16 alone, so that both formats hold the same."""
    torch.manual_seed(seed)
    state = CLIPModel(SMALL.config()).state_dict()
    with torch.no_grad():
        state = {name: x + 0.05 * torch.randn(x.shape) for name, x in state.items() if x.is_floating_point()}
    clip = to_openai(state, SMALL)
    clip["logit_scale"] = torch.tensor(3.0)
    return {name: x.float() for name, x in halved(clip).items()}


def author(folder: Path, **options: Any) -> tuple[dict[str, Tensor], dict[str, Tensor], ActionClip]:
    """CLIP under OpenAI's names, the head under the published ones, and the method they belong to."""
    clip = openai_clip()
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    torch.save(clip, folder / "clip.pt")
    encoder = load_encoder(str(folder / "clip.pt"))
    method = build("actionclip", encoder, preset="paper", **{"layers": 2, **options})
    assert isinstance(method, ActionClip)
    head = {}
    with torch.no_grad():
        for name, parameter in method.head.named_parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
            if name == "positions":
                head["frame_position_embeddings.weight"] = parameter.clone()
            else:
                _, layer, part = name.split(".", 2)
                head[f"transformer.resblocks.{layer}.{PARTS[part]}"] = parameter.clone()
    return clip, head, method


def shifted(clip: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the level that temporal shift puts into the names of the visual blocks."""
    prefix = "visual.transformer.resblocks."
    wrapped = {}
    for name, x in clip.items():
        if name.startswith(prefix):
            number, rest = name.removeprefix(prefix).split(".", 1)
            name = f"{prefix}{number}.net.{rest}"
        wrapped[name] = x
    return wrapped


def official(clip: dict[str, Tensor], head: dict[str, Tensor]) -> dict[str, Any]:
    return {
        "epoch": 49,
        "model_state_dict": halved(clip),
        "fusion_model_state_dict": {f"module.{name}": x for name, x in head.items()},
        "optimizer_state_dict": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": 5e-6}]},
    }


def mmaction(clip: dict[str, Tensor], head: dict[str, Tensor]) -> dict[str, Any]:
    both = {f"clip.{name}": x for name, x in clip.items()}
    return {"meta": {}, "state_dict": both | {f"adapter.{name}": x for name, x in head.items()}}


def episode() -> Episode:
    dice = torch.Generator().manual_seed(4)
    videos = torch.randint(0, 256, (6, 3, 3, 32, 32), dtype=torch.uint8, generator=dice)
    return Episode(videos[:3], torch.arange(3), videos[3:], torch.arange(3), NAMES)


FORMATS = {"official": official, "mmaction2": mmaction}


@pytest.mark.parametrize("tower", ["plain", "shift"])
@pytest.mark.parametrize(("visual", "rows"), [("transf", 77), ("transf", 4), ("transf", 2), ("mean", 0)])
@pytest.mark.parametrize("kind", FORMATS)
@torch.no_grad()
def test_a_file_is_the_method_that_wrote_it(
    tmp_path: Path, kind: str, visual: str, rows: int, tower: str
) -> None:
    clip, head, method = author(tmp_path, visual=visual, positions=rows or None, tower=tower)
    torch.save(FORMATS[kind](shifted(clip) if tower == "shift" else clip, head), tmp_path / "file.pt")
    loaded = hub.load(tmp_path / "file.pt")
    assert isinstance(loaded, ActionClip) and not loaded.training
    assert torch.equal(loaded.logits(episode()), method.logits(episode()))
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    options = loaded.spec.options
    assert (options["visual"], options["tower"], options["test_scale"]) == (visual, tower, 100.0)
    if rows:
        assert (options["layers"], options["positions"]) == (2, rows)
    assert loaded.spec.encoder == str(tmp_path / "file.pt") and loaded.spec.pretrained
    plain = build("actionclip", load_encoder(str(tmp_path / "clip.pt")), visual="mean", preset="paper")
    if (visual, tower) != ("mean", "plain"):  # what was read made a difference
        assert (plain.logits(episode()) - loaded.logits(episode())).abs().max() > 1e-3


@pytest.mark.parametrize("kind", FORMATS)
def test_a_loaded_file_is_saved_and_comes_back(tmp_path: Path, kind: str) -> None:
    clip, head, _ = author(tmp_path)
    torch.save(FORMATS[kind](clip, head), tmp_path / "file.pt")
    method = hub.load(tmp_path / "file.pt")
    method(ClipBatch(episode().support, torch.arange(3), NAMES))["loss"].backward()  # it can be tuned on
    with torch.no_grad():
        for parameter in method.parameters():
            parameter -= 0.01 * parameter.grad
        hub.save(method, tmp_path / "model")
        again = hub.load(tmp_path / "model")
        assert again.spec == method.spec and torch.equal(again.logits(episode()), method.logits(episode()))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("wrapped", [False, True])
@torch.no_grad()
def test_its_clip_serves_every_method(tmp_path: Path, kind: str, wrapped: bool) -> None:
    clip, head, _ = author(tmp_path)
    torch.save(FORMATS[kind](shifted(clip) if wrapped else clip, head), tmp_path / "file.pt")
    encoder, plain = (load_encoder(str(tmp_path / name)) for name in ("file.pt", "clip.pt"))
    for (name, x), y in zip(encoder.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(x, y), name
    method = create("otam", encoder=str(tmp_path / "file.pt"))
    assert torch.equal(method.encoder.frames(episode().query), plain.frames(episode().query))


def test_the_parts_of_a_file_are_float32_and_free_of_prefixes() -> None:
    clip, head = {"logit_scale": torch.ones(()).half()}, {"x.weight": torch.ones(2).half()}
    for content in (official(clip, head), mmaction(clip, head)):
        parts = split_actionclip(content)
        assert parts is not None and parts.clip.keys() == clip.keys() and parts.head.keys() == head.keys()
        assert parts.clip["logit_scale"].dtype == parts.head["x.weight"].dtype == torch.float32
        assert not parts.shifted
    assert split_actionclip(clip) is None and split_actionclip({"state_dict": head}) is None


def spoilt(content: dict[str, Any], how: str) -> object:
    """An official file that something is wrong with."""
    clip, head = content["model_state_dict"], content["fusion_model_state_dict"]
    first = "module.transformer.resblocks.0."
    match how:
        case "no head":
            del content["fusion_model_state_dict"]
        case "head is a list":
            content["fusion_model_state_dict"] = [1, 2]
        case "tower incomplete":
            del clip["visual.proj"]
        case "tower with more":
            clip["visual.more"] = torch.zeros(1)
        case "head incomplete":
            del head[f"{first}attn.in_proj_weight"]
        case "no positions":
            del head["module.frame_position_embeddings.weight"]
        case "another head":
            head["module.lstm_visual.weight_ih_l0"] = torch.zeros(1)
        case "head of another width":
            head[f"{first}ln_1.weight"] = torch.zeros(5)
        case "half shifted":
            name = "visual.transformer.resblocks.0.ln_1.weight"
            clip[name.replace("0.", "0.net.")] = clip.pop(name)
        case "an openai file":
            return clip
        case "a list":
            return [1, 2]
        case "code":
            return {"model_state_dict": print}
    return content


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("no head", "by name under 'fusion_model_state_dict'.*has nothing there; give the file as published"),
        ("head is a list", "'fusion_model_state_dict'.*has a list there"),
        ("tower incomplete", "'visual.proj' is missing"),
        ("tower with more", r"\['visual.more'\] missing or left over"),
        ("head incomplete", "head.layers.0.self_attn.in_proj_weight.*missing.*copy the file again"),
        ("no positions", "no 'frame_position_embeddings.weight'.*openfsar.create"),
        ("another head", r"\['lstm_visual.weight_ih_l0'\]; of the published heads the transformer"),
        ("head of another width", "head.layers.0.norm1.weight.*another size .*width is 128"),
        ("half shifted", "some blocks .* have temporal shift and some have none"),
        ("an openai file", "holds neither model_state_dict and .*openfsar.create"),
        ("a list", "holds a list, not a state dict"),
        ("code", "is not a file of tensors"),
    ],
)
def test_a_file_that_makes_no_method_says_why(tmp_path: Path, how: str, message: str) -> None:
    clip, head, _ = author(tmp_path)
    torch.save(spoilt(official(clip, head), how), tmp_path / "file.pt")
    with pytest.raises(HubError, match=f"file.pt is a file; .*{message}"):
        hub.load(tmp_path / "file.pt")


def test_left_over_tensors_of_mmaction2_are_named(tmp_path: Path) -> None:
    clip, head, _ = author(tmp_path)
    content = mmaction(clip, head)
    content["state_dict"]["cls_head.weight"] = torch.zeros(1)
    torch.save(content, tmp_path / "file.pth")
    for load in (hub.load, load_encoder):
        with pytest.raises((HubError, EncoderError), match="'cls_head.weight'. are left over; remove"):
            load(str(tmp_path / "file.pth"))


def test_a_file_needs_its_tokenizer_and_no_other_encoder(tmp_path: Path) -> None:
    clip, head, _ = author(tmp_path)
    torch.save(official(clip, head), tmp_path / "file.pt")
    with pytest.raises(HubError, match="holds its own encoder; load it without encoder="):
        hub.load(tmp_path / "file.pt", encoder="toyclip")
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(HubError, match="openai/clip-vit-base-patch32"):
        hub.load(tmp_path / "file.pt")
