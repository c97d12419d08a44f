"""Which blocks of a tower get an adapter: an option that people write, and the slots it fills."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import nn

from openfsar.encoders.adapters import AdaptedBlock, AfterAttention, TokenAdapter

Layers = Literal["all", "none"] | Sequence[int]
"""Numbers of blocks, from 0; negative ones count from the end."""


@dataclass(frozen=True)
class Layout:
    """The numbers of the blocks with an adapter, from 0."""

    before_attention: frozenset[int]
    before_mlp: frozenset[int]

    def fill(self, blocks: Iterable[nn.Module], make: Callable[[], TokenAdapter]) -> None:
        """Put a new adapter in each of these places."""
        for number, block in enumerate(blocks):
            assert isinstance(block, AdaptedBlock)
            if number in self.before_attention:
                block.before = make()
            if number in self.before_mlp:
                block.around = AfterAttention(make())


def block_numbers(name: str, value: Layers, depth: int) -> frozenset[int]:
    """The blocks that an option means, of ``depth`` ones.

    Raises:
        ValueError: There is no such block; the message names the option and what it may be.
    """
    if isinstance(value, str):
        if value not in ("all", "none"):
            raise ValueError(f"option {name}={value!r} is unknown; use 'all', 'none' or a list of numbers")
        return frozenset(range(depth)) if value == "all" else frozenset()
    wrong = [number for number in value if not -depth <= number < depth]
    if wrong:
        raise ValueError(
            f"option {name}={list(value)!r} names block {wrong[0]}, and there are {depth} of them; use "
            f"0..{depth - 1}, -{depth}..-1 from the end, 'all' or 'none'"
        )
    return frozenset(number % depth for number in value)
