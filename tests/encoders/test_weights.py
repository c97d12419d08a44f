"""load_encoder: every source of encoders, and everything that can be wrong with one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, SiglipConfig, SiglipModel

from openfsar.encoders import KNOWN, EncoderError, load_encoder, tiny_encoder, trainable_parameters
from openfsar.encoders.tokens import byte_tokenizer


def write_folder(folder: Path, kind: str = "clip") -> torch.nn.Module:
    """A checkpoint in the hub's layout, with random weights; returns the stock model."""
    torch.manual_seed(3)
    if kind == "clip":
        model = CLIPModel(KNOWN["tiny"].geometry.config())
    else:
        sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
        text = dict(sizes, vocab_size=258, max_position_embeddings=64, projection_size=32)
        ids = dict(bos_token_id=256, eos_token_id=257, pad_token_id=0)
        model = SiglipModel(
            SiglipConfig(text_config=text | ids, vision_config=dict(sizes, image_size=32, patch_size=8))
        )
    model.save_pretrained(folder)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    return model.eval()


@pytest.fixture
def folder(tmp_path) -> Path:
    write_folder(tmp_path / "clip")
    return tmp_path / "clip"


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@torch.no_grad()
def test_a_folder_computes_what_the_stock_model_computes(tmp_path, kind):
    stock = write_folder(tmp_path, kind)
    encoder = load_encoder(str(tmp_path))
    clips = torch.randint(0, 256, (2, 3, 3, 32, 32), dtype=torch.uint8)
    pixels = encoder.normalise(clips).flatten(0, 1)
    expected = stock.get_image_features(pixel_values=pixels).pooler_output.unflatten(0, (2, 3))
    torch.testing.assert_close(encoder.frames(clips), expected, rtol=1e-5, atol=1e-6)
    ids = encoder.tokenize(["run", "jump high"])
    assert ids.shape[1] == (11 if kind == "clip" else 64)
    expected = stock.get_text_features(input_ids=ids).pooler_output
    torch.testing.assert_close(encoder.text_tower(ids), expected, rtol=1e-5, atol=1e-6)
    assert (encoder.name, encoder.pretrained, encoder.dim) == (str(tmp_path), True, expected.shape[1])
    assert not encoder.training and not trainable_parameters(encoder)


def test_the_folders_own_statistics_and_padding_are_used(folder):
    rewrite_to = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]}
    (folder / "preprocessor_config.json").write_text(json.dumps(rewrite_to))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "!"}}))
    encoder = load_encoder(str(folder))
    assert encoder.mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert encoder.std.flatten().tolist() == pytest.approx([0.5, 0.6, 0.7])
    assert encoder.pad == byte_tokenizer().token_to_id("!") != encoder.text_tower.end


def test_siglip_is_normalised_and_padded_its_own_way(tmp_path):
    write_folder(tmp_path, "siglip")
    encoder = load_encoder(str(tmp_path))
    assert encoder.mean.flatten().tolist() == encoder.std.flatten().tolist() == [0.5] * 3
    assert encoder.vision.class_tokens == 0 and encoder.vision.grid == (4, 4)


def test_sharded_and_pickled_weights_are_read_too(folder):
    expected = load_encoder(str(folder)).state_dict()
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    save_file({n: weights[n] for n in names[:50]}, folder / "model-00001-of-00002.safetensors")
    save_file({n: weights[n] for n in names[50:]}, folder / "model-00002-of-00002.safetensors")
    sharded = load_encoder(str(folder)).state_dict()
    for shard in folder.glob("model-*"):
        shard.unlink()
    positions = {"text_model.embeddings.position_ids": torch.arange(77)[None]}  # old files hold this buffer
    torch.save(
        {name: tensor.half() for name, tensor in weights.items()} | positions, folder / "pytorch_model.bin"
    )
    pickled = load_encoder(str(folder)).state_dict()
    for name, tensor in expected.items():
        assert torch.equal(sharded[name], tensor)
        assert torch.equal(pickled[name], tensor.half().float())


