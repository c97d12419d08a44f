"""What people hand over: videos and labels in either form, and the name of a method."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from openfsar import hub
from openfsar.classifier.encode import Video
from openfsar.episode import Clip
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import create, resolve_options
from openfsar.video import VideoError


def is_name(method: str | Path | FewShotMethod) -> bool:
    """Whether it names a system of ``METHODS``, which is untrained, and no model."""
    return isinstance(method, str) and "/" not in method and not Path(method).is_dir()


def find_method(name: str, *, encoder: str = "toyclip", centre: bool | None = None) -> FewShotMethod:
    """The method of a model folder or hub name, or an untrained one by its name on ``encoder``.

    The encoder of an untrained one stays as it was published: it is not stored with the model again.
    """
    if not is_name(name):
        return hub.load(name)
    options: dict[str, Any] = {"tune": "none"} if "tune" in resolve_options(name, {}) else {}
    if centre is not None:
        options["centre"] = centre
    return create(name, encoder=encoder, **options)


def listed(videos: Video | Sequence[Video]) -> tuple[Sequence[Video], bool]:
    """A list of videos, and whether it was one video alone."""
    if isinstance(videos, str | Path | Clip):
        return [videos], True
    return list(videos), False


def pairs(
    videos: Mapping[str, Any] | Sequence[Video], labels: Iterable[str] | None
) -> tuple[list[Video], list[str]]:
    """Videos and one label each, from either form of input."""
    if isinstance(videos, Mapping):
        if labels is not None:
            raise ValueError("give {label: [videos]} alone, or videos with labels; not both")
        pairs = [(video, str(label)) for label, group in videos.items() for video in listed(group)[0]]
        return [video for video, _ in pairs], [label for _, label in pairs]
    if labels is None:
        raise ValueError("videos without labels; give fit({label: [videos]}) or fit(videos, labels)")
    examples, names = list(listed(videos)[0]), [str(label) for label in labels]
    if len(examples) != len(names):
        raise ValueError(f"one label per video: got {len(examples)} videos and {len(names)} labels")
    return examples, names


def raise_first(errors: Sequence[VideoError | None]) -> None:
    for error in errors:
        if error is not None:
            raise error
