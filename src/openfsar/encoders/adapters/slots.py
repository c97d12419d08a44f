"""The three places of a transformer block where an adapter may enter, and the block that owns them.

    x ── before ──┬─────────── + ──┬──────────── + ── y
                  └─ attention ┘   ├─ LN ─ MLP ──┤
                  └── around ──┘   └─ LN ─ beside ┘

``before`` rewrites the tokens; ``around`` replaces the attention step and is handed the frozen attention as
a callable, so it may run it along time or over extra tokens; ``beside`` adds to the MLP and reads the same
normed tokens. With three empty slots a block computes what the stock layer computes.

Vision tokens are ``(B, T, X, D)``: an adapter sees videos and frames as axes, nothing is folded away. Text
tokens are ``(B, X, D)``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor, nn

Attend = Callable[[Tensor], Tensor]
"""The frozen ``attention(layer_norm(tokens))`` over the last but one axis, without the residual."""


@dataclass(frozen=True, eq=False)
class BlockContext:
    """What every block of one tower pass knows besides its tokens."""

    text: Float[Tensor, "B D"] | None = None
    """Feature of each video's class name, where the system gives one (joint width, not token width)."""

    grid: tuple[int, int] = (0, 0)
    """Rows and columns of the patch tokens; (0, 0) in a text tower."""

    class_tokens: int = 0
    """Tokens in front of the patches: 1 for CLIP, 0 for SigLIP."""

    mask: Bool[Tensor, "1 1 L L"] | None = None
    """Which token may look at which, True where it may; None for all."""


class Adapter(nn.Module, ABC):
    """Base of everything that fills a slot."""

    identity_at_init: bool
    """Whether a tower with freshly made adapters of this kind still equals the frozen tower."""


class TokenAdapter(Adapter):
    """Fills ``before`` (returns the new tokens) or ``beside`` (returns what is added)."""

    @abstractmethod
    def forward(self, tokens: Float[Tensor, "*b X D"], context: BlockContext) -> Float[Tensor, "*b X D"]: ...


class AroundAdapter(Adapter):
    """Fills ``around``: does the whole attention step, which is ``x + attend(x)`` where the slot is empty."""

    @abstractmethod
    def forward(
        self, tokens: Float[Tensor, "*b X D"], attend: Attend, context: BlockContext
    ) -> Float[Tensor, "*b X D"]: ...


class AfterAttention(AroundAdapter):
    """The plain attention step followed by a token adapter: the place before the MLP and its layer norm."""

    identity_at_init = True  # adds nothing of its own; the adapter it holds declares itself

    def __init__(self, adapter: TokenAdapter) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(
        self, tokens: Float[Tensor, "*b X D"], attend: Attend, context: BlockContext
    ) -> Float[Tensor, "*b X D"]:
        return self.adapter(tokens + attend(tokens), context)


class AdaptedBlock(nn.Module):
    """A stock layer (layer_norm1, self_attn, layer_norm2, mlp) with the three slots, empty at first.

    Fill a slot by assignment: ``block.beside = Bottleneck(width, skip=False)``; empty it with None.
    """

    layer: Any
    before: TokenAdapter | None
    around: AroundAdapter | None
    beside: TokenAdapter | None

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        for slot in ("before", "around", "beside"):
            self.register_module(slot, None)

    def forward(self, tokens: Float[Tensor, "*b X D"], context: BlockContext) -> Float[Tensor, "*b X D"]:
        def attend(x: Float[Tensor, "*b X D"]) -> Float[Tensor, "*b X D"]:
            folded = self.layer.layer_norm1(x).flatten(0, -3)  # stock attention takes one batch axis; a view
            return self.layer.self_attn(folded, attention_mask=context.mask)[0].view_as(x)

        if self.before is not None:
            tokens = self.before(tokens, context)
        tokens = tokens + attend(tokens) if self.around is None else self.around(tokens, attend, context)
        normed = self.layer.layer_norm2(tokens)
        output = tokens + self.layer.mlp(normed)
        return output if self.beside is None else output + self.beside(normed, context)
