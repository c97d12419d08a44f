"""Find what happens when in a long video, draw it as text, and write subtitles for a player.

python examples/04_a_long_video.py                    # toy clips
python examples/04_a_long_video.py clips/ long.mp4    # yours: clips/ACTION/*.mp4
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from openfsar import FewShotVideoClassifier, create
from openfsar.timeline import Rules, timeline
from openfsar.timeline.export import Annotated, to_vtt
from openfsar.toy.dataset import FPS
from openfsar.toy.fresh import write_fresh
from openfsar.toy.untrimmed import untrimmed
from openfsar.video import write_video

ENCODER = "toyclip"  # for your own clips, with network: "clip-vit-b-16"


def main(clips: Path, long: Path) -> None:
    examples = {folder.name: sorted(folder.iterdir()) for folder in clips.iterdir()}
    method = create("otam", encoder=ENCODER, centre=True, tune="none")
    model = FewShotVideoClassifier(method, reject=0.9).fit(examples)  # what rests is none of these
    found = timeline(model, long, window=3.0)
    segments = found.segments(Rules(enter=0.6, shortest=1.0))
    best = np.where(found.known, found.probabilities.argmax(-1), -1)
    for number, label in enumerate(found.labels):
        print(f"{label:>30} {''.join('█' if b == number else '·' for b in best)}")
    for segment in segments:
        print(f"{segment.start:5.1f} to {segment.end:5.1f} s  {segment.label} ({segment.confidence:.0%})")
    long.with_suffix(".vtt").write_text(to_vtt(Annotated(found, segments)))


def toys(folder: Path) -> tuple[Path, Path]:
    actions = ["falls, then slides right", "slides right, then falls", "rises, then spins clockwise"]
    for action in actions:
        write_fresh(folder / "clips" / action, [action], 5, seed=0)
    write_video(folder / "long.mp4", untrimmed(actions, np.random.default_rng(3)).frames(), fps=FPS)
    return folder / "clips", folder / "long.mp4"


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(*(map(Path, sys.argv[1:]) if sys.argv[1:] else toys(Path(folder))))
