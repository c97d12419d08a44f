"""What a study says: its files, its runs, what three seeds allow one to say, and its page."""

import re
from pathlib import Path
from statistics import fmean, stdev

import pytest

from openfsar.data.splits import BENCHMARKS
from openfsar.engine.published import load_published
from openfsar.studies.numbers import Spread
from openfsar.studies.page import Found, gather, page, section
from openfsar.studies.plan import FEW_SHOT, STUDIES, StudyError, Table, load_study, parse_study
from openfsar.studies.run import Job, Measured, job_of, jobs_of

RECIPES = Path(__file__).parents[2] / "recipes"
every_study = pytest.mark.parametrize("name", STUDIES)


def small(**table) -> dict:
    """The content of a file with one table of two rows."""
    rows = {"plain": {"set": {"options.tune": "none"}}, "adapted": {"published": {"ssv2-small": 56.5}}}
    values = {"title": "A table", "claim": "Adapting helps.", "toy": ["toy-motion"], "rows": rows}
    values |= {"changes": {"steps": 60}} | table
    return {
        "system": "MA-FSAR",
        "paper": "a paper",
        "published": "of it",
        "recipe": "ma-fsar",
        "tables": {"t": values},
    }


def measured(job: Job, accuracy: float, **changes) -> Measured:
    values = dict(title=job.title, method="ma-fsar", encoder="toyclip", data=job.recipe.data)
    values |= dict(seed=job.recipe.seed, steps=60, accuracy={FEW_SHOT: accuracy}, trainable=365_568)
    values |= dict(memory=2_000_000, step_seconds=0.5, seconds=60.0, episode_hash="00")
    return Measured(**values | changes)


def found(table: Table, accuracies: dict[str, list[float]], **changes) -> Found:
    """A table with these accuracies on its first data set, one per seed."""
    kept = {}
    for row, values in accuracies.items():
        for seed, value in enumerate(values):
            job = job_of(table, row, table.toy[0], scale="toy", recipes=RECIPES).at(seed)
            kept[job.key] = measured(job, value, **changes)
    return gather(table, kept, scale="toy", seeds=3, recipes=RECIPES)


@every_study
@pytest.mark.parametrize("scale", ["toy", "full"])
def test_every_row_of_every_table_is_a_recipe(name, scale) -> None:
    study = load_study(name)
    jobs = jobs_of([study], scale=scale, seeds=2, recipes=RECIPES)
    assert len({job.key for job in jobs}) == len(jobs)
    assert [job.recipe.seed for job in jobs] == sorted(job.recipe.seed for job in jobs)
    assert jobs, "a study has a table at either scale"


@every_study
def test_the_numbers_of_a_main_table_are_those_of_the_published_file(name) -> None:
    known = {(entry.method, entry.benchmark, float(entry.accuracy)) for entry in load_published()}
    benchmarks = {"k400": "kinetics-400"}
    for table in load_study(name).tables:
        for row in table.rows.values():
            for benchmark, value in row.published.items():
                assert benchmark in BENCHMARKS or benchmark in benchmarks
                if table.name == "main":
                    assert (name, benchmarks.get(benchmark, benchmark), value) in known


def test_rows_that_come_to_the_same_recipe_are_one_run() -> None:
    tables = {table.name: table for table in load_study("ma-fsar").tables}

    def key(table: str, row: str, seed: int = 0) -> str:
        return job_of(tables[table], row, "toy-motion", scale="toy", recipes=RECIPES).at(seed).key

    whole = key("components", "TMA + TPCM")
    assert (
        whole == key("adapters", "+ joint (all)") == key("prototypes", "TPCM") == key("names", "with names")
    )
    assert whole == key("metrics", "MA-FSAR (OTAM)") == key("budget", "MA-FSAR, 60")
    others = [key("components", "TPCM"), key("components", "neither"), key("budget", "MA-FSAR, 20")]
    assert len({whole, *others, key("components", "TMA + TPCM", seed=1)}) == 5


def test_a_row_of_no_steps_is_not_trained_and_few_steps_have_few_of_warm_up() -> None:
    table = next(table for table in load_study("ma-fsar").tables if table.name == "budget")
    none, few = (
        job_of(table, f"MA-FSAR, {steps}", "toy-motion", scale="toy", recipes=RECIPES) for steps in (0, 20)
    )
    assert not none.trained and few.trained
    assert (few.recipe.steps, few.recipe.warmup_steps, few.recipe.eval_every) == (20, 2, 20)


def test_what_a_row_changes_at_toy_scale_alone() -> None:
    table = next(table for table in load_study("ma-fsar").tables if table.name == "metrics")
    toy = job_of(table, "MA-FSAR (TRX)", "toy-scene", scale="toy", recipes=RECIPES)
    full = job_of(table, "MA-FSAR (TRX)", "ssv2-small", scale="full", recipes=RECIPES)
    assert (toy.recipe.options["scale"], full.recipe.options["scale"]) == (0.003, 1.0)
    assert toy.recipe.options["matcher"] == full.recipe.options["matcher"] == "trx"


