"""Backgrounds of the toy world: eight textured scenes, each in several deterministic variants."""

from collections.abc import Callable
from functools import cache

import numpy as np
from jaxtyping import Float

SIDE = 160
"""Pixels per side of a texture; a 96-pixel frame is cut from it at random, with room for a moving camera."""
VARIANTS = 12

Plane = Float[np.ndarray, "H W"]
Picture = Float[np.ndarray, "H W 3"]


def _noise(rng: np.random.Generator, cells: tuple[int, int]) -> Plane:
    """Smooth noise in -1..1: random values on a ``cells`` grid, bilinearly enlarged to the texture."""
    grid = rng.uniform(-1, 1, (cells[0] + 1, cells[1] + 1)).astype(np.float32)
    y = np.linspace(0, cells[0], SIDE, endpoint=False, dtype=np.float32)
    x = np.linspace(0, cells[1], SIDE, endpoint=False, dtype=np.float32)
    iy, ix = y.astype(int), x.astype(int)
    fy, fx = (y - iy)[:, None], (x - ix)[None, :]
    top = grid[iy][:, ix] * (1 - fx) + grid[iy][:, ix + 1] * fx
    bottom = grid[iy + 1][:, ix] * (1 - fx) + grid[iy + 1][:, ix + 1] * fx
    return top * (1 - fy) + bottom * fy


def _blend(dark: tuple[int, int, int], light: tuple[int, int, int], amount: Plane) -> Picture:
    mix = np.clip(amount, 0, 1)[..., None].astype(np.float32)
    return np.array(dark, np.float32) * (1 - mix) + np.array(light, np.float32) * mix


def _coordinates() -> tuple[Plane, Plane]:
    across, down = np.meshgrid(np.arange(SIDE, dtype=np.float32), np.arange(SIDE, dtype=np.float32))
    return across, down


def _grass(rng: np.random.Generator) -> Picture:
    return _blend(
        (52, 92, 34), (122, 172, 74), 0.5 + 0.3 * _noise(rng, (24, 80)) + 0.25 * _noise(rng, (6, 6))
    )


def _sand(rng: np.random.Generator) -> Picture:
    _, y = _coordinates()
    ripples = np.sin(y * 0.55 + 4 * _noise(rng, (4, 4)))
    return _blend((196, 160, 106), (236, 212, 164), 0.5 + 0.22 * ripples + 0.2 * _noise(rng, (80, 80)))


def _brick(rng: np.random.Generator) -> Picture:
    x, y = _coordinates()
    row = y // 10
    mortar = (y % 10 < 1.6) | ((x + 9 * (row % 2)) % 18 < 1.6)
    tone = rng.uniform(-0.3, 0.3, (40, 40))[row.astype(int), ((x + 9 * (row % 2)) // 18).astype(int)]
    wall = _blend((122, 48, 34), (188, 92, 68), 0.5 + tone + 0.15 * _noise(rng, (60, 60)))
    return np.where(mortar[..., None], np.float32(176), wall)


def _water(rng: np.random.Generator) -> Picture:
    _, y = _coordinates()
    waves = np.sin(y * 0.32 + 5 * _noise(rng, (8, 5)))
    return _blend((28, 92, 146), (112, 182, 212), 0.45 + 0.35 * waves + 0.12 * _noise(rng, (30, 10)))


def _night(rng: np.random.Generator) -> Picture:
    sky = _blend((10, 12, 34), (36, 38, 78), 0.4 + 0.4 * _noise(rng, (4, 4)))
    stars = rng.random((SIDE, SIDE)) > 0.994
    return np.where(stars[..., None], np.float32(225), sky)


def _snow(rng: np.random.Generator) -> Picture:
    return _blend(
        (204, 214, 228), (250, 252, 255), 0.6 + 0.35 * _noise(rng, (5, 7)) + 0.1 * _noise(rng, (80, 80))
    )


def _wood(rng: np.random.Generator) -> Picture:
    x, _ = _coordinates()
    plank = (x // 20).astype(int)
    grain = np.sin(x * 1.1 + 6 * _noise(rng, (3, 12)))
    tone = rng.uniform(-0.2, 0.2, 40)[plank]
    boards = _blend((112, 74, 40), (178, 130, 82), 0.5 + tone + 0.25 * grain)
    return np.where((x % 20 < 1.3)[..., None], np.float32(60), boards)


def _tiles(rng: np.random.Generator) -> Picture:
    x, y = _coordinates()
    checks = ((x // 14 + y // 14) % 2).astype(np.float32)
    return _blend((92, 96, 102), (190, 194, 198), 0.15 + 0.7 * checks + 0.08 * _noise(rng, (60, 60)))


SCENES: dict[str, Callable[[np.random.Generator], Picture]] = {
    "grass": _grass,
    "sand": _sand,
    "brick": _brick,
    "water": _water,
    "night": _night,
    "snow": _snow,
    "wood": _wood,
    "tiles": _tiles,
}


@cache
def texture(scene: str, variant: int) -> Picture:
    """The ``variant``-th background of ``scene``: (SIDE, SIDE, 3) 0..255, the same on every machine."""
    rng = np.random.default_rng([list(SCENES).index(scene), variant])
    background = np.clip(SCENES[scene](rng), 0, 255).astype(np.float32)
    background.setflags(write=False)
    return background
