"""``openfsar fit``: from example clips to a model folder."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from rich.text import Text

from openfsar.cli.console import show, warn
from openfsar.cli.footage import FootageError, find_examples, find_videos, unreadable

if TYPE_CHECKING:
    from openfsar.classifier import FewShotVideoClassifier

Reject: TypeAlias = float | Literal["background", "never"]
Prompt: TypeAlias = Literal["own", "photo", "name", "video", "clip-fsar", "actionclip"]

KEPT = 0.95
"""Share of videos of the known actions that keep their name, unless the user says otherwise."""
NAMED = 12
"""Actions whose examples are counted one by one."""


def fit(
    examples: tuple[str, ...],
    *,
    out: Path = Path("model"),
    model: str | None = None,
    method: str = "otam",
    encoder: str = "toyclip",
    frames: int = 8,
    reject: Reject | None = None,
    background: Path | None = None,
    text_share: float | None = None,
    prompt: Prompt | None = None,
    tune: bool = False,
    batch: int = 8,
    workers: int = 2,
    device: str | None = None,
    json: bool = False,
) -> None:
    """Learn your own actions from a few example clips each, and write a model folder.

    Three to ten clips an action are a good start. A clip that cannot be read is listed and left out. The
    model keeps a small film strip of each, for people to look at; the clips themselves are not needed again.

    The model says "none of these" to a video that looks unlike every action, because a folder to be named
    is rarely as pure as the examples were. It learns where to draw that line by leaving each example out
    once, so it needs two clips each of two actions at least; with --reject never it names every video.

    Args:
        examples: A folder with one folder of clips per action, or label=path (a clip or a folder of clips).
        out: The model folder to write; an older model there is replaced.
        model: Start from a trained run or model folder instead of --method and --encoder.
        method: The few-shot method (`openfsar models` lists them).
        encoder: The pretrained encoder under the method (`openfsar models` lists them).
        frames: Frames sampled from each clip.
        reject: When to say "none of these". A share, such as 0.95, keeps the name of about 95 in 100 videos
            of your actions; "background" parts them from --background as well as it can; "never" names
            every video. Default: "background" where one is given, else 0.95.
        background: A folder of videos, or one video, that show none of the actions.
        text_share: How much the names of the actions count beside the clips, 0 to 1. By default what names
            the examples best; give 0 where the names mean nothing.
        prompt: The sentences that names are read in: photo ("a photo of ..."), name (alone), video,
            clip-fsar, actionclip, or own (those of the method). By default what names the examples best.
        tune: Train on the clips first; takes minutes, and is kept only if clips held out are named better.
            Needs three clips each of two actions.
        batch: Clips computed at a time; less needs less memory.
        workers: Threads that decode.
        device: Where to compute, such as cpu or cuda; by default the fastest there is.
        json: Print JSON instead of text.

    Example:
        openfsar fit clips/ -o model
        openfsar fit clips/ -o model --background other_videos/ --tune
        openfsar fit wave=wave1.mp4 wave=wave2.mp4 clap=claps/ -o model --encoder clip-vit-b-16
    """
    began = time.perf_counter()
    reject = _check_reject(reject, background)
    if text_share is not None and not 0 <= text_share <= 1:
        raise FootageError(
            f"--text-share {text_share:g} must lie between 0 (clips alone) and 1 (names alone)"
        )
    groups = find_examples(examples)
    others = [] if background is None else find_videos([background])
    from openfsar.classifier import NONE, FewShotVideoClassifier
    from openfsar.cli.run import model_folder
    from openfsar.video import VideoError

    if NONE in groups:
        raise FootageError(f"no action can be called {NONE!r}; give such videos by --background FOLDER")
    classifier = FewShotVideoClassifier(
        model_folder(model) if model else method,
        encoder=encoder,
        frames=frames,
        text_share=text_share,
        prompt=prompt,
        reject=None if reject == "never" else reject,
        tune=tune,
        batch=batch,
        workers=workers,
        device=device,
        progress=True,
    )
    bad: dict[Path, str] = {}
    try:
        classifier.fit(groups, background=others)
    except VideoError:  # of the first; now find all of them
        given = [video for group in groups.values() for video in group]
        bad = unreadable([*given, *others], frames=frames, workers=workers)
        groups, others = _without(bad, groups, others)
        classifier.fit(groups, background=others)
    classifier.save(out)
    if model is None and classifier.method_.learnt and not tune:
        warn(
            f"{method} has parameters of its own that nothing has trained: they are random; train it first "
            "(openfsar train) and give the run as --model, or use otam"
        )
    if json:
        print(dumps(_as_json(classifier, out, groups, bad, time.perf_counter() - began), indent=2))
    else:
        _tell(classifier, out, groups, bad, time.perf_counter() - began)


def _check_reject(reject: Reject | None, background: Path | None) -> Reject:
    """What is meant, before anything costs time."""
    if reject is None:
        return KEPT if background is None else "background"
    if reject == "background" and background is None:
        raise FootageError("--reject background needs videos of none of the actions: --background FOLDER")
    if isinstance(reject, float) and not 0 < reject < 1:
        raise FootageError(
            f"--reject {reject:g} must lie between 0 and 1: the share of videos of your actions that keep "
            "their name, such as 0.95; or say never"
        )
    return reject


def _without(
    bad: Mapping[Path, str], groups: Mapping[str, Sequence[Path]], others: Sequence[Path]
) -> tuple[dict[str, list[Path]], list[Path]]:
    """What is left to learn from; every file that is not is named on stderr."""
    for why in bad.values():
        warn(f"skipped: {why}")
    left = {label: [video for video in group if video not in bad] for label, group in groups.items()}
    for label in [label for label, group in left.items() if not group]:
        warn(f"skipped: the action {label!r}, for none of its clips can be read")
        del left[label]
    if len(left) < 2:
        raise FootageError(
            f"{len(left)} of {len(groups)} actions have a clip that can be read, and it takes two to tell "
            "apart; see the lines above"
        )
    kept = [video for video in others if video not in bad]
    if others and not kept:
        raise FootageError("none of the background videos can be read; see the lines above")
    return left, kept


def _tell(
    classifier: "FewShotVideoClassifier",
    out: Path,
    groups: Mapping[str, Sequence[Path]],
    bad: Mapping[Path, str],
    seconds: float,
) -> None:
    clips = sum(len(group) for group in groups.values())
    lines = [
        f"{seconds:6.1f} s  fitted  {clips} clips of {len(groups)} actions -> {out}",
        f"examples       {_counts(groups)}",
        f"leave-one-out  {classifier.calibration_}",
        f"none of these  {_rejects(classifier)}",
    ]
    if classifier.tuned_ is not None:
        lines.append(f"tuned          {classifier.tuned_}")
    for line in lines:
        show(Text(line))
    if bad:
        warn(f"{len(bad)} clips could not be read and are left out; see the lines above")
    show(Text(f"next: openfsar predict {out} NEW_VIDEOS -o labels.csv"))
    show(Text(f"      openfsar explain {out} NEW_VIDEO  (draws it beside the most similar example)"))


def _counts(groups: Mapping[str, Sequence[Path]]) -> str:
    named = [f"{label} ({len(groups[label])})" for label in sorted(groups)]
    more = len(named) - NAMED
    return ", ".join(named[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _rejects(classifier: "FewShotVideoClassifier") -> str:
    """When the model says "none of these", in words; see ``Calibration.threshold``."""
    reject, calibration = classifier.reject, classifier.calibration_
    if reject is None:
        return "never said"
    if not calibration.known:
        return "never said, for want of examples: give two clips each of two actions at least"
    if reject == "background":
        return f"said to what looks more like the {len(calibration.background)} background videos"
    wanted = 1 - float(reject)
    kept = f"keeps the name of about {100 * float(reject):g} % of videos of your actions"
    if 1 / (len(calibration.known) + 1) > wanted:
        kept += (
            f", as far as {len(calibration.known)} clips tell; {math.ceil(1 / wanted - 1e-9) - 1} tell better"
        )
    return kept


def _as_json(
    classifier: "FewShotVideoClassifier",
    out: Path,
    groups: Mapping[str, Sequence[Path]],
    bad: Mapping[Path, str],
    seconds: float,
) -> dict[str, object]:
    calibration, tuned = classifier.calibration_, classifier.tuned_
    return {
        "model": str(out),
        "examples": {label: len(groups[label]) for label in sorted(groups)},
        "skipped": [{"file": str(video), "error": why} for video, why in bad.items()],
        "reject": classifier.reject,
        "calibration": asdict(calibration),
        "tuned": None
        if tuned is None
        else {name: getattr(tuned, name) for name in ("steps", "clips", "before", "after", "seconds")},
        "seconds": round(seconds, 3),
    }
