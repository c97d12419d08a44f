"""Naming videos among all classes, against the same thing done one video and one view at a time."""

from pathlib import Path

import pytest
import torch
from painted import Painted, painted, tiny_recipe

from openfsar import hub
from openfsar.data.manifest import Manifest, VideoRecord
from openfsar.encoders.tiny import tiny_encoder
from openfsar.engine.metrics import harmonic_mean
from openfsar.engine.recipe import RecipeError
from openfsar.engine.supervised import name_videos
from openfsar.engine.train import fit
from openfsar.episode import Clip
from openfsar.methods.fusion import NamingMethod
from openfsar.methods.zoo import build


class Views(Painted):
    """Every view of a video has noise of its own."""

    def clip(self, i: int, draw: int = 0, view: int = 0) -> Clip:
        plain = Painted(self.manifest, self.split, frames=self.frames, size=self.size, train=True)
        return plain.clip(i, draw=view)


def zero_shot() -> NamingMethod:
    method = build("zero-shot", tiny_encoder(), tune="full")
    assert isinstance(method, NamingMethod)
    return method


def part(split: str, videos: int = 4, kind: type[Painted] = Painted) -> Painted:
    """Videos of the same six classes."""
    records = [
        VideoRecord(Path(f"{split}{c}-{v}.mp4"), f"class {c}", split) for c in range(6) for v in range(videos)
    ]
    return kind(Manifest(Path("painted"), tuple(records)), split, frames=3, size=32, train=split == "train")


def test_probabilities_are_averaged_over_views_and_ranked() -> None:
    method, data = zero_shot(), part("test", kind=Views).at(views=2, crops=3)
    (result,) = name_videos(method, data, batch=4).values()
    names = data.classes
    top1, top5, per_class = [], [], torch.zeros(6, dtype=torch.float64)
    for i, label in enumerate(data.labels.tolist()):
        total = torch.zeros(6)
        with torch.no_grad():
            for view in range(6):
                features = method.encode(data.clip(i, view=view).frames[None])
                total += method.named(features, method.read(names))[0].softmax(-1)
        ranked = total.argsort(descending=True).tolist()
        top1.append(ranked[0] == label)
        top5.append(label in ranked[:5])
        per_class[label] += top1[-1] / 4
    assert result.accuracy == pytest.approx(sum(top1) / 24) and result.top5 == pytest.approx(sum(top5) / 24)
    assert result.mean_class == pytest.approx(per_class.mean().item())
    assert list(result.per_class.values()) == pytest.approx(per_class.tolist())
    assert (result.head, result.videos, result.views, result.crops) == ("text", 24, 2, 3)
    assert result.confusion.sum() == 24 and result.confusion.trace() == sum(top1)


def test_more_names_than_classes_may_be_given_and_fewer_not() -> None:
    method, data = zero_shot(), part("test")
    names = ["another", *reversed(data.classes)]
    (result,) = name_videos(method, data, names=names).values()
    assert result.classes == tuple(names) and set(result.per_class) == set(data.classes)
    assert result.confusion.shape == (7, 7) and result.confusion[0].sum() == 0
    with pytest.raises(ValueError, match="class 'class 5' of painted is none of the 5 names"):
        name_videos(method, data, names=data.classes[:5])


def run(out: Path, **changes):
    recipe = tiny_recipe(method="zero-shot", training="clips", batch=12, episodes_per_step=1, **changes)
    return fit(zero_shot(), recipe, part("train", 6), part("val"), out, progress=False)


def test_training_by_clips_learns_and_keeps_the_best_model(tmp_path: Path) -> None:
    found = run(tmp_path, steps=40, eval_every=20, lr=3e-3)
    (before, *_), losses = found.history.validation, [entry["loss"] for entry in found.history.train]
    assert found.accuracy > before["accuracy"] + 0.3
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    best = hub.load(found.best)
    assert isinstance(best, NamingMethod)
    (result,) = name_videos(best, part("val")).values()
    assert result.accuracy == pytest.approx(found.accuracy)


def test_a_stopped_run_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole")
    run(tmp_path / "parts", steps=6, patience=0)
    for name in ("last.pt", "recipe.yaml"):
        assert (tmp_path / "parts" / name).exists()
    again = run(tmp_path / "parts")  # nothing left to do
    assert again.history == whole.history


def test_methods_that_need_examples_do_not_learn_from_clips(tmp_path: Path) -> None:
    recipe = tiny_recipe(method="hyrsm", training="clips")
    with pytest.raises(RecipeError, match="training=clips needs a method that names videos without examples"):
        from painted import wobbly

        fit(wobbly(), recipe, painted("train", train=True), painted(), tmp_path, progress=False)


def test_the_harmonic_mean_and_its_interval() -> None:
    value, interval = harmonic_mean((0.9, 0.01), (0.6, 0.03))
    assert value == pytest.approx(2 / (1 / 0.9 + 1 / 0.6))
    step = 1e-6
    slopes = [
        (harmonic_mean((0.9 + step, 0.0), (0.6, 0.0))[0] - value) / step,
        (harmonic_mean((0.9, 0.0), (0.6 + step, 0.0))[0] - value) / step,
    ]
    assert interval == pytest.approx(((slopes[0] * 0.01) ** 2 + (slopes[1] * 0.03) ** 2) ** 0.5, rel=1e-4)
    assert harmonic_mean((0.0, 0.0), (0.0, 0.0)) == (0.0, 0.0)
