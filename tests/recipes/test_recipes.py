"""Every recipe is parsed strictly, complete, trainable, and claims only what the table of results says."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from openfsar.data.dataset import VideoDataset
from openfsar.data.manifest import Manifest, VideoRecord
from openfsar.encoders.tiny import tiny_encoder
from openfsar.engine.recipe import Recipe, load_recipe
from openfsar.engine.results import read_results
from openfsar.engine.train import fit
from openfsar.episode import Clip
from openfsar.methods.zoo import METHODS, build, resolve_options
from openfsar.toy.dataset import TOY_SETS

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
NAMES = [path.relative_to(ROOT).as_posix() for path in RECIPES]
every_recipe = pytest.mark.parametrize("path", RECIPES, ids=NAMES)


class Noise(VideoDataset):
    """A data set of random pixels, in memory."""

    def clip(self, i: int, draw: int = 0) -> Clip:
        dice = torch.Generator().manual_seed(1000 * draw + i)
        frames = torch.randint(0, 256, (self.frames, 3, self.size, self.size), generator=dice)
        return Clip(frames.to(torch.uint8), torch.arange(self.frames) / 8)


def noise(split: str, recipe: Recipe) -> Noise:
    videos = max(recipe.shot + recipe.query, recipe.eval_shot + recipe.eval_query)
    names = [f"{split} {i}" for i in range(max(recipe.way, recipe.eval_way))]
    records = [VideoRecord(Path(f"{name} {v}.mp4"), name, split) for name in names for v in range(videos)]
    manifest = Manifest(Path("noise"), tuple(records))
    return Noise(manifest, split, frames=recipe.frames, size=32, train=split == "train")


def header(path: Path) -> dict[str, str]:
    lines = [line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#")]
    pairs = [line.partition(":")[::2] for line in lines[1:]]
    return {key.strip(): value.strip() for key, value in pairs}


def test_there_are_recipes_for_every_trainable_method_on_both_toy_sets() -> None:
    trainable = [name for name in METHODS if resolve_options(name, {})["tune"] != "none"]
    expected = {f"recipes/{method}/{data}.yaml" for method in trainable for data in TOY_SETS}
    assert expected <= set(NAMES)


@every_recipe
def test_a_recipe_lies_where_its_label_says_and_spells_out_every_option(path: Path) -> None:
    recipe = load_recipe(path)
    assert path == ROOT / "recipes" / f"{recipe.label}.yaml"
    assert recipe.options == resolve_options(recipe.method, {}) | recipe.options
    assert recipe.select == "val"
    assert recipe.data in TOY_SETS or recipe.data.startswith("data/")


@every_recipe
def test_a_header_gives_paper_command_and_figures(path: Path) -> None:
    said = header(path)
    assert list(said) == ["paper", "command", "published", "ours"]
    train, evaluate = said["command"].split(" && ")
    name = path.relative_to(ROOT).as_posix()
    assert train == f"openfsar train {name}"
    assert evaluate == f"openfsar eval runs/{path.parent.name}-{path.stem}"


@every_recipe
def test_our_figure_is_a_line_of_the_results(path: Path) -> None:
    ours = header(path)["ours"]
    if ours == "not run":
        return
    found = re.fullmatch(r"(\d+\.\d\d) ± (\d+\.\d\d) % \(results\.csv, episodes ([0-9a-f]{16})\)", ours)
    assert found, (
        f"write 'not run' or '61.23 ± 0.45 % (results.csv, episodes 0123456789abcdef)', got {ours!r}"
    )
    rows = read_results(ROOT / "results" / "results.csv")
    label = load_recipe(path).label
    assert found.groups() in [
        (row["accuracy"], row["interval"], row["episode_hash"]) for row in rows if row["recipe"] == label
    ]


@every_recipe
def test_a_recipe_trains(path: Path, tmp_path: Path) -> None:
    short = dict(steps=2, warmup_steps=1, eval_every=1, eval_episodes=3, checkpoint_every=1, workers=0)
    recipe = replace(load_recipe(path), **short, episodes_per_step=1, cache="")
    method = build(recipe.method, tiny_encoder(), **recipe.options)
    before = {name: p.clone() for name, p in method.named_parameters()}
    data = noise("train", recipe), noise(recipe.select, recipe)
    found = fit(method, recipe, *data, tmp_path, progress=False)
    assert [entry["step"] for entry in found.history.train] == [1, 2]
    assert all(torch.equal(p, before[name]) != p.requires_grad for name, p in method.named_parameters()), (
        "what trains must change, and nothing else may"
    )
