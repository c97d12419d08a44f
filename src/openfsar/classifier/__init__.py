"""The estimator: ``fit`` on a handful of labelled videos, ``predict`` new ones."""

from openfsar.classifier.encode import Video
from openfsar.classifier.estimator import FewShotVideoClassifier, Labelled, ModelFolderError, NotFittedError

__all__ = ["FewShotVideoClassifier", "Labelled", "ModelFolderError", "NotFittedError", "Video"]
