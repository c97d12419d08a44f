"""The plain adapter: down, GELU, up (Houlsby et al., 2019; with AIM's settings, Yang et al., 2023)."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders.adapters.slots import BlockContext, TokenAdapter


class Bottleneck(TokenAdapter):
    """``up(gelu(down(x)))``, plus ``x`` where ``skip``. ``up`` starts at zero, so at first it adds nothing.

    Args:
        width: Feature width D of the tokens.
        ratio: Hidden width as a share of ``width``.
        skip: True where the output replaces the tokens (``before``), False where it is added (``beside``).
    """

    identity_at_init = True

    def __init__(self, width: int, *, ratio: float = 0.25, skip: bool = True) -> None:
        super().__init__()
        hidden = round(width * ratio)
        if hidden < 1:
            raise ValueError(
                f"ratio {ratio} of width {width} leaves no hidden unit; use at least {1 / width:.3g}"
            )
        self.down, self.up, self.skip = nn.Linear(width, hidden), nn.Linear(hidden, width), skip
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(
        self, tokens: Float[Tensor, "*b D"], context: BlockContext | None = None
    ) -> Float[Tensor, "*b D"]:
        """Acts on each token alone and reads no context, so it also serves inside other adapters."""
        change = self.up(F.gelu(self.down(tokens)))
        return tokens + change if self.skip else change
