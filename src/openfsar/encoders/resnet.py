"""ImageNet's ResNet: frames to the mean of the last feature map, and the four maps on the way there.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, arXiv 1512.03385; the stride of a
bottleneck lies in its 3x3 convolution, as in torchvision. The tower is that of `transformers`, with one thing
changed: batch statistics stay those of the pre-training (see norms.py).

It reads folders in the layout of microsoft/resnet-50 and state dicts with torchvision's names.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from openfsar.encoders.geometry import EncoderError
from openfsar.encoders.norms import FixedNorm
from openfsar.encoders.trainable import freeze
from openfsar.encoders.visual import VisualEncoder, VisualTower

if TYPE_CHECKING:
    from transformers import PretrainedConfig, ResNetConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Statistics of ImageNet's images, per colour channel on the scale 0..1."""

_PARTS = re.compile(r"layer([1-4])\.(\d+)\.(conv|bn|downsample\.)(\d)\.(\w+)")


@dataclass(frozen=True)
class ResNetGeometry:
    """Everything that decides the tensor shapes of a ResNet; the defaults are ResNet-50's."""

    image_size: int = 224
    stem: int = 64
    """Channels that leave the stem."""
    widths: tuple[int, ...] = (256, 512, 1024, 2048)
    """Channels that leave each of the four stages."""
    depths: tuple[int, ...] = (3, 4, 6, 3)
    """Blocks of each stage."""
    block: Literal["bottleneck", "basic"] = "bottleneck"

    def config(self) -> "ResNetConfig":
        """The same as a `transformers` configuration."""
        from transformers import ResNetConfig

        return ResNetConfig(
            embedding_size=self.stem,
            hidden_sizes=list(self.widths),
            depths=list(self.depths),
            layer_type=self.block,
        )


class ResNetTower(VisualTower):
    """Normalised pixels to the spatial mean of the deepest map.

    Args:
        stock: ``ResNetModel`` of `transformers`; its modules are taken over.

    Raises:
        EncoderError: It has not four stages.
    """

    def __init__(self, stock: Any) -> None:
        super().__init__()
        self.widths = tuple(stock.config.hidden_sizes)
        if len(self.widths) != 4:
            raise EncoderError(f"a ResNet has four stages here, got hidden_sizes={list(self.widths)}")
        self.stem = stock.embedder
        self.stages = stock.encoder.stages
        _fix_statistics(self)

    def maps(self, pixels: Float[Tensor, "B T C H W"]) -> tuple[Float[Tensor, "B T _ _ _"], ...]:
        x, found = self.stem(pixels.flatten(0, 1)), []
        for stage in self.stages:
            for block in stage.layers:
                x = checkpoint(block, x, use_reentrant=False) if self.recomputes else block(x)
            found.append(x.unflatten(0, pixels.shape[:2]))
        return tuple(found)

    def forward(
        self, pixels: Float[Tensor, "B T C H W"], text: Float[Tensor, "B _"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """The mean over rows and columns of the deepest map. No adapter is here to read ``text``."""
        return self.maps(pixels)[-1].mean((-2, -1))


def resnet_encoder(
    config: "PretrainedConfig",
    weights: Mapping[str, Tensor] | None,
    *,
    name: str,
    pretrained: bool,
    image_size: int = 224,
    mean: Sequence[float] = IMAGENET_MEAN,
    std: Sequence[float] = IMAGENET_STD,
    seed: int = 0,
) -> VisualEncoder:
    """The encoder of a ``ResNetConfig`` with these weights, or with random ones.

    They are named as `transformers` or torchvision does; a classifier on top of them is dropped.

    Raises:
        EncoderError: The weights do not fit the configuration.
    """
    from transformers import ResNetModel

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        stock = ResNetModel(config)  # pyright: ignore[reportArgumentType]  (read by its model_type)
    if weights is not None:
        state = from_torchvision(weights) if is_torchvision(weights) else _headless(weights)
        try:
            stock.load_state_dict({key: _single(tensor) for key, tensor in state.items()})
        except RuntimeError as error:
            raise EncoderError(
                f"the weights of {name!r} do not fit its configuration: {' '.join(str(error).split())[:300]}"
            ) from error
    tower = ResNetTower(stock)
    encoder = VisualEncoder(
        tower,
        name=name,
        pretrained=pretrained,
        image_size=image_size,
        dim=tower.widths[-1],
        mean=mean,
        std=std,
    )
    return freeze(encoder).eval()


def is_torchvision(state: Mapping[str, Any]) -> bool:
    """Whether the tensors bear the names of torchvision's ResNets (CLIP's own have three stem layers)."""
    return "conv1.weight" in state and "layer4.0.conv1.weight" in state and "conv3.weight" not in state


def geometry_of(state: Mapping[str, Tensor]) -> ResNetGeometry:
    """The ResNet that a state dict with torchvision's names belongs to; images of 224 pixels.

    Raises:
        EncoderError: It is none.
    """
    found = [match.groups() for match in map(_PARTS.fullmatch, state) if match]
    depths = [1 + max((int(i) for stage, i, *_ in found if stage == str(s)), default=-1) for s in range(1, 5)]
    last = "bn3" if "layer1.0.bn3.weight" in state else "bn2"
    try:
        widths = tuple(len(state[f"layer{stage}.0.{last}.weight"]) for stage in range(1, 5))
        stem = len(state["conv1.weight"])
    except KeyError as error:
        raise EncoderError(
            f"this ResNet with torchvision's names lacks {error.args[0]}; copy the file again"
        ) from error
    return ResNetGeometry(224, stem, widths, tuple(depths), "bottleneck" if last == "bn3" else "basic")


def from_torchvision(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under the names of `transformers`, without the classifier."""
    return {_renamed(key): tensor for key, tensor in state.items() if not key.startswith("fc.")}


def _renamed(key: str) -> str:
    match = _PARTS.fullmatch(key)
    if match is None:
        stem = {"conv1": "convolution", "bn1": "normalization"}
        part, _, leaf = key.partition(".")
        return f"embedder.embedder.{stem.get(part, part)}.{leaf}"
    stage, block, kind, number, leaf = match.groups()
    place = f"encoder.stages.{int(stage) - 1}.layers.{block}"
    if kind == "downsample.":
        return f"{place}.shortcut.{('convolution', 'normalization')[int(number)]}.{leaf}"
    part = "convolution" if kind == "conv" else "normalization"
    return f"{place}.layer.{int(number) - 1}.{part}.{leaf}"


def _headless(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A model's tensors without prefix, be they those of an image classifier or of the model alone."""
    return {
        key.removeprefix("resnet."): tensor
        for key, tensor in state.items()
        if not key.startswith("classifier.")
    }


def _single(tensor: Tensor) -> Tensor:
    """In float32; integers are counters and stay."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _fix_statistics(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            fixed = FixedNorm(child.num_features, eps=child.eps)
            fixed.load_state_dict(child.state_dict())
            setattr(module, name, fixed)
        else:
            _fix_statistics(child)
