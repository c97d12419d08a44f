"""Compare methods, one of them your own, on the same few-shot tasks.

python examples/05_compare_methods.py             # toy clips
python examples/05_compare_methods.py videos/     # yours: videos/ACTION/*.mp4, six actions or more
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from openfsar import create, evaluate
from openfsar.data import VideoDataset, read_manifest
from openfsar.matchers import frame_distances
from openfsar.methods.matching import Matcher
from openfsar.prototypes import merge_shots
from openfsar.toy.fresh import write_fresh

ENCODER = "toyclip"  # for your own clips, with network: "clip-vit-b-16"


class FirstToLast(Matcher):
    """Your own: how the last frame differs from the first. Frames (Q, T, D) in, distances (Q, N) out."""

    def forward(self, query, task):
        steps = [frames[..., -1:, :] - frames[..., :1, :] for frames in (query, task.exemplars.frames)]
        return merge_shots(frame_distances(*steps)[..., 0, 0], task.labels, task.way)


def main(videos: Path) -> None:
    methods = {name: create(name, encoder=ENCODER) for name in ("protonet", "otam")}
    methods["otam, centre"] = create("otam", encoder=ENCODER, centre=True)
    methods["first to last"] = create("otam", encoder=ENCODER)
    methods["first to last"].matcher = FirstToLast()
    data = VideoDataset(read_manifest(videos), size=methods["otam"].encoder.image_size)
    for name, method in methods.items():
        found = evaluate(method, data, way=5, shot=1, query=1, episodes=2000, seed=0)
        accuracy = f"{100 * found.accuracy:5.1f} ± {100 * found.interval:.1f} %"
        print(f"{name:<14} {accuracy}   tasks {found.episode_hash[:8]}")


def toys(folder: Path) -> Path:
    there, back = ("slides right, then falls", "falls, then slides right"), ("rolls left", "rolls right")
    for action in (*there, *back, "rises, then spins clockwise", "spins clockwise, then rises"):
        write_fresh(folder / action, [action], 4, seed=0)
    return folder


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(Path(sys.argv[1]) if sys.argv[1:] else toys(Path(folder)))
