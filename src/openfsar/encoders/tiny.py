"""A CLIP so small that every test can afford one: random weights, real towers, a tokenizer that works."""

import torch

from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.weights import load_encoder


def tiny_encoder(seed: int = 0, dtype: torch.dtype = torch.float32) -> ClipEncoder:
    """Image 32, patch 8, width 32, 2 layers, joint width 16; frozen, in eval mode."""
    return load_encoder("tiny", pretrained=False, seed=seed).to(dtype)
