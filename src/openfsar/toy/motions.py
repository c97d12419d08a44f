"""Motions of the toy world: atoms, their time reversals, ordered two-step compositions, and the class splits.

A track says how an object changes, a row per frame: x and y (fractions of the frame, y downwards), log scale,
angle (radians, clockwise), opacity, log stretch. An atom makes one track per object, as a function of
progress 0..1; played backwards it is another class. Positions are relative: the world places the whole path.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Track = Float[np.ndarray, "T 6"]
Progress = Float[np.ndarray, " T"]
X, Y, SCALE, ANGLE, ALPHA, STRETCH = range(6)


def still(count: int) -> Track:
    """An object that keeps its place for ``count`` frames: zeros, fully opaque."""
    track = np.zeros((count, 6))
    track[:, ALPHA] = 1
    return track


def _track(u: Progress, **channels: Progress) -> Track:
    track = still(len(u))
    for name, values in channels.items():
        track[
            :, {"x": X, "y": Y, "scale": SCALE, "angle": ANGLE, "alpha": ALPHA, "stretch": STRETCH}[name]
        ] = values
    return track


def _travel(rng: np.random.Generator) -> float:
    return rng.uniform(0.4, 0.6)


def _line(dx: float, dy: float) -> Callable[[Progress, np.random.Generator], list[Track]]:
    def atom(u: Progress, rng: np.random.Generator) -> list[Track]:
        travel = _travel(rng)
        return [_track(u, x=dx * travel * u, y=dy * travel * u)]

    return atom


def _grow(u: Progress, rng: np.random.Generator) -> list[Track]:
    return [_track(u, scale=rng.uniform(0.7, 0.9) * u)]


def _spin(u: Progress, rng: np.random.Generator) -> list[Track]:
    return [_track(u, angle=rng.uniform(0.9, 1.2) * np.pi * u)]


def _circle(u: Progress, rng: np.random.Generator) -> list[Track]:
    radius, start = rng.uniform(0.17, 0.24), rng.uniform(0, 2 * np.pi)
    turn = start + 2 * np.pi * rng.uniform(0.75, 1.0) * u
    return [_track(u, x=radius * np.cos(turn), y=radius * np.sin(turn))]


def _bounce(u: Progress, rng: np.random.Generator) -> list[Track]:
    height = rng.uniform(0.4, 0.5)
    return [_track(u, x=0.1 * u, y=-height * np.abs(np.cos(2.5 * np.pi * u)) * (1 - u) ** 0.8)]


def _zigzag(u: Progress, rng: np.random.Generator) -> list[Track]:
    wave = 2 * np.abs((2.5 * u) % 1 - 0.5) - 0.5
    return [_track(u, x=_travel(rng) * u, y=0.3 * wave)]


def _appear(u: Progress, rng: np.random.Generator) -> list[Track]:
    return [_track(u, alpha=np.clip(1.15 * u - 0.05, 0, 1))]


def _spiral(u: Progress, rng: np.random.Generator) -> list[Track]:
    turn = rng.uniform(0, 2 * np.pi) + 2.5 * np.pi * u
    radius = 0.03 + rng.uniform(0.24, 0.3) * u
    return [_track(u, x=radius * np.cos(turn), y=radius * np.sin(turn))]


def _arc(u: Progress, rng: np.random.Generator) -> list[Track]:
    return [_track(u, x=_travel(rng) * u, y=-rng.uniform(1.2, 1.6) * u * (1 - u))]


def _stretch(u: Progress, rng: np.random.Generator) -> list[Track]:
    return [_track(u, stretch=rng.uniform(0.7, 0.9) * (u - 0.5))]


def _roll(u: Progress, rng: np.random.Generator) -> list[Track]:
    return [_track(u, x=_travel(rng) * u, angle=rng.uniform(1.0, 1.4) * np.pi * u)]


def _enter(u: Progress, rng: np.random.Generator) -> list[Track]:
    return [_track(u, x=0.75 * u, y=rng.uniform(-0.1, 0.1) * u)]


def _approach(u: Progress, rng: np.random.Generator) -> list[Track]:
    direction, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0.6, 0.75)
    dx, dy = np.cos(direction), np.sin(direction)
    go = (distance - 0.25) * u
    partner = _track(u, x=0 * u + distance * dx, y=0 * u + distance * dy)
    return [_track(u, x=go * dx, y=go * dy), partner]


def _push(u: Progress, rng: np.random.Generator) -> list[Track]:
    touch = rng.uniform(0.35, 0.5)
    distance = _travel(rng) * 1.2
    gap = 0.28 + distance * touch
    return [_track(u, x=distance * u), _track(u, x=gap + distance * np.maximum(u - touch, 0))]


def _knock(u: Progress, rng: np.random.Generator) -> list[Track]:
    touch = rng.uniform(0.4, 0.55)
    distance = rng.uniform(0.3, 0.4)
    actor = _track(u, x=distance * np.minimum(u / touch, 1))
    return [actor, _track(u, x=0.28 + distance + 0.45 * np.maximum(u - touch, 0) / (1 - touch))]


def _chase(u: Progress, rng: np.random.Generator) -> list[Track]:
    travel = _travel(rng)
    return [_track(u, x=travel * u), _track(u, x=0.5 + (travel - 0.25) * u)]


def _swap(u: Progress, rng: np.random.Generator) -> list[Track]:
    radius, start = rng.uniform(0.18, 0.24), rng.choice([0.0, np.pi / 2])
    turn = start + np.pi * u
    actor = _track(u, x=radius * np.cos(turn), y=radius * np.sin(turn))
    return [actor, _track(u, x=-radius * np.cos(turn), y=-radius * np.sin(turn))]


def _orbit(u: Progress, rng: np.random.Generator) -> list[Track]:
    radius, start = rng.uniform(0.26, 0.32), rng.uniform(0, 2 * np.pi)
    turn = start + 2 * np.pi * rng.uniform(0.75, 1.0) * u
    return [_track(u, x=radius * np.cos(turn), y=radius * np.sin(turn)), still(len(u))]


def _pass(u: Progress, rng: np.random.Generator) -> list[Track]:
    travel = rng.uniform(0.6, 0.75)
    return [_track(u, x=travel * (u - 0.5)), still(len(u))]


def _split(u: Progress, rng: np.random.Generator) -> list[Track]:
    half, direction = rng.uniform(0.2, 0.28), rng.uniform(0, np.pi)
    dx, dy = half * np.cos(direction) * u, half * np.sin(direction) * u
    return [_track(u, x=dx, y=dy), _track(u, x=-dx, y=-dy)]


def _hop(u: Progress, rng: np.random.Generator) -> list[Track]:
    side = rng.choice([-1.0, 1.0])
    actor = _track(u, x=side * 0.4 * u, y=-0.3 * u - rng.uniform(0.9, 1.2) * u * (1 - u))
    return [actor, _track(u, x=0 * u + side * 0.4)]


@dataclass(frozen=True)
class Atom:
    """One elementary motion and the name of its time reversal."""

    name: str
    reverse: str
    tracks: Callable[[Progress, np.random.Generator], list[Track]]
    partner: str = ""
    """'' for one object, 'other' for a second object, 'twin' for a second one that looks the same."""
    actor_on_top: bool = True
    enters: bool = False
    """Whether the path begins outside the frame."""


ATOMS = (
    Atom("slides right", "slides left", _line(1.0, 0.0)),
    Atom("rises", "falls", _line(0.0, -1.0)),
    Atom("climbs to the right", "sinks to the left", _line(0.8, -0.8)),
    Atom("grows", "shrinks", _grow),
    Atom("spins clockwise", "spins counterclockwise", _spin),
    Atom("circles clockwise", "circles counterclockwise", _circle),
    Atom("bounces lower and lower", "bounces higher and higher", _bounce),
    Atom("zigzags right", "zigzags left", _zigzag),
    Atom("appears", "vanishes", _appear),
    Atom("spirals outward", "spirals inward", _spiral),
    Atom("arcs over to the right", "arcs over to the left", _arc),
    Atom("stretches tall", "flattens", _stretch),
    Atom("rolls right", "rolls left", _roll),
    Atom("enters from the left", "leaves to the left", _enter, enters=True),
    Atom("approaches something", "retreats from something", _approach, partner="other"),
    Atom("pushes something right", "pulls something left", _push, partner="other"),
    Atom("knocks something away", "is hit and thrown back", _knock, partner="other"),
    Atom("chases something right", "backs away from something", _chase, partner="other"),
    Atom("swaps places clockwise", "swaps places counterclockwise", _swap, partner="other"),
    Atom("orbits something clockwise", "orbits something counterclockwise", _orbit, partner="other"),
    Atom(
        "passes before something to the right", "passes before something to the left", _pass, partner="other"
    ),
    Atom(
        "passes behind something to the right",
        "passes behind something to the left",
        _pass,
        partner="other",
        actor_on_top=False,
    ),
    Atom("splits in two", "merges into one", _split, partner="twin"),
    Atom("hops onto something", "hops off something", _hop, partner="other"),
)

STEPS: dict[str, tuple[Atom, bool]] = {atom.name: (atom, False) for atom in ATOMS} | {
    atom.reverse: (atom, True) for atom in ATOMS
}
"""Every atomic class: its atom and whether it plays backwards."""

VAL_ATOMS = ("climbs to the right", "swaps places clockwise")
TEST_ATOMS = ("spirals outward", "rolls right", "orbits something clockwise", "hops onto something")

# Unordered pairs; each gives two classes, "A, then B" and "B, then A". Steps of one object only, and neither
# appearing nor vanishing, so that both orders can be seen.
TRAIN_PAIRS = (
    ("slides right", "rises"),
    ("slides left", "falls"),
    ("slides right", "shrinks"),
    ("slides left", "spins clockwise"),
    ("rises", "grows"),
    ("falls", "spins counterclockwise"),
    ("grows", "spins clockwise"),
    ("shrinks", "zigzags left"),
    ("grows", "arcs over to the right"),
    ("stretches tall", "slides right"),
    ("flattens", "rises"),
    ("stretches tall", "spins counterclockwise"),
    ("circles clockwise", "falls"),
    ("circles counterclockwise", "shrinks"),
)
VAL_PAIRS = (
    ("slides left", "rises"),
    ("falls", "grows"),
    ("spins clockwise", "zigzags right"),
    ("climbs to the right", "shrinks"),
)
TEST_PAIRS = (
    ("slides right", "falls"),
    ("slides left", "grows"),
    ("rises", "spins clockwise"),
    ("flattens", "zigzags left"),
    ("arcs over to the right", "shrinks"),
    ("rolls right", "falls"),
    ("spirals outward", "grows"),
    ("rolls left", "stretches tall"),
)


def _both_orders(pairs: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    return tuple(f"{a}, then {b}" for pair in pairs for a, b in (pair, pair[::-1]))


def _with_reverses(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for atom in ATOMS if atom.name in names for name in (atom.name, atom.reverse))


TRAIN_ATOMS = tuple(atom.name for atom in ATOMS if atom.name not in VAL_ATOMS + TEST_ATOMS)
MOTION_CLASSES: dict[str, tuple[str, ...]] = {
    "train": _with_reverses(TRAIN_ATOMS) + _both_orders(TRAIN_PAIRS),
    "val": _with_reverses(VAL_ATOMS) + _both_orders(VAL_PAIRS),
    "test": _with_reverses(TEST_ATOMS) + _both_orders(TEST_PAIRS),
}
"""64/12/24 action classes. Validation and test hold unseen compositions and unseen atoms."""


def _one_step(name: str, u: Progress, rng: np.random.Generator) -> list[Track]:
    atom, backwards = STEPS[name]
    return atom.tracks(1 - u if backwards else u, rng)


def _shifted_to(track: Track, state: Float[np.ndarray, "1 6"]) -> Track:
    """``track`` continued from ``state``: it starts there and changes as before (opacity is absolute)."""
    moved = track - track[:1] + state
    moved[:, ALPHA] = track[:, ALPHA]
    return moved


def act_out(action: str, progress: Progress, rng: np.random.Generator) -> list[Track]:
    """Tracks of the actor and, where the action needs one, of its partner.

    Args:
        action: a class name: one step, or "A, then B".
        progress: non-decreasing values 0..1, how far the action has come at each frame. A step played
            backwards is its atom evaluated at ``1 - progress``: an exact time reversal.

    Raises:
        KeyError: for a step that is not in ``STEPS``.
    """
    steps = action.split(", then ")
    if len(steps) == 1:
        return _one_step(action, progress, rng)
    # One more instant at each seam: where the first step ends is where the second begins.
    first = _one_step(steps[0], np.append(np.clip(2 * progress, 0, 1), 1.0), rng)[0]
    second = _one_step(steps[1], np.append(0.0, np.clip(2 * progress - 1, 0, 1)), rng)[0]
    second = _shifted_to(second, first[-1:])
    return [np.where((progress < 0.5)[:, None], first[:-1], second[1:])]
