"""A recipe is complete, strict, and says what is wrong with it."""

from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from painted import tiny_recipe

from openfsar.engine.recipe import Recipe, RecipeError, load_recipe


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    tiny_recipe(betas=(0.8, 0.99), schedule="steps", milestones=(2, 4), options={"smoothing": 0.2}).save(path)
    return path


def edit(path: Path, **changes: object) -> Path:
    values = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({key: value for key, value in values.items() if value is not ...}))
    return path


def test_saving_and_loading_gives_an_equal_recipe(file: Path) -> None:
    expected = tiny_recipe(betas=(0.8, 0.99), schedule="steps", milestones=(2, 4), options={"smoothing": 0.2})
    assert load_recipe(file) == expected
    assert load_recipe(file) != replace(expected, lr=2e-3)


def test_every_field_is_documented_in_the_source() -> None:
    source = (Path(__file__).parents[2] / "src/openfsar/engine/recipe.py").read_text().splitlines()
    for field in fields(Recipe):
        place = next(i for i, line in enumerate(source) if line.startswith(f"    {field.name}: "))
        assert source[place + 1].startswith('    """'), field.name


def test_a_file_that_is_not_there_is_an_error_that_shows_its_neighbours(file: Path) -> None:
    with pytest.raises(RecipeError, match=rf"missing\.yaml cannot be read.*{file.name}"):
        load_recipe(file.with_name("missing.yaml"))
    with pytest.raises(RecipeError, match="recipes/ of a checkout"):
        load_recipe(file.parent / "nowhere" / "missing.yaml")


@pytest.mark.parametrize("text", ["1e-5", "1E-5", "1.0e-5", "0.00001", "+1e-05", "'1e-5'"])
def test_numbers_are_read_as_people_write_them(file: Path, text: str) -> None:
    file.write_text(
        "".join(f"lr: {text}\n" if x.startswith("lr:") else f"{x}\n" for x in file.read_text().splitlines())
    )
    assert load_recipe(file).lr == 1e-5


def test_overrides_replace_values_and_options(file: Path) -> None:
    recipe = load_recipe(
        file, ["shot=5", "lr=3e-4", "options.smoothing=5e-2", "options.merge=prototype", "cache="]
    )
    assert (recipe.shot, recipe.lr, recipe.cache) == (5, 3e-4, "")
    assert recipe.options == {"smoothing": 0.05, "merge": "prototype"}


def test_a_factor_on_the_learning_rate_is_a_dotted_override(file: Path) -> None:
    changes = ["lr_factors.head=10", "lr_factors.encoder.vision=0.5"]
    assert load_recipe(file, changes).lr_factors == {"head": 10.0, "encoder.vision": 0.5}


@pytest.mark.parametrize("change", [["milestones=[1, 5]", "gamma=0.5"], ["schedule=cosine", "milestones=[]"]])
def test_overrides_may_be_lists(file: Path, change: list[str]) -> None:
    assert load_recipe(file, change).milestones in [(1, 5), ()]


@pytest.mark.parametrize(
    "override, said",
    [
        ("shots=5", "did you mean 'shot'?"),
        ("shot", "write key=value"),
        ("method.name=otam", "leads nowhere"),
        ("options.a.b=1", "leads nowhere"),
        ("shot=five", "'shot'|shot"),
        ("shot=[", "shot=\\["),
        ("zzzzzz=1", "valid keys are method, "),
    ],
)
def test_a_wrong_override_is_named(file: Path, override: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as caught:
        load_recipe(file, [override])
    assert "\n" not in str(caught.value)


def test_an_unknown_key_names_file_key_and_nearest_key(file: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"recipe\.yaml: unknown key 'warmup_step'; did you mean 'warmup_steps'\?"
    ):
        load_recipe(edit(file, warmup_step=3))


@pytest.mark.parametrize("key", [field.name for field in fields(Recipe)])
def test_a_recipe_file_lacks_no_key(file: Path, key: str) -> None:
    with pytest.raises(RecipeError, match=rf"recipe\.yaml: lacks {key};"):
        load_recipe(edit(file, **{key: ...}))


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": "many"},
        {"steps": 2.5},
        {"steps": True},
        {"pretrained": "perhaps"},
        {"optimizer": "lamb"},
        {"sampling": "random"},
        {"betas": [0.9]},
        {"options": ["a"]},
        {"method": 3},
        {"cache": None},
    ],
)
def test_a_value_of_the_wrong_type_names_file_and_key(file: Path, changes: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match=rf"recipe\.yaml: .*{next(iter(changes))}") as caught:
        load_recipe(edit(file, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"way": 1}, r"way=1 \(at least 2\)"),
        ({"eval_episodes": 1}, r"eval_episodes=1 \(at least 2\)"),
        ({"lr": 0.0}, r"lr=0.0 \(above 0\)"),
        ({"lr": float("nan")}, "lr=nan"),
        ({"warmup_steps": 7}, "warmup_steps=7 .*steps=6"),
        ({"schedule": "steps"}, r"milestones=\[\] with schedule=steps"),
        ({"milestones": (2,)}, r"milestones=\[2\] with schedule=cosine"),
        ({"schedule": "steps", "milestones": (3, 2)}, "rising"),
        ({"momentum": 0.9}, "momentum=0.9 with optimizer=adamw"),
        ({"seed": -1}, "seed=-1"),
        ({"held_out": 0.5}, r"held_out=0.5 \(between 0 and 0.5\)"),
        ({"lr_factors": {"head": 0.0}}, r"lr_factors.head=0.0 \(above 0\)"),
        ({"stride": 4}, "stride=4 with sampling=segments"),
        ({"training": "clips", "choose_text_share": True}, "choose_text_share=true with training=clips"),
        ({"way": 1, "shot": 0}, "way=1.*shot=0"),
    ],
)
def test_contradictions_name_the_fields(changes: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        tiny_recipe(**changes)


@pytest.mark.parametrize(
    "text", ["", "- a\n- b\n", "just words", "shot: [1", "shot: 1\nshot: 2\n", "\tshot: 1"]
)
def test_what_is_no_recipe_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"bad\.yaml: ") as caught:
        load_recipe(path)
    assert "\n" not in str(caught.value)


def test_the_label_is_method_and_data() -> None:
    assert tiny_recipe(data="toy-motion").label == "otam/toy-motion"
    assert tiny_recipe(data="data/kth/manifest.csv").label == "otam/kth"
    assert tiny_recipe(data="lists/kth.csv").label == "otam/kth"
