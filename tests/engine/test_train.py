"""The loop against one step by hand, and what it does when things end early or badly."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from painted import painted, tiny_recipe, weights, wobbly
from safetensors import safe_open
from torch import Tensor

from openfsar import hub
from openfsar.data.episodes import EpisodeDataset, EpisodeSampler
from openfsar.data.manifest import Manifest, VideoRecord, write_manifest
from openfsar.encoders.tiny import tiny_encoder, tiny_resnet
from openfsar.engine.checkpoint import CheckpointError, load_checkpoint
from openfsar.engine.evaluate import evaluate
from openfsar.engine.loop import TrainingError
from openfsar.engine.memory import settle_recomputing
from openfsar.engine.open import open_videos
from openfsar.engine.recipe import Recipe, RecipeError, load_recipe
from openfsar.engine.train import TrainResult, fit, train
from openfsar.methods import memory
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import build
from openfsar.video import write_video


def otam() -> FewShotMethod:
    return build("otam", tiny_encoder())


def run(out: Path, method: FewShotMethod | None = None, *, resume: bool = True, **changes) -> TrainResult:
    recipe = tiny_recipe(**changes)
    data = painted("train", train=True), painted(noise=180)
    return fit(method or otam(), recipe, *data, out, resume=resume, progress=False)


def trained(method: FewShotMethod) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in method.named_parameters() if p.requires_grad}


def mean_gradient(method: FewShotMethod, recipe: Recipe) -> dict[str, Tensor]:
    """Of the first step, one episode after the other, from the definition."""
    data = painted("train", train=True)
    sampler = EpisodeSampler(
        data.labels, way=recipe.way, shot=recipe.shot, query=recipe.query, seed=recipe.seed
    )
    parameters = {name: p for name, p in method.named_parameters() if p.requires_grad}
    total = {name: torch.zeros_like(p) for name, p in parameters.items()}
    for index in range(recipe.episodes_per_step):
        loss = method(EpisodeDataset(data, sampler, recipe.episodes_per_step)[index])["loss"]
        for name, gradient in zip(parameters, torch.autograd.grad(loss, [*parameters.values()]), strict=True):
            total[name] += gradient / recipe.episodes_per_step
    return total


@pytest.mark.parametrize("clip_norm", [0.0, 1e-3])
def test_a_step_is_the_mean_gradient_over_its_episodes(tmp_path: Path, clip_norm: float) -> None:
    changes = dict(steps=1, episodes_per_step=3, optimizer="sgd", weight_decay=0.0, lr=0.1, warmup_steps=0)
    changes |= dict(schedule="constant", clip_norm=clip_norm)
    method = otam().double()
    before, gradient = trained(method), mean_gradient(method, tiny_recipe(**changes))
    length = torch.cat([g.flatten() for g in gradient.values()]).norm().item()
    assert length > 1e-2
    found = run(tmp_path, method, **changes)
    factor = min(1.0, clip_norm / length) if clip_norm else 1.0
    for name, value in trained(method).items():
        torch.testing.assert_close(
            value, before[name] - 0.1 * factor * gradient[name], rtol=1e-6 if clip_norm else 1e-12, atol=1e-12
        )
    assert found.history.train[0]["grad_norm"] == pytest.approx(length, rel=1e-9)
    assert found.history.train[0]["lr"] == 0.1


def test_training_learns_and_the_best_model_is_kept(tmp_path: Path) -> None:
    found = run(tmp_path, steps=8)
    steps = [entry["step"] for entry in found.history.validation]
    assert steps == [0, 3, 6, 8]
    assert found.accuracy == max(entry["accuracy"] for entry in found.history.validation)
    assert found.accuracy > found.history.validation[0]["accuracy"] + 0.1
    again = evaluate(hub.load(found.best), painted(noise=180), way=3, episodes=20)
    assert again.accuracy == found.accuracy
    curves = json.loads((tmp_path / "history.json").read_text())
    assert curves == {"select": "val", **vars(found.history)}
    assert [entry["step"] for entry in found.history.train] == [*range(1, 9)]
    assert load_recipe(tmp_path / "recipe.yaml") == tiny_recipe(steps=8)


@pytest.mark.parametrize("cached", [False, True])
def test_a_recipe_alone_trains_on_files(tmp_path: Path, cached: bool) -> None:
    records = [
        VideoRecord(tmp_path / f"{split}-{c}-{v}.mp4", f"{split} {c}", split)
        for split in ("train", "val")
        for c in range(3)
        for v in range(3)
    ]
    for number, record in enumerate(records):
        dice = torch.Generator().manual_seed(number)
        write_video(record.path, torch.randint(0, 256, (8, 3, 40, 32), generator=dice).to(torch.uint8))
    write_manifest(Manifest(tmp_path, tuple(records)), tmp_path / "manifest.csv")
    cache = str(tmp_path / "cache") if cached else ""
    recipe = tiny_recipe(data=str(tmp_path / "manifest.csv"), cache=cache, steps=2, eval_every=1)
    found = train(recipe, tmp_path / "run", progress=False)
    assert [entry["step"] for entry in found.history.train] == [1, 2]
    assert (tmp_path / "cache").is_dir() == cached
    test = open_videos(recipe, hub.load(found.best), "val")
    assert (len(test), test.size, test.train, test.name) == (9, 32, False, tmp_path.name)
    assert open_videos(replace(recipe, size=24), hub.load(found.best), "train").size == 24


def test_the_untrained_model_wins_where_training_does_not_help(tmp_path: Path) -> None:
    easy = painted("train", train=True), painted(noise=10)
    found = fit(otam(), tiny_recipe(steps=3, eval_every=1), *easy, tmp_path, progress=False)
    assert [entry["accuracy"] for entry in found.history.validation] == [1.0] * 4
    kept = dict(hub.load(found.best).named_parameters())
    assert all(torch.equal(kept[name], value) for name, value in trained(otam()).items())


def test_patience_stops_early(tmp_path: Path) -> None:
    found = run(tmp_path, lr=1e-12, steps=20, eval_every=1, patience=2)
    assert [entry["step"] for entry in found.history.validation] == [0, 1, 2]
    assert found.history.stale == 2 and load_checkpoint(found.last).step == 2
    resumed = run(tmp_path, lr=1e-12, steps=20, eval_every=1, patience=2)
    assert resumed.history == found.history


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    found = run(tmp_path, steps=2)
    before = (tmp_path / "last.pt").read_bytes()
    again = run(tmp_path, steps=2)
    assert again.history == found.history and (tmp_path / "last.pt").read_bytes() == before


def test_a_run_of_another_recipe_is_not_continued_but_can_be_replaced(tmp_path: Path) -> None:
    run(tmp_path, steps=1)
    with pytest.raises(
        CheckpointError, match=r"steps=1 instead of 2, lr=0\.001 instead of 0\.5; choose another"
    ):
        run(tmp_path, steps=2, lr=0.5)
    assert run(tmp_path, steps=1, workers=0, checkpoint_every=7).history.train[-1]["step"] == 1
    assert run(tmp_path, steps=2, lr=0.5, resume=False).history.train[-1]["step"] == 2


def test_a_loss_that_is_not_finite_stops_the_run_and_saves_its_episode(tmp_path: Path) -> None:
    method, calls = otam(), []

    def poison(module: FewShotMethod, args: object, out: dict[str, Tensor]) -> dict[str, Tensor]:
        calls.append(1)
        return {**out, "loss": out["loss"] * float("nan")} if len(calls) == 4 else out

    method.register_forward_hook(poison)
    with pytest.raises(TrainingError, match=r"loss is not finite in step 2.*episode-3\.safetensors"):
        run(tmp_path, method)
    assert load_checkpoint(tmp_path / "last.pt").step == 1
    data = painted("train", train=True)
    episode = EpisodeDataset(data, EpisodeSampler(data.labels, way=3, shot=1, query=2), 9)[3]
    with safe_open(tmp_path / "episode-3.safetensors", "pt") as file:
        for name in ("support", "support_labels", "query", "query_labels"):
            assert torch.equal(file.get_tensor(name), getattr(episode, name))
        about = file.metadata()
    assert json.loads(about["classes"]) == list(episode.classes)
    assert (about["step"], about["episode"], about["seed"]) == ("1", "3", "0")


def test_a_gradient_that_is_not_finite_stops_the_run_before_the_step(tmp_path: Path) -> None:
    method = otam()
    before = trained(method)
    next(p for p in method.parameters() if p.requires_grad).register_hook(lambda g: g * float("inf"))
    with pytest.raises(TrainingError, match="gradient is not finite in step 1.*episode-0.*episode-1"):
        run(tmp_path, method)
    assert all(torch.equal(value, before[name]) for name, value in trained(method).items())


def test_mixed_precision_keeps_weights_and_optimiser_in_float32(tmp_path: Path) -> None:
    found, exact = (run(tmp_path / name, precision=name, steps=2) for name in ("bf16", "fp32"))
    state = load_checkpoint(found.last)
    assert {value.dtype for value in state.weights.values()} == {torch.float32}
    assert {v.dtype for slot in state.optimizer["state"].values() for v in slot.values()} == {torch.float32}
    losses = [run.history.train[0]["loss"] for run in (found, exact)]
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], rel=0.05)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has float16")
def test_recomputed_blocks_give_the_same_weights(tmp_path: Path) -> None:
    plain, again = (tmp_path / name for name in ("plain", "again"))
    run(plain)
    result = run(again, recompute_blocks=True)
    for name, value in weights(plain).items():
        torch.testing.assert_close(value, weights(again)[name])
    assert result.text_share is None


@pytest.mark.parametrize(
    ("asked", "free", "recomputes"),
    [("auto", 10**12, False), ("auto", 10**6, True), (True, 10**12, True), (False, 10**6, False)],
)
def test_blocks_are_recomputed_where_keeping_them_does_not_fit(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    asked: bool | str,
    free: int,
    recomputes: bool,
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device, sharing: free)
    method = otam()
    settle_recomputing(method, tiny_recipe(recompute_blocks=asked), progress=True)
    assert method.encoder.vision.recomputes == recomputes
    said = "keeping them takes" in capsys.readouterr().err
    assert said == (asked == "auto" and recomputes)


def test_no_share_of_names_is_chosen_for_an_encoder_that_reads_none(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="choose_text_share=true needs class names"):
        run(tmp_path, build("otam", tiny_resnet()), choose_text_share=True)


def test_float16_on_a_cpu_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="precision=fp16 needs a GPU"):
        run(tmp_path, precision="fp16")


def test_a_result_selected_on_test_says_so(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = painted("train", train=True), painted("test")
    found = fit(otam(), tiny_recipe(steps=1, select="test"), *data, tmp_path, progress=True)
    assert found.select == "test" and json.loads((tmp_path / "history.json").read_text())["select"] == "test"
    said = capsys.readouterr().err
    assert said.count("accuracy on the test classes") == 2 and said.count("no fair estimate") == 2
    assert "step 1/1  loss " in said and "episodes/s  0:00 left" in said


@pytest.mark.slow
def test_workers_and_the_tracker_change_nothing(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    plain = run(tmp_path / "plain", wobbly(), steps=2)
    busy = run(tmp_path / "busy", wobbly(), steps=2, workers=2, tracker="tensorboard")
    one, other = weights(tmp_path / "plain"), weights(tmp_path / "busy")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert plain.history == busy.history
    assert list((tmp_path / "busy" / "curves").glob("events.out.tfevents.*"))


def script(*before: str, after: tuple[str, ...]) -> None:
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": str(here), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, *before, str(here / "killed.py"), *after]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_a_run_killed_at_any_moment_ends_with_the_same_weights(tmp_path: Path) -> None:
    script(after=("kill", str(tmp_path)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    script(*launcher, after=("share", str(tmp_path)))
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, rtol=1e-10, atol=1e-12, msg=name)
