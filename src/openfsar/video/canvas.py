"""A clip while it is being filled: every wanted frame is made once and written straight into its rows."""

from pathlib import Path

import torch
from jaxtyping import UInt8
from torch import Tensor

from openfsar.video.source import VideoError


class Canvas:
    """Rows for the wanted frames, in the order asked for and with repeats.

    ``missing`` maps the number of each frame that is still to come to its rows.
    """

    def __init__(self, path: Path, wanted: list[int]) -> None:
        self.path, self.length = path, len(wanted)
        self.missing: dict[int, list[int]] = {}
        for row, number in enumerate(wanted):
            self.missing.setdefault(number, []).append(row)
        self._frames: Tensor | None = None

    def put(self, number: int, picture: UInt8[Tensor, "C H W"]) -> None:
        """Write a missing frame; the first one sets the size of all."""
        if self._frames is None:
            self._frames = torch.empty(self.length, *picture.shape, dtype=torch.uint8)
        if picture.shape != self._frames.shape[1:]:
            raise VideoError(
                self.path,
                f"frame {number} has shape {list(picture.shape)}, others {list(self._frames.shape[1:])}",
                "make all frames of a video the same size",
            )
        for row in self.missing.pop(number):  # indexing with a list copies a slow way
            self._frames[row] = picture

    def frames(self) -> UInt8[Tensor, "T C H W"]:
        """The clip, once nothing is missing."""
        if self._frames is None or self.missing:
            raise VideoError(
                self.path,
                f"frame {min(self.missing)} cannot be decoded",
                "the file is damaged or cut short; fetch it again or re-encode it",
            )
        return self._frames
