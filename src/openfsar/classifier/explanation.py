"""Why a video was given its label: the example it is nearest to, and which frames correspond."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from openfsar.classifier.examples import Examples
from openfsar.episode import FrameFeatures
from openfsar.matchers import frame_distances, otam, otam_path
from openfsar.methods.matching import changes


@dataclass(frozen=True, eq=False)
class Explanation:
    """A video beside an example of the class it is nearest to."""

    label: str
    """The nearest class, also where the video was rejected."""
    probabilities: dict[str, float]
    known: bool
    """False where the video counts as none of these."""
    example: int
    """Number of the nearest example of that class, among ``labels_``."""
    source: str
    """Where that example came from."""
    distances: Float[Tensor, "T U"]
    """Between the frames of the video and those of the example, each less the mean of its video: 0..2."""
    path: list[tuple[int, int]]
    """The best ordered alignment: (frame of the video, frame of the example), in order of time."""
    query_strip: bytes
    """The frames of the video, as a JPEG film strip."""
    support_strip: bytes


def nearest_example(
    query: FrameFeatures, examples: Examples, label: str
) -> tuple[int, Float[Tensor, "T U"], list[tuple[int, int]]]:
    """The example of ``label`` that aligns best with one video, their distances and the path through them.

    By OTAM whatever the method: its path is what can be drawn. Frames are compared less their video's mean,
    for that is where still scenes differ.
    """
    of_label = [i for i, name in enumerate(examples.names) if name == label]
    tables = frame_distances(changes(query.frames), changes(examples.features.frames[of_label]))[0]
    best = int(otam(tables).argmin())
    return of_label[best], tables[best], otam_path(tables[best])
