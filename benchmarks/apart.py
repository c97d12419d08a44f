"""Measurements in processes of their own, so that peaks of memory do not mix; and a CLIP of any size."""

import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from math import log, nan
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from label import timed
from machine import peak_memory

from openfsar.cli.heap import return_freed_memory
from openfsar.encoders.geometry import Geometry
from openfsar.encoders.tokens import byte_tokenizer
from openfsar.encoders.visual import VisualEncoder
from openfsar.encoders.weights import load_encoder

Result = TypeVar("Result")

NARROW = Geometry(
    image_size=32,
    patch_size=8,
    dim=512,
    vision_width=32,
    vision_layers=2,
    text_width=32,
    text_layers=2,
    vocabulary=258,
    head_width=16,
)
"""Tiny towers before features as wide as those of CLIP ViT-B: for what is done with features."""


@dataclass(frozen=True)
class Cost:
    """Of a piece of work."""

    milliseconds: list[float]
    memory: int
    """Bytes by which one call makes the peak of resident memory grow."""

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)

    def __str__(self) -> str:
        low, high = min(self.milliseconds), max(self.milliseconds)
        return f"{self.median:,.2f} ({low:,.2f} to {high:,.2f})"


def cost_of(work: Callable[[], object], repeats: int) -> Cost:
    """Time, then the memory of one more call: what libraries keep from a first one is in neither."""
    milliseconds = timed(work, repeats)
    return_freed_memory()
    with suppress(OSError):  # where a peak cannot begin anew (not Linux), only what exceeds it is seen
        Path("/proc/self/clear_refs").write_text("5")
    before = peak_memory("cpu")
    work()
    return Cost(milliseconds, peak_memory("cpu") - before)


def in_own_process(function: Callable[..., Result], *arguments: object) -> Result | None:
    """What the function returns; None where the system ended the process for want of memory.

    Processes are forked from one that has imported what takes long to import and computed nothing yet.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["openfsar.classifier", "transformers.models.clip.modeling_clip"])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            return None


def encoder_of(geometry: Geometry) -> VisualEncoder:
    """A CLIP of this geometry with random weights; towers take images of the one size they were built for."""
    with TemporaryDirectory() as place:
        geometry.config().save_pretrained(place)
        byte_tokenizer().save(str(Path(place, "tokenizer.json")))
        return load_encoder(place, pretrained=False)


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The power by which a value grows with a size, between the two largest sizes; NaN where it was zero."""
    if min(values[-2:]) <= 0:
        return nan
    return log(values[-1] / values[-2]) / log(sizes[-1] / sizes[-2])
