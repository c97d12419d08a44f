"""Draws the figures of docs/ideas: ``python docs/figures.py`` (or ``make docs``).

Every drawing is computed by the library's own functions on examples small enough to check by eye, so a
picture cannot say what the code does not do; tests/docs/test_figures.py draws them again and compares.
"""

import sys
from pathlib import Path

import matplotlib as mpl
from drawing import matchers, pairs, unknown, words

from openfsar.engine.figures import STYLE

FIGURES = Path(__file__).parent / "ideas" / "figures"
DRAWINGS = {
    "pooled": (matchers.pooled, "four videos as mean frames"),
    "otam": (matchers.ordered, "tables of frame distances with the path of the best ordered alignment"),
    "bi-mhm": (matchers.unordered, "links from every frame to its nearest frame in the other video"),
    "trx": (pairs.tuples, "a pair of frames and what the pairs of two classes answer"),
    "hybrid": (
        pairs.frames_and_pairs,
        "tables of frames and of pairs of frames, and the two parts of distances",
    ),
    "what-changes": (matchers.changing, "frames of three videos before and after their mean is taken away"),
    "names": (words.fused, "probabilities of three actions between examples and names"),
    "guided": (words.guided, "the same frames under two names in three designs"),
    "unknown": (unknown.unknown, "how familiar known and unknown videos look"),
    "compared": (pairs.compared, "how far each matcher puts six videos from one that rises"),
}


def main(folder: Path = FIGURES) -> None:
    """Write every drawing as an SVG file of its name."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.rcdefaults()  # whoever draws, the same drawing
    with mpl.rc_context(STYLE):
        for name, (draw, label) in DRAWINGS.items():
            draw().save(folder / f"{name}.svg", label)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
