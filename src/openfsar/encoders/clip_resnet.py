"""CLIP's modified ResNet: pixels to one vector per frame in the joint space.

Radford et al. 2021, Learning Transferable Visual Models From Natural Language Supervision, section 2.4
(https://arxiv.org/abs/2103.00020). Against an ImageNet ResNet three things differ: the stem has three 3x3
convolutions instead of one of 7x7; no convolution of a bottleneck has a stride, an average pool goes before
the last one and before the shortcut's; attention pooling ends it, and the mean over all positions asks.

`transformers` has no such tower. Parameters bear OpenAI's names, so its weights fit without a mapping. There
are no blocks and no slots for adapters: the published way to use it is to train all of it.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from openfsar.encoders.geometry import RESNET_PATCH, EncoderError, Geometry
from openfsar.encoders.norms import StageNorm, recomputing
from openfsar.encoders.visual import VisualTower

_EXPANSION = 4
"""Channels that leave a bottleneck per channel inside it."""


class ResidualBottleneck(nn.Module):
    """1x1, 3x3, average pool, 1x1, each convolution normed, beside a shortcut that is pooled as well."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = _EXPANSION * width
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 1, bias=False), StageNorm(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), StageNorm(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), StageNorm(out)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample = (
            nn.Sequential(nn.Conv2d(channels, out, 1, bias=False), StageNorm(out))
            if stride > 1 or channels != out
            else None
        )

    def forward(self, x: Float[Tensor, "_ _ H W"]) -> Float[Tensor, "_ _ _ _"]:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(self.pool(y)))
        return F.relu(y + (x if self.downsample is None else self.downsample(self.pool(x))))


class AttentionPool(nn.Module):
    """The mean over all positions attends once over itself and them; its answer is the joint space.

    Args:
        positions: Positions of the feature map; the mean comes on top, first.
        width: Channels of the feature map.
        dim: Width of the joint space.
        heads: Attention heads; they divide ``width``.
    """

    def __init__(self, positions: int, width: int, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(positions + 1, width) / width**0.5)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, dim)

    def forward(self, x: Float[Tensor, "_ _ H W"]) -> Float[Tensor, "_ D"]:
        x = x.flatten(2).mT
        x = torch.cat([x.mean(1, keepdim=True), x], 1) + self.positional_embedding

        def split(y: Tensor) -> Tensor:
            return y.unflatten(-1, (self.heads, -1)).transpose(1, 2)

        q, k, v = split(self.q_proj(x[:, :1])), split(self.k_proj(x)), split(self.v_proj(x))
        return self.c_proj(F.scaled_dot_product_attention(q, k, v).flatten(1))


class ModifiedResNet(VisualTower):
    """Normalised pixels to one vector per frame; stands where a ``VisionTower`` stands.

    Args:
        geometry: Of a CLIP whose ``vision_layers`` are the bottlenecks of four stages.

    Raises:
        EncoderError: The geometry is that of a transformer, or its image is not a multiple of 32 pixels.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        layers, side = geometry.vision_layers, geometry.image_size // RESNET_PATCH
        if not isinstance(layers, tuple) or side * RESNET_PATCH != geometry.image_size:
            raise EncoderError(
                f"a ResNet needs vision_layers=(a, b, c, d) and an image_size that {RESNET_PATCH} divides, "
                f"got {layers} and {geometry.image_size}; CLIP's RN50 has (3, 4, 6, 3) and 224"
            )
        width = geometry.vision_width
        self.width = RESNET_PATCH * width
        """Channels of the last feature map."""
        self.grid = (side, side)
        self.class_tokens = 0
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = StageNorm(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = StageNorm(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = StageNorm(width)
        self.layer1 = _stage(width, width, layers[0], stride=1)
        self.layer2 = _stage(4 * width, 2 * width, layers[1], stride=2)
        self.layer3 = _stage(8 * width, 4 * width, layers[2], stride=2)
        self.layer4 = _stage(16 * width, 8 * width, layers[3], stride=2)
        heads = max(1, self.width // geometry.head_width)
        self.attnpool = AttentionPool(side * side, self.width, geometry.dim, heads)
        self.widths = tuple(4 * width * 2**stage for stage in range(4))

    def stem(self, x: Float[Tensor, "_ C H W"]) -> Float[Tensor, "_ D _ _"]:
        """A quarter of the image's rows and columns."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.avg_pool2d(F.relu(self.bn3(self.conv3(x))), 2)

    @property
    def pooling(self) -> nn.Module:
        """The attention pooling."""
        return self.attnpool

    def maps(self, pixels: Float[Tensor, "B T C H W"]) -> tuple[Float[Tensor, "B T _ _ _"], ...]:
        x, found = pixels.flatten(0, 1), []
        for stage in (self.stem, self.layer1, self.layer2, self.layer3, self.layer4):
            x = (
                checkpoint(stage, x, use_reentrant=False, context_fn=self._contexts)
                if self.recomputes
                else stage(x)
            )
            found.append(x.unflatten(0, pixels.shape[:2]))
        return tuple(found[1:])

    def forward(
        self, pixels: Float[Tensor, "B T C H W"], text: Float[Tensor, "B _"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """One vector per frame in the joint space, not normalised. No adapter is here to read ``text``."""
        return self.attnpool(self.maps(pixels)[-1].flatten(0, 1)).unflatten(0, pixels.shape[:2])

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """For the first pass through a stage and for the second."""
        return nullcontext(), recomputing(self)


def _stage(channels: int, width: int, blocks: int, *, stride: int) -> nn.Sequential:
    rest = (ResidualBottleneck(_EXPANSION * width, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(ResidualBottleneck(channels, width, stride), *rest)


class ClipResNet(nn.Module):
    """Stands where ``CLIPModel`` stands for a CLIP that sees with a ResNet; its text modules are stock."""

    def __init__(self, geometry: Geometry) -> None:
        from transformers import CLIPTextModelWithProjection

        super().__init__()
        self.config: Any = geometry.config()
        text = CLIPTextModelWithProjection._from_config(
            self.config.text_config, attn_implementation="sdpa", dtype=torch.float32
        )
        self.text_model: Any = text.text_model
        self.text_projection = text.text_projection
        self.visual = ModifiedResNet(geometry)
        self.logit_scale = nn.Parameter(torch.tensor(self.config.logit_scale_init_value))
