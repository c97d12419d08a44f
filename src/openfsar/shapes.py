"""The alphabet: one letter per axis, used in every annotation, einops string, document and test.

A shape such as ``Float[Tensor, "Q N"]`` reads "queries by classes". Axes are matched across all arguments
and the result of one call, so two ``T`` in a signature must be the same number. A leading ``*b``, ``*e`` or
``*q`` stands for any number of further axes. Checks run in the test suite only (jaxtyping with beartype) and
cost nothing in production.
"""

ALPHABET = {
    "B": "videos in a batch",
    "E": "episodes in a batch",
    "N": "classes in a task (way)",
    "S": "support videos of all classes together; never assumed to be N * K",
    "K": "shots, only where every class has equally many",
    "Q": "query videos",
    "M": "queries per class, only where every class has equally many",
    "T": "frames of a video, of a query when it meets a support",
    "U": "frames of a support video or prototype",
    "P": "patch tokens of a frame",
    "X": "tokens of a sequence of any kind",
    "D": "feature width",
    "L": "text tokens",
    "C": "colour channels",
    "H": "height in pixels",
    "W": "width in pixels",
    "V": "videos of a data set or feature bank",
    "R": "rows of an alignment table",
    "J": "columns of an alignment table",
    "A": "classes of a whole vocabulary",
}
