"""Where encoders come from: our short names, local folders, published files and the Hugging Face hub.

A folder, here or on the hub, has the layout of `transformers` or that of open_clip.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from openfsar.encoders.actionclip_files import split_actionclip
from openfsar.encoders.clip import CLIP_MEAN, CLIP_STD, ClipEncoder
from openfsar.encoders.clip_fsar_files import split_clip_fsar
from openfsar.encoders.clip_resnet import ClipResNet
from openfsar.encoders.files import DAMAGE, PICKLED, WEIGHTS, first_line, read_file, read_json, read_weights
from openfsar.encoders.geometry import RESNET_PATCH, EncoderError, Geometry
from openfsar.encoders.openai import check_open_clip, from_openai
from openfsar.encoders.resnet import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ResNetGeometry,
    geometry_of,
    is_torchvision,
    resnet_encoder,
)
from openfsar.encoders.tokens import byte_tokenizer, read_tokenizer
from openfsar.encoders.trainable import freeze
from openfsar.encoders.visual import VisualEncoder

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True)
class Checkpoint:
    """One known encoder."""

    hub: str | None
    """Where its weights live on the Hugging Face hub; None for a geometry without trained weights."""
    licence: str
    geometry: Geometry | ResNetGeometry


_Sizes = dict[str, Any]

_B: _Sizes = {"dim": 512, "vision_width": 768, "vision_layers": 12, "text_width": 512, "text_layers": 12}
_L: _Sizes = {"dim": 768, "vision_width": 1024, "vision_layers": 24, "text_width": 768, "text_layers": 12}
_RN50: _Sizes = _B | {"dim": 1024, "vision_width": 64, "vision_layers": (3, 4, 6, 3)}
_TINY: _Sizes = {"dim": 16, "vision_width": 32, "vision_layers": 2, "text_width": 32, "text_layers": 2}
_TINY_RESNET: _Sizes = _TINY | {"vision_width": 8, "vision_layers": (1, 1, 1, 1)}

KNOWN: dict[str, Checkpoint] = {
    "clip-vit-b-32": Checkpoint("openai/clip-vit-base-patch32", "MIT", Geometry(224, 32, **_B)),
    "clip-vit-b-16": Checkpoint("openai/clip-vit-base-patch16", "MIT", Geometry(224, 16, **_B)),
    "clip-vit-l-14": Checkpoint("openai/clip-vit-large-patch14", "MIT", Geometry(224, 14, **_L)),
    "clip-rn50": Checkpoint("timm/resnet50_clip.openai", "MIT", Geometry(224, RESNET_PATCH, **_RN50)),
    "resnet-50": Checkpoint("microsoft/resnet-50", "Apache-2.0", ResNetGeometry()),
    "tiny": Checkpoint(None, "Apache-2.0", Geometry(32, 8, **_TINY, vocabulary=258, head_width=16)),
    "tiny-resnet": Checkpoint(
        None, "Apache-2.0", Geometry(64, RESNET_PATCH, **_TINY_RESNET, vocabulary=258, head_width=16)
    ),
    "tiny-imagenet-resnet": Checkpoint(
        None, "Apache-2.0", ResNetGeometry(32, 8, (8, 16, 32, 64), (1, 1, 1, 1), "basic")
    ),
}

BUNDLED = {"toyclip": "toy/weights", "toyresnet": "toy/resnet_weights"}
"""Encoders that come with the package, and where in it."""

KINDS = ("clip", "siglip", "resnet")
"""What the ``model_type`` of an encoder's config.json may say."""
OPEN_CLIP, _OPEN_CLIP_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
"""The record of open_clip, in place of a config.json."""
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_SETTINGS = ["config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json", OPEN_CLIP]


