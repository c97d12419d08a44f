"""Name new videos from a few clips of each action.

python examples/01_label_my_clips.py                 # toy clips, drawn in a temporary folder
python examples/01_label_my_clips.py clips/ new/     # yours: clips/ACTION/*.mp4
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from openfsar import FewShotVideoClassifier, create
from openfsar.toy.fresh import write_fresh

ENCODER = "toyclip"  # knows the toy clips only; for your own, with network: "clip-vit-b-16"


def main(clips: Path, new: Path) -> None:
    examples = {folder.name: sorted(folder.iterdir()) for folder in clips.iterdir()}
    # centre=True compares what changes: right for a fixed camera, wrong where the scene gives the action away
    method = create("otam", encoder=ENCODER, centre=True, tune="none")
    model = FewShotVideoClassifier(method, progress=True).fit(examples)
    print(f"{len(model.labels_)} examples of {len(model.classes_)} actions; {model.calibration_}")
    for answer in model.stream(sorted(new.iterdir())):
        if answer.error is not None:
            print(f"skipped: {answer.error}")
        else:
            print(f"{answer.video.name}  {answer.label} ({answer.probabilities.max():.0%})")
    model.save(clips.parent / "model")  # openfsar predict model MORE_VIDEOS


def toys(folder: Path) -> tuple[Path, Path]:
    """Five clips each of three actions, and six new videos."""
    actions = ["falls, then slides right", "slides right, then falls", "rises, then spins clockwise"]
    for action in actions:
        write_fresh(folder / "clips" / action, [action], 5, seed=0)
    write_fresh(folder / "new", actions, 2, seed=1)
    return folder / "clips", folder / "new"


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(*(map(Path, sys.argv[1:]) if sys.argv[1:] else toys(Path(folder))))
