"""The search for SloshNet's cell: what moves, what is left, and the whole way by commands."""

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from openfsar import hub
from openfsar.cli.main import main
from openfsar.cli.search import search as verb
from openfsar.data.dataset import VideoDataset, seeded
from openfsar.data.manifest import Manifest, VideoRecord, write_manifest
from openfsar.encoders.tiny import tiny_resnet
from openfsar.engine.checkpoint import CheckpointError, load_checkpoint
from openfsar.engine.recipe import Recipe, RecipeError, load_recipe
from openfsar.engine.search import Found, find, halves, search
from openfsar.engine.search_loop import SearchLoop
from openfsar.episode import Clip
from openfsar.methods.sloshnet import SloshNet
from openfsar.methods.zoo import build, resolve_options
from openfsar.video import write_video

SMALL = {"width": 16, "key_width": 16, "scale": 0.05}


class Noise(VideoDataset):
    """Random pixels around a grey of each class, in memory."""

    def clip(self, i: int, draw: int = 0, view: int = 0) -> Clip:
        grey = 40 + 30 * int(self.labels[i])
        noise = torch.randint(-30, 31, (self.frames, 3, self.size, self.size), generator=seeded(i, draw))
        return Clip((grey + noise).clamp(0, 255).to(torch.uint8), torch.arange(self.frames) / 8)


def noise(split: str, classes: int = 6) -> Noise:
    records = [
        VideoRecord(Path(f"{split}{c}-{v}.mp4"), f"{split} {c}", split)
        for c in range(classes)
        for v in range(4)
    ]
    return Noise(Manifest(Path("noise"), tuple(records)), split, frames=3, size=32, train=split == "train")


def small_recipe(**changes) -> Recipe:
    values = dict(method="sloshnet", data="noise", encoder="tiny-imagenet-resnet", pretrained=False)
    values |= dict(options=resolve_options("sloshnet", SMALL), frames=3, way=3, query=1, steps=3, lr=1e-3)
    values |= dict(episodes_per_step=1, eval_episodes=20, eval_way=3, checkpoint_every=1, workers=0)
    return Recipe(**values | changes)


def small_method() -> SloshNet:
    """In double precision, so that what should be equal is equal to many digits."""
    method = build("sloshnet", tiny_resnet(), **SMALL).double()
    assert isinstance(method, SloshNet)
    return method


def run(recipe: Recipe, out: Path, **options) -> tuple[SloshNet, Found]:
    method = small_method()
    options = {"progress": False, **options}
    return method, find(method, recipe, noise("train"), noise("val", 3), out, **options)


def values_of(method: SloshNet) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in method.state_dict().items()}


@pytest.mark.parametrize("mode", ["joint", "bi-level"])
def test_a_search_moves_architecture_and_weights_each_by_its_own_rate(mode: str, tmp_path: Path) -> None:
    before = values_of(small_method())
    method, found = run(small_recipe(steps=2), tmp_path, mode=mode, rate=0.01)
    architecture = method.architecture()
    for name, parameter in method.named_parameters():
        change = (parameter - before[name]).abs()
        if not parameter.requires_grad:
            assert change.max() == 0, name
        elif name in architecture:  # Adam's first steps have the length of its rate
            assert (change > 1e-5).all() and 0.005 < change.max() < 0.021, name
        else:
            assert 0 < change.max() < 5e-3, name
    assert not method.training and method.cell.searched
    torch.testing.assert_close(
        torch.tensor(found.weights, dtype=torch.float64),
        method.cell.operation_weights(),
        rtol=1e-3,
        atol=1e-4,
    )
    assert found.cell == tuple(method.cell.chosen())
    assert sum(found.mix) == pytest.approx(1, abs=1e-3) and found.mix[-1] != 0.6
    assert found.long_share not in (None, 0.5)
    assert found.accuracy.keys() == {"mixture", "derived"}