def load_encoder(name: str, *, pretrained: bool = True, seed: int = 0) -> VisualEncoder:
    """The encoder of that name, in eval mode, float32, with every parameter frozen.

    Args:
        name: "toyclip" or "toyresnet", a key of ``KNOWN``, a local folder in the Hugging Face layout (CLIP,
            SigLIP or ResNet) or in that of open_clip (CLIP), an OpenAI ``.pt`` file or a published ActionCLIP
            (its CLIP alone) with a tokenizer.json beside it, a state dict of a ResNet with torchvision's
            names, or a hub name ("owner/model").
        pretrained: False builds the same geometry with random weights from ``seed`` and touches no network.

    Raises:
        EncoderError: No such encoder, no network for it, or files that do not make one.
    """
    known, path = KNOWN.get(name), Path(name)
    if known and not pretrained:
        plan = known.geometry
        if isinstance(plan, ResNetGeometry):
            size = plan.image_size
            return resnet_encoder(
                plan.config(), None, name=name, pretrained=False, image_size=size, seed=seed
            )
        stock = _stock(plan, None, seed)
        return _finish(stock, name, pretrained, byte_tokenizer())
    if known is None and path.is_file():
        return _from_file(path, name, pretrained, seed)
    if known is None and (path.is_dir() or name in BUNDLED):
        folder = Path(str(files("openfsar")), BUNDLED[name]) if name in BUNDLED else path
        return _from_folder(folder, name, pretrained, seed)
    hub = known.hub if known else name
    if hub is None or not _HUB_NAME.fullmatch(hub) or not pretrained:
        raise EncoderError(_unknown(name, pretrained))
    return _from_folder(_download(hub), name, pretrained, seed)


def _unknown(name: str, pretrained: bool) -> str:
    names = [*BUNDLED, *KNOWN]
    near = difflib.get_close_matches(name, names, n=1)
    without = "" if pretrained else " without pretrained weights (they need a known name or local files)"
    return (
        f"no encoder {name!r}{without}{f', did you mean {near[0]!r}?' if near and near[0] != name else ''}; "
        f"known are {', '.join(names)}; or give a local folder, an OpenAI .pt file or a hub name owner/model"
    )


def _download(hub: str) -> Path:
    """The local copy of a hub model, fetched where it is not there yet."""
    folder = _fetch(hub, _SETTINGS)  # first, because they tell which of several weights are wanted
    if _is_open_clip(folder):
        return _fetch(hub, [*_SETTINGS, _OPEN_CLIP_WEIGHTS])
    folder = _fetch(hub, _SETTINGS + WEIGHTS)
    return folder if any(folder.glob("*.safetensors")) else _fetch(hub, [*_SETTINGS, PICKLED])


def _fetch(hub: str, patterns: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub, allow_patterns=patterns))
    except Exception as error:  # the hub's client raises a dozen unrelated kinds
        raise EncoderError(
            f"cannot fetch {hub!r} from the Hugging Face hub ({first_line(error)}); "
            f"where there is a network run `hf download {hub}`, or copy the model here and give its folder; "
            "'toyclip' needs no network"
        ) from error


def _from_folder(folder: Path, name: str, pretrained: bool, seed: int) -> VisualEncoder:
    from transformers import AutoConfig

    if _is_open_clip(folder):
        return _from_open_clip(folder, name, pretrained, seed)
    settings = folder / "config.json"
    if not settings.is_file():
        raise EncoderError(
            f"{name!r}: {folder} holds no config.json; a folder in the Hugging Face layout has config.json, "
            f"model.safetensors and tokenizer.json, one in open_clip's layout {OPEN_CLIP}, "
            f"{_OPEN_CLIP_WEIGHTS} and tokenizer.json"
        )
    kind = read_json(settings).get("model_type")
    if kind not in KINDS:
        raise EncoderError(
            f"{settings} describes a model of type {kind!r}; only 'clip', 'siglip' and 'resnet' are "
            "encoders here"
        )
    config, weights = AutoConfig.from_pretrained(folder), read_weights(folder) if pretrained else None
    mean, std = _statistics(folder, kind)
    if kind == "resnet":
        size, about = _image_size(folder), {"name": name, "pretrained": pretrained}
        return resnet_encoder(config, weights, **about, image_size=size, mean=mean, std=std, seed=seed)
    stock = _stock(config, weights, seed, folder)
    tokenizer, pad = read_tokenizer(folder)
    return _finish(stock, name, pretrained, tokenizer, mean=mean, std=std, pad=pad)


def _is_open_clip(folder: Path) -> bool:
    """Whether only open_clip's files make an encoder; where there are both kinds the others are read."""
    stock = folder / "config.json"
    kind = read_json(stock).get("model_type") if stock.is_file() else None
    return (folder / OPEN_CLIP).is_file() and kind not in KINDS


