"""The plain adapter: down, GELU, up (Houlsby et al., 2019; with AIM's settings, Yang et al., 2023)."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders.adapters.slots import BlockContext, TokenAdapter


class Bottleneck(TokenAdapter):
    """``up(gelu(down(x)))``, plus ``x`` where ``skip``.

    Args:
        width: Feature width D of the tokens.
        ratio: Hidden width as a share of ``width``.
        skip: True where the output replaces the tokens (``before``), False where it is added (``beside``).
        zero: Whether ``up`` starts at zero, so that at first nothing is added. Otherwise its weights are
            random and the biases of both maps zero, as in M2-CLIP's text tower.
    """

    identity_at_init = True  # of an instance with zero=False it is False

    def __init__(self, width: int, *, ratio: float = 0.25, skip: bool = True, zero: bool = True) -> None:
        super().__init__()
        hidden = hidden_width(width, ratio)
        self.down, self.up, self.skip = nn.Linear(width, hidden), nn.Linear(hidden, width), skip
        self.identity_at_init = zero
        nn.init.zeros_(self.up.weight if zero else self.down.bias)
        nn.init.zeros_(self.up.bias)

    def forward(
        self, tokens: Float[Tensor, "*b D"], context: BlockContext | None = None
    ) -> Float[Tensor, "*b D"]:
        """Acts on each token alone and reads no context, so it also serves inside other adapters."""
        change = self.up(F.gelu(self.down(tokens)))
        return tokens + change if self.skip else change


def hidden_width(width: int, ratio: float) -> int:
    """The share ``ratio`` of ``width``, rounded.

    Raises:
        ValueError: Nothing is left of it.
    """
    hidden = round(width * ratio)
    if hidden < 1:
        raise ValueError(
            f"ratio {ratio} of width {width} leaves no hidden unit; use at least {1 / width:.3g}"
        )
    return hidden
