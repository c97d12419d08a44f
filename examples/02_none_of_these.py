"""Refuse videos of actions that were never taught, from the examples alone or with background videos.

python examples/02_none_of_these.py                              # toy clips
python examples/02_none_of_these.py clips/ new/ others/ more/    # yours; others/ and more/ show anything else
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from openfsar import FewShotVideoClassifier, create
from openfsar.classifier import NONE
from openfsar.toy.fresh import write_fresh

ENCODER = "toyclip"  # for your own clips, with network: "clip-vit-b-16"


def main(clips: Path, known: Path, others: Path, strangers: Path) -> None:
    """``others`` are shown to the model as background, ``strangers`` never."""
    examples = {folder.name: sorted(folder.iterdir()) for folder in clips.iterdir()}
    method = create("otam", encoder=ENCODER, centre=True, tune="none")
    model = FewShotVideoClassifier(method).fit(examples, background=sorted(others.iterdir()))
    print("reject        known videos named   strangers refused")
    for reject in (None, 0.9, "background"):
        model.set_params(reject=reject)  # takes effect at once: nothing is fitted or encoded again for it
        named = sum(label != NONE for label in model.predict(sorted(known.iterdir())))
        refused = sum(label == NONE for label in model.predict(sorted(strangers.iterdir())))
        print(f"{reject!s:<12}  {named:>8} of {len(list(known.iterdir()))}", end="")
        print(f"  {refused:>16} of {len(list(strangers.iterdir()))}")


def toys(folder: Path) -> list[Path]:
    actions = ["falls, then slides right", "slides right, then falls", "rises, then spins clockwise"]
    for action in actions:
        write_fresh(folder / "clips" / action, [action], 5, seed=0)
    write_fresh(folder / "known", actions, 2, seed=1)
    write_fresh(folder / "others", ["rolls left, then stretches tall", "spirals inward"], 2, seed=2)
    write_fresh(folder / "strangers", ["grows, then slides left", "flattens, then zigzags left"], 3, seed=3)
    return [folder / name for name in ("clips", "known", "others", "strangers")]


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(*(map(Path, sys.argv[1:]) if sys.argv[1:] else toys(Path(folder))))
