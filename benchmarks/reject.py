"""How well the classifier knows what it does not know, on a toy data set: rejection and calibration.

    python benchmarks/reject.py [--data toy-motion] [--split val] [--shots 5] [--tasks 200]

A task is a classifier fitted on some classes of the split, asked about other videos of these classes and
about as many of classes it was not shown. Printed for each system and each measure of familiarity: AUROC, the
share of unknown videos that pass where 95 % of the known ones do (FPR95), and what the threshold that was
learnt by leave-one-out keeps and refuses; then accuracy and expected calibration error (ECE, 15 bins of equal
width, all tasks pooled) with and without calibration, and accuracy where the names have no share. ± is the
95 % interval over tasks. Choose by --split val; report --split test.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from openfsar import hub
from openfsar.classifier.examples import Examples
from openfsar.classifier.fitted import Fitted, Scores, Wishes, fit_examples
from openfsar.engine.evaluate import FeatureBank, encode_dataset
from openfsar.engine.open import open_videos
from openfsar.engine.recipe import load_recipe
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import create

ROOT = Path(__file__).parents[1]

SYSTEMS = {
    "otam": {"method": "otam", "tune": "none"},
    "otam on changes": {"method": "otam", "tune": "none", "centre": True},
    "protonet": {"method": "protonet", "tune": "none"},
}

MEASURES: dict[str, Callable[[Scores, Fitted], Tensor]] = {
    "nearest class": lambda scores, _: scores.compared.amax(-1),
    "probability": lambda scores, fitted: torch.from_numpy(fitted.probabilities(scores)).amax(-1),
    "margin": lambda scores, _: -scores.fused.topk(2).values.diff(dim=-1)[..., 0],
    "all classes": lambda scores, fitted: (scores.compared / fitted.calibration.temperature).logsumexp(-1),
}
"""The first is the classifier's."""

STRIP = (b"",)


def auroc(known: Tensor, unknown: Tensor) -> float:
    """Share of pairs in which the known video is the more familiar one; ties count half."""
    pairs = known[:, None] - unknown
    return float(((pairs > 0).double() + 0.5 * (pairs == 0).double()).mean())


def fpr95(known: Tensor, unknown: Tensor) -> float:
    """Share of unknown videos above the border that 95 % of the known ones reach."""
    border = known.sort().values[math.floor(0.05 * len(known))]
    return float((unknown >= border).double().mean())


def ece(chances: np.ndarray, right: np.ndarray, bins: int = 15) -> float:
    """Mean gap between the largest probability and the share of right answers, by bins of the former."""
    place = np.minimum((chances * bins).astype(int), bins - 1)
    gaps = [abs(chances[place == b].sum() - right[place == b].sum()) for b in range(bins)]
    return float(sum(gaps) / len(chances))


def interval(values: list[float]) -> str:
    mean = float(np.mean(values))
    return f"{100 * mean:.1f} ± {196 * np.std(values, ddof=1) / len(values) ** 0.5:.1f}"


