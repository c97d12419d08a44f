"""SloshNet: maps of all levels fused by a cell that is searched, then long- and short-term change, then TRX.

Xing et al., "Revisiting the Spatial and Temporal Modeling for Few-shot Action Recognition", AAAI 2023,
arXiv 2301.07944. With f_0 .. f_3 the maps of a ResNet-50's four stages:

    x      = cell(align(f_0 .. f_3))                               encoders/fusion.py
    z      = 2 g_0 long(x) + 2 g_1 short(x)                        temporal/short_long.py
    frames = mean of z over rows and columns
    logits[q, n] = -scale * mean over cardinalities of distance[q, n]        TRX, matchers/tuples.py

with single frames as "tuples" on Kinetics, HMDB51 and UCF101, and also pairs on SSv2 (preset ``ssv2``).

The search is one of mixtures: every edge of the cell weighs three operations. The released code trains these
weights and all others on the same episodes and tests the mixture itself; it derives no cell. That is
``fusion="searched"``, the default, which ``openfsar train`` trains like anything else. ``openfsar search``
gives the weights an optimiser of their own, as released, or other classes to learn from, as DARTS does, and
derives a cell, the heaviest operation of each edge, which ``fusion="fixed"`` trains from the start. Whether
the paper derives one we do not know.

Departures, beside those of the parts: LongTerm attends over time, as the paper means it, where the released
code, by our reading, attends over the positions of all videos of a pass (temporal/short_long.py); its numbers
may thus not be reproduced exactly. Output weights b and balance g are architecture in ``openfsar search``; in
the release a comparison misses them and they train with the weights. The loss is the mean over the queries,
which the release sums, so that its learning rates are to be multiplied by their number. The released test
draws its support frames at random and norms pixels otherwise than its training: neither is done here. Batch
norm in the ResNet keeps its statistics (encoders/norms.py).

The head outgrows the tower: 143 million parameters beside a ResNet-50's 24. ``width`` narrows it, see
``fusion.Alignment``: at 256 it has 3.5 million, TRX included.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from openfsar.encoders.fusion import Alignment, FusionCell
from openfsar.encoders.visual import VisualEncoder
from openfsar.episode import ClipBatch, Episode, FrameFeatures, SupportSet, Task
from openfsar.methods.episodic import Scale, Tune, classification, episode_only, one_of
from openfsar.methods.matching import Changes, Matcher, MatcherName, Tuples, make_matcher
from openfsar.methods.spatial import SpatialMethod
from openfsar.temporal.short_long import ShortLong

Fusion = Literal["searched", "fixed", "sum", "top"]

_NO_CELL: Sequence[str] = []
_SINGLE_FRAMES: Sequence[int] = [1]
_PUBLISHED_MIX: Sequence[float] = [0.1, 0.1, 0.1, 0.1, 0.6]
"""Lists, as the recipe and the saved record of a method give them back."""


class SloshNet(SpatialMethod):
    """Searched spatial fusion, temporal change at two ranges, matching by attention between tuples.

    Args:
        encoder: Taken over: frozen, but for the part that ``tune`` names.
        tune: Which part of the visual tower trains, besides the head.
        fusion: How levels meet: "searched" weighs all operations of the cell, "fixed" has those of ``cell``,
            "sum" adds the aligned levels, "top" takes the deepest one alone.
        cell: Operations of a fixed cell, "gp1", "gp2" or "sum", for the edges 0-1, 0-2, 1-2, 0-3, 1-3 and 2-3
            of four levels. Other fusions do not read it.
        mix: Where the weights of the cell's output start: four states, then the deepest level. "sum" and
            "top" do not read it.
        width: Channels of the aligned levels and of everything behind them; 0, as published, is as many as
            the deepest level has.
        long, short: Which of the two temporal modules there are.
        long_share: Where the weight of the long-term module starts, where there are both.
        heads: Its attention heads; must divide the width.
        groups: Groups of channels in the short-term module; must divide the width.
        matcher: How frames are compared.
        sizes: Cardinalities of TRX: how many frames make a tuple.
        key_width: Width of the keys and values of a tuple.
        smoothing: Softness of OTAM's minimum, in units of distance.
        centre: Whether each video's mean frame is taken away before frames are compared: a departure, see
            ``matching.Changes``.
        scale: Factor on the distances; published 1.
        learn_scale: Whether the factor trains too.
    """

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {}, "ssv2": {"sizes": [1, 2]}}

    def __init__(
        self,
        encoder: VisualEncoder,
        *,
        tune: Tune = "full",
        fusion: Fusion = "searched",
        cell: Sequence[str] = _NO_CELL,
        mix: Sequence[float] = _PUBLISHED_MIX,
        width: int = 0,
        long: bool = True,
        short: bool = True,
        long_share: float = 0.5,
        heads: int = 8,
        groups: int = 16,
        matcher: MatcherName = "trx",
        sizes: Sequence[int] = _SINGLE_FRAMES,
        key_width: int = 1152,
        smoothing: float = 0.1,
        centre: bool = False,
        scale: float = 1.0,
        learn_scale: bool = False,
    ) -> None:
        super().__init__(encoder, tune=tune)
        self.fusion = one_of("fusion", fusion, "searched", "fixed", "sum", "top")
        levels = encoder.widths[-1:] if fusion == "top" else encoder.widths
        self.align = Alignment(levels, width=width)
        self.cell = (
            FusionCell(len(levels), operations=cell if fusion == "fixed" else None, mix=mix)
            if fusion in ("searched", "fixed")
            else None
        )
        width = self.align.width
        self.temporal = ShortLong(
            width, long=long, short=short, heads=heads, groups=groups, long_share=long_share
        )
        self.matcher = _matcher(matcher, width, sizes, key_width, smoothing, centre)
        self.scale = Scale(scale, learn=learn_scale)

    def architecture(self) -> dict[str, nn.Parameter]:
        """What a search learns, by name: the weights of operations, of states, and of long and short term."""
        found = {
            name: p for name, p in self.named_parameters() if name.startswith(("cell.", "temporal.balance"))
        }
        return {name: p for name, p in found.items() if p.requires_grad}

    def encode(
        self, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
    ) -> FrameFeatures:
        return self.by_parts(self._encode, clips)

    def _encode(self, clips: UInt8[Tensor, "B T C H W"]) -> FrameFeatures:
        levels = self.align(self.encoder.maps(clips)[-len(self.align.levels) :])
        fused = sum(levels[1:], levels[0]) if self.cell is None else self.cell(levels)
        return FrameFeatures(self.temporal(fused).mean((-2, -1)))

    def prepare(self, support: SupportSet) -> Task:
        return Task(support.features, support.labels, support.way, support.text)

    def score(self, query: FrameFeatures, task: Task) -> Float[Tensor, "*e Q N"]:
        return -self.scale(self.matcher(query.frames, task))

    def losses(self, batch: Episode | ClipBatch) -> dict[str, Tensor]:
        """Cross entropy of the queries."""
        episode = episode_only(batch)
        return classification(self.logits(episode), episode.query_labels)


def _matcher(
    name: MatcherName, width: int, sizes: Sequence[int], key_width: int, smoothing: float, centre: bool
) -> Matcher:
    if name != "trx":
        return make_matcher(name, width, smoothing=smoothing, centre=centre)
    tuples = Tuples(width, sizes=sizes, key_width=key_width)
    return Changes(tuples) if centre else tuples
