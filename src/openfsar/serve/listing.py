"""What there is to show of the examples a classifier knows."""

import hashlib
from collections import Counter
from pathlib import PurePath

from openfsar.classifier import FewShotVideoClassifier, NotFittedError


def system(classifier: FewShotVideoClassifier) -> tuple[str, str]:
    """Names of the method and the encoder, also before the first example has built them."""
    method = vars(classifier).get("method_", classifier.method)
    if isinstance(method, str | PurePath):
        return str(method), classifier.encoder
    return method.spec.method, PurePath(method.spec.encoder).name


def shown(classifier: FewShotVideoClassifier) -> list[tuple[str, str, bytes]]:
    """Of each example: its label, the name of its file, its film strip."""
    try:
        labels = classifier.classes_[classifier.labels_.numpy()].tolist()
    except NotFittedError:
        return []
    files = [PurePath(source).name for source in classifier.sources_]
    return list(zip(labels, files, classifier.strips_, strict=True))


def example_ids(classifier: FewShotVideoClassifier) -> list[str]:
    """A name for each example that stays when others are removed, and over a restart.

    Two examples that are alike in everything differ by a count at the end; which of them is removed is all
    the same.
    """
    seen: Counter[str] = Counter()
    ids = []
    for label, file, strip in shown(classifier):
        digest = hashlib.sha256(f"{label}\0{file}\0".encode() + strip).hexdigest()[:16]
        ids.append(f"{digest}-{seen[digest]}" if seen[digest] else digest)
        seen[digest] += 1
    return ids
