"""OpenAI's own CLIP weights (``ViT-B-16.pt``) in the names of `transformers`, and back.

Both layouts hold the same numbers under other names. Two things differ in form: OpenAI fuses the query, key
and value projections into one matrix, and keeps the two projections into the joint space transposed.
"""

import math

import torch
from torch import Tensor

from openfsar.encoders.geometry import EncoderError, Geometry

State = dict[str, Tensor]

_NAMES = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "visual.proj": "visual_projection.weight",
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
_NOT_WEIGHTS = {"input_resolution", "context_length", "vocab_size"}


def infer_geometry(state: State) -> Geometry:
    """The sizes of an OpenAI state dict, read off its tensors; attention heads are 64 wide in all of them.

    Raises:
        EncoderError: A tensor that every CLIP with two vision-transformer towers has is missing.
    """
    missing = _NAMES.keys() - state.keys()
    if missing:
        hint = (
            "CLIP's ResNets are not read here" if "visual.layer1.0.conv1.weight" in state else "is it a CLIP?"
        )
        raise EncoderError(
            f"not an OpenAI CLIP with two transformer towers, {sorted(missing)[0]!r} is missing; {hint}"
        )

    def layers(prefix: str) -> int:
        return len({name.removeprefix(prefix).split(".")[1] for name in state if name.startswith(prefix)})

    vision_width, _, patch_size, _ = state["visual.conv1.weight"].shape
    vocabulary, text_width = state["token_embedding.weight"].shape
    return Geometry(
        image_size=math.isqrt(len(state["visual.positional_embedding"]) - 1) * patch_size,
        patch_size=patch_size,
        dim=state["text_projection"].shape[1],
        vision_width=vision_width,
        vision_layers=layers(_VISION),
        text_width=text_width,
        text_layers=layers(_TEXT),
        context=len(state["positional_embedding"]),
        vocabulary=vocabulary,
    )


def _table(geometry: Geometry) -> dict[str, tuple[str, ...]]:
    """OpenAI's name of every tensor -> its name here, or the three names of a fused projection."""
    table: dict[str, tuple[str, ...]] = {theirs: (ours,) for theirs, ours in _NAMES.items()}
    towers = (_VISION, "vision_model", geometry.vision_layers), (_TEXT, "text_model", geometry.text_layers)
    for theirs, ours, layers in towers:
        for i in range(layers):
            old, new = f"{theirs}.{i}", f"{ours}.encoder.layers.{i}"
            for kind in ("weight", "bias"):
                table |= {f"{old}.{a}.{kind}": (f"{new}.{b}.{kind}",) for a, b in _LAYER_NAMES.items()}
                table[f"{old}.attn.in_proj_{kind}"] = tuple(f"{new}.self_attn.{x}_proj.{kind}" for x in "qkv")
    return table


def from_openai(state: State) -> tuple[State, Geometry]:
    """An OpenAI state dict -> the state dict of ``CLIPModel``, and its sizes. Numbers are not changed.

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


def to_openai(state: State, geometry: Geometry) -> State:
    """The inverse of ``from_openai``."""
    theirs: State = {}
    for name, ours in _table(geometry).items():
        tensor = torch.cat([state[part] for part in ours]) if len(ours) == 3 else state[ours[0]]
        theirs[name] = tensor.T.contiguous() if name in _TRANSPOSED else tensor
    return theirs
