"""Learnt rows, one per frame, for videos of another length than they were learnt at."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def stretch(rows: Float[Tensor, "X D"], frames: int) -> Float[Tensor, "{frames} D"]:
    """``rows`` at ``frames`` evenly spaced times: linear in between, the ends held.

    Row i stands for the middle of the i-th of equal parts of a video, whatever their number; as many frames
    as rows get the rows themselves.
    """
    if len(rows) == frames:
        return rows
    return F.interpolate(rows.T[None], frames, mode="linear", align_corners=False)[0].T
