"""The small world: sprites act on a textured scene while a camera shakes.

``motion_shot`` and ``scene_shot`` draw everything that is not the class at random (objects, colours, scene,
place, speed, pauses, distractors, camera, noise); ``render`` turns a shot into pixels.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int, UInt8

from openfsar.toy.motions import (
    ALPHA,
    ANGLE,
    MOTION_CLASSES,
    SCALE,
    STEPS,
    STRETCH,
    Progress,
    Track,
    X,
    Y,
    act_out,
    still,
)
from openfsar.toy.scenes import SCENES, SIDE, VARIANTS, texture
from openfsar.toy.sprites import COLOURS, SHAPES, SIZES, STATES, Sprite, paint

FRAME = 96
"""Pixels per side of a frame."""
CLUTTER = (5.0, 8.0)
"""Radius range in pixels of distractors: smaller than any object a class is about, so none is mistaken."""


@dataclass(frozen=True)
class Shot:
    """Everything that decides the pixels of one clip."""

    scene: str
    variant: int
    sprites: tuple[Sprite, ...]
    """Drawn in this order: the last one is in front."""
    tracks: tuple[Track, ...]
    """One (T, 6) track per sprite, positions now absolute in fractions of the frame."""
    actor: int
    """Index of the sprite the class is about."""
    camera: Float[np.ndarray, "T 2"]
    """Offset of the view in pixels."""
    noise: float
    """Standard deviation of the pixel noise, grey levels."""
    gain: float
    """Brightness of the whole shot."""
    seed: int
    action: str = ""

    def __len__(self) -> int:
        return len(self.camera)


def draw_sprite(
    rng: np.random.Generator, *, shape: str = "", state: str = "", colour: str = "", size: str = ""
) -> Sprite:
    """A sprite with the given looks; what is left out is drawn at random."""
    size = size or str(rng.choice(list(SIZES)))
    return Sprite(
        shape=shape or str(rng.choice(list(SHAPES))),
        state=state or str(rng.choice(STATES)),
        colour=colour or str(rng.choice(list(COLOURS))),
        size=size,
        radius=rng.uniform(*SIZES[size]),
    )


def _pace(count: int, rng: np.random.Generator) -> Progress:
    """Progress of an action over the clip: it waits, goes at an uneven speed, and rests."""
    time = np.linspace(0, 1, count)
    start, end = rng.uniform(0, 0.12), 1 - rng.uniform(0, 0.12)
    u = np.clip((time - start) / (end - start), 0, 1)
    bend = rng.uniform(-0.35, 0.35)
    return u + bend * u * (1 - u)


def camera_path(count: int, rng: np.random.Generator) -> Float[np.ndarray, "T 2"]:
    """Offset of a view that drifts and shakes, in pixels."""
    drift = np.linspace(0, 1, count)[:, None] * rng.uniform(-6, 6, 2)
    return drift + rng.normal(0, rng.uniform(0, 0.8), (count, 2))


def _place(tracks: list[Track], rng: np.random.Generator, overshoot: float) -> list[Track]:
    """Move a whole action so that its bounding box lies in the frame, give or take ``overshoot``."""
    corners = np.concatenate([track[:, :2] for track in tracks])
    low, high = corners.min(0), corners.max(0)
    margin = 0.16 - overshoot
    slack = np.maximum(1 - 2 * margin - (high - low), 0)
    offset = 0.5 - (low + high) / 2 + rng.uniform(-0.5, 0.5, 2) * slack
    for track in tracks:
        track[:, :2] += offset
    return tracks


def _wander(count: int, rng: np.random.Generator) -> Track:
    """A slow aimless drift, for distractors and for the objects of still life."""
    track = still(count)
    start, step = rng.uniform(0.1, 0.9, 2), rng.normal(0, 0.05, 2)
    track[:, :2] = start + np.linspace(0, 1, count)[:, None] * step
    track[:, ANGLE] = rng.uniform(-0.4, 0.4)
    return track


def _clutter(count: int, number: int, rng: np.random.Generator) -> list[tuple[Sprite, Track]]:
    sprites = (replace(draw_sprite(rng), radius=rng.uniform(*CLUTTER)) for _ in range(number))
    return [(sprite, _wander(count, rng)) for sprite in sprites]


def _finish(
    scene: str,
    layers: list[tuple[Sprite, Track]],
    actor: Sprite,
    rng: np.random.Generator,
    action: str = "",
) -> Shot:
    sprites = tuple(sprite for sprite, _ in layers)
    count = len(layers[0][1])
    return Shot(
        scene=scene,
        variant=int(rng.integers(VARIANTS)),
        sprites=sprites,
        tracks=tuple(track for _, track in layers),
        actor=next(i for i, sprite in enumerate(sprites) if sprite is actor),
        camera=camera_path(count, rng),
        noise=rng.uniform(1, 7),
        gain=rng.uniform(0.8, 1.15),
        seed=int(rng.integers(2**62)),
        action=action,
    )


def motion_shot(action: str, count: int, rng: np.random.Generator) -> Shot:
    """A shot of ``count`` frames in which a random object does ``action`` somewhere on a random scene."""
    tracks = act_out(action, _pace(count, rng), rng)
    atom = STEPS[action.split(", then ")[0]][0]
    # A disc without marks cannot be seen to spin, and the reader of a class should never have to guess.
    turns = np.ptp(tracks[0][:, ANGLE]) > 0.5
    shape = str(rng.choice([s for s in SHAPES if s not in ("circle", "cross", "star")])) if turns else ""
    actor = draw_sprite(rng, shape=shape)
    acting = [actor]
    if len(tracks) == 2:
        acting.append(Sprite(**vars(actor)) if atom.partner == "twin" else draw_sprite(rng))
    for track in tracks:
        track[:, SCALE] -= (track[:, SCALE].max() + track[:, SCALE].min()) / 2
        track[:, ANGLE] += rng.uniform(-0.4, 0.4)
    tracks = _place(tracks, rng, overshoot=0.08)
    if atom.enters:
        for track in tracks:
            track[:, X] += -0.2 - track[:, X].min()
    layers = list(zip(acting, tracks, strict=True))
    if atom.actor_on_top:
        layers.reverse()
    clutter = _clutter(count, int(rng.integers(0, 3)), rng)
    return _finish(str(rng.choice(list(SCENES))), clutter + layers, actor, rng, action)


def scene_shot(name: str, count: int, rng: np.random.Generator) -> Shot:
    """A shot of a class "STATE SHAPE on SCENE": a large object of that kind moves among small others."""
    looks, scene = name.split(" on ")
    state, shape = looks.split(" ")
    actor = draw_sprite(rng, shape=shape, state=state, size="large")
    action = str(rng.choice(MOTION_CLASSES["train"][:8]))
    track = _place(act_out(action, _pace(count, rng), rng)[:1], rng, overshoot=0.1)[0]
    track[:, ANGLE] += rng.uniform(-0.5, 0.5)
    layers = [*_clutter(count, int(rng.integers(1, 4)), rng), (actor, track)]
    return _finish(scene, [layers[i] for i in rng.permutation(len(layers))], actor, rng)


def alone(shot: Shot) -> Shot:
    """The same shot with nothing in it but the object it is about."""
    actor = slice(shot.actor, shot.actor + 1)
    return replace(shot, sprites=shot.sprites[actor], tracks=shot.tracks[actor], actor=0)


def render(shot: Shot, frames: Int[np.ndarray, " T"] | None = None) -> UInt8[np.ndarray, "T H W 3"]:
    """Pixels of a shot, FRAME by FRAME, or of the chosen frames of it."""
    chosen = np.arange(len(shot)) if frames is None else frames
    view = shot.camera[chosen]
    rng = np.random.default_rng([shot.seed, 0])
    room = (SIDE - FRAME) // 2
    corner = np.clip(np.round(rng.uniform(-room + 12, room - 12, 2) + room + view), 0, SIDE - FRAME).astype(
        int
    )
    background = texture(shot.scene, shot.variant)
    picture = np.stack([background[y : y + FRAME, x : x + FRAME] for x, y in corner])
    for sprite, track in zip(shot.sprites, shot.tracks, strict=True):
        state = track[chosen]
        paint(
            picture,
            sprite,
            centre=state[:, [X, Y]] * FRAME - view,
            scale=np.exp(state[:, SCALE]),
            angle=state[:, ANGLE],
            stretch=state[:, STRETCH],
            alpha=state[:, ALPHA],
        )
    picture *= np.float32(shot.gain)
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(shot.noise)
    return np.clip(picture, 0, 255).astype(np.uint8)
