"""What it costs to teach the classifier a clip and to name one: decode, preprocess, encode, match.

    python benchmarks/label.py [--encoder clip-vit-b-16] [--method otam] [--dtype bfloat16] [--threads 2]

A clip is 10 s of 720p H.264 at 25 frames/s, made for the occasion from moving toy objects over noise; the
encoder has the geometry of its name and random weights. Each stage is timed alone, median and range of
--repeats; "enrol" is ``add_examples`` of one clip and "predict" is ``predict`` of one, whole, with files.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from clips import make_clip
from rich.console import Console
from rich.table import Table

from openfsar import FewShotVideoClassifier, create
from openfsar.classifier.encode import DECODED_SIDE
from openfsar.video import read_frames
from openfsar.video.sampling import segments
from openfsar.video.transforms import eval_transform


def timed(function: Callable[[], object], repeats: int) -> list[float]:
    """Milliseconds of each call, after one that does not count."""
    function()
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        found.append(1000 * (time.perf_counter() - start))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="clip-vit-b-16")
    parser.add_argument("--method", default="otam")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--way", type=int, default=5)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    method = create(options.method, encoder=options.encoder, pretrained=False)
    method = method.to(getattr(torch, options.dtype)).requires_grad_(False)
    size = method.encoder.image_size
    model = FewShotVideoClassifier(method, frames=options.frames, text_share=0.0)
    with tempfile.TemporaryDirectory() as place, torch.no_grad():
        paths = [Path(place, f"{number}.mp4") for number in range(2)]
        for number, path in enumerate(paths):
            make_clip(path, number)
        model.fit({"left": paths[:1], "right": paths[1:]})
        # The other examples are copies of two clips' features: what is matched does not depend on them.
        pair = model.examples_
        many = pair.take([number % 2 for number in range(options.way * options.shots)])
        names = tuple(f"class {number % options.way}" for number in range(len(many)))
        model._learn(type(many)(many.features, many.asked, names, many.sources, many.strips))

        def read() -> torch.Tensor:
            return read_frames(
                paths[0], lambda n: segments(n, options.frames), short_side=max(size, DECODED_SIDE)
            ).frames

        pixels = read()
        clips = eval_transform(pixels, size)[None]
        features = method.encode(clips)
        whole = model.examples_

        def enrol() -> None:
            model.add_examples("class 0", paths[0])
            model.examples_ = whole  # so that every repeat starts from as many

        stages = {
            "decode": read,
            "preprocess": lambda: eval_transform(pixels, size),
            "encode": lambda: method.encode(clips),
            "match": lambda: model.judge(features),
            "enrol one clip": enrol,
            "predict one clip": lambda: model.predict(paths[0]),
        }
        table = Table(
            title=f"{options.method} on {options.encoder}, {options.dtype}, {options.frames} frames, "
            f"{options.way}-way {options.shots}-shot, {options.threads} threads",
            box=None,
            header_style="bold",
        )
        for column in ("", "ms", "range"):
            table.add_column(column, justify="right" if column else "left")
        for name, function in stages.items():
            found = timed(function, options.repeats)
            table.add_row(name, f"{statistics.median(found):,.1f}", f"{min(found):,.1f} to {max(found):,.1f}")
        Console(width=110).print(table)


if __name__ == "__main__":
    main()
