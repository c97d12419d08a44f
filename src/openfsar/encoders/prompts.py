"""Class names to sentences: template sets as data, and the pure functions that fill them."""

import re
from collections.abc import Sequence

TEMPLATES: dict[str, tuple[str, ...]] = {
    "photo": ("a photo of {}.",),
    "clip-fsar": ("a photo of {}",),  # the paper's prompt has no full stop
    "name": ("{}",),
    "video": (
        "a video of {}.",
        "a video of a person {}.",
        "a short clip showing {}.",
        "a frame from a video of {}.",
        "footage of someone doing {}.",
        "an example of the action {}.",
        "people filmed during {}.",
        "a demonstration of {}.",
    ),
    "actionclip": (
        "a photo of action {}",
        "a picture of action {}",
        "Human action of {}",
        "{}, an action",
        "{} this is an action",
        "{}, a video of action",
        "Playing action of {}",
        "{}",
        "Playing a kind of action, {}",
        "Doing a kind of action, {}",
        "Look, the human is {}",
        "Can you recognize the action of {}?",
        "Video classification of {}",
        "A video of {}",
        "The man is {}",
        "The woman is {}",
    ),
}
"""Named sets of templates; ``{}`` marks the place of the class name. One feature per class is their mean."""

_WORD_BORDER = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def humanise(name: str) -> str:
    """A class name as words: ``ApplyEyeMakeup`` -> ``Apply Eye Makeup``, ``brush_hair`` -> ``brush hair``.

    Names that already hold spaces keep their capitals as they are: they were written for readers.
    """
    words = name.replace("_", " ")
    if " " not in words.strip():
        words = _WORD_BORDER.sub(" ", words)
    return " ".join(words.split())


def fill(names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every name in every template, names outermost.

    Raises:
        ValueError: A lone string where a list is meant, an empty list or name, a template without one ``{}``.
    """
    for what, value in (("names", names), ("templates", templates)):
        if isinstance(value, str):
            raise ValueError(
                f"{what} must be a sequence of strings, got the single string {value!r}; write [{value!r}]"
            )
        if not value:
            raise ValueError(f"{what} are empty; give at least one")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(
                f"template {template!r} must hold the mark {{}} exactly once, as in 'a photo of {{}}.'"
            )
    words = [humanise(name) for name in names]
    if not all(words):
        raise ValueError(f"class names must not be empty, got {list(names)!r}")
    return [template.replace("{}", word) for word in words for template in templates]
