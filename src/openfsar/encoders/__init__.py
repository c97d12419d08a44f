"""Clips to frame features, and class names to text features."""

from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.clip_resnet import ModifiedResNet
from openfsar.encoders.geometry import EncoderError, Geometry
from openfsar.encoders.prompts import TEMPLATES, humanise
from openfsar.encoders.resnet import ResNetGeometry, ResNetTower
from openfsar.encoders.tiny import tiny_encoder, tiny_resnet
from openfsar.encoders.towers import TextTower, VisionTower
from openfsar.encoders.trainable import (
    ParameterCount,
    count_parameters,
    freeze,
    parameter_groups,
    trainable_parameters,
    unfreeze,
)
from openfsar.encoders.visual import VisualEncoder, VisualTower
from openfsar.encoders.weights import KNOWN, Checkpoint, load_encoder

__all__ = [
    "KNOWN",
    "TEMPLATES",
    "Checkpoint",
    "ClipEncoder",
    "EncoderError",
    "Geometry",
    "ModifiedResNet",
    "ParameterCount",
    "ResNetGeometry",
    "ResNetTower",
    "TextTower",
    "VisionTower",
    "VisualEncoder",
    "VisualTower",
    "count_parameters",
    "freeze",
    "humanise",
    "load_encoder",
    "parameter_groups",
    "tiny_encoder",
    "tiny_resnet",
    "trainable_parameters",
    "unfreeze",
]
