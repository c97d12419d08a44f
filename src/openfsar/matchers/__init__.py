"""Distances between videos as pure functions, batched over any number of episodes."""

from openfsar.matchers.frames import frame_distances, squared_distances
from openfsar.matchers.hausdorff import bi_mhm
from openfsar.matchers.hybrid import hybrid
from openfsar.matchers.otam import otam, otam_path
from openfsar.matchers.tuples import TupleAttention

__all__ = ["TupleAttention", "bi_mhm", "frame_distances", "hybrid", "otam", "otam_path", "squared_distances"]