def test_joint_steps_are_those_of_two_optimisers_on_the_same_episodes(tmp_path: Path) -> None:
    recipe = small_recipe(steps=2, episodes_per_step=1, optimizer="sgd", lr=0.01, weight_decay=0.1)
    found, _ = run(recipe, tmp_path)
    expected = small_method().train()
    loop = SearchLoop(expected, recipe, [noise("train")], tmp_path / "other", rate=3e-3)
    named = dict(expected.named_parameters())
    architecture = expected.architecture()
    weights = {n: p for n, p in named.items() if p.requires_grad and n not in architecture}
    adam = torch.optim.Adam(architecture.values(), lr=3e-3, betas=(0.5, 0.999), weight_decay=1e-3)
    for number, episode in loop._feed(noise("train")):
        torch.manual_seed(seeded(0, number).initial_seed())
        expected(episode)["loss"].backward()
        with torch.no_grad():
            for weight in weights.values():
                decay = 0.1 * weight if weight.ndim > 1 else 0.0
                weight -= 0.01 * (weight.grad + decay)
        adam.step()
        expected.zero_grad()
    for name, value in values_of(expected).items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=0, atol=1e-10)


def test_bi_level_search_divides_the_classes_and_teaches_each_half_one_thing(tmp_path: Path) -> None:
    training, recipe = noise("train", 7), small_recipe()
    parts = halves(training, recipe)
    assert [len(part.classes) for part in parts] == [4, 3]
    assert set(parts[0].classes) | set(parts[1].classes) == set(training.classes)
    assert halves(training, recipe)[0].classes == parts[0].classes
    assert any(halves(training, replace(recipe, seed=s))[0].classes != parts[0].classes for s in (1, 2, 3))
    with pytest.raises(RecipeError, match="7 training classes in two halves, and way=4 does not fit into 3"):
        halves(training, replace(recipe, way=4))

    method = small_method()
    loop = SearchLoop(method, recipe, parts, tmp_path, rate=1e-3)
    feeds = [loop._feed(part) for part in parts]
    method.train()
    loop._gradients(feeds[1], loop.architecture)
    assert all(p.grad is not None for p in loop.architecture) and all(p.grad is None for p in loop.weights)
    names = {name for name, p in method.named_parameters() if p.grad is not None}
    assert names == method.architecture().keys()


@pytest.mark.parametrize("mode", ["joint", "bi-level"])
def test_a_search_that_was_killed_goes_on_as_if_nothing_had_been(mode: str, tmp_path: Path) -> None:
    whole, found = run(small_recipe(), tmp_path / "whole", mode=mode)

    class Killed(Exception):
        pass

    step = SearchLoop._checkpoint

    def killed(loop: SearchLoop) -> None:
        if loop.step == 2:
            raise Killed
        step(loop)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        patch.setattr(SearchLoop, "_checkpoint", killed)
        run(small_recipe(), tmp_path / "cut", mode=mode)
    assert load_checkpoint(tmp_path / "cut" / "search.pt").step == 1
    resumed, again = run(small_recipe(), tmp_path / "cut", mode=mode)
    for name, value in values_of(whole).items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=1e-12)
    assert again == found
    history = json.loads((tmp_path / "cut" / "search.json").read_text())["train"]
    assert [entry["step"] for entry in history] == [1, 2, 3]


def test_another_search_in_the_same_folder_is_refused_unless_it_starts_over(tmp_path: Path) -> None:
    run(small_recipe(steps=1), tmp_path)
    with pytest.raises(CheckpointError, match="lr=0.001 instead of 0.5; choose another folder"):
        run(small_recipe(steps=1, lr=0.5), tmp_path)
    with pytest.raises(CheckpointError, match="parts=1 instead of 2"):
        run(small_recipe(steps=1), tmp_path, mode="bi-level")
    run(small_recipe(steps=1), tmp_path, mode="bi-level", resume=False)
    assert load_checkpoint(tmp_path / "search.pt").recipe["parts"] == 2


def test_what_is_found_is_written_as_a_recipe_that_builds_it(tmp_path: Path) -> None:
    method, found = run(small_recipe(), tmp_path, rate=0.3)
    recipe = load_recipe(tmp_path / "fixed.yaml")
    assert recipe == replace(small_recipe(), options=small_recipe().options | found.options())
    fixed = build(recipe.method, tiny_resnet(), **recipe.options)
    assert isinstance(fixed, SloshNet)
    assert fixed.cell.chosen() == list(found.cell) == method.cell.chosen()
    torch.testing.assert_close(
        fixed.cell.mix.softmax(0).double(), method.cell.mix.softmax(0), rtol=0, atol=1e-3
    )
    torch.testing.assert_close(fixed.temporal.shares().double(), method.temporal.shares(), rtol=0, atol=1e-3)
    assert hub.load(tmp_path / "mixture").spec == method.spec
    written = json.loads((tmp_path / "search.json").read_text())
    assert written["cell"] == list(found.cell) and written["mode"] == "joint"
    assert asdict(load_recipe(tmp_path / "search.yaml")) == asdict(small_recipe())


