"""Published checkpoints of TRX: of its authors' code base, and of CLIP-MEI's and CLIP-SPM's, grown out of it.

Their ``model_state_dict`` holds, in float32,

    resnet.0, 1, 4, 5, 6, 7            torchvision's conv1, bn1, layer1 to layer4, by place in a sequence
    transformers.i.k_linear, norm_k    keys of the i-th cardinality
    transformers.i.v_linear            values; their bias cancels, see matchers/tuples.py
    transformers.i.norm_v              left aside: no step of the code takes it
    transformers.i.pe.pe               no parameters; must be the sinusoids of matchers/tuples.py

and pixels are those of 0..1 without statistics. Iteration, optimiser and scheduler are left aside too. The
file holds the whole tower, so what is saved of it later asks for no other weights.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openfsar.encoders.geometry import EncoderError
from openfsar.encoders.resnet import ResNetGeometry, from_torchvision, geometry_of, resnet_encoder
from openfsar.encoders.visual import VisualEncoder
from openfsar.encoders.weights import KNOWN
from openfsar.matchers.tuples import POSITION_WEIGHT, sinusoids
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import build

_PLACES = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_MAPS = {
    "k_linear.weight": "keys.weight",
    "k_linear.bias": "keys.bias",
    "norm_k.weight": "norm.weight",
    "norm_k.bias": "norm.bias",
    "v_linear.weight": "values.weight",
}
"""Of one cardinality -> of ``TupleMaps``."""
_ASIDE = {"v_linear.bias", "norm_v.weight", "norm_v.bias", "pe.pe"}


def read_trx(
    content: Mapping[str, Any], path: Path, encoder: str | VisualEncoder | None = None
) -> FewShotMethod | None:
    """The TRX of a file's content, in eval mode and float32; None where it is none.

    Raises:
        EncoderError: It is damaged, on a ResNet that is not known here, or an encoder is given.
    """
    state = content.get("model_state_dict")
    state = {str(name): x for name, x in state.items()} if isinstance(state, Mapping) else {}
    if "transformers.0.k_linear.weight" not in state or any(name.startswith("fr_enrich.") for name in state):
        return None  # the latter is STRM
    if encoder is not None:
        raise EncoderError("a TRX holds its own encoder; load it without encoder=...")
    heads = len({name.split(".")[1] for name in state if name.startswith("transformers.")})
    maps = {f"transformers.{i}.{part}": (i, part) for i in range(heads) for part in {*_MAPS, *_ASIDE}}
    tower = {name: _torchvision(name) for name in state if name.startswith("resnet.")}
    missing, left = sorted(maps.keys() - state.keys()), sorted(state.keys() - maps.keys() - tower.keys())
    foreign = sorted(name for name, x in state.items() if not isinstance(x, Tensor))
    for names, what in ((missing, "missing"), (left, "left over"), (foreign, "no tensors")):
        if names:
            raise EncoderError(f"this looks like a TRX, and {names[:3]} are {what}; copy the file again")
    trunk = _encoder({ours: state[name] for name, ours in tower.items()})
    key_width = state["transformers.0.norm_k.weight"].numel()
    sizes = [_frames(state, i, key_width, trunk.dim) for i in range(heads)]
    method = build("trx", trunk, sizes=sizes, key_width=key_width)
    own, read = method.state_dict(), {}
    for name, (i, part) in maps.items():
        if part == "pe.pe":
            _check_positions(name, state[name])
        if part in _ASIDE:
            continue
        place = f"matcher.attention.maps.{i}.{_MAPS[part]}"
        if own[place].shape != state[name].shape:
            raise EncoderError(
                f"{name!r} has shape {list(state[name].shape)}, and the maps beside it ask for "
                f"{list(own[place].shape)}; copy the file again"
            )
        read[place] = state[name]
    method.load_state_dict(read, strict=False)
    return method


def _frames(state: Mapping[str, Tensor], i: int, key_width: int, dim: int) -> int:
    """How many frames make a tuple of the i-th cardinality."""
    name = f"transformers.{i}.k_linear.weight"
    shape = list(state[name].shape)
    frames = shape[-1] // dim if shape else 0
    if not frames or shape != [key_width, frames * dim]:
        raise EncoderError(
            f"{name!r} has shape {shape}, and must have {key_width} rows and {dim} columns for each frame of "
            "a tuple; copy the file again"
        )
    return frames


def _check_positions(name: str, given: Tensor) -> None:
    expected = POSITION_WEIGHT * sinusoids(given.float())
    if not torch.allclose(given.float(), expected.expand_as(given), atol=1e-4):
        raise EncoderError(
            f"{name!r} is not {POSITION_WEIGHT} of the sinusoids that TRX adds to frames; give a file as its "
            "code base wrote it"
        )


def _torchvision(name: str) -> str:
    place, _, rest = name.removeprefix("resnet.").removeprefix("module.").partition(".")
    return f"{_PLACES.get(place, place)}.{rest}"


def _encoder(state: Mapping[str, Tensor]) -> VisualEncoder:
    """On pixels of 0..1, under the name of the known ResNet of these sizes."""
    found = geometry_of(state)
    for name, known in KNOWN.items():
        plan = known.geometry
        if isinstance(plan, ResNetGeometry) and replace(found, image_size=plan.image_size) == plan:
            about: dict[str, Any] = {"name": name, "pretrained": False, "image_size": plan.image_size}
            try:
                encoder = resnet_encoder(plan.config(), from_torchvision(state), **about)
            except EncoderError as error:
                raise EncoderError(f"{error}; copy the file again") from error
            encoder.set_statistics(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
            return encoder
    raise EncoderError(
        f"this TRX is on a ResNet with stages of {found.depths} blocks and {found.widths} channels; of "
        "ImageNet's ResNets only ResNet-50 is known here"
    )