def test_random_weights_come_from_the_seed_and_leave_the_global_generator_alone(folder):
    state = torch.get_rng_state()
    first, again, other = tiny_encoder(seed=1), tiny_encoder(seed=1), tiny_encoder(seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    for (name, a), b, c in zip(first.named_parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
        if name.endswith("q_proj.weight") or "embedding" in name:
            assert not torch.equal(a, c)
    local = load_encoder(str(folder), pretrained=False, seed=5)
    assert not local.pretrained and torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(local.text(["run"]), load_encoder(str(folder)).text(["run"]))


@pytest.mark.parametrize(
    ("name", "vision", "text", "total"),
    [  # parameter counts of the published models
        ("clip-vit-b-32", 87_849_216, 63_428_096, 151_277_313),
        ("clip-vit-b-16", 86_192_640, 63_428_096, 149_620_737),
        ("clip-vit-l-14", 303_966_208, 123_650_304, 427_616_513),
    ],
)
def test_the_known_geometries_have_the_published_sizes(name, vision, text, total):
    with torch.device("meta"):
        model = CLIPModel(KNOWN[name].geometry.config())

    def count(*modules: torch.nn.Module) -> int:
        return sum(p.numel() for module in modules for p in module.parameters())

    assert count(model.vision_model, model.visual_projection) == vision
    assert count(model.text_model, model.text_projection) == text
    assert count(model) == total


@pytest.mark.slow
def test_a_known_geometry_without_weights_needs_no_network():
    encoder = load_encoder("clip-vit-b-32", pretrained=False)
    assert (encoder.image_size, encoder.dim, encoder.vision.grid) == (224, 512, (7, 7))
    assert encoder.text(["run"]).shape == (1, 512)


def test_toyclip_is_found_in_the_package():
    encoder = load_encoder("toyclip")
    assert encoder.name == "toyclip" and encoder.pretrained
    clips = torch.zeros(1, 2, 3, encoder.image_size, encoder.image_size, dtype=torch.uint8)
    assert encoder.frames(clips).shape == (1, 2, encoder.dim)
    text = encoder.text(["red circle", "blue square"])
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(2))


def test_the_tokenizer_of_a_folder_without_one_is_not_invented(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(EncoderError, match="no tokenizer.json"):
        load_encoder(str(folder))


def test_a_tokenizer_of_another_model_is_noticed(folder):
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["extra"])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(EncoderError, match="259 tokens .* knows 258"):
        load_encoder(str(folder))


@pytest.mark.parametrize("broken", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_truncated_file_is_named(folder, broken):
    content = (folder / broken).read_bytes()
    (folder / broken).write_bytes(content[: len(content) // 2])
    with pytest.raises(EncoderError, match=r"config\.json|tokenizer\.json|weights in"):
        load_encoder(str(folder))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "holds no config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "neither model.safetensors nor pytorch_model.bin"),
        (lambda f: rewrite(f / "config.json", model_type="bert"), "type 'bert'"),
        (lambda f: rewrite(f / "config.json", projection_dim=8), "do not fit its configuration"),
        (lambda f: (f / "config.json").write_text("not json"), "not valid JSON"),
    ],
)
def test_a_folder_that_makes_no_encoder_says_why(folder, spoil, message):
    spoil(folder)
    with pytest.raises(EncoderError, match=message):
        load_encoder(str(folder))


def test_weights_with_a_tensor_too_few_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(EncoderError, match="visual_projection"):
        load_encoder(str(folder))


def test_an_unknown_name_gets_the_nearest_known_one():
    with pytest.raises(EncoderError, match="did you mean 'clip-vit-b-16'.*toyclip, toyresnet, clip-vit-b-32"):
        load_encoder("clip-vit-b16")
    with pytest.raises(EncoderError, match="no encoder 'tiny'"):
        load_encoder("tiny")
    with pytest.raises(EncoderError, match="without pretrained weights"):
        load_encoder("owner/model", pretrained=False)


def test_a_hub_name_is_fetched_and_then_read_as_a_folder(folder, monkeypatch):
    asked = []

    def fetch(name: str, allow_patterns: list[str]) -> str:
        weights = [
            pattern for pattern in allow_patterns if "model.safetensors" in pattern or ".bin" in pattern
        ]
        asked.append((name, *weights))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    encoder = load_encoder("clip-vit-b-16")
    assert asked == [(hub := "openai/clip-vit-base-patch16",), (hub, "model.safetensors")]
    assert encoder.name == "clip-vit-b-16"
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    load_encoder("owner/model")
    assert asked[2:] == [(hub := "owner/model",), (hub, "model.safetensors"), (hub, "pytorch_model.bin")]


def test_without_a_network_the_remedy_is_named(monkeypatch):
    def refuse(name: str, **_: object) -> str:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(EncoderError, match="hf download openai/clip-vit-base-patch32.*toyclip"):
        load_encoder("clip-vit-b-32")


def test_importing_the_package_does_not_import_transformers():
    code = "import sys, openfsar.encoders; assert not {'transformers', 'torchvision'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_may_be_moved_after_loading(folder):
    encoder = load_encoder(str(folder))
    expected = encoder.text(["run"])
    shutil.rmtree(folder)
    torch.testing.assert_close(encoder.double().text(["run"]).float(), expected, rtol=1e-5, atol=1e-6)
