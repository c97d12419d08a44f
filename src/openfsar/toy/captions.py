"""What can be said of a frame, the still-life classes of toy-scene, and what is kept out of pre-training."""

from dataclasses import dataclass

import numpy as np

from openfsar.toy.motions import ALPHA, ANGLE, MOTION_CLASSES, SCALE, STRETCH, X, Y
from openfsar.toy.scenes import SCENES
from openfsar.toy.sprites import SHAPES, STATES
from openfsar.toy.world import FRAME, Shot

TEMPLATES = ("{}", "a photo of {}", "a photo of {}.", "a video of {}", "a picture of {}.")
_CELLS = {
    (0, 0): "in the upper left",
    (0, 1): "at the top",
    (0, 2): "in the upper right",
    (1, 0): "on the left",
    (1, 1): "in the middle",
    (1, 2): "on the right",
    (2, 0): "in the lower left",
    (2, 1): "at the bottom",
    (2, 2): "in the lower right",
}


def _scene_classes() -> dict[str, tuple[str, ...]]:
    """64/12/24 combinations "STATE SHAPE on SCENE".

    Validation and test come from three scenes only, so that most rivals in a task share the scene and the
    state and shape must be read; training combinations come from everywhere. The draw is fixed for good:
    what is validation or test here never stands in a pre-training caption.
    """
    rng = np.random.default_rng(20231)
    objects = [f"{state} {shape}" for state in STATES for shape in SHAPES]
    held_scenes = ("sand", "water", "wood")
    val, test = [], []
    for scene in held_scenes:
        chosen = rng.permutation(objects)[:12]
        val += [f"{looks} on {scene}" for looks in chosen[:4]]
        test += [f"{looks} on {scene}" for looks in chosen[4:]]
    held = set(val + test)
    rest = [f"{looks} on {scene}" for looks in objects for scene in SCENES]
    train = [name for name in rng.permutation(rest) if name not in held][:64]
    return {"train": tuple(map(str, train)), "val": tuple(map(str, val)), "test": tuple(map(str, test))}


SCENE_CLASSES = _scene_classes()
HELD_OUT = frozenset(SCENE_CLASSES["val"] + SCENE_CLASSES["test"])
TRAIN_ACTIONS = frozenset(MOTION_CLASSES["train"])


POSED = ("crescent", "heart", "arrow")
"""Shapes that show which way up they are."""
_POSES = ("upright", "leaning right", "upside down", "leaning left")


@dataclass(frozen=True)
class Subject:
    """What one frame shows of the object a shot is about; '' where there is nothing to say."""

    shape: str
    state: str
    colour: str
    size: str
    build: str
    pose: str
    place: str
    scene: str
    action: str
    """Only actions of the training classes are ever named."""

    @property
    def kind(self) -> str:
        """The toy-scene class it belongs to."""
        return f"{self.state} {self.shape} on {self.scene}"

    def facts(self) -> dict[str, str]:
        """Every still fact as words that can be a caption of their own."""
        said = {name: value for name, value in vars(self).items() if name != "action" and value}
        return said | {"scene": f"on {self.scene}"}


def subject(shot: Shot, frame: int) -> Subject | None:
    """The nameable facts of one frame of a shot; None where the object cannot be seen well."""
    sprite, state = shot.sprites[shot.actor], shot.tracks[shot.actor][frame]
    x, y = place = state[[X, Y]] - shot.camera[frame] / FRAME
    if state[ALPHA] < 0.4 or (place < 0).any() or (place > 1).any():
        return None
    radius = sprite.radius * np.exp(state[SCALE])
    quarter = int(np.round(state[ANGLE] / (np.pi / 2))) % 4
    return Subject(
        shape=sprite.shape,
        state=sprite.state,
        colour=sprite.colour,
        size="small" if radius < 11.5 else "large" if radius > 16 else "",
        build="tall" if state[STRETCH] > 0.2 else "flat" if state[STRETCH] < -0.2 else "",
        pose=_POSES[quarter] if sprite.shape in POSED else "",
        place=_CELLS[int(y * 2.999), int(x * 2.999)],
        scene=shot.scene,
        action=shot.action if shot.action in TRAIN_ACTIONS else "",
    )


def caption(seen: Subject, rng: np.random.Generator | None = None) -> str:
    """A sentence about a frame: a random choice of facts and wording, or without ``rng`` every still fact."""

    def say(chance: float, fact: str) -> str:
        return fact if rng is None or rng.random() < chance else ""

    looks = [
        say(0.6, seen.size),
        say(0.4, seen.build),
        say(0.9, seen.state),
        say(0.85, seen.colour),
        seen.shape,
        say(0.4, seen.pose),
    ]
    words = " ".join(word for word in looks if word)
    words = say(0.4, "a ") + words
    if rng is not None and seen.action and rng.random() < 0.25:
        words += " that " + seen.action
    words = " ".join(filter(None, (words, say(0.6, seen.place), say(0.7, "on " + seen.scene))))
    return words if rng is None else worded(words, rng)


def worded(words: str, rng: np.random.Generator) -> str:
    """The words in a caption's usual wording."""
    return str(rng.choice(TEMPLATES)).format(words)