def test_full_scale_is_the_recipe_itself_but_for_the_encoder_of_the_table() -> None:
    table = load_study("ma-fsar").tables[0]
    job = job_of(table, "TMA + TPCM", "ssv2-small", scale="full", recipes=RECIPES)
    assert (job.recipe.encoder, job.recipe.steps, job.recipe.query) == ("clip-vit-b-32", 20_000, 5)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"expect": ["adapted > plane"]}, "'plane' is none of its rows, plain, adapted"),
        ({"expect": ["adapted > plain on kth"]}, "'kth' is none of its data sets"),
        ({"expect": ["adapted helps"]}, "no expectation; write A > B"),
        ({"rows": {"plain": {"settings": {}}}}, "a row has published, recipe, set, toy_set, not settings"),
        ({"changes": {}}, "row 'plain' does not say how many steps it trains"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_file_that_contradicts_itself_is_refused_by_name(changes, words) -> None:
    with pytest.raises(StudyError, match=re.escape(words)):
        parse_study("t", small(**changes))


def test_a_study_and_its_tables_are_found_by_name() -> None:
    with pytest.raises(StudyError, match="no study 'trx'; there are ma-fsar"):
        load_study("trx")
    with pytest.raises(StudyError, match="nothing.yaml cannot be read"):
        load_study("nothing.yaml")
    study = load_study("ma-fsar")
    assert [table.name for table in study.only(("metrics",)).tables] == ["metrics"]
    assert study.only(()) == study
    with pytest.raises(StudyError, match="no table 'metric'; it has components"):
        study.only(("metric",))


def test_a_spread_is_students_interval() -> None:
    values = [68.5, 71.0, 69.7]
    spread = Spread.of(values)
    assert spread.mean == pytest.approx(fmean(values))
    assert spread.half == pytest.approx(4.303 * stdev(values) / 3**0.5)
    assert str(Spread.of([50.0])) == "50.0" and Spread.of([50.0]).half is None


@pytest.mark.parametrize(
    "spread, words",
    [
        (Spread(2.0, 1.9), "holds"),
        (Spread(2.0, 2.0), "smaller than its interval"),
        (Spread(-2.0, 2.1), "smaller than its interval"),
        (Spread(-2.0, 1.9), "the opposite holds"),
        (Spread(9.0, None), "one seed cannot tell"),
    ],
)
def test_what_can_be_said_of_a_difference(spread, words) -> None:
    assert spread.verdict == words


def test_a_table_holds_our_means_the_papers_number_and_the_verdict() -> None:
    (table,) = parse_study("t", small(expect=["adapted > plain"], costs=True)).tables
    text = section(found(table, {"plain": [50.0, 51.0, 52.0], "adapted": [60.0, 62.0, 64.0]}), "t.svg")
    assert "Claim: Adapting helps." in text and "![A table](t.svg)" in text
    assert "|  | toy-motion | trained | memory | s a step | paper: ssv2-small |" in text
    assert "| plain | 51.0 ± 2.5 | 366 k | 2 MB | 0.50 |  |" in text
    assert "| adapted | 62.0 ± 5.0 | 366 k | 2 MB | 0.50 | 56.5 |" in text
    # differences at equal seeds: 10, 11, 12
    assert "- adapted > plain: **holds** (+11.0 ± 2.5 points)" in text


def test_differences_are_taken_at_equal_seeds_and_what_is_missing_is_left_out() -> None:
    (table,) = parse_study("t", small(expect=["adapted > plain"])).tables
    partly = found(table, {"plain": [50.0, 70.0, 90.0], "adapted": [51.0, 72.0]})
    ((words, spread),) = partly.verdicts()
    assert words == "adapted > plain" and spread.mean == pytest.approx(1.5)
    nothing = found(table, {})
    assert nothing.columns == [] and "Not measured." in section(nothing)
    assert "## MA-FSAR" in page([(parse_study("t", small()), [nothing])], head="# Head", pictures={})


def test_a_gain_can_be_claimed_to_be_larger_on_one_data_set() -> None:
    (table,) = parse_study(
        "t",
        small(
            toy=["toy-scene", "toy-motion"], expect=["adapted > plain on toy-scene more than on toy-motion"]
        ),
    ).tables
    gains = {"toy-scene": (10.0, 20.0), "toy-motion": (10.0, 13.0)}
    kept = {}
    for data, (plain, adapted) in gains.items():
        for row, value in (("plain", plain), ("adapted", adapted)):
            for seed in range(3):
                job = job_of(table, row, data, scale="toy", recipes=RECIPES).at(seed)
                kept[job.key] = measured(job, value + seed)
    ((words, spread),) = gather(table, kept, scale="toy", seeds=3, recipes=RECIPES).verdicts()
    assert words == "adapted > plain on toy-scene more than on toy-motion"
    assert (spread.mean, spread.half) == (pytest.approx(7.0), pytest.approx(0.0, abs=1e-9))


def test_a_picture_has_every_row_and_every_panel() -> None:
    from openfsar.studies.figure import draw

    (table,) = parse_study("t", small()).tables
    drawn = draw(found(table, {"plain": [50.0, 51.0, 52.0], "adapted": [60.0, 62.0, 64.0]}))
    for words in ("plain", "adapted", "toy-motion", "paper: ssv2-small", 'aria-label="A table"'):
        assert words in drawn
    assert "currentColor" not in drawn  # a file of its own has no page to take it from
    budgets = {f"S, {n}": {"set": {"steps": n}} for n in (10, 20)}
    (curves,) = parse_study("t", small(rows=budgets, budgets=True)).tables
    drawn = draw(found(curves, {"S, 10": [50.0, 51.0, 52.0], "S, 20": [60.0, 62.0, 64.0]}))
    assert "training episodes" in drawn


def test_the_study_of_the_guide_is_one(tmp_path) -> None:
    guide = (RECIPES.parent / "docs" / "howto" / "reproduce.md").read_text()
    (tmp_path / "ratio.yaml").write_text(re.search(r"```yaml\n(.*?)```", guide, re.DOTALL)[1])
    study = load_study(str(tmp_path / "ratio.yaml"))
    jobs = jobs_of([study], scale="toy", seeds=1, recipes=RECIPES)
    assert [job.recipe.options["ratio"] for job in jobs] == [0.0625, 0.25]
