"""From support videos to what stands for a class."""

from openfsar.prototypes.mean import class_means, merge_shots

__all__ = ["class_means", "merge_shots"]
