"""A folder of images as a video: natural order of names, one frame each, at a nominal 25 frames a second."""

import re
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps
from torch import Tensor

from openfsar.episode import Clip
from openfsar.video.canvas import Canvas
from openfsar.video.source import Indices, VideoError, check_size, choose, shrunk

NOMINAL_FPS = 25.0
SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}


def list_images(folder: Path) -> list[Path]:
    """The images of a folder, so ordered that ``frame_2`` comes before ``frame_10``."""
    files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    if not files:
        raise VideoError(folder, "is a folder without images", "give a video file or a folder of frames")
    return sorted(files, key=_natural)


def measure(folder: Path) -> tuple[int, int, int]:
    """Number of frames, height and width."""
    files = list_images(folder)
    _, height, width = load(files[0], None).shape
    return len(files), height, width


def read(folder: Path, indices: Indices, *, short_side: int | None = None) -> Clip:
    """Frames of the folder in the order asked for; see ``read_frames``."""
    files = list_images(folder)
    wanted = choose(folder, indices, len(files))
    canvas = Canvas(folder, wanted)
    for number in sorted(canvas.missing):
        canvas.put(number, load(files[number], short_side))
    return Clip(canvas.frames(), torch.tensor(wanted) / NOMINAL_FPS)


def load(path: Path, short_side: int | None) -> UInt8[Tensor, "C H W"]:
    """One image, upright."""
    try:
        with Image.open(path) as image:  # reads the header only
            check_size(path, *image.size)
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except VideoError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise VideoError(
            path, f"cannot be decoded ({error})", "replace this image or leave it out"
        ) from error
    height, width = shrunk(upright.height, upright.width, short_side)
    if (width, height) != upright.size:
        upright = upright.resize((width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(upright)).permute(2, 0, 1)


def _natural(path: Path) -> tuple[list[str | int], str]:
    parts = re.split(r"(\d+)", path.name.lower())
    return [int(part) if part.isdecimal() else part for part in parts], path.name
