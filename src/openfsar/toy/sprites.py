"""Sprites of the toy world: eight shapes as signed distances, four surface states, eight colours.

A sprite is drawn into a small window per frame. Coverage comes from the signed distance (one pixel of
anti-aliasing), so no supersampling is needed, and all frames of a clip are computed in one array operation.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Window = Float[np.ndarray, "T H W"]
"""One small window per frame, in the sprite's own units: a value per pixel."""

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "green": (42, 157, 74),
    "blue": (38, 84, 214),
    "yellow": (248, 210, 40),
    "purple": (138, 56, 176),
    "orange": (244, 132, 28),
    "white": (244, 244, 244),
    "pink": (247, 130, 178),
}
STATES = ("solid", "striped", "dotted", "hollow")
SIZES = {"small": (10.0, 13.0), "large": (15.0, 19.0)}
"""Radius range in pixels of a 96-pixel frame."""


@dataclass(frozen=True)
class Sprite:
    """One object: what a caption can name, plus its radius in pixels."""

    shape: str
    state: str
    colour: str
    size: str
    radius: float


def _polygon(x: Window, y: Window, sides: int, inner: float) -> Window:
    """Distance to a regular polygon (largest of its half planes), first corner up."""
    angles = np.pi / sides + 2 * np.pi / sides * np.arange(sides)
    planes = [x * np.sin(a) - y * np.cos(a) for a in angles.astype(np.float32)]
    return np.maximum.reduce(planes) - np.float32(inner)


def _star(x: Window, y: Window) -> Window:
    """Five points: fold the plane into one tenth of a turn, then one straight edge."""
    sector = np.float32(2 * np.pi / 5)
    angle = np.abs((np.arctan2(x, -y) + sector / 2) % sector - sector / 2)
    radius = np.hypot(x, y)
    px, py = radius * np.sin(angle), radius * np.cos(angle)
    ax, ay = 0.0, 1.05  # tip
    bx, by = 0.45 * np.sin(np.pi / 5), 0.45 * np.cos(np.pi / 5)  # notch
    nx, ny = ay - by, bx - ax
    return ((px - ax) * nx + (py - ay) * ny) / np.float32(np.hypot(nx, ny))


def _box(x: Window, y: Window, half_width: float, half_height: float) -> Window:
    return np.maximum(np.abs(x) - np.float32(half_width), np.abs(y) - np.float32(half_height))


def _crescent(x: Window, y: Window) -> Window:
    return np.maximum(np.hypot(x, y) - 0.95, 0.75 - np.hypot(x - 0.45, y))


def _heart(x: Window, y: Window) -> Window:
    lobes = np.hypot(np.abs(x) - 0.45, y + 0.35) - 0.52
    cone = np.maximum((np.abs(x) + (y - 0.92) * 0.9) / 1.345, -0.25 - y)
    return np.minimum(lobes, cone)


def _arrow(x: Window, y: Window) -> Window:
    head = np.maximum((np.abs(x) * 1.1 - y - 0.95) / 1.49, y + 0.05)
    shaft = _box(x, y - 0.4, 0.27, 0.55)
    return np.minimum(head, shaft)


SHAPES: dict[str, Callable[[Window, Window], Window]] = {
    "circle": lambda x, y: np.hypot(x, y) - 0.88,
    "square": lambda x, y: _box(x, y, 0.76, 0.76),
    "triangle": lambda x, y: _polygon(x, y - 0.15, 3, 0.55),
    "star": _star,
    "cross": lambda x, y: np.minimum(_box(x, y, 0.95, 0.3), _box(x, y, 0.3, 0.95)),
    "crescent": _crescent,
    "heart": _heart,
    "arrow": _arrow,
}


def paint(
    frames: Float[np.ndarray, "T H W 3"],
    sprite: Sprite,
    *,
    centre: Float[np.ndarray, "T 2"],
    scale: Float[np.ndarray, " T"],
    angle: Float[np.ndarray, " T"],
    stretch: Float[np.ndarray, " T"],
    alpha: Float[np.ndarray, " T"],
) -> None:
    """Draw ``sprite`` into ``frames`` (floats 0..255) in place.

    Args:
        centre: position in pixels, x then y; may lie outside the frame.
        scale: factor on the sprite's radius.
        angle: rotation in radians, clockwise on the screen.
        stretch: log of tall over round: the height grows by ``exp(stretch)``, the width shrinks by it.
        alpha: opacity 0..1.
    """
    count, height, width, _ = frames.shape
    radius = (sprite.radius * scale).astype(np.float32)
    reach = int(np.ceil(1.25 * float((radius * np.exp(np.abs(stretch))).max()))) + 2
    corner = np.floor(centre).astype(int) - reach  # window corner per frame
    grid = np.arange(2 * reach + 1, dtype=np.float32)
    dx = (grid[None, None, :] + (corner[:, 0] - centre[:, 0]).astype(np.float32)[:, None, None]) + 0.5
    dy = (grid[None, :, None] + (corner[:, 1] - centre[:, 1]).astype(np.float32)[:, None, None]) + 0.5
    cos = np.cos(angle).astype(np.float32)[:, None, None]
    sin = np.sin(angle).astype(np.float32)[:, None, None]
    tall = np.exp(stretch).astype(np.float32)[:, None, None]
    unit = radius[:, None, None]
    x = (cos * dx + sin * dy) * tall / unit
    y = (cos * dy - sin * dx) / (tall * unit)

    distance = SHAPES[sprite.shape](x, y)
    body = np.clip(0.5 - distance * unit, 0, 1)
    rim = np.clip(0.5 - (np.abs(distance) - 0.06) * unit, 0, 1)  # an outline keeps every colour visible
    colour = np.array(COLOURS[sprite.colour], dtype=np.float32)
    shade = np.zeros_like(body)
    if sprite.state == "striped":
        shade = np.clip(0.5 + np.sin(2.2 * np.pi * x) * unit / 3, 0, 1)
    elif sprite.state == "dotted":
        spots = np.hypot((x * 1.9 + 0.5) % 1 - 0.5, (y * 1.9 + 0.5) % 1 - 0.5)
        shade = np.clip(0.5 - (spots - 0.27) * unit / 1.9, 0, 1)
    elif sprite.state == "hollow":
        body = body * np.clip(0.5 + (distance + 0.3) * unit, 0, 1)
        rim = np.maximum(rim, np.clip(0.5 - (np.abs(distance + 0.3) - 0.04) * unit, 0, 1))

    opacity = (np.maximum(body, rim) * alpha.astype(np.float32)[:, None, None])[..., None]
    pixels = colour + shade[..., None] * (25 - colour) * 0.85
    pixels = pixels + rim[..., None] * (20 - pixels)
    for frame in range(count):  # windows differ in place, so each frame is one slice assignment
        left, top = corner[frame]
        x0, x1 = max(left, 0), min(left + len(grid), width)
        y0, y1 = max(top, 0), min(top + len(grid), height)
        if x0 >= x1 or y0 >= y1:
            continue
        window = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        under = frames[frame, y0:y1, x0:x1]
        under += opacity[frame][window] * (pixels[frame][window] - under)
