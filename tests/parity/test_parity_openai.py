"""OpenAI's weights in our towers, against independent lines that compute CLIP from OpenAI's own names."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders import EncoderError, Geometry, load_encoder
from openfsar.encoders.openai import from_openai, infer_geometry, to_openai
from openfsar.encoders.tokens import byte_tokenizer
from openfsar.encoders.torchscript import read_tensors

SMALL = Geometry(
    image_size=24,
    patch_size=8,
    dim=24,
    vision_width=128,
    vision_layers=3,
    text_width=64,
    text_layers=2,
    context=60,
    vocabulary=258,
)


def openai_state(dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """Random tensors under OpenAI's names; shapes written out by hand from its published layout."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return (torch.randn(shape, generator=generator) * 0.2).to(dtype)

    def resblocks(prefix: str, width: int, layers: int) -> dict[str, Tensor]:
        shapes = {
            "attn.in_proj_weight": (3 * width, width),
            "attn.in_proj_bias": (3 * width,),
            "attn.out_proj.weight": (width, width),
            "attn.out_proj.bias": (width,),
            "mlp.c_fc.weight": (4 * width, width),
            "mlp.c_fc.bias": (4 * width,),
            "mlp.c_proj.weight": (width, 4 * width),
            "mlp.c_proj.bias": (width,),
            "ln_1.weight": (width,),
            "ln_1.bias": (width,),
            "ln_2.weight": (width,),
            "ln_2.bias": (width,),
        }
        return {f"{prefix}.{i}.{name}": draw(*shape) for i in range(layers) for name, shape in shapes.items()}

    return {
        "positional_embedding": draw(60, 64),
        "text_projection": draw(64, 24),
        "logit_scale": torch.tensor(2.5, dtype=dtype),
        "visual.class_embedding": draw(128),
        "visual.positional_embedding": draw(10, 128),
        "visual.proj": draw(128, 24),
        "visual.conv1.weight": draw(128, 3, 8, 8),
        "visual.ln_pre.weight": draw(128),
        "visual.ln_pre.bias": draw(128),
        **resblocks("visual.transformer.resblocks", 128, 3),
        "visual.ln_post.weight": draw(128),
        "visual.ln_post.bias": draw(128),
        **resblocks("transformer.resblocks", 64, 2),
        "token_embedding.weight": draw(258, 64),
        "ln_final.weight": draw(64),
        "ln_final.bias": draw(64),
    }


