"""Class names to sentences."""

import pytest

from openfsar.encoders.prompts import TEMPLATES, fill, humanise


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("brush_hair", "brush hair"),
        ("ApplyEyeMakeup", "Apply Eye Makeup"),
        ("HTMLEditing", "HTML Editing"),
        ("push-up", "push-up"),
        ("  two   spaces ", "two spaces"),
        ("Pushing something so that it falls", "Pushing something so that it falls"),
        ("playing the PlayStation", "playing the PlayStation"),
        ("move_left_then_zoomIn", "move left then zoomIn"),
        ("jump2Steps", "jump2 Steps"),
        ("", ""),
    ],
)
def test_a_class_name_becomes_words(name, words):
    assert humanise(name) == words
    assert humanise(words) == words


def test_every_name_meets_every_template_names_outermost():
    assert fill(["brush_hair", "run"], ["a photo of {}", "{}!"]) == [
        "a photo of brush hair",
        "brush hair!",
        "a photo of run",
        "run!",
    ]


def test_braces_in_a_class_name_are_left_alone():
    assert fill(["a {b} {}"], ["see {}."]) == ["see a {b} {}."]


def test_every_template_set_can_be_filled():
    for templates in TEMPLATES.values():
        sentences = fill(["walking"], templates)
        assert len(set(sentences)) == len(templates) and all("walking" in s for s in sentences)


@pytest.mark.parametrize(
    ("names", "templates", "message"),
    [
        ("run", ["{}"], r"names must be a sequence .* write \['run'\]"),
        (["run"], "{}", "templates must be a sequence"),
        ([], ["{}"], "names are empty"),
        (["run"], [], "templates are empty"),
        (["run"], ["a photo"], "exactly once"),
        (["run"], ["{} {}"], "exactly once"),
        (["run", " _ "], ["{}"], "must not be empty"),
    ],
)
def test_bad_names_and_templates_are_refused(names, templates, message):
    with pytest.raises(ValueError, match=message):
        fill(names, templates)
