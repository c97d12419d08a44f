"""What can be said of a frame, the still-life classes of toy-scene, and what is kept out of pre-training."""

from dataclasses import dataclass

import numpy as np

from openfsar.toy.motions import MOTION_CLASSES, SCALE, X, Y
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


@dataclass(frozen=True)
class Subject:
    """What one frame shows of the object a shot is about."""

    shape: str
    state: str
    colour: str
    size: str
    place: str
    scene: str
    action: str
    """Only actions of the training classes are ever named."""

    @property
    def kind(self) -> str:
        """The toy-scene class it belongs to."""
        return f"{self.state} {self.shape} on {self.scene}"


def subject(shot: Shot, frame: int) -> Subject:
    """The nameable facts of one frame of a shot."""
    sprite, state = shot.sprites[shot.actor], shot.tracks[shot.actor][frame]
    x, y = state[[X, Y]] - shot.camera[frame] / FRAME
    radius = sprite.radius * np.exp(state[SCALE])
    return Subject(
        shape=sprite.shape,
        state=sprite.state,
        colour=sprite.colour,
        size="small" if radius < 11.5 else "large" if radius > 16 else "",
        place=_CELLS[int(np.clip(y * 3, 0, 2)), int(np.clip(x * 3, 0, 2))],
        scene=shot.scene,
        action=shot.action if shot.action in TRAIN_ACTIONS else "",
    )


def caption(seen: Subject, rng: np.random.Generator | None = None) -> str:
    """A sentence about a frame: a random choice of facts and wording, or without ``rng`` every still fact."""

    def say(chance: float) -> bool:
        return rng is None or bool(rng.random() < chance)

    looks = [
        seen.size if say(0.6) else "",
        seen.state if say(0.9) else "",
        seen.colour if say(0.85) else "",
        seen.shape,
    ]
    words = " ".join(word for word in looks if word)
    if say(0.4):
        words = "a " + words
    if rng is not None and seen.action and say(0.25):
        words += " that " + seen.action
    if say(0.55):
        words += " " + seen.place
    if say(0.7):
        words += " on " + seen.scene
    return words if rng is None else str(rng.choice(TEMPLATES)).format(words)