def measure(
    method: FewShotMethod, bank: FeatureBank, labels: Tensor, names: list[str], options: argparse.Namespace
) -> tuple[list[list[str]], list[str]]:
    """Rows of the two tables for one system."""
    found: dict[str, list[tuple[float, float, float, float]]] = {name: [] for name in MEASURES}
    pooled: dict[str, tuple[list, list]] = {
        name: ([], []) for name in ("calibrated", "temperature 1", "no names")
    }
    accuracy: dict[str, list[float]] = {name: [] for name in pooled}
    generator = torch.Generator().manual_seed(options.seed)
    shares: list[float] = []
    for _ in track(range(options.tasks), "tasks", transient=True):
        classes = torch.randperm(len(names), generator=generator)
        seen, others = classes[: options.way], classes[options.way :]
        support, known, truth = [], [], []
        for label in seen.tolist():
            own = (labels == label).nonzero()[:, 0]
            own = own[torch.randperm(len(own), generator=generator)]
            support.append(own[: options.shots])
            known.append(own[options.shots : options.shots + 5])
            truth += [names[label]] * len(known[-1])
        strange = torch.isin(labels, others).nonzero()[:, 0]
        strange = strange[torch.randperm(len(strange), generator=generator)[: len(truth)]]
        rows = torch.cat(support)
        own_names = tuple(names[i] for i in labels[rows].tolist())
        features = bank.support[rows]
        asked = features if bank.support is bank.query else bank.query[rows]
        blank = ("",) * len(rows)
        examples = Examples(features, asked, own_names, blank, STRIP * len(rows))
        fitted = fit_examples(method, examples, Wishes())
        shares.append(fitted.calibration.text_share)
        of_known, of_strange = fitted.scores(bank.query[torch.cat(known)]), fitted.scores(bank.query[strange])
        warm = replace(fitted, calibration=replace(fitted.calibration, temperature=1.0))
        mute = replace(fitted, text=None)
        for name, score in MEASURES.items():
            a, b = score(of_known, fitted), score(of_strange, fitted)
            border = -math.inf
            if name == "nearest class":
                border = fitted.calibration.threshold(0.95)
            found[name].append(
                (
                    auroc(a, b),
                    fpr95(a, b),
                    float((a >= border).float().mean()),
                    float((b < border).float().mean()),
                )
            )
        for name, which in zip(pooled, (fitted, warm, mute), strict=True):
            chances = which.probabilities(which.scores(bank.query[torch.cat(known)]))
            right = which.classes[chances.argmax(-1)] == np.array(truth)
            pooled[name][0].append(chances.max(-1))
            pooled[name][1].append(right)
            accuracy[name].append(float(right.mean()))
    first = [
        [name, *(interval(list(column)) for column in list(zip(*values, strict=True))[:2])]
        + ([interval([v[i] for v in values]) for i in (2, 3)] if name == "nearest class" else ["", ""])
        for name, values in found.items()
    ]
    errors = {name: ece(np.concatenate(c), np.concatenate(r)) for name, (c, r) in pooled.items()}
    second = [
        interval(accuracy["calibrated"]),
        interval(accuracy["no names"]),
        f"{100 * errors['calibrated']:.1f}",
        f"{100 * errors['temperature 1']:.1f}",
        f"{np.median(shares):g} ({min(shares):g} to {max(shares):g})",
    ]
    return first, second


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="toy-motion", help="toy-motion or toy-scene")
    parser.add_argument("--split", default="val", help="val to choose, test to report")
    parser.add_argument("--way", type=int, default=5)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--tasks", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--model", type=Path, action="append", default=[], help="a trained method; repeatable"
    )
    options = parser.parse_args()
    recipe = load_recipe(ROOT / "recipes" / "otam" / f"{options.data}.yaml")
    methods = {}
    for name, each in SYSTEMS.items():
        each = dict(each)
        methods[name] = create(each.pop("method"), **each)
    methods |= {str(path): hub.load(path) for path in options.model}
    task = f"{options.data} {options.split}, {options.way}-way {options.shots}-shot, {options.tasks} tasks"
    rejection = Table(title=f"none of these: {task}", box=None, header_style="bold")
    for column in ("system", "familiarity", "AUROC %", "FPR95 %", "known kept %", "unknown refused %"):
        rejection.add_column(column, justify="right" if "%" in column else "left")
    calibration = Table(title=f"probabilities: {task}", box=None, header_style="bold")
    for column in (
        "system",
        "accuracy %",
        "without names %",
        "ECE %",
        "ECE % at temperature 1",
        "share of the names",
    ):
        calibration.add_column(column, justify="right" if "%" in column else "left")
    with torch.no_grad():
        for name, method in methods.items():
            dataset = open_videos(recipe, method, options.split)
            bank = encode_dataset(method, dataset)
            first, second = measure(method, bank, dataset.labels, list(dataset.classes), options)
            for row in first:
                rejection.add_row(name, *row)
            calibration.add_row(name, *second)
    for table in (rejection, calibration):
        Console(width=130).print(table)


if __name__ == "__main__":
    main()
