"""From support videos to what stands for a class."""

from openfsar.prototypes.mean import class_means, merge_shots
from openfsar.prototypes.text_guided import Guidance, TextGuidance

__all__ = ["Guidance", "TextGuidance", "class_means", "merge_shots"]