def _from_open_clip(folder: Path, name: str, pretrained: bool, seed: int) -> ClipEncoder:
    path = folder / _OPEN_CLIP_WEIGHTS
    if not path.is_file():
        raise EncoderError(f"{folder} has {OPEN_CLIP} but no {_OPEN_CLIP_WEIGHTS}; copy the weights there")
    settings = read_json(folder / OPEN_CLIP)
    try:
        weights, geometry = from_openai(load_file(path))
    except DAMAGE as error:
        raise EncoderError(f"{path} is damaged ({first_line(error)}); copy it again") from error
    except EncoderError as error:
        raise EncoderError(f"{path}: {error}") from error
    geometry = check_open_clip(settings, geometry, folder / OPEN_CLIP)
    stock = _stock(geometry, weights if pretrained else None, seed, path)
    images = settings.get("preprocess_cfg") or {}
    mean, std = images.get("mean", CLIP_MEAN), images.get("std", CLIP_STD)
    tokenizer, pad = read_tokenizer(folder)
    return _finish(stock, name, pretrained, tokenizer, mean=mean, std=std, pad=pad)


def _from_file(path: Path, name: str, pretrained: bool, seed: int) -> VisualEncoder:
    content = read_file(path)
    if is_torchvision(content):
        weights = content if pretrained else None
        config = geometry_of(content).config()
        return resnet_encoder(config, weights, name=name, pretrained=pretrained, seed=seed)
    if split_clip_fsar(content) is not None:
        raise EncoderError(
            f"{path} is a CLIP-FSAR, whose visual tower stands there without a text tower; "
            "openfsar.load(file).encoder has both"
        )
    released = split_actionclip(content)
    return from_state(content if released is None else released.clip, path, name, pretrained, seed)


def from_state(
    state: dict[str, Tensor], path: Path, name: str, pretrained: bool = True, seed: int = 0
) -> ClipEncoder:
    """The encoder of an OpenAI state dict that came from ``path``, beside which its tokenizer lies.

    Raises:
        EncoderError: Tensors are missing or left over, or there is no tokenizer.
    """
    tokenizer, pad = read_tokenizer(path.parent)
    weights, geometry = from_openai(state)
    stock = _stock(geometry, weights if pretrained else None, seed, path)
    return _finish(stock, name, pretrained, tokenizer, pad=pad)


def _statistics(folder: Path, kind: str) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation per channel: the folder's own, or those the kind of model is known for."""
    path = folder / "preprocessor_config.json"
    own = read_json(path) if path.is_file() else {}
    usual = {"clip": (CLIP_MEAN, CLIP_STD), "resnet": (IMAGENET_MEAN, IMAGENET_STD)}
    mean, std = usual.get(kind, ((0.5,) * 3, (0.5,) * 3))
    return own.get("image_mean", mean), own.get("image_std", std)


def _image_size(folder: Path) -> int:
    """Side of the images a ResNet was trained on, in pixels, which its configuration does not say."""
    path = folder / "preprocessor_config.json"
    own = read_json(path) if path.is_file() else {}
    size = own.get("crop_size") or own.get("size") or 224
    return size if isinstance(size, int) else int(size.get("height") or size["shortest_edge"])


def _stock(
    plan: "PretrainedConfig | Geometry",
    weights: dict[str, Tensor] | None,
    seed: int,
    source: Path | None = None,
) -> Any:
    """The model with these weights, or with random ones off the global generator."""
    if weights is None:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return _build(plan)
    with torch.device("meta"):  # no time spent on random numbers that are replaced at once
        stock = _build(plan)
    try:
        stock.load_state_dict(
            {name: _single(tensor) for name, tensor in weights.items() if not name.endswith("position_ids")},
            assign=True,
        )
    except RuntimeError as error:
        raise EncoderError(
            f"the weights of {source} do not fit its configuration: {' '.join(str(error).split())[:300]}"
        ) from error
    resnet = isinstance(stock, ClipResNet)
    for tower in (stock.text_model,) if resnet else (stock.text_model, stock.vision_model):
        ids = tower.embeddings.position_ids  # the only buffers that are never saved
        tower.embeddings.position_ids = torch.arange(ids.shape[-1]).expand_as(ids)
    return stock


def _single(tensor: Tensor) -> Tensor:
    """In float32; integers are counters and stay."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _build(plan: "PretrainedConfig | Geometry") -> Any:
    """A `transformers` model, or what stands for one where there is none."""
    from transformers import AutoModel

    if isinstance(plan, Geometry):
        if isinstance(plan.vision_layers, tuple):
            return ClipResNet(plan)
        plan = plan.config()
    return AutoModel.from_config(plan, attn_implementation="sdpa", dtype=torch.float32)


def _finish(stock: Any, name: str, pretrained: bool, tokenizer: Any, **options: Any) -> ClipEncoder:
    return freeze(ClipEncoder(stock, tokenizer, name=name, pretrained=pretrained, **options)).eval()
