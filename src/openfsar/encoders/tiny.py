"""Encoders so small that every test can afford one: random weights, real towers, a tokenizer that works."""

import torch

from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.visual import VisualEncoder
from openfsar.encoders.weights import load_encoder


def tiny_encoder(seed: int = 0, dtype: torch.dtype = torch.float32) -> ClipEncoder:
    """Image 32, patch 8, width 32, 2 layers, joint width 16; frozen, in eval mode."""
    encoder = load_encoder("tiny", pretrained=False, seed=seed).to(dtype)
    assert isinstance(encoder, ClipEncoder)  # a CLIP by that name
    return encoder


def tiny_resnet(seed: int = 0, dtype: torch.dtype = torch.float32) -> VisualEncoder:
    """Image 32, four stages of one block, 8 to 64 channels, no text tower; frozen, in eval mode."""
    return load_encoder("tiny-imagenet-resnet", pretrained=False, seed=seed).to(dtype)
