"""Every recipe is parsed strictly, complete, trainable, and claims only what the table of results says."""

import re
import shlex
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import pytest
import torch

from openfsar.cli.main import VERBS
from openfsar.cli.parser import parse
from openfsar.data.dataset import VideoDataset
from openfsar.data.manifest import Manifest, VideoRecord
from openfsar.data.splits import BENCHMARKS
from openfsar.encoders.tiny import tiny_encoder
from openfsar.engine.recipe import Recipe, load_recipe
from openfsar.engine.results import read_results
from openfsar.engine.train import fit
from openfsar.episode import Clip
from openfsar.methods.m2_clip import M2Clip
from openfsar.methods.zoo import METHODS, build, resolve_options
from openfsar.toy.dataset import TOY_SETS

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").rglob("*.yaml"))
NAMES = [path.relative_to(ROOT).as_posix() for path in RECIPES]
every_recipe = pytest.mark.parametrize("path", RECIPES, ids=NAMES)
DIALS = ("5-shot", "released", "views", "few")
"""What else a header may hold: other commands, or words to put behind the command."""
REAL = [path for path in RECIPES if path.stem in BENCHMARKS]
every_benchmark = pytest.mark.parametrize("path", REAL, ids=[f"{p.parent.name}/{p.stem}" for p in REAL])


class Noise(VideoDataset):
    """A data set of random pixels, in memory."""

    def clip(self, i: int, draw: int = 0, view: int = 0) -> Clip:
        dice = torch.Generator().manual_seed(1000 * draw + i)
        frames = torch.randint(0, 256, (self.frames, 3, self.size, self.size), generator=dice)
        return Clip(frames.to(torch.uint8), torch.arange(self.frames) / 8)


def noise(split: str, recipe: Recipe) -> Noise:
    videos = max(recipe.shot + recipe.query, recipe.eval_shot + recipe.eval_query)
    home = "known" if recipe.training == "clips" else split  # clips are tested on the classes they are of
    names = [f"{home} {i}" for i in range(max(recipe.way, recipe.eval_way))]
    records = [
        VideoRecord(Path(f"{split} {name} {v}.mp4"), name, split) for name in names for v in range(videos)
    ]
    manifest = Manifest(Path("noise"), tuple(records))
    return Noise(manifest, split, frames=recipe.frames, size=32, train=split == "train")


def header(path: Path) -> dict[str, str]:
    """The lines between the first one and the first key; one that is indented continues the one above it."""
    _, *lines = path.read_text().partition("\n\n")[0].replace("\n#  ", " ").splitlines()
    pairs = [line.removeprefix("# ").partition(":")[::2] for line in lines]
    return {key: " ".join(value.split()) for key, value in pairs}


def test_there_are_recipes_for_every_trainable_method_on_both_toy_sets() -> None:
    trainable = [name for name in METHODS if resolve_options(name, {})["tune"] != "none"]
    expected = {f"recipes/{method}/{data}.yaml" for method in trainable for data in TOY_SETS}
    assert expected <= set(NAMES)


@every_recipe
def test_a_recipe_lies_where_its_label_says_and_spells_out_every_option(path: Path) -> None:
    recipe = load_recipe(path)
    assert path == ROOT / "recipes" / f"{recipe.label}.yaml"
    assert recipe.options == resolve_options(recipe.method, recipe.options)
    assert recipe.select == "val"
    assert recipe.data in TOY_SETS or recipe.data.startswith("data/")


@every_recipe
def test_a_header_gives_paper_command_and_figures(path: Path) -> None:
    said = header(path)
    assert path.read_text().startswith("# ")
    assert [key for key in said if key not in DIALS] == ["paper", "command", "published", "ours"]
    assert all(said.values())
    train, evaluate = said["command"].split(" && ")
    name = path.relative_to(ROOT).as_posix()
    assert train == f"openfsar train {name}"
    assert evaluate == f"openfsar eval runs/{path.parent.name}-{path.stem}"


def test_there_are_recipes_of_both_clip_methods_for_every_benchmark() -> None:
    expected = {f"recipes/{method}/{data}.yaml" for method in ("clip-fsar", "ma-fsar") for data in BENCHMARKS}
    assert expected <= set(NAMES)


@every_benchmark
def test_a_benchmark_recipe_says_figures_and_reads_its_own_data(path: Path) -> None:
    recipe = load_recipe(path)
    published = header(path)["published"]
    towers = {"clip-vit-b-32": "ViT-B/32", "clip-vit-b-16": "ViT-B/16", "resnet-50": "ResNet-50"}
    assert re.search(rf"{towers[recipe.encoder]} \d\d\.\d( / \d\d\.\d|.* at 1 shot)", published)
    assert "table" in published
    assert (recipe.data, recipe.cache) == (f"data/{path.stem}/manifest.csv", f"data/{path.stem}-frames")


