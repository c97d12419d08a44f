"""A handful of clips of plain colours."""

from pathlib import Path

import pytest
from plain import COLOURS, write_colour


@pytest.fixture(scope="session")
def plain_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """red0.mp4 to blue3.mp4."""
    folder = tmp_path_factory.mktemp("plain")
    for name in COLOURS:
        for seed in range(4):
            write_colour(folder / f"{name}{seed}.mp4", name, seed=seed)
    return folder
