"""SloshNet's searched fusion of feature maps (Xing et al., AAAI 2023, arXiv 2301.07944).

All levels of a tower are brought to the width and the grid of the deepest, f_0 .. f_3, and meet in a cell of
four nodes, each of which takes its own level and the states of all nodes before it:

    s_0 = f_0        s_k = sum over j < k of  sum over o of  w_jko o(s_j, f_k)        six edges j -> k
    gp1(s, f) = f + sigmoid(GAP(f)) s     gp2(s, f) = s + sigmoid(GAP(s)) f     sum(s, f) = s + f
    out = b_0 s_0 + .. + b_3 s_3 + b_4 f_3

GAP is the mean over the positions of one frame, one number per channel. While the cell is searched w is a
softmax of learnt numbers on every edge; afterwards one operation is left on each. b is a softmax of learnt
numbers before and after: a sum of what exists anyway, nothing to choose from. With ``sum`` on every edge
s_1 = f_0 + f_1, s_2 = 2 f_0 + f_1 + 2 f_2 and s_3 = 4 f_0 + 2 f_1 + 2 f_2 + 3 f_3.

Every operation is s times a number per channel plus f times another one, so an edge costs one product however
many operations are mixed, and a searched cell costs what a fixed one does. The published code computes all
operations and skips those of a weight up to 0.01; there is nothing to skip here.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders.norms import StageNorm

OPERATIONS = ("gp1", "gp2", "sum")
"""What an edge may do, in the order of its weights."""


def edges(nodes: int) -> list[tuple[int, int]]:
    """Every edge as (from, to), in the order of the weights: by where it ends, then by where it begins."""
    return [(earlier, later) for later in range(1, nodes) for earlier in range(later)]


class Alignment(nn.Module):
    """Maps of several levels to one width and one grid.

    A level that is 1/2^n as wide as the deepest one passes n stages of ReLU, batch norm and 3x3 convolution,
    each of which halves rows and columns and doubles the channels: one for each stage of a ResNet that lies
    between. So n follows from the widths, and levels of one width, as those of a transformer, need none. Rows
    and columns are halved upwards, 7 to 4 and 1 to 1, as a ResNet's own strides do; where a tower rounds
    otherwise the mean over neighbours closes the gap.

    The published width is the deepest level's own: 67 million parameters for a ResNet-50, twice as many as
    its own. A smaller ``width`` puts a batch norm and a 1x1 convolution in front of every level, down to
    ``width / 2^n``, from where the same stages lead to ``width``. The norm is there because the levels of a
    transformer differ in scale from channel to channel by orders of magnitude.

    Args:
        widths: Channels of the levels, shallow to deep.
        width: Channels of what comes out; 0 is the deepest level's.

    Raises:
        ValueError: The deepest level is not 1, 2, 4 .. times as wide as another one, or ``width`` cannot be
            halved as often as that takes.
    """

    def __init__(self, widths: Sequence[int], *, width: int = 0) -> None:
        super().__init__()
        self.width = width or widths[-1]
        if width < 0:
            raise ValueError(f"option {width=} must be a number of channels, or 0 for the deepest level's")
        stages = [math.log2(widths[-1] / own) for own in widths]
        if any(n < 0 or n != int(n) for n in stages):
            raise ValueError(
                f"levels of {list(widths)} channels cannot be aligned: the deepest must be 1, 2, 4, 8 .. "
                "times as wide as each of the others"
            )
        most = 2 ** int(max(stages))
        if self.width % most:
            raise ValueError(f"option width={self.width} must be a multiple of {most}, or 0")
        self.levels = nn.ModuleList(
            _aligned(own, self.width, int(n)) for own, n in zip(widths, stages, strict=True)
        )

    def forward(self, maps: tuple[Float[Tensor, "B T _ _ _"], ...]) -> tuple[Float[Tensor, "B T D H W"], ...]:
        videos = maps[-1].shape[:2]
        aligned = [level(x.flatten(0, 1)) for level, x in zip(self.levels, maps, strict=True)]
        grid = aligned[-1].shape[-2:]
        fitting = [x if x.shape[-2:] == grid else F.adaptive_avg_pool2d(x, grid) for x in aligned]
        return tuple(x.unflatten(0, videos) for x in fitting)


def _aligned(own: int, width: int, stages: int) -> nn.Sequential:
    start = width >> stages
    layers: list[nn.Module] = []
    if own != start:
        layers += [StageNorm(own), nn.Conv2d(own, start, 1, bias=False)]
    for channels in (start << stage for stage in range(stages)):
        down = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False)
        layers += [nn.ReLU(), StageNorm(channels), down]
    return nn.Sequential(*layers)


class FusionCell(nn.Module):
    """Aligned levels to one map, by a cell that is searched or fixed.

    Args:
        nodes: Number of levels.
        operations: One of ``OPERATIONS`` for each of ``edges(nodes)``: a fixed cell. None is a cell to be
            searched, whose operations start almost equal.
        mix: Where the weights of the output start, the states first and the deepest level last; they are
            divided by their sum. None is 0.6 for the deepest level and the rest shared evenly.

    Raises:
        ValueError: ``operations`` or ``mix`` is of the wrong length or has an impossible entry.
    """

    choice: Tensor

    def __init__(
        self,
        nodes: int = 4,
        *,
        operations: Sequence[str] | None = None,
        mix: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.edges = edges(nodes)
        mix = mix or [*[0.4 / nodes] * nodes, 0.6]
        if len(mix) != nodes + 1 or not all(0 < share < math.inf for share in mix):
            raise ValueError(
                f"option mix={list(mix)} must be {nodes + 1} positive numbers: the weights of {nodes} states "
                "and of the deepest level in the output"
            )
        self.searched = operations is None
        if operations is None:
            self.alphas = nn.Parameter(1e-3 * torch.randn(len(self.edges), len(OPERATIONS)))
        else:
            self.register_buffer("choice", _one_hot(operations, self.edges), persistent=False)
        logits = torch.tensor(mix).log()
        # Weight decay draws these towards zero, and without their mean there is least to draw.
        self.mix = nn.Parameter(logits - logits.mean())

    def operation_weights(self) -> Float[Tensor, "_ _"]:
        """Edges by operations; rows sum to one."""
        return self.alphas.softmax(-1) if self.searched else self.choice

    def chosen(self) -> list[str]:
        """The heaviest operation of each edge: what is left of a cell that was searched."""
        return [OPERATIONS[number] for number in self.operation_weights().argmax(-1).tolist()]

    def forward(self, levels: tuple[Float[Tensor, "B T D H W"], ...]) -> Float[Tensor, "B T D H W"]:
        dtype = levels[0].dtype
        by_node = self.operation_weights().to(dtype).split(list(range(1, len(levels))))
        states, gates = [levels[0]], [_gate(levels[0])]
        for weights, level in zip(by_node, levels[1:], strict=True):
            gate, state, on_level = _gate(level), 0.0, 0.0
            for (gp1, gp2, plain), earlier, earlier_gate in zip(weights, states, gates, strict=True):
                state = state + (gp1 * gate + gp2 + plain) * earlier
                on_level = on_level + (gp1 + gp2 * earlier_gate + plain)
            states.append(state + on_level * level)
            gates.append(_gate(states[-1]))
        *shares, deepest = self.mix.softmax(-1).to(dtype)
        return sum((share * x for share, x in zip(shares, states, strict=True)), deepest * levels[-1])


def _gate(x: Float[Tensor, "B T D H W"]) -> Float[Tensor, "B T D 1 1"]:
    return x.mean((-2, -1), keepdim=True).sigmoid()


def _one_hot(operations: Sequence[str], between: Sequence[tuple[int, int]]) -> Float[Tensor, "_ _"]:
    if len(operations) != len(between):
        raise ValueError(
            f"option cell={list(operations)} must name an operation for each of the {len(between)} edges "
            f"{', '.join(f'{a}-{b}' for a, b in between)}; `openfsar search` finds them"
        )
    unknown = [name for name in operations if name not in OPERATIONS]
    if unknown:
        raise ValueError(f"option cell: unknown operation {unknown[0]!r}; there are {', '.join(OPERATIONS)}")
    return F.one_hot(torch.tensor([OPERATIONS.index(name) for name in operations]), len(OPERATIONS)).float()
