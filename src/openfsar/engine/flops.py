"""How much arithmetic it takes to encode a video: multiply-adds, which papers call FLOPs."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from openfsar.engine.recipe import Recipe
from openfsar.methods.base import FewShotMethod
from openfsar.methods.fusion import NamingMethod
from openfsar.methods.zoo import METHODS, create


def video_gflops(method: FewShotMethod, frames: int, size: int = 0) -> float:
    """Billions of multiply-adds of matrix products, convolutions and attention, for one query video.

    Reading class names, which is done once per class, and matching are not in it.

    Args:
        size: Side of the frames in pixels; 0 is the encoder's own.
    """
    side = size or method.encoder.image_size
    device = next(method.parameters()).device
    clip = torch.zeros(1, frames, 3, side, side, dtype=torch.uint8, device=device)
    mode = method.training
    counter = FlopCounterMode(display=False)
    try:
        method.eval()
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:  # fused attention hides its products
            method.encode(clip)
    finally:
        method.train(mode)
    return counter.get_total_flops() / 2e9


def recipe_gflops(recipe: Recipe) -> float:
    """``video_gflops`` of a recipe's method on random weights; nothing is fetched.

    Raises:
        ValueError: The encoder's geometry is not known without its files.
    """
    options = dict(recipe.options)
    kind = METHODS.get(recipe.method)
    if kind is not None and issubclass(kind, NamingMethod) and kind.closed_set and not options.get("classes"):
        options["classes"] = ["one", "other"]  # of the training data, whose number costs next to nothing
    method = create(recipe.method, encoder=recipe.encoder, pretrained=False, **options)
    return video_gflops(method, recipe.frames, recipe.size)