@every_benchmark
def test_the_5_shot_line_of_a_header_is_a_command_and_makes_it_5_shot(path: Path) -> None:
    train, evaluate = (shlex.split(line) for line in header(path)["5-shot"].split(" && "))
    _, given = parse(VERBS, train[1:])
    assert given["recipe"] == path.relative_to(ROOT)
    before, after = load_recipe(path), load_recipe(path, given["changes"])
    assert after == replace(before, shot=5, eval_shot=5)
    _, asked = parse(VERBS, evaluate[1:])
    assert (asked["run"], asked["shot"]) == (str(given["out"]), 5)
    assert given["out"] != Path("runs") / f"{path.parent.name}-{path.stem}"  # that holds the 1-shot run


@every_benchmark
def test_the_released_line_of_a_header_sets_the_preset_of_that_name(path: Path) -> None:
    presets = METHODS[path.parent.name].presets
    line = header(path).get("released", "")
    assert bool(line) == ("released" in presets)
    recipe = load_recipe(path, list(takewhile(lambda word: "=" in word, shlex.split(line))))
    assert presets.get("released", {}).items() <= recipe.options.items()


LABELLED = ("k400", "ssv2", "ucf101-split1", "hmdb51-split1")
"""Benchmarks whose splits divide the videos of the same classes."""


@pytest.mark.parametrize("method", ["actionclip", "m2-clip"])
@pytest.mark.parametrize("data", LABELLED)
def test_the_lines_of_a_supervised_header_are_commands(method: str, data: str) -> None:
    path = ROOT / "recipes" / method / f"{data}.yaml"
    recipe, said = load_recipe(path), header(path)
    assert (recipe.training, recipe.data) == ("clips", f"data/{data}/manifest.csv")
    assert re.search(r"\d\d\.\d", said["published"])
    _, viewed = parse(VERBS, shlex.split(said["views"])[1:])
    assert viewed["run"] == f"runs/{method}-{data}" and viewed["views"] * viewed["crops"] > 1
    _, given = parse(VERBS, shlex.split(said["few"])[1:])
    assert load_recipe(path, given["changes"]) == replace(recipe, videos_per_class=16)
    assert given["recipe"] == path.relative_to(ROOT) and given["out"] != Path(viewed["run"])


@every_recipe
def test_our_figure_is_a_line_of_the_results(path: Path) -> None:
    ours = header(path)["ours"]
    if ours == "not run":
        return
    found = re.fullmatch(
        r"(\d+\.\d\d) ± (\d+\.\d\d) % \(results\.csv, (episodes .{16}|known classes, .+)\)", ours
    )
    assert found, (
        "write 'not run', '61.23 ± 0.45 % (results.csv, episodes 0123456789abcdef)' or "
        f"'61.23 ± 0.45 % (results.csv, known classes, text, 1x1 views)', got {ours!r}"
    )
    rows = read_results(ROOT / "results" / "results.csv")
    label = load_recipe(path).label
    assert found.groups() in [
        (
            row["accuracy"],
            row["interval"],
            f"episodes {row['episode_hash']}" if row["shot"] else row["protocol"],
        )
        for row in rows
        if row["recipe"] == label
    ]


@every_recipe
def test_a_recipe_trains(path: Path, tmp_path: Path) -> None:
    short = dict(steps=2, warmup_steps=1, eval_every=2, eval_episodes=3, checkpoint_every=2, workers=0)
    asked = load_recipe(path)
    few = dict(query=min(asked.query, 2), batch=min(asked.batch, 8))  # of five classes: one comes twice
    recipe = replace(asked, **short, **few, episodes_per_step=1, cache="")
    data = noise("train", recipe), noise(recipe.select, recipe)
    known = {"classes": list(data[0].classes)} if METHODS[recipe.method] is M2Clip else {}
    method = build(recipe.method, tiny_encoder(), **recipe.options | known)
    before = {name: p.clone() for name, p in method.named_parameters()}
    found = fit(method, recipe, *data, tmp_path, progress=False)
    assert [entry["step"] for entry in found.history.train] == [1, 2]
    for name, p in method.named_parameters():
        dead = "blocks.1.around.adapter.difference." in name  # behind the last attention, see m2_clip.py
        assert torch.equal(p, before[name]) != p.requires_grad or dead, (
            f"{name}: what trains must change, and nothing else may"
        )
