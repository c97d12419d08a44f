"""OpenAI's own CLIP weights (``ViT-B-16.pt``, ``RN50.pt``) in the names used here, and back.

Both layouts hold the same numbers under other names: transformers get those of `transformers`, a ResNet keeps
OpenAI's. Two things differ in form: OpenAI fuses the query, key and value projections into one matrix, and
keeps the two projections into the joint space transposed. open_clip writes OpenAI's names too.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openfsar.encoders.clip_resnet import ModifiedResNet
from openfsar.encoders.geometry import RESNET_PATCH, EncoderError, Geometry
from openfsar.encoders.towers import VisionTower
from openfsar.encoders.visual import VisualTower

State = dict[str, Tensor]

_VIT_NAMES = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "visual.proj": "visual_projection.weight",
}
_NAMES = {
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "text_projection": "text_projection.weight",
    "logit_scale": "logit_scale",
}
_TRANSPOSED = {"visual.proj", "text_projection"}
_LAYER_NAMES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_VISION, _TEXT = "visual.transformer.resblocks", "transformer.resblocks"
_STAGES = tuple(f"visual.layer{i}" for i in (1, 2, 3, 4))
_RESNET_SIZES = {f"{stage}.0.conv1.weight" for stage in _STAGES} | {"visual.attnpool.positional_embedding"}
"""What tells a ResNet and its sizes."""
_TOWER_NAMES = {
    "class_embedding": "embeddings.class_embedding",
    "positional_embedding": "embeddings.position_embedding.weight",
    "conv1.weight": "embeddings.patch_embedding.weight",
    "ln_pre.weight": "pre_norm.weight",
    "ln_pre.bias": "pre_norm.bias",
    "ln_post.weight": "head.norm.weight",
    "ln_post.bias": "head.norm.bias",
    "proj": "head.projection.weight",
}
"""Of a visual transformer alone, in a ``VisionTower``."""
_NOT_WEIGHTS = {"input_resolution", "context_length", "vocab_size"}


def infer_geometry(state: State) -> Geometry:
    """The sizes of an OpenAI state dict, read off its tensors; attention heads are 64 wide in all of them.

    Raises:
        EncoderError: A tensor that every CLIP of its kind has is missing.
    """
    resnet = "visual.layer1.0.conv1.weight" in state
    missing = (_NAMES.keys() | (_RESNET_SIZES if resnet else _VIT_NAMES.keys())) - state.keys()
    if missing:
        raise EncoderError(
            f"not an OpenAI CLIP, {sorted(missing)[0]!r} is missing among {len(state)} tensors; its vision "
            "transformers and its ResNets can be read, each with its text tower: copy the file again, or "
            "give the whole model"
        )

    def layers(prefix: str) -> int:
        return len({name.removeprefix(prefix).split(".")[1] for name in state if name.startswith(prefix)})

    if resnet:
        first, second, third, fourth = map(layers, _STAGES)
        depth: int | tuple[int, int, int, int] = (first, second, third, fourth)
        vision_width, patch_size = len(state["visual.layer1.0.conv1.weight"]), RESNET_PATCH
        positions = state["visual.attnpool.positional_embedding"]
    else:
        depth = layers(_VISION)
        vision_width, _, patch_size, _ = state["visual.conv1.weight"].shape
        positions = state["visual.positional_embedding"]
    vocabulary, text_width = state["token_embedding.weight"].shape
    return Geometry(
        image_size=math.isqrt(len(positions) - 1) * patch_size,
        patch_size=patch_size,
        dim=state["text_projection"].shape[1],
        vision_width=vision_width,
        vision_layers=depth,
        text_width=text_width,
        text_layers=layers(_TEXT),
        context=len(state["positional_embedding"]),
        vocabulary=vocabulary,
    )


def _table(geometry: Geometry) -> dict[str, tuple[str, ...]]:
    """OpenAI's name of every tensor -> its name here, or the three names of a fused projection."""
    table: dict[str, tuple[str, ...]] = {theirs: (ours,) for theirs, ours in _NAMES.items()}
    towers = [(_TEXT, "text_model", geometry.text_layers)]
    if isinstance(geometry.vision_layers, int):
        towers.append((_VISION, "vision_model", geometry.vision_layers))
        table |= {theirs: (ours,) for theirs, ours in _VIT_NAMES.items()}
    else:
        with torch.device("meta"):
            table |= {f"visual.{name}": (f"visual.{name}",) for name in ModifiedResNet(geometry).state_dict()}
    for theirs, ours, layers in towers:
        for i in range(layers):
            table |= _block_table(f"{theirs}.{i}", f"{ours}.encoder.layers.{i}")
    return table


def _block_table(old: str, new: str) -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {}
    for kind in ("weight", "bias"):
        table |= {f"{old}.{a}.{kind}": (f"{new}.{b}.{kind}",) for a, b in _LAYER_NAMES.items()}
        table[f"{old}.attn.in_proj_{kind}"] = tuple(f"{new}.self_attn.{x}_proj.{kind}" for x in "qkv")
    return table


