"""The two towers of CLIP and SigLIP: stock `transformers` modules in our own loop, which adapters can enter.

With empty slots both towers compute exactly what the stock model computes; only the order of calls is ours.
"""

from collections.abc import Collection
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from openfsar.encoders.adapters.slots import AdaptedBlock, BlockContext
from openfsar.encoders.visual import VisualTower


class ClassTokenHead(nn.Module):
    """CLIP: the class token, normed and projected into the joint space."""

    def __init__(self, norm: nn.Module, projection: nn.Module) -> None:
        super().__init__()
        self.norm, self.projection = norm, projection

    def forward(self, tokens: Float[Tensor, "B T X _"]) -> Float[Tensor, "B T D"]:
        return self.projection(self.norm(tokens[:, :, 0]))


class AttentionHead(nn.Module):
    """SigLIP: a learned query attends over all tokens of a frame; its output is the joint space."""

    def __init__(self, norm: nn.Module, pool: nn.Module) -> None:
        super().__init__()
        self.norm, self.pool = norm, pool

    def forward(self, tokens: Float[Tensor, "B T X D"]) -> Float[Tensor, "B T D"]:
        return self.pool(self.norm(tokens).flatten(0, 1)).unflatten(0, tokens.shape[:2])


class VisionTower(VisualTower):
    """Normalised pixels to one vector per frame.

    Args:
        stock: ``CLIPModel`` or ``SiglipModel``; its vision modules are taken over, not copied.
    """

    def __init__(self, stock: Any) -> None:
        super().__init__()
        model, config = stock.vision_model, stock.config.vision_config
        clip = stock.config.model_type == "clip"
        side = config.image_size // config.patch_size
        self.width: int = config.hidden_size
        self.grid = (side, side)
        self.class_tokens = int(clip)
        self.embeddings = model.embeddings
        self.pre_norm = model.pre_layrnorm if clip else nn.Identity()
        self.blocks = nn.ModuleList(AdaptedBlock(layer) for layer in model.encoder.layers)
        self.head = (
            ClassTokenHead(model.post_layernorm, stock.visual_projection)
            if clip
            else AttentionHead(model.post_layernorm, model.head)
        )
        self.widths = (self.width,) * 4

    @property
    def pooling(self) -> nn.Module:
        """What a head has beside the norm."""
        return self.head.projection if isinstance(self.head, ClassTokenHead) else self.head.pool

    def after(
        self,
        depths: Collection[int],
        pixels: Float[Tensor, "B T C H W"],
        text: Float[Tensor, "B _"] | None = None,
    ) -> dict[int, Float[Tensor, "B T X D"]]:
        """All tokens after each of these numbers of blocks, before the final norm; class token first."""
        x = self.pre_norm(self.embeddings(pixels.flatten(0, 1))).unflatten(0, pixels.shape[:2])
        context, found = BlockContext(text, self.grid, self.class_tokens), {}
        for depth, block in enumerate(self.blocks, 1):
            x = checkpoint(block, x, context, use_reentrant=False) if self.recomputes else block(x, context)
            if depth in depths:
                found[depth] = x
        return found

    def tokens(
        self, pixels: Float[Tensor, "B T C H W"], text: Float[Tensor, "B _"] | None = None
    ) -> Float[Tensor, "B T X D"]:
        """All tokens after the last block, before the final norm; CLIP's class token comes first."""
        return self.after({len(self.blocks)}, pixels, text)[len(self.blocks)]

    def maps(self, pixels: Float[Tensor, "B T C H W"]) -> tuple[Float[Tensor, "B T _ _ _"], ...]:
        depths = [-(-quarter * len(self.blocks) // 4) for quarter in (1, 2, 3, 4)]
        found = self.after(depths, pixels)
        levels = [*(found[depth] for depth in depths[:-1]), self.head.norm(found[depths[-1]])]
        return tuple(x[:, :, self.class_tokens :].mT.unflatten(-1, self.grid) for x in levels)

    def forward(
        self, pixels: Float[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """One vector per frame in the joint space, not normalised. ``text`` is for adapters that read it."""
        return self.head(self.tokens(pixels, text))


class TextTower(nn.Module):
    """Token ids to one vector per text, with gradients where parameters ask for them.

    Args:
        stock: ``CLIPModel`` or ``SiglipModel``; its text modules are taken over, not copied.
        end: Id of the token that ends a text. CLIP pools there; the id comes from the tokenizer, because
            configurations of old checkpoints carry a wrong one.
    """

    def __init__(self, stock: Any, *, end: int) -> None:
        super().__init__()
        model, config = stock.text_model, stock.config.text_config
        self.causal = stock.config.model_type == "clip"
        self.end = end
        self.width: int = config.hidden_size
        self.context: int = config.max_position_embeddings
        self.vocabulary: int = config.vocab_size
        self.embeddings = model.embeddings
        self.blocks = nn.ModuleList(AdaptedBlock(layer) for layer in model.encoder.layers)
        self.norm = model.final_layer_norm
        self.projection = stock.text_projection if self.causal else model.head

    def unnormed(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        """Every token after the last block, before the final norm."""
        x, mask = self.embeddings(input_ids=ids), None
        if self.causal:
            length = ids.shape[1]
            mask = torch.ones(1, 1, length, length, dtype=torch.bool, device=ids.device).tril()
        for block in self.blocks:
            x = block(x, BlockContext(mask=mask))
        return x

    def tokens(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B L D"]:
        """Every token after the last block and the final norm, before the projection."""
        return self.norm(self.unnormed(ids))

    def forward(self, ids: Int[Tensor, "B L"]) -> Float[Tensor, "B D"]:
        """Pooled and projected, not normalised: CLIP at the first end token, SigLIP at the last position."""
        x = self.tokens(ids)
        place = (ids == self.end).int().argmax(1) if self.causal else torch.full_like(ids[:, 0], -1)
        return self.projection(x[torch.arange(len(x), device=x.device), place])
