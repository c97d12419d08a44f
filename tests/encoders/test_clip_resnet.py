"""CLIP's ResNet against independent lines that compute it from OpenAI's names, and every way to load one."""

import inspect
import json
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders import (
    KNOWN,
    ClipEncoder,
    EncoderError,
    Geometry,
    freeze,
    load_encoder,
    trainable_parameters,
    unfreeze,
)
from openfsar.encoders.clip_resnet import ClipResNet, ModifiedResNet, StageNorm
from openfsar.encoders.openai import from_openai, infer_geometry, to_openai
from openfsar.encoders.tokens import byte_tokenizer

State = dict[str, Tensor]
EXACT = dict(rtol=0, atol=1e-10)
WIDTH, LAYERS, SIDE, DIM, TEXT, CONTEXT = 8, (1, 2, 1, 1), 64, 24, 64, 40
SMALL = Geometry(
    image_size=SIDE,
    patch_size=32,
    dim=DIM,
    vision_width=WIDTH,
    vision_layers=LAYERS,
    text_width=TEXT,
    text_layers=2,
    context=CONTEXT,
    vocabulary=258,
)


def openai_state(dtype: torch.dtype = torch.float32) -> State:
    """Random tensors under OpenAI's names; shapes written out by hand from its published layout."""
    generator = torch.Generator().manual_seed(0)
    state: State = {}

    def draw(name: str, *shape: int, scale: float = 0.2) -> None:
        state[name] = (torch.randn(shape, generator=generator) * scale).to(dtype)

    def conv(name: str, out: int, inputs: int, side: int) -> None:
        draw(name, out, inputs, side, side, scale=(2 / (inputs * side**2)) ** 0.5)

    def norm(name: str, width: int) -> None:
        for kind in ("weight", "bias", "running_mean"):
            draw(f"{name}.{kind}", width)
        state[f"{name}.weight"] += 1
        state[f"{name}.running_var"] = (0.5 + torch.rand(width, generator=generator)).to(dtype)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def linear(name: str, out: int, inputs: int) -> None:
        draw(f"{name}.weight", out, inputs, scale=inputs**-0.5)
        draw(f"{name}.bias", out)

    for i, (out, inputs) in enumerate([(WIDTH // 2, 3), (WIDTH // 2, WIDTH // 2), (WIDTH, WIDTH // 2)], 1):
        conv(f"visual.conv{i}.weight", out, inputs, 3)
        norm(f"visual.bn{i}", out)
    channels = WIDTH
    for stage, blocks in enumerate(LAYERS):
        inner = WIDTH * 2**stage
        for i in range(blocks):
            block = f"visual.layer{stage + 1}.{i}"
            for j, (out, inputs, side) in enumerate([(inner, channels, 1), (inner, inner, 3)], 1):
                conv(f"{block}.conv{j}.weight", out, inputs, side)
                norm(f"{block}.bn{j}", out)
            conv(f"{block}.conv3.weight", 4 * inner, inner, 1)
            norm(f"{block}.bn3", 4 * inner)
            if i == 0:
                conv(f"{block}.downsample.0.weight", 4 * inner, channels, 1)
                norm(f"{block}.downsample.1", 4 * inner)
            channels = 4 * inner
    draw("visual.attnpool.positional_embedding", (SIDE // 32) ** 2 + 1, channels)
    for name in "qkv":
        linear(f"visual.attnpool.{name}_proj", channels, channels)
    linear("visual.attnpool.c_proj", DIM, channels)

    draw("token_embedding.weight", 258, TEXT)
    draw("positional_embedding", CONTEXT, TEXT)
    for i in range(2):
        block = f"transformer.resblocks.{i}"
        draw(f"{block}.attn.in_proj_weight", 3 * TEXT, TEXT)
        draw(f"{block}.attn.in_proj_bias", 3 * TEXT)
        linear(f"{block}.attn.out_proj", TEXT, TEXT)
        linear(f"{block}.mlp.c_fc", 4 * TEXT, TEXT)
        linear(f"{block}.mlp.c_proj", TEXT, 4 * TEXT)
        for name in ("ln_1", "ln_2"):
            draw(f"{block}.{name}.weight", TEXT)
            draw(f"{block}.{name}.bias", TEXT)
    draw("ln_final.weight", TEXT)
    draw("ln_final.bias", TEXT)
    draw("text_projection", TEXT, DIM)
    state["logit_scale"] = torch.tensor(2.5, dtype=dtype)
    return state


def image_features(x: Tensor, state: State, *, training: bool = False) -> Tensor:
    """The visual tower in functions; in training the running statistics of ``state`` are moved on."""

    def norm(x: Tensor, name: str) -> Tensor:
        names = (f"{name}.{kind}" for kind in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *(state[n] for n in names), training=training, momentum=0.1, eps=1e-5)

    for i, stride in enumerate([2, 1, 1], 1):
        x = F.conv2d(x, state[f"visual.conv{i}.weight"], stride=stride, padding=1)
        x = norm(x, f"visual.bn{i}").relu()
    x = F.avg_pool2d(x, 2)
    for stage, blocks in enumerate(LAYERS, 1):
        for i in range(blocks):
            block, shrink = f"visual.layer{stage}.{i}", stage > 1 and i == 0
            y = norm(F.conv2d(x, state[f"{block}.conv1.weight"]), f"{block}.bn1").relu()
            y = norm(F.conv2d(y, state[f"{block}.conv2.weight"], padding=1), f"{block}.bn2").relu()
            y = F.avg_pool2d(y, 2) if shrink else y
            y = norm(F.conv2d(y, state[f"{block}.conv3.weight"]), f"{block}.bn3")
            x = F.avg_pool2d(x, 2) if shrink else x
            if i == 0:
                x = F.conv2d(x, state[f"{block}.downsample.0.weight"])
                x = norm(x, f"{block}.downsample.1")
            x = (x + y).relu()
    pool = {name.removeprefix("visual.attnpool."): t for name, t in state.items() if "attnpool" in name}
    x = x.flatten(2).permute(2, 0, 1)
    x = torch.cat([x.mean(0, keepdim=True), x]) + pool["positional_embedding"][:, None]
    width = x.shape[-1]
    pooled, _ = F.multi_head_attention_forward(
        x[:1],
        x,
        x,
        embed_dim_to_check=width,
        num_heads=width // 64,
        in_proj_weight=None,
        in_proj_bias=torch.cat([pool[f"{name}_proj.bias"] for name in "qkv"]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=pool["c_proj.weight"],
        out_proj_bias=pool["c_proj.bias"],
        use_separate_proj_weight=True,
        q_proj_weight=pool["q_proj.weight"],
        k_proj_weight=pool["k_proj.weight"],
        v_proj_weight=pool["v_proj.weight"],
        need_weights=False,
    )
    return pooled[0]


def text_features(ids: Tensor, state: State, activation: Callable[[Tensor], Tensor]) -> Tensor:
    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, (TEXT,), state[f"{name}.weight"], state[f"{name}.bias"])

    length = ids.shape[1]
    x = state["token_embedding.weight"][ids] + state["positional_embedding"][:length]
    mask = torch.full((length, length), -torch.inf).triu(1).to(x)
    for i in range(2):
        at = {
            n.removeprefix(p): t for n, t in state.items() if n.startswith(p := f"transformer.resblocks.{i}.")
        }
        q, k, v = F.linear(norm(x, f"{p}ln_1"), at["attn.in_proj_weight"], at["attn.in_proj_bias"]).chunk(
            3, -1
        )
        mixed = (q @ k.mT / TEXT**0.5 + mask).softmax(-1) @ v  # one head: it is 64 wide, like the tower
        x = x + F.linear(mixed, at["attn.out_proj.weight"], at["attn.out_proj.bias"])
        y = activation(F.linear(norm(x, f"{p}ln_2"), at["mlp.c_fc.weight"], at["mlp.c_fc.bias"]))
        x = x + F.linear(y, at["mlp.c_proj.weight"], at["mlp.c_proj.bias"])
    return norm(x, "ln_final")[torch.arange(len(ids)), ids.argmax(1)] @ state["text_projection"]


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def double(state: State) -> State:
    return {name: t.double() if t.is_floating_point() else t for name, t in state.items()}


SETTINGS = {
    "model_cfg": {
        "quick_gelu": True,
        "embed_dim": DIM,
        "vision_cfg": {"image_size": SIDE, "layers": list(LAYERS), "width": WIDTH, "patch_size": None},
        "text_cfg": {"context_length": CONTEXT, "vocab_size": 258, "width": TEXT, "heads": 1, "layers": 2},
    },
    "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7], "interpolation": "bicubic"},
}


def write_open_clip(folder: Path, state: State) -> Path:
    """A folder as open_clip writes them for the hub."""
    folder.mkdir(exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps(SETTINGS))
    save_file(state, folder / "open_clip_model.safetensors")
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def write_pt(folder: Path, state: State) -> Path:
    folder.mkdir(exist_ok=True)
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    torch.save(state, folder / "RN50.pt")
    return folder / "RN50.pt"


class Holder(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def write_archive(folder: Path, state: State) -> Path:
    """The TorchScript archive OpenAI would have published."""
    path, root = write_pt(folder, {}), Holder()
    for name, tensor in state.items():
        *parents, leaf = name.split(".")
        node: nn.Module = root
        for parent in parents:
            if parent not in dict(node.named_children()):
                node.add_module(parent, Holder())
            node = node.get_submodule(parent)
        if "running" in leaf or "tracked" in leaf:
            node.register_buffer(leaf, tensor)
        else:
            node.register_parameter(leaf, nn.Parameter(tensor))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch 2.13 is about to drop the writer
        torch.jit.script(root).save(str(path))
    return path


@pytest.fixture
def encoder(tmp_path) -> ClipEncoder:
    """Small, float64, frozen and in eval mode."""
    return load_encoder(str(write_pt(tmp_path / "pt", openai_state()))).double()


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(2, 3, 3, SIDE, SIDE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def statistics(module: nn.Module) -> State:
    return {name: buffer.clone() for name, buffer in module.named_buffers()}


def test_it_says_what_it_is(encoder):
    assert isinstance(encoder.vision, ModifiedResNet)
    assert (encoder.pretrained, encoder.image_size, encoder.dim) == (True, SIDE, DIM)
    assert (encoder.vision.width, encoder.vision.grid, encoder.vision.class_tokens) == (256, (2, 2), 0)
    assert not encoder.training and not trainable_parameters(encoder) and encoder.logit_scale.item() == 2.5


@torch.no_grad()
def test_the_tower_computes_what_openais_layout_says(encoder, pixels):
    expected = image_features(pixels.flatten(0, 1), double(openai_state())).unflatten(0, (2, 3))
    assert expected.std() > 0.1
    torch.testing.assert_close(encoder.vision(pixels), expected, **EXACT)
    torch.testing.assert_close(encoder.vision(pixels, torch.randn(2, DIM).double()), expected, **EXACT)


@torch.no_grad()
def test_the_text_tower_computes_what_openais_layout_says(encoder):
    ids = encoder.tokenize(["a photo of juggling.", "jump"])
    expected = text_features(ids, double(openai_state()), quick_gelu)
    torch.testing.assert_close(encoder.text_tower(ids), expected, **EXACT)


def test_in_training_the_batch_norms_it_and_moves_the_statistics(encoder, pixels):
    unfreeze(encoder.vision).train()
    state = double(openai_state())
    expected = image_features(pixels.flatten(0, 1), state, training=True).unflatten(0, (2, 3))
    torch.testing.assert_close(encoder.vision(pixels), expected, **EXACT)
    for name, after in statistics(encoder.vision).items():
        if name.endswith("tracked"):
            assert after == 8
        else:
            torch.testing.assert_close(after, state[f"visual.{name}"], **EXACT)


@pytest.mark.parametrize("mode", ["eval", "frozen"])
def test_outside_training_and_where_frozen_the_statistics_stay(encoder, pixels, mode):
    before, expected = statistics(encoder.vision), encoder.vision(pixels)
    if mode == "frozen":
        encoder.train()
    else:
        unfreeze(encoder.vision)
    torch.testing.assert_close(encoder.vision(pixels), expected, **EXACT)
    after = statistics(encoder.vision)
    assert all(torch.equal(after[name], before[name]) for name in before)


@pytest.mark.parametrize("train", [True, False])
def test_every_parameter_gets_a_gradient(encoder, pixels, train):
    unfreeze(encoder.vision).train(train)
    weight = torch.randn(DIM, dtype=torch.float64)
    (encoder.vision(pixels) @ weight).square().sum().backward()
    for name, parameter in encoder.vision.named_parameters():
        assert parameter.grad is not None, name
        if not name.endswith("k_proj.bias"):  # the same for all keys: the softmax does not see it
            assert parameter.grad.abs().max() > 1e-9, name
    assert all(parameter.grad is None for parameter in encoder.text_tower.parameters())


@pytest.mark.parametrize("train", [True, False])
def test_checkpointed_stages_run_twice_and_change_nothing_else(encoder, pixels, train):
    tower = unfreeze(encoder.vision).train(train)
    start = {name: tensor.clone() for name, tensor in tower.state_dict().items()}

    def run(checkpointed: bool) -> tuple[int, list[Tensor], State]:
        tower.load_state_dict(start)
        tower.checkpoint_blocks(checkpointed)
        tower.zero_grad()
        calls: list[int] = []
        hook = tower.layer2[1].conv1.register_forward_hook(lambda *_: calls.append(1))
        tower(pixels).square().sum().backward()
        hook.remove()
        gradients = [p.grad.clone() for p in tower.parameters() if p.grad is not None]
        return len(calls), gradients, statistics(tower)

    (once, plain, moved), (twice, recomputed, moved_too) = run(False), run(True)
    assert (once, twice) == (1, 2) and len(plain) == len(recomputed) == len(list(tower.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))
    assert all(torch.equal(moved[name], moved_too[name]) for name in moved)
    assert any(not torch.equal(moved[name], start[name]) for name in moved) == train
    assert not any(norm.recomputing for norm in tower.modules() if isinstance(norm, StageNorm))


def test_clips_it_was_not_made_for_are_refused(encoder):
    normalise = inspect.unwrap(ClipEncoder.normalise)  # the shape checks of the suite would speak first
    for clips in (torch.zeros(1, 2, 3, 32, 32, dtype=torch.uint8), torch.zeros(1, 2, 3, SIDE, SIDE)):
        with pytest.raises(ValueError, match="needs uint8 clips of 64x64"):
            normalise(encoder, clips)
    assert encoder.frames(torch.zeros(1, 2, 3, SIDE, SIDE, dtype=torch.uint8)).shape == (1, 2, DIM)


def test_rn50_has_the_published_sizes():
    with torch.device("meta"):
        model = ClipResNet(KNOWN["clip-rn50"].geometry)
    assert sum(p.numel() for p in model.visual.parameters()) == 38_316_896
    assert sum(p.numel() for p in model.parameters()) == 102_007_137
    shapes = {name: tuple(tensor.shape) for name, tensor in model.visual.state_dict().items()}
    assert shapes["conv1.weight"] == (32, 3, 3, 3) and shapes["bn3.running_var"] == (64,)
    assert shapes["layer4.2.conv3.weight"] == (2048, 512, 1, 1)
    assert shapes["layer1.0.downsample.0.weight"] == (256, 64, 1, 1)
    assert shapes["attnpool.positional_embedding"] == (50, 2048) and model.visual.attnpool.heads == 32
    assert shapes["attnpool.c_proj.weight"] == (1024, 2048)
    text = model.config.text_config
    assert (text.num_attention_heads, text.hidden_act, model.text_projection.out_features) == (
        8,
        "quick_gelu",
        1024,
    )


def test_the_mapping_round_trips_exactly():
    state = openai_state()
    ours, geometry = from_openai(state)
    back = to_openai(ours, geometry)
    assert geometry == SMALL and back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)
    assert all(back[name].dtype == state[name].dtype for name in state)
    expected = ClipResNet(geometry).state_dict()
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in expected.items()}


@torch.no_grad()
def test_every_format_gives_the_same_encoder(tmp_path):
    state = openai_state()
    paths = [
        write_pt(tmp_path / "pt", state),
        write_archive(tmp_path / "archive", state | {"input_resolution": torch.tensor(64.0)}),
        write_open_clip(tmp_path / "folder", state),
    ]
    first, *others = [load_encoder(str(path)) for path in paths]
    clips = torch.randint(0, 256, (1, 2, 3, SIDE, SIDE), dtype=torch.uint8)
    for other in others:
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
        pixels = first.normalise(clips)
        assert torch.equal(other.vision(pixels), first.vision(pixels))
        assert torch.equal(other.text(["run"]), first.text(["run"]))
    assert others[-1].mean.flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert others[-1].std.flatten().tolist() == pytest.approx([0.5, 0.6, 0.7])


def test_half_precision_files_become_float32_and_keep_their_counters(tmp_path):
    encoder = load_encoder(str(write_pt(tmp_path, openai_state(torch.float16))))
    dtypes = {tensor.dtype for tensor in encoder.vision.state_dict().values()}
    assert dtypes == {torch.float32, torch.int64} and encoder.vision.bn1.num_batches_tracked == 7


@torch.no_grad()
def test_open_clips_own_activation_is_read_from_its_settings(tmp_path):
    folder = write_open_clip(tmp_path, openai_state())
    rewrite(folder, "model_cfg", quick_gelu=False)
    encoder = load_encoder(str(folder)).double()
    ids = encoder.tokenize(["jump"])
    torch.testing.assert_close(
        encoder.text_tower(ids), text_features(ids, double(openai_state()), F.gelu), **EXACT
    )


def rewrite(folder: Path, part: str, **changes: object) -> None:
    path = folder / "open_clip_config.json"
    settings = json.loads(path.read_text())
    model = settings["model_cfg"]
    (model if part == "model_cfg" else model[part]).update(changes)
    path.write_text(json.dumps(settings))


def drop(folder: Path, name: str) -> None:
    path = folder / "open_clip_model.safetensors"
    state = load_file(path)
    del state[name]
    save_file(state, path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: (f / "open_clip_config.json").unlink(),
            "holds no config.json.*open_clip_model.safetensors",
        ),
        (lambda f: (f / "open_clip_model.safetensors").unlink(), "no open_clip_model.safetensors; copy"),
        (lambda f: (f / "tokenizer.json").unlink(), "no tokenizer.json; put"),
        (lambda f: cut(f / "open_clip_model.safetensors"), "safetensors is damaged .*copy it again"),
        (lambda f: cut(f / "open_clip_config.json"), "not valid JSON .*copy it again"),
        (lambda f: (f / "open_clip_config.json").write_text("[]"), "holds a list, not named settings"),
        (lambda f: (f / "open_clip_config.json").write_text('{"a": 1}'), r"has \['a'\] and no model_cfg"),
        (lambda f: rewrite(f, "model_cfg", text_cfg=None), "no model_cfg with vision_cfg and text_cfg"),
        (lambda f: rewrite(f, "model_cfg", embed_dim=512), "embed_dim=512 does not fit .* have 24; copy"),
        (lambda f: rewrite(f, "vision_cfg", layers=[3, 4, 6, 3]), r"layers=\[3, 4, 6, 3\] does not fit"),
        (
            lambda f: rewrite(f, "vision_cfg", timm_model_name="convnext"),
            "timm_model_name='convnext' is an op",
        ),
        (lambda f: rewrite(f, "text_cfg", heads=4), "heads=4 does not fit the weights, which have 1"),
        (lambda f: drop(f, "visual.layer2.0.conv1.weight"), "'visual.layer2.0.conv1.weight' is missing"),
        (lambda f: drop(f, "visual.layer2.1.conv3.weight"), "visual.layer2.1.conv3.weight"),
        (lambda f: drop(f, "visual.bn1.running_mean"), "visual.bn1.running_mean"),
        (lambda f: drop(f, "text_projection"), "'text_projection' is missing .* text tower"),
    ],
)
def test_a_damaged_or_foreign_folder_says_why(tmp_path, spoil, message):
    folder = write_open_clip(tmp_path, openai_state())
    spoil(folder)
    with pytest.raises(EncoderError, match=message):
        load_encoder(str(folder))


def test_a_tensor_of_another_size_is_named(tmp_path):
    state = openai_state()
    state["visual.conv2.weight"] = torch.zeros(5, 4, 3, 3)
    with pytest.raises(EncoderError, match=r"RN50.pt do not fit .*visual.conv2.weight.*\[5, 4, 3, 3\]"):
        load_encoder(str(write_pt(tmp_path, state)))


def test_a_geometry_that_is_no_resnet_is_refused():
    with pytest.raises(EncoderError, match="got 12 and 64; CLIP's RN50 has"):
        ModifiedResNet(replace(SMALL, vision_layers=12))
    with pytest.raises(EncoderError, match="image_size that 32 divides, got .* and 70"):
        ModifiedResNet(replace(SMALL, image_size=70))
    assert infer_geometry(openai_state()) == SMALL


def test_random_weights_come_from_the_seed():
    state = torch.get_rng_state()
    first, again, other = (load_encoder("tiny-resnet", pretrained=False, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state) and not first.pretrained
    clips = torch.randint(0, 256, (1, 2, 3, 64, 64), dtype=torch.uint8)
    assert torch.equal(first.frames(clips), again.frames(clips))
    assert not torch.allclose(first.frames(clips), other.frames(clips))
    assert first.frames(clips).shape == (1, 2, 16) and first.text(["run"]).shape == (1, 16)
    assert freeze(first.vision).width == 256 and first.bfloat16().frames(clips).dtype == torch.bfloat16


@pytest.mark.slow
def test_rn50_without_weights_needs_no_network():
    encoder = load_encoder("clip-rn50", pretrained=False)
    assert (encoder.image_size, encoder.dim, encoder.vision.grid) == (224, 1024, (7, 7))
    assert encoder.frames(torch.zeros(1, 1, 3, 224, 224, dtype=torch.uint8)).shape == (1, 1, 1024)


def test_the_known_name_fetches_only_open_clips_weights_from_the_hub(tmp_path, monkeypatch):
    folder = write_open_clip(tmp_path, openai_state())
    asked: list[tuple[str, bool]] = []

    def fetch(name: str, allow_patterns: list[str]) -> str:
        assert "open_clip_config.json" in allow_patterns and "model.safetensors" not in allow_patterns
        asked.append((name, "open_clip_model.safetensors" in allow_patterns))
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    encoder = load_encoder("clip-rn50")
    assert asked == [("timm/resnet50_clip.openai", False), ("timm/resnet50_clip.openai", True)]
    assert encoder.name == "clip-rn50" and isinstance(encoder.vision, ModifiedResNet)


def test_a_folder_with_both_layouts_is_read_in_that_of_transformers(tmp_path):
    folder = write_open_clip(tmp_path, openai_state())
    (folder / "config.json").write_text('{"architecture": "resnet50_clip"}')  # timm's, of no use here
    assert isinstance(load_encoder(str(folder)).vision, ModifiedResNet)
    (folder / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(EncoderError, match="neither model.safetensors nor"):
        load_encoder(str(folder))
