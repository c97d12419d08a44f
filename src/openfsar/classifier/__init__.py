"""Name your own actions from a handful of examples: ``fit`` on labelled videos, ``predict`` new ones."""

from openfsar.classifier.answers import NONE, Judged, Labelled, NotFittedError
from openfsar.classifier.calibration import Calibration
from openfsar.classifier.encode import Video
from openfsar.classifier.estimator import FewShotVideoClassifier
from openfsar.classifier.examples import Examples
from openfsar.classifier.explanation import Explanation
from openfsar.classifier.storage import ModelFolderError
from openfsar.classifier.tune import Tuned

__all__ = [
    "NONE",
    "Calibration",
    "Examples",
    "Explanation",
    "FewShotVideoClassifier",
    "Judged",
    "Labelled",
    "ModelFolderError",
    "NotFittedError",
    "Tuned",
    "Video",
]
