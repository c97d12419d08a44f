"""``openfsar demo``: the whole story on toy videos, from mp4 files to a report, in a few minutes."""

import shutil
import time
from pathlib import Path

from openfsar.cli.console import stage

ACTIONS = (
    "slides right, then falls",
    "falls, then slides right",
    "rises, then spins clockwise",
    "spins clockwise, then rises",
    "rolls right",
)
"""Unseen in training; two pairs differ in the order of their steps alone."""

OPTIONS = {"otam": {"centre": True, "scale": 0.5}}
"""As in recipes/otam/toy-motion.yaml: what changes is compared, not who acts where."""

SHOTS = 5
"""Examples per action that the classifier is fitted on."""
FRESH = 3
"""Fresh videos per action that it names."""


def demo(
    *,
    out: Path = Path("demo"),
    videos: int = 10,
    steps: int = 200,
    episodes: int = 10_000,
    seed: int = 0,
    workers: int = 2,
) -> None:
    """Run the whole story on toy videos in a few minutes; it ends with a report to open in a browser.

    Writes a toy data set as mp4 files, measures untrained systems on unseen actions, trains one, measures it
    again, learns five unseen actions from five clips each, and names a folder of fresh videos.

    Args:
        out: Folder for everything; what an earlier demo left there is replaced.
        videos: Videos per class of the toy data set.
        steps: Training steps.
        episodes: Tasks of each evaluation.
        seed: Decides the pixels, the tasks and the training.
        workers: Processes that write and decode videos.

    Example:
        openfsar demo
        openfsar demo --steps 50 --videos 8 -o quick
    """
    began = time.perf_counter()
    from openfsar import hub
    from openfsar.classifier import FewShotVideoClassifier
    from openfsar.cli.demo_page import Story, tell
    from openfsar.cli.demo_videos import write_fresh
    from openfsar.data.frames import build_frame_cache
    from openfsar.data.manifest import read_manifest
    from openfsar.engine.evaluate import evaluate
    from openfsar.engine.recipe import Recipe
    from openfsar.engine.train import open_videos, train
    from openfsar.methods.zoo import create
    from openfsar.toy.dataset import make_toy

    for old in ("run", "fresh", "model"):
        shutil.rmtree(out / old, ignore_errors=True)

    with stage("toy-motion as mp4 files") as said:
        counts = {"train": videos, "val": videos, "test": max(videos, SHOTS)}
        source = make_toy(
            "toy-motion", out / "toy-motion", videos_per_class=counts, seed=seed, workers=workers
        )
        manifest = read_manifest(source)
        said.append(f"{len(manifest.records)} videos of 100 actions -> {source.parent}")
    with stage("frame cache"):
        build_frame_cache(manifest, out / "cache", workers=workers, progress=True)

    recipe = Recipe(
        method="otam",
        data=str(source),
        cache=str(out / "cache"),
        query=min(2, videos - 1),
        steps=steps,
        options=OPTIONS["otam"],
        lr=3e-4,
        warmup_steps=min(20, steps),
        schedule="cosine",
        clip_norm=1.0,
        eval_every=max(1, steps // 4),
        checkpoint_every=steps,
        seed=seed,
        workers=workers,
    )
    before = {}
    for name in ("zero-shot", "protonet", "otam"):
        method = create(name, **OPTIONS.get(name, {}))
        test = open_videos(recipe, method, "test")
        with stage(f"{name}, untrained, on 24 unseen actions") as said:
            before[name] = evaluate(method, test, episodes=episodes, seed=seed, progress=True)
            said.append(f"{100 * before[name].accuracy:.1f} ± {100 * before[name].interval:.1f} %")
    with stage(f"otam trained for {steps} steps on 64 other actions") as said:
        trained = train(recipe, out / "run", progress=True)
        said.append(f"{100 * trained.accuracy:.1f} % on the 12 validation actions")
    method = hub.load(trained.best)
    with stage("otam, trained, on 24 unseen actions") as said:
        after = evaluate(
            method, open_videos(recipe, method, "test"), episodes=episodes, seed=seed, progress=True
        )
        said.append(f"{100 * after.accuracy:.1f} ± {100 * after.interval:.1f} %")

    with stage(f"fitted on {SHOTS} clips each of {len(ACTIONS)} unseen actions") as said:
        clips = [r for r in manifest.records if r.label in ACTIONS and int(r.path.stem) < SHOTS]
        classifier = FewShotVideoClassifier(method).fit([r.path for r in clips], [r.label for r in clips])
        classifier.save(out / "model")
        said.append(f"-> {out / 'model'}")
    with stage("fresh videos named") as said:
        fresh = write_fresh(out / "fresh", ACTIONS, FRESH, seed=seed + 1)
        chances = classifier.predict_proba(list(fresh))
        right = int((classifier.classes_[chances.argmax(-1)] == list(fresh.values())).sum())
        said.append(f"{right} of {len(fresh)} right")
    with stage("report") as said:
        story = Story(recipe, before, after, trained.history, classifier, clips, fresh, chances)
        path = tell(story, out / "report.html", seconds=time.perf_counter() - began)
        said.append(f"open {path} in a browser")
