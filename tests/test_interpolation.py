"""Learnt rows stretched to another number of frames."""

import numpy as np
import pytest
import torch

from openfsar.interpolation import stretch


@pytest.mark.parametrize("frames", [1, 3, 8, 11, 32])
def test_rows_stand_for_the_middle_of_equal_parts(frames: int) -> None:
    rows = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    asked, learnt = (np.arange(frames) + 0.5) / frames, (np.arange(8) + 0.5) / 8
    expected = np.stack([np.interp(asked, learnt, column) for column in rows.T.numpy()], 1)
    torch.testing.assert_close(stretch(rows, frames), torch.from_numpy(expected), rtol=0, atol=1e-12)


def test_as_many_frames_as_rows_change_nothing() -> None:
    rows = torch.randn(5, 3)
    assert stretch(rows, 5) is rows
