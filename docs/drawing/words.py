"""Drawings of what class names have to do with a decision."""

import torch
from drawing.board import BLUE, INK, ORANGE, VERMILLION, Board
from torch import Tensor, nn

from openfsar.methods.fusion import Mix, fuse
from openfsar.prototypes import Guidance, TextGuidance

EXAMPLES = torch.tensor([[0.55, 0.40, 0.05]])
"""What the examples say of a video: it pours or stirs."""
NAMES = torch.tensor([[0.10, 0.45, 0.45]])
"""What the class names say: it stirs or whisks."""
ACTIONS = ("pour", "stir", "whisk")


def fused() -> Board:
    """Probabilities of three actions from examples to names, by the product and by the sum."""
    board = Board(24.0, 9.6, cell=0.3)
    shares = torch.linspace(0, 1, 41)
    both = EXAMPLES.log().expand(41, 1, 3), NAMES.log().expand(41, 1, 3)
    mixes: tuple[Mix, Mix] = ("product", "sum")
    for column, mix in enumerate(mixes):
        x, y, wide, high = 1.6 + 11.6 * column, 1.8, 8.0, 6.0
        chances = fuse(*both, shares[:, None, None], mix)[:, 0].softmax(-1)
        board.text(
            x, 0.8, {"product": "product: both must agree", "sum": "sum: one is enough"}[mix], weight="bold"
        )
        for level in (0.0, 0.25, 0.5):
            board.line([x, x + wide], [y + high * (1 - level / 0.6)] * 2, alpha=0.15, linewidth=0.8)
            board.text(
                x - 0.3, y + high * (1 - level / 0.6), f"{level:.0%}", ha="right", fontsize=9, alpha=0.75
            )
        for name, colour, curve in zip(ACTIONS, (BLUE, ORANGE, VERMILLION), chances.T, strict=True):
            heights = y + high * (1 - curve / 0.6)
            board.line(x + wide * shares, heights, colour, linewidth=2.2)
            place, aside = {"pour": (32, 0.8), "stir": (20, -0.5), "whisk": (14, 0.8)}[name]
            board.text(
                x + wide * shares[place].item(),
                heights[place].item() + aside,
                name,
                color=colour,
                ha="center",
            )
        board.text(x, y + high + 0.7, "0: examples", fontsize=9, alpha=0.75, ha="left")
        board.text(x + wide, y + high + 0.7, "names: 1", fontsize=9, alpha=0.75, ha="right")
        board.text(x + wide / 2, y + high + 0.7, "text_share", fontsize=9, alpha=0.75, ha="center")
    return board


PLANE = torch.tensor([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]]) / 2**0.5
"""Two directions of zero mean, so that layer norm keeps a drawing in their plane."""


def plain_guidance(design: Guidance, *, pull: float = 0.3) -> TextGuidance:
    """A layer that hands on what it attends to, weighted by ``pull``, and adds nothing of its own."""
    layer = TextGuidance(4, guidance=design, heads=1)
    with torch.no_grad():
        layer.attention.in_proj_weight.copy_(torch.eye(4).repeat(3, 1))
        layer.attention.out_proj.weight.copy_(pull * torch.eye(4))
        nn.init.zeros_(layer.mlp[2].weight)
        nn.init.zeros_(layer.mlp[2].bias)
    return layer.eval()


def directions(*degrees: float) -> Tensor:
    """Unit features in the plane."""
    angle = torch.tensor(degrees).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], -1) @ PLANE


def guided() -> Board:
    """The same frames under two names, through the three designs of the prototype layer."""
    board = Board(24.0, 9.4, cell=0.3)
    frames = directions(20, 35, 50, 65)
    names = directions(0, 90)
    designs: tuple[Guidance, ...] = ("unimodal", "multimodal", "text-guided")
    for column, design in enumerate(designs):
        x, floor, unit = 1.0 + 8.0 * column, 7.4, 2.1
        board.text(x, 0.8, design, weight="bold")
        ends = plain_guidance(design)(frames.expand(2, -1, -1), names).detach()
        board.dots(*_placed(frames, x, floor, unit), INK, size=30, alpha=0.3)
        for text, moved, colour in zip(names, ends, (BLUE, ORANGE), strict=True):
            board.dots(*_placed(text[None], x, floor, unit), colour, "*", 170)
            (a,), (b,) = _placed(moved.mean(0, keepdim=True), x, floor, unit)
            board.line([x, a], [floor, b], colour, linewidth=2)
            board.dots(*_placed(moved, x, floor, unit), colour, size=30, alpha=0.8)
        cosine = torch.cosine_similarity(*ends.mean(1), dim=0).item()
        board.text(x, 8.5, f"cosine {cosine:.2f}", weight="bold")
    return board


def _placed(features: Tensor, x: float, floor: float, unit: float) -> tuple[list[float], list[float]]:
    right, up = (features @ PLANE.T).T
    return (x + unit * right).tolist(), (floor - unit * up).tolist()
