"""The runs of a study, on a few tiny videos: done once, kept, several at a time, independent."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from openfsar import hub
from openfsar.cli.main import main
from openfsar.data.manifest import Manifest, VideoRecord, write_manifest
from openfsar.engine.evaluate import evaluate
from openfsar.engine.open import make_method, open_manifest, open_videos
from openfsar.engine.recipe import load_recipe
from openfsar.engine.results import read_results
from openfsar.studies import run as runs
from openfsar.studies.plan import FEW_SHOT, Study, load_study, parse_study
from openfsar.studies.run import Job, Measured, first_videos, jobs_of, kept_file, run_jobs, time_steps
from openfsar.video import write_video

RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = dict(frames=2, way=2, query=1, eval_way=2, eval_query=1, workers=0, cache="")
TINY = SMALL | dict(encoder="tiny", pretrained=False)


@pytest.fixture(scope="module")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipes of three methods for a data set of two classes a split, four videos each."""
    folder = tmp_path_factory.mktemp("study")
    records = []
    for i, split in enumerate(("train", "val", "test")):
        for c in range(2):
            for v in range(4):
                path = folder / f"{split}-{c}-{v}.mp4"
                grey = 20 + 70 * i + 30 * c
                pixels = torch.randint(grey, grey + 20, (4, 3, 32, 32), dtype=torch.uint8)
                write_video(path, pixels, fps=4.0)
                records.append(VideoRecord(path, f"{split} {c}", split))
    manifest = folder / "manifest.csv"
    write_manifest(Manifest(folder, tuple(records)), manifest)
    for method in ("ma-fsar", "m2-clip", "protonet"):
        recipe = load_recipe(RECIPES / method / "toy-motion.yaml")
        options = recipe.options | ({"heads": 4} if "heads" in recipe.options else {})
        (folder / method).mkdir()
        replace(recipe, data=str(manifest), options=options, batch=2, held_out=0.25, **TINY).save(
            folder / method / "colours.yaml"
        )
    return folder


def study(rows: dict, **table) -> Study:
    values = {"title": "T", "claim": "C", "toy": ["colours"], "rows": rows, "changes": {"steps": 2}} | table
    return parse_study("ma-fsar", {"system": "S", "paper": "P", "published": "N", "tables": {"t": values}})


def jobs(recipes: Path, rows: dict, seeds: int = 1, **table) -> list[Job]:
    return jobs_of([study(rows, **table)], scale="toy", seeds=seeds, recipes=recipes)


