"""Teach and forget actions while the program runs: only new clips are looked at.

python examples/03_a_new_action.py                   # toy clips
python examples/03_a_new_action.py clips/ new.mp4    # yours: clips/ACTION/*.mp4, taught one after the other
"""

import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from openfsar import FewShotVideoClassifier, create
from openfsar.toy.fresh import write_fresh

ENCODER = "toyclip"  # for your own clips, with network: "clip-vit-b-16"


def main(clips: Path, new: Path) -> None:
    model = FewShotVideoClassifier(create("otam", encoder=ENCODER, centre=True, tune="none"))
    for folder in sorted(clips.iterdir()):
        began = time.perf_counter()
        model.add_class(folder.name, sorted(folder.iterdir()))  # or add_examples, for one that may be there
        said = f"+ {folder.name!r} in {time.perf_counter() - began:.2f} s"
        if model.ready:  # two classes at least
            said += f"; {new.name} is now {model.predict(new)!r}"
        print(said)

    wrong = str(model.predict(new))
    model.remove_class(wrong)
    print(f"- {wrong!r}; {new.name} is now {model.predict(new)!r}")
    model.remove_examples([0])  # the first example of all; model.sources_ and model.strips_ say what it was
    print(f"{len(model.labels_)} examples are left: {' | '.join(model.classes_)}")


def toys(folder: Path) -> tuple[Path, Path]:
    actions = ["falls, then slides right", "grows, then slides left", "slides right, then falls"]
    for action in actions:
        write_fresh(folder / "clips" / action, [action], 4, seed=0)
    write_fresh(folder / "new", actions[2:], 1, seed=1)
    return folder / "clips", folder / "new" / "video-00.mp4"


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(*(map(Path, sys.argv[1:]) if sys.argv[1:] else toys(Path(folder))))