def from_openai(state: State) -> tuple[State, Geometry]:
    """An OpenAI state dict -> that of ``CLIPModel`` or ``ClipResNet``, and its sizes. Numbers stay.

    Raises:
        EncoderError: Tensors are missing or left over.
    """
    geometry = infer_geometry(state)
    table = _table(geometry)
    wrong = table.keys() ^ (state.keys() - _NOT_WEIGHTS)
    if wrong:
        raise EncoderError(
            f"an OpenAI CLIP of {geometry} does not match: {sorted(wrong)[:3]} missing or left over"
        )
    ours: State = {}
    for theirs, names in table.items():
        tensor = state[theirs].T if theirs in _TRANSPOSED else state[theirs]
        parts = tensor.chunk(3) if len(names) == 3 else (tensor,)
        copies = (part.clone(memory_format=torch.contiguous_format) for part in parts)  # as safetensors asks
        ours |= zip(names, copies, strict=True)
    return ours, geometry


def from_openai_visual(state: State, tower: VisualTower) -> State:
    """The visual half of an OpenAI state dict, under names without ``visual.`` -> that of a tower.

    Raises:
        EncoderError: Tensors are missing, left over, or of other sizes than the tower's.
    """
    own = {name: list(tensor.shape) for name, tensor in tower.state_dict().items()}
    table: dict[str, tuple[str, ...]] = {name: (name,) for name in own}
    if isinstance(tower, VisionTower):
        table = {theirs: (ours,) for theirs, ours in _TOWER_NAMES.items()}
        for i in range(len(tower.blocks)):
            table |= _block_table(f"transformer.resblocks.{i}", f"blocks.{i}.layer")
    wrong = table.keys() ^ state.keys()
    if wrong:
        raise EncoderError(f"its visual tower does not match: {sorted(wrong)[:3]} missing or left over")
    found: State = {}
    for theirs, names in table.items():
        tensor, shape = state[theirs], own[names[0]]
        shape = shape[::-1] if theirs == "proj" else [len(names) * rows for rows in shape[:1]] + shape[1:]
        if list(tensor.shape) != shape:
            raise EncoderError(f"{theirs!r} has shape {list(tensor.shape)} where the tower has {shape}")
        tensor = tensor.T if theirs == "proj" else tensor
        found |= zip(names, tensor.chunk(3) if len(names) == 3 else (tensor,), strict=True)
    return found


def to_openai(state: State, geometry: Geometry) -> State:
    """The inverse of ``from_openai``."""
    theirs: State = {}
    for name, ours in _table(geometry).items():
        tensor = torch.cat([state[part] for part in ours]) if len(ours) == 3 else state[ours[0]]
        theirs[name] = tensor.T.contiguous() if name in _TRANSPOSED else tensor
    return theirs


def check_open_clip(settings: dict[str, Any], geometry: Geometry, path: Path) -> Geometry:
    """The sizes of an open_clip model whose ``open_clip_config.json`` agrees with its tensors.

    Tensors alone do not tell the activation (open_clip's own models have GELU, OpenAI's QuickGELU), the
    number of heads, or variants that compute something else with the same shapes.

    Args:
        settings: Content of the file.
        geometry: Read off the tensors.
        path: The file, for messages.

    Raises:
        EncoderError: The file describes other sizes than the tensors have, or an option unknown here.
    """
    model = settings.get("model_cfg")
    model = model if isinstance(model, dict) else {}
    parts: list[Any] = [model, model.get("vision_cfg"), model.get("text_cfg")]
    if not all(isinstance(part, dict) for part in parts):
        raise EncoderError(
            f"{path} has {sorted(settings)} and no model_cfg with vision_cfg and text_cfg; give a folder "
            "that open_clip wrote"
        )
    layers, head = geometry.vision_layers, geometry.head_width
    known: list[dict[str, Any]] = [
        {"embed_dim": geometry.dim},
        {
            "image_size": geometry.image_size,
            "layers": layers if isinstance(layers, int) else list(layers),
            "width": geometry.vision_width,
            "head_width": head,
            "patch_size": geometry.patch_size,
        },
        {
            "context_length": geometry.context,
            "vocab_size": geometry.vocabulary,
            "width": geometry.text_width,
            "heads": geometry.text_width // head,
            "layers": geometry.text_layers,
        },
    ]
    handled = {"quick_gelu", "vision_cfg", "text_cfg"}
    for given, expected in zip(parts, known, strict=True):
        for option, value in given.items():
            if option in handled or not value or value == expected.get(option):
                continue
            raise EncoderError(
                f"{path}: {option}={value!r} "
                + (
                    f"does not fit the weights, which have {expected[option]!r}; copy both from one source"
                    if option in expected
                    else f"is an option that is not read here (only {', '.join(expected)} are); use a plain "
                    "CLIP such as timm/resnet50_clip.openai, or the model in the layout of transformers"
                )
            )
    return replace(geometry, activation="quick_gelu" if model.get("quick_gelu") else "gelu")