def test_a_run_is_measured_once_and_kept(recipes, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(runs.EPISODES, "toy", 50)
    asked = jobs(recipes, {"untrained": {"set": {"steps": 0}}, "frozen": {"set": {"options.tune": "none"}}})
    table = tmp_path / "results.csv"
    first = dict(run_jobs(asked, tmp_path, workers=1, results=table))
    for job in asked:
        what = first[job]
        assert isinstance(what, Measured), what
        assert 0 <= what.accuracy[FEW_SHOT] <= 100 and what.episode_hash
        assert Measured.load(kept_file(tmp_path, job)) == what
    untrained, frozen = (first[job] for job in asked)
    assert (untrained.steps, frozen.steps) == (0, 2)
    assert untrained.trainable > frozen.trainable > 0  # adapters and TPCM, TPCM alone
    rows = read_results(table)
    assert [(row["recipe"].split(" ", 1)[1], row["select"]) for row in rows] == [
        ("(t: untrained, 0 steps)", "fixed"),
        ("(t: frozen, 2 steps)", "fixed"),
    ]
    monkeypatch.setattr(runs, "run", lambda *_: pytest.fail("measured twice"))
    assert dict(run_jobs(asked, tmp_path, workers=1)) == first


def test_steps_are_timed_apart_from_the_runs(recipes, tmp_path) -> None:
    rows = {"frozen": {"set": {"options.tune": "none"}}}
    ((job, what),) = run_jobs(jobs(recipes, rows), tmp_path, workers=1)
    assert isinstance(what, Measured) and what.step_seconds is None and what.memory
    time_steps([job], tmp_path, repeats=2)
    after = Measured.load(kept_file(tmp_path, job))
    assert after.step_seconds and replace(after, step_seconds=None) == what


def test_at_full_scale_the_state_that_was_best_on_validation_classes_is_measured(recipes, tmp_path) -> None:
    rows = {"adapted": {"set": {"steps": 2, "warmup_steps": 1, "eval_every": 1, "eval_episodes": 4}}}
    (job,) = jobs_of([study(rows, full=["colours"])], scale="full", seeds=1, recipes=recipes)
    ((_, what),) = run_jobs([job], tmp_path, workers=1, results=tmp_path / "r.csv")
    assert isinstance(what, Measured), what
    best = kept_file(tmp_path, job).parent / "best"
    found = evaluate(hub.load(best), open_videos(job.recipe, hub.load(best), "test"), way=2, episodes=10_000)
    assert what.accuracy[FEW_SHOT] == pytest.approx(100 * found.accuracy)
    (line,) = read_results(tmp_path / "r.csv")
    assert (line["select"], line["episodes"]) == ("val", "10000")


@pytest.mark.slow
def test_runs_at_the_same_time_find_what_runs_one_after_another_find(recipes, tmp_path) -> None:
    asked = jobs(recipes, {"": {"set": {"options.tune": "none"}}}, seeds=2)
    together = dict(run_jobs(asked, tmp_path / "a", workers=2))
    alone = dict(run_jobs(asked, tmp_path / "b", workers=1))
    for job in asked:
        assert together[job].accuracy == alone[job].accuracy
        assert together[job].episode_hash == alone[job].episode_hash


def test_a_run_that_fails_is_named_and_the_others_go_on(recipes, tmp_path) -> None:
    rows = {"wrong": {"set": {"options.heads": 5}}, "right": {"recipe": "protonet", "set": {"steps": 0}}}
    found = list(run_jobs(jobs(recipes, rows), tmp_path, workers=1))
    (_, wrong), (_, right) = found
    assert isinstance(wrong, ValueError) and "heads" in str(wrong)
    assert isinstance(right, Measured)
    assert not kept_file(tmp_path, found[0][0]).exists()


def test_a_method_that_names_videos_is_measured_by_every_head_on_known_and_new_classes(
    recipes, tmp_path
) -> None:
    rows = {"m2": {"recipe": "m2-clip"}}
    ((job, what),) = run_jobs(jobs(recipes, rows), tmp_path, workers=1, results=tmp_path / "r.csv")
    assert isinstance(what, Measured), what
    assert {"known, text", "known, visual", "new, text"} <= what.accuracy.keys()
    lines = read_results(tmp_path / "r.csv")
    assert {line["recipe"] for line in lines} == {f"{job.recipe.label} (t: m2, 2 steps)"}
    assert len(lines) == len(what.accuracy)


def test_the_first_videos_of_each_class(recipes) -> None:
    recipe = load_recipe(recipes / "protonet" / "colours.yaml")
    method = make_method(recipe, open_manifest(recipe))
    videos = open_videos(recipe, method, "test")
    assert [r.path.stem for r in first_videos(videos, 2).records] == [
        *("test-0-0", "test-0-1", "test-1-0", "test-1-1")
    ]
    assert first_videos(videos, 9, 1).classes == videos.classes[:1]


def test_the_command_writes_the_tables_and_trains_nothing_that_is_there(
    tmp_path, monkeypatch, capsys
) -> None:
    chosen = load_study("ma-fsar").only(("components", "budget"))
    asked = jobs_of([chosen], scale="toy", seeds=3, recipes=RECIPES)
    for i, job in enumerate(asked):
        kept = Measured(
            *(job.title, "ma-fsar", "toyclip", job.recipe.data, job.recipe.seed, 60),
            *({FEW_SHOT: 50.0 + i}, 365_568, 10**6, 0.5, 60.0, "00"),
        )
        kept_file(tmp_path, job).parent.mkdir()
        kept.save(kept_file(tmp_path, job))
    monkeypatch.setattr(runs, "run", lambda *_: pytest.fail("measured twice"))
    words = ["reproduce", "ma-fsar", "--tables", "components,budget", "--out", str(tmp_path)]
    assert main([*words, "--recipes", str(RECIPES)]) == 0, capsys.readouterr().err
    text = (tmp_path / "tables.md").read_text()
    assert "| TMA + TPCM |" in text and "paper: ssv2-small" in text and "56.5" in text
    assert (tmp_path / "ma-fsar-components.svg").read_text().startswith("<svg")
    assert (tmp_path / "ma-fsar-budget.svg").is_file()
    assert "TMA + TPCM > TPCM" in capsys.readouterr().out


@pytest.fixture
def full(tmp_path: Path) -> Path:
    """Recipes of CLIP-FSAR for the benchmarks of its ablation, on a tiny tower."""
    for data in ("ssv2-small", "kinetics-100"):
        recipe = load_recipe(RECIPES / "clip-fsar" / f"{data}.yaml")
        path = tmp_path / "clip-fsar" / f"{data}.yaml"
        path.parent.mkdir(exist_ok=True)
        replace(recipe, options=recipe.options | {"heads": 4}, **TINY).save(path)
    return tmp_path


def test_full_scale_says_what_is_missing_and_how_long_it_would_take(full, capsys) -> None:
    words = ["reproduce", "clip-fsar", "--tables", "parts", "--scale", "full", "--recipes", str(full)]
    assert main(words) == 1
    said = capsys.readouterr()
    assert "openfsar data prepare ssv2-small --videos DIR" in said.err
    assert "openfsar data prepare kinetics-100 --videos DIR" in said.err
    assert "8 runs, 0 of them done" in said.out and "s a training video" in said.out
    assert "one run after another" in said.out
    assert main([*words, "--plan"]) == 0  # a plan is no failure


@pytest.mark.parametrize(
    "words, said",
    [
        (["trx"], "no study 'trx'; there are ma-fsar, clip-fsar"),
        (["ma-fsar", "--tables", "metric"], "no table 'metric'; it has components"),
        (["ma-fsar", "--recipes", "nowhere"], "nowhere is no folder"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(words, said, capsys, tmp_path, monkeypatch) -> None:
    recipes = [] if "--recipes" in words else ["--recipes", str(RECIPES)]
    assert main(["reproduce", *words, *recipes]) == 1
    assert said in capsys.readouterr().err