def test_a_factor_for_the_architecture_is_of_plain_training_alone(tmp_path: Path) -> None:
    loop = SearchLoop(
        small_method(),
        small_recipe(lr_factors={"cell.": 30.0, "align": 2.0}),
        [noise("train")],
        tmp_path,
        rate=1e-3,
    )
    factors = {group["factor"] for group in loop.optimizers["weights"].param_groups}
    assert factors == {1.0, 2.0}
    with pytest.raises(ValueError, match="lr_factors names 'algin'"):
        SearchLoop(
            small_method(), small_recipe(lr_factors={"algin": 2.0}), [noise("train")], tmp_path, rate=1e-3
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "otam", "options": {}}, "needs method=sloshnet"),
        ({"precision": "fp16"}, "precision=fp32 or bf16"),
    ],
)
def test_what_cannot_be_searched_is_refused(changes: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=message):
        search(small_recipe(**changes), tmp_path / "out")
    with pytest.raises(RecipeError, match="rate=0.0 must be positive"):
        search(small_recipe(), tmp_path / "out", rate=0.0)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiny videos of greys, with splits."""
    folder, records = tmp_path_factory.mktemp("greys"), []
    for split, classes in (("train", 6), ("val", 2), ("test", 2)):
        for c in range(classes):
            for v in range(3):
                grey = torch.full((4, 3, 32, 32), 30 + 35 * c, dtype=torch.uint8)
                path = folder / f"{split}{c}-{v}.mp4"
                write_video(path, grey, fps=6.0)
                records.append(VideoRecord(path, f"{split} {c}", split))
    write_manifest(Manifest(folder, tuple(records)), folder / "manifest.csv")
    return folder


@pytest.mark.parametrize("mode", ["joint", "bi-level"])
def test_the_command_finds_a_cell_draws_it_and_says_how_to_train_it(
    mode: str,
    videos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    small_recipe(data=str(videos), eval_way=2).save(tmp_path / "small.yaml")
    assert main(["search", "small.yaml", "steps=2", "--mode", mode]) == 0
    said = capsys.readouterr().out
    (folder,) = Path("runs").iterdir()
    assert folder.name.endswith("-search")
    fixed = load_recipe(folder / "fixed.yaml")
    assert ", ".join(fixed.options["cell"]) in said and "0 -> 3" in said and "the mixture: " in said
    picture = (folder / "cell.svg").read_text()
    assert "<svg" in picture and picture.count("gp1") >= 1
    tested = said.splitlines()[-2].partition("openfsar ")[2].split()
    assert main([*tested, "--way", "2", "--episodes", "20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["method"] == "sloshnet"
    command = said.splitlines()[-1].removeprefix("next: openfsar ").split()
    assert main([*command[:2], "steps=1", *command[2:]]) == 0
    assert list((Path(command[-1]) / "best").glob("model-*.safetensors"))
    assert main(["search", "small.yaml", "steps=3", "--mode", mode]) == 1
    assert "steps=2 instead of 3" in capsys.readouterr().err


def test_without_matplotlib_there_is_no_picture_but_everything_else(
    videos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "openfsar.engine.search_figure", raising=False)
    monkeypatch.delitem(sys.modules, "openfsar.engine.figures", raising=False)
    small_recipe(data=str(videos), eval_way=2, steps=1).save(tmp_path / "small.yaml")
    verb(tmp_path / "small.yaml", out=tmp_path / "found")
    said = capsys.readouterr()
    assert "pip install 'openfsar[report]'" in said.err and "next: openfsar train" in said.out
    assert not (tmp_path / "found" / "cell.svg").exists() and (tmp_path / "found" / "fixed.yaml").exists()