def norm(x: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def transformer(x: Tensor, state: dict[str, Tensor], prefix: str, layers: int, mask: Tensor) -> Tensor:
    heads = x.shape[-1] // 64
    for i in range(layers):
        p = f"{prefix}.{i}"
        h = (
            norm(x, state, f"{p}.ln_1") @ state[f"{p}.attn.in_proj_weight"].T
            + state[f"{p}.attn.in_proj_bias"]
        )
        q, k, v = (part.unflatten(-1, (heads, 64)).transpose(1, 2) for part in h.chunk(3, -1))
        weights = (q @ k.mT / 8 + mask).softmax(-1)
        mixed = (weights @ v).transpose(1, 2).flatten(-2)
        x = x + mixed @ state[f"{p}.attn.out_proj.weight"].T + state[f"{p}.attn.out_proj.bias"]
        h = norm(x, state, f"{p}.ln_2") @ state[f"{p}.mlp.c_fc.weight"].T + state[f"{p}.mlp.c_fc.bias"]
        x = (
            x
            + (h * torch.sigmoid(1.702 * h)) @ state[f"{p}.mlp.c_proj.weight"].T
            + state[f"{p}.mlp.c_proj.bias"]
        )
    return x


def image_features(images: Tensor, state: dict[str, Tensor]) -> Tensor:
    patches = F.conv2d(images, state["visual.conv1.weight"], stride=8).flatten(2).mT
    token = state["visual.class_embedding"].expand(len(images), 1, -1)
    x = norm(torch.cat([token, patches], 1) + state["visual.positional_embedding"], state, "visual.ln_pre")
    x = transformer(x, state, "visual.transformer.resblocks", 3, torch.zeros(()).to(x))
    return norm(x[:, 0], state, "visual.ln_post") @ state["visual.proj"]


def text_features(ids: Tensor, state: dict[str, Tensor]) -> Tensor:
    x = state["token_embedding.weight"][ids] + state["positional_embedding"][: ids.shape[1]]
    mask = torch.full((ids.shape[1], ids.shape[1]), -torch.inf).triu(1).to(x)
    x = norm(transformer(x, state, "transformer.resblocks", 2, mask), state, "ln_final")
    return x[torch.arange(len(ids)), ids.argmax(1)] @ state["text_projection"]


def write(folder: Path, state: dict[str, Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    torch.save(state, folder / "small.pt")
    return folder / "small.pt"


class Holder(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def script(state: dict[str, Tensor], path: Path) -> None:
    """The archive OpenAI would have published: a scripted tree of modules with these parameters."""
    root = Holder()
    for name, tensor in state.items():
        *parents, leaf = name.split(".")
        node: nn.Module = root
        for parent in parents:
            if parent not in dict(node.named_children()):
                node.add_module(parent, Holder())
            node = node.get_submodule(parent)
        node.register_parameter(leaf, nn.Parameter(tensor))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch 2.13 is about to drop the writer
        torch.jit.script(root).save(str(path))


def test_the_mapping_round_trips_exactly():
    state = openai_state()
    ours, geometry = from_openai(state)
    back = to_openai(ours, geometry)
    assert geometry == SMALL
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert all(tensor.is_contiguous() for tensor in [*ours.values(), *back.values()])
    again, _ = from_openai(back)
    assert again.keys() == ours.keys() and all(torch.equal(again[name], ours[name]) for name in ours)


def test_the_mapped_names_are_exactly_those_of_the_stock_model():
    from transformers import CLIPModel

    ours, geometry = from_openai(openai_state())
    expected = CLIPModel(geometry.config()).state_dict()
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in expected.items()}


@torch.no_grad()
def test_an_openai_state_dict_computes_what_openais_layout_says(tmp_path):
    state = openai_state()
    encoder = load_encoder(str(write(tmp_path, state))).double()
    double = {name: tensor.double() for name, tensor in state.items()}
    clips = torch.randn(2, 3, 3, 24, 24, dtype=torch.float64)
    expected = image_features(clips.flatten(0, 1), double).unflatten(0, (2, 3))
    torch.testing.assert_close(encoder.vision(clips), expected, rtol=0, atol=1e-10)
    ids = encoder.tokenize(["a photo of juggling.", "jump"])
    torch.testing.assert_close(encoder.text_tower(ids), text_features(ids, double), rtol=0, atol=1e-10)
    assert encoder.pretrained and encoder.logit_scale.item() == 2.5 and encoder.image_size == 24


def test_half_precision_files_become_float32(tmp_path):
    state = openai_state(torch.float16)
    encoder = load_encoder(str(write(tmp_path, state)))
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    assert torch.equal(encoder.vision.embeddings.patch_embedding.weight, state["visual.conv1.weight"].float())


def test_the_published_torchscript_archive_is_read_without_running_it(tmp_path, monkeypatch):
    state = openai_state(torch.float16)
    path = write(tmp_path, {})
    script(state, path)
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("code of the archive was loaded"))
    read = read_tensors(path)
    assert read.keys() == state.keys() and all(torch.equal(read[name], state[name]) for name in state)
    encoder = load_encoder(str(path))
    assert torch.equal(encoder.vision.head.projection.weight, state["visual.proj"].T.float())


def test_an_archive_that_names_anything_but_tensors_is_refused(tmp_path):
    import os
    import pickle
    import zipfile

    class Evil:
        def __reduce__(self):
            return os.system, ("true",)

    path = write(tmp_path, {})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("evil/data.pkl", pickle.dumps(Evil(), protocol=2))
        archive.writestr("evil/constants.pkl", b"")
    with pytest.raises(EncoderError, match="system is not allowed"):
        load_encoder(str(path))


@pytest.mark.parametrize("cut", [0.3, 0.999])
def test_a_truncated_file_is_an_encoder_error(tmp_path, cut):
    path = write(tmp_path, openai_state())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    with pytest.raises(EncoderError, match="not a file of tensors"):
        load_encoder(str(path))


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    path = write(tmp_path, {})
    torch.save({"visual.proj": print}, path)
    with pytest.raises(EncoderError, match="not a file of tensors"):
        load_encoder(str(path))


def test_missing_and_left_over_tensors_are_named(tmp_path):
    state = openai_state()
    del state["visual.proj"]
    with pytest.raises(EncoderError, match="'visual.proj' is missing"):
        infer_geometry(state)
    state = openai_state() | {"visual.extra": torch.zeros(1)}
    with pytest.raises(EncoderError, match="visual.extra"):
        from_openai(state)
    with pytest.raises(EncoderError, match="ResNets"):
        infer_geometry({"visual.layer1.0.conv1.weight": torch.zeros(1)})


def test_an_openai_file_without_a_tokenizer_beside_it_says_which_one_to_fetch(tmp_path):
    path = write(tmp_path, openai_state())
    (tmp_path / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match="openai/clip-vit-base-patch32"):
        load_encoder(str(path))
