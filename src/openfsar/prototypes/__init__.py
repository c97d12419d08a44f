"""From support videos to what stands for a class."""

from openfsar.prototypes.graph_guided import GraphGuidance
from openfsar.prototypes.mean import class_means, merge_shots
from openfsar.prototypes.text_guided import Guidance, TextGuidance

__all__ = ["GraphGuidance", "Guidance", "TextGuidance", "class_means", "merge_shots"]
