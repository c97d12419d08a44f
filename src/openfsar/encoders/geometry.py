"""The sizes of a CLIP, and the one error of this package."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import CLIPConfig


RESNET_PATCH = 32
"""Pixels of the image, along a side, per row of the last feature map of CLIP's ResNets."""


class EncoderError(ValueError):
    """An encoder that cannot be had: what was asked for, what is wrong with it, what to try next."""


@dataclass(frozen=True)
class Geometry:
    """Everything that decides the tensor shapes of a CLIP, and its activation."""

    image_size: int
    patch_size: int
    """Of a ResNet ``RESNET_PATCH``."""
    dim: int
    """Width of the joint space of images and texts."""
    vision_width: int
    """Width of a transformer's tokens; of a ResNet the channels that leave its stem."""
    vision_layers: int | tuple[int, int, int, int]
    """Blocks of a transformer, or bottlenecks in each stage of a ResNet."""
    text_width: int
    text_layers: int
    context: int = 77
    """Longest text in tokens, start and end included."""
    vocabulary: int = 49408
    head_width: int = 64
    """Width of one attention head, the same in both towers."""
    activation: str = "quick_gelu"
    """Of the transformers, in the words of `transformers`; OpenAI's own models have this one."""

    def config(self) -> "CLIPConfig":
        """The same as a `transformers` configuration. Of a ResNet it knows the image size alone."""
        from transformers import CLIPConfig

        def tower(width: int, layers: int) -> dict[str, int | str]:
            heads = max(1, width // self.head_width)
            return {
                "hidden_size": width,
                "intermediate_size": 4 * width,
                "num_hidden_layers": layers,
                "num_attention_heads": heads,
                "hidden_act": self.activation,
                "projection_dim": self.dim,
            }

        end = self.vocabulary - 1  # OpenAI's order: all words, start, end
        ids = {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}
        text = {"max_position_embeddings": self.context, "vocab_size": self.vocabulary} | ids
        vision: dict[str, int | str] = {"image_size": self.image_size, "patch_size": self.patch_size}
        if isinstance(self.vision_layers, int):
            vision |= tower(self.vision_width, self.vision_layers)
        return CLIPConfig(
            projection_dim=self.dim,
            text_config=tower(self.text_width, self.text_layers) | text,
            vision_config=vision,
        )
