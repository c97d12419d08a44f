"""``openfsar demo``: the whole story on toy videos, from mp4 files to a report, in a few minutes."""

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openfsar.cli.console import stage

if TYPE_CHECKING:
    from openfsar.engine.cost import Cost
    from openfsar.engine.evaluate import Result
    from openfsar.engine.recipe import Recipe

ACTIONS = (
    "slides right, then falls",
    "falls, then slides right",
    "rises, then spins clockwise",
    "spins clockwise, then rises",
    "rolls right",
)
"""Unseen in training; two pairs differ in the order of their steps alone."""

CENTRED = {"centre": True, "scale": 0.5}
"""Frames less their mean: what changes is compared, not who acts where."""

OPTIONS: dict[str, dict[str, Any]] = {
    "zero-shot": {},
    "protonet": {},
    "otam": CENTRED,
    "clip-fsar": {"centre": True, "text_weight": 0.2, "text_share": 0.0},
    "ma-fsar": {**CENTRED, "alpha": 0.2, "text_share": 0.0},
}
"""As in the recipes for toy-motion, whose headers say how they were chosen."""

TRAINED = {"clip-fsar": 3e-4, "ma-fsar": 1e-3}
"""Learning rates of the systems that are trained, and the last of which names the fresh videos."""

SHOTS = 5
"""Examples per action that the classifier is fitted on."""
FRESH = 3
"""Fresh videos per action that it names."""


def demo(
    *,
    out: Path = Path("demo"),
    videos: int = 10,
    steps: int = 110,
    episodes: int = 10_000,
    seed: int = 0,
    workers: int = 2,
) -> None:
    """Run the whole story on toy videos in a few minutes; it ends with a report to open in a browser.

    Writes a toy data set as mp4 files, measures untrained systems on unseen actions, trains two, measures
    them again, learns five unseen actions from five clips each, and names a folder of fresh videos.

    Args:
        out: Folder for everything; what an earlier demo left there is replaced.
        videos: Videos per class of the toy data set.
        steps: Training steps of each of the two.
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
    from openfsar.cli.demo_page import Found, Story, tell
    from openfsar.data.frames import build_frame_cache
    from openfsar.data.manifest import read_manifest
    from openfsar.engine.evaluate import evaluate
    from openfsar.engine.open import open_videos
    from openfsar.engine.recipe import Recipe
    from openfsar.engine.train import train
    from openfsar.methods.zoo import create
    from openfsar.toy.dataset import make_toy
    from openfsar.toy.fresh import write_fresh

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

    recipes = {
        name: Recipe(
            method=name,
            data=str(source),
            cache=str(out / "cache"),
            query=1,
            steps=steps,
            options=OPTIONS[name],
            lr=rate,
            weight_decay=0.01,
            warmup_steps=min(20, steps),
            schedule="cosine",
            clip_norm=1.0,
            eval_every=max(1, steps // 4),
            choose_text_share=True,
            checkpoint_every=steps,
            seed=seed,
            workers=workers,
        )
        for name, rate in TRAINED.items()
    }
    found: dict[str, Found] = {}
    for name, options in OPTIONS.items():
        method = create(name, **options)
        test = open_videos(recipes["ma-fsar"], method, "test")
        with stage(f"{name}, untrained, on {len(test.classes)} unseen actions") as said:
            found[name] = Found(evaluate(method, test, episodes=episodes, seed=seed, progress=True))
            said.append(_accuracy(found[name].before))
    for name, recipe in recipes.items():
        with stage(f"{name} trained for {steps} steps on 64 other actions") as said:
            run = train(recipe, out / "run" / name, progress=True)
            said.append(f"{100 * run.accuracy:.1f} % on the 12 validation actions")
        method = hub.load(run.best)
        with stage(f"{name}, trained, on {len(test.classes)} unseen actions") as said:
            after = evaluate(
                method, open_videos(recipe, method, "test"), episodes=episodes, seed=seed, progress=True
            )
            found[name] = Found(found[name].before, after, run, _cost(recipe))
            said.append(f"{_accuracy(after)}, {found[name].cost}")

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
        story = Story(recipe, found, classifier, clips, fresh, chances)
        path = tell(story, out / "report.html", seconds=time.perf_counter() - began)
        said.append(f"open {path} in a browser")


def _accuracy(result: "Result") -> str:
    return f"{100 * result.accuracy:.1f} ± {100 * result.interval:.1f} %"


def _cost(recipe: "Recipe") -> "Cost":
    """Of one training episode of the recipe."""
    from openfsar.data.episodes import EpisodeDataset, EpisodeSampler
    from openfsar.engine.cost import training_cost
    from openfsar.engine.open import open_videos
    from openfsar.methods.zoo import create

    method = create(recipe.method, encoder=recipe.encoder, **recipe.options)
    videos = open_videos(recipe, method, "train")
    sampler = EpisodeSampler.of(
        videos, way=recipe.way, shot=recipe.shot, query=recipe.query, seed=recipe.seed
    )
    return training_cost(method, EpisodeDataset(videos, sampler, 1)[0])
