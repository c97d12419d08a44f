"""Name the action in a video from a handful of examples, by scikit-learn's rules: words in, words out.

    classifier = FewShotVideoClassifier().fit({"wave": ["a.mp4", "b.mp4"], "clap": ["c.mp4"]})
    classifier.predict("new.mp4")  # 'wave'

Every video is decoded and encoded once, in small batches.
"""

import inspect
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from safetensors.torch import load_file, save_file
from torch import Tensor

from openfsar import hub
from openfsar.classifier.encode import Encoded, Video, encode_videos
from openfsar.episode import Clip, FrameFeatures, SupportSet
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import create
from openfsar.video import VideoError


class NotFittedError(ValueError, AttributeError):
    """The classifier was asked to predict before ``fit``."""


class ModelFolderError(ValueError):
    """A folder that holds no fitted classifier."""


@dataclass(frozen=True)
class Labelled:
    """The answer for one video, or the reason why there is none."""

    video: Video
    probabilities: Float[np.ndarray, " N"] | None
    """In the order of ``classes_``; None where the video could not be read."""
    error: VideoError | None = None


class FewShotVideoClassifier:
    """A few-shot method, its support videos and a vocabulary, behind ``fit`` and ``predict``.

    Args:
        method: a name of ``METHODS``, a model folder or hub name (with a slash), or a ``FewShotMethod``
            (used as it is, in evaluation mode).
        encoder: the encoder of a method given by name; ignored otherwise.
        frames: frames sampled per video, one from the centre of each of so many equal segments.
        resize: "aspect" (shorter side, then centre crop) or "squash" (the whole frame, proportions lost).
        temperature: scores are divided by it before the softmax of ``predict_proba``. At 1 probabilities mean
            what they meant to the training loss; untrained methods are then often too modest: choose below 1.
        batch: videos encoded at a time.
        workers: threads that decode.
        device: where to compute; by default a CUDA device where there is one.
        progress: show a progress bar with the time left.
    """

    def __init__(
        self,
        method: str | Path | FewShotMethod = "otam",
        *,
        encoder: str = "toyclip",
        frames: int = 8,
        resize: Literal["aspect", "squash"] = "aspect",
        temperature: float = 1.0,
        batch: int = 8,
        workers: int = 2,
        device: str | None = None,
        progress: bool = False,
    ) -> None:
        self.method = method
        self.encoder = encoder
        self.frames = frames
        self.resize: Literal["aspect", "squash"] = resize
        self.temperature = temperature
        self.batch = batch
        self.workers = workers
        self.device = device
        self.progress = progress

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments by name."""
        return {name: getattr(self, name) for name in list(inspect.signature(type(self)).parameters)}

    def set_params(self, **params: Any) -> "FewShotVideoClassifier":
        """Change constructor arguments; they take effect at the next ``fit`` or ``predict``."""
        known = self.get_params()
        for name, value in params.items():
            if name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
                raise ValueError(f"no parameter {name!r}; nearest is {near!r}, all are {', '.join(known)}")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = inspect.signature(type(self)).parameters
        changed = {k: v for k, v in self.get_params().items() if v is not defaults[k].default}
        if isinstance(self.method, FewShotMethod):
            changed["method"] = type(self.method).__name__
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in changed.items())})"

    def fit(
        self, videos: Mapping[str, Any] | Sequence[Video], labels: Iterable[str] | None = None
    ) -> "FewShotVideoClassifier":
        """Learn a vocabulary from ``{label: [videos]}``, or from videos and one label each.

        A video is a path (a file, or a folder of images) or a ``Clip``. Labels come in any order, and classes
        may have different numbers of examples.

        Raises:
            VideoError: naming the first example that cannot be read.
            ValueError: for fewer than two classes, or as many labels as not videos.
        """
        examples, names = _pairs(videos, labels)
        self.classes_ = np.unique(np.array(names, dtype=np.str_))
        if len(self.classes_) < 2:
            raise ValueError(
                f"fit needs examples of at least 2 classes, got {self.classes_.tolist()}; "
                "add a folder or label=path of another action"
            )
        self.method_ = self._resolve()
        label_of = {name: i for i, name in enumerate(self.classes_.tolist())}
        self.labels_ = torch.tensor([label_of[name] for name in names])
        text = self._text() if self.method_.support_reads_text else None
        parts: list[FrameFeatures] = []
        for batch in self._encode(examples, None if text is None else text[self.labels_.to(text.device)]):
            _raise_first(batch.errors)
            if batch.features is not None:
                parts.append(batch.features.to("cpu"))
        self.features_ = type(parts[0]).cat(parts)
        self._prepare()
        return self

    def _resolve(self) -> FewShotMethod:
        """The method the arguments describe, on its device, in evaluation mode."""
        if isinstance(self.method, FewShotMethod):
            method, device = self.method, self.device or next(self.method.parameters()).device
        else:
            method = find_method(str(self.method), encoder=self.encoder)
            device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        return method.to(device).eval()

    @torch.no_grad()
    def _text(self) -> Tensor | None:
        return self.method_.text(self.classes_.tolist())

    @torch.no_grad()
    def _prepare(self) -> None:
        support = SupportSet(self.features_, self.labels_, len(self.classes_), self._text())
        self.task_ = self.method_.prepare(support.to(next(self.method_.parameters()).device))

    def decision_function(self, videos: Video | Sequence[Video]) -> Float[np.ndarray, "*q N"]:
        """Scores (Q, N), higher is nearer; (N,) for a single video."""
        self._check_fitted()
        listed, single = _listed(videos)
        rows: list[np.ndarray] = [np.zeros((0, len(self.classes_)), dtype=np.float32)]
        for batch in self._encode(listed):
            _raise_first(batch.errors)
            rows.append(self._scores(batch).numpy())
        scores = np.concatenate(rows)
        return scores[0] if single else scores

    def predict_proba(self, videos: Video | Sequence[Video]) -> Float[np.ndarray, "*q N"]:
        """Softmax of scores over ``temperature``, in the order of ``classes_``: (Q, N), or (N,) for one."""
        scores = torch.from_numpy(self.decision_function(videos))
        return (scores / self.temperature).softmax(-1).numpy()

    def predict(self, videos: Video | Sequence[Video]) -> str | Shaped[np.ndarray, " Q"]:
        """The nearest class: a word for one video, an array of words for a list."""
        scores = self.decision_function(videos)
        best = self.classes_[scores.argmax(-1)]
        return str(best) if scores.ndim == 1 else best

    def stream(self, videos: Sequence[Video]) -> Iterator[Labelled]:
        """Answers one by one, in order, in constant memory; an unreadable video does not stop the rest."""
        self._check_fitted()
        for batch in self._encode(videos):
            rows = iter((self._scores(batch) / self.temperature).softmax(-1).numpy())
            for video, error in zip(batch.videos, batch.errors, strict=True):
                yield Labelled(video, next(rows) if error is None else None, error)

    def score(
        self, videos: Mapping[str, Any] | Sequence[Video], labels: Iterable[str] | None = None
    ) -> float:
        """Share of videos named rightly, 0..1; takes what ``fit`` takes."""
        examples, names = _pairs(videos, labels)
        return float(np.mean(self.predict(examples) == np.array(names)))

    def _check_fitted(self) -> None:
        if "task_" not in vars(self):
            raise NotFittedError(f"{self!r} has seen no examples; call fit(...) or load(folder) first")

    @torch.no_grad()
    def _scores(self, batch: Encoded) -> Float[Tensor, "Q N"]:
        if batch.features is None:
            return torch.zeros(0, len(self.classes_))
        return self.method_.score(batch.features, self.task_).float().cpu()

    def _encode(self, videos: Sequence[Video], text: Float[Tensor, "V D"] | None = None) -> Iterator[Encoded]:
        return encode_videos(
            self.method_,
            videos,
            text,
            frames=self.frames,
            resize=self.resize,
            batch=self.batch,
            workers=self.workers,
            progress=self.progress,
        )

    def save(self, folder: str | Path) -> None:
        """Write method, support features and vocabulary to a folder, which appears whole or not at all.

        The folder is also a model folder: ``openfsar.load`` finds the method in it.
        """
        self._check_fitted()
        folder = Path(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            model = staging / "model"
            hub.save(self.method_, model)
            tensors = {f.name: getattr(self.features_, f.name).contiguous() for f in fields(self.features_)}
            save_file({**tensors, "labels": self.labels_}, model / "support.safetensors")
            record = {
                "classes": self.classes_.tolist(),
                "features": type(self.features_).__name__,
                "frames": self.frames,
                "resize": self.resize,
                "temperature": self.temperature,
            }
            (model / "classifier.json").write_text(json.dumps(record, indent=2, ensure_ascii=False))
            if folder.exists():
                _check_ours(folder)
                os.replace(folder, staging / "old")
            os.replace(model, folder)
        finally:
            shutil.rmtree(staging)

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str | None = None, progress: bool = False
    ) -> "FewShotVideoClassifier":
        """The classifier that ``save`` wrote.

        Raises:
            ModelFolderError: where the folder holds none.
        """
        folder = Path(folder)
        if not (folder / "classifier.json").is_file():
            raise ModelFolderError(
                f"{folder} holds no fitted classifier (no classifier.json); make one with "
                "`openfsar fit EXAMPLES -o FOLDER` or classifier.save(folder)"
            )
        record = json.loads((folder / "classifier.json").read_text())
        self = cls(
            str(folder),
            frames=record["frames"],
            resize=record["resize"],
            temperature=record["temperature"],
            device=device,
            progress=progress,
        )
        self.method_ = self._resolve()
        tensors = load_file(folder / "support.safetensors")
        self.classes_ = np.array(record["classes"], dtype=np.str_)
        self.labels_ = tensors.pop("labels")
        kinds = {kind.__name__: kind for kind in (FrameFeatures, *FrameFeatures.__subclasses__())}
        self.features_ = kinds[record["features"]](**tensors)
        self._prepare()
        return self


def find_method(name: str, *, encoder: str = "toyclip") -> FewShotMethod:
    """The method of a model folder or hub name, or an untrained one by its name on ``encoder``."""
    return hub.load(name) if "/" in name or Path(name).is_dir() else create(name, encoder=encoder)


def _check_ours(folder: Path) -> None:
    """Refuse to replace anything but a model folder."""
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / "classifier.json").is_file()):
        raise ModelFolderError(f"{folder} exists and is no model folder; choose another name or delete it")


def _listed(videos: Video | Sequence[Video]) -> tuple[Sequence[Video], bool]:
    """A list of videos, and whether it was one video alone."""
    if isinstance(videos, str | Path | Clip):
        return [videos], True
    return list(videos), False


def _pairs(
    videos: Mapping[str, Any] | Sequence[Video], labels: Iterable[str] | None
) -> tuple[list[Video], list[str]]:
    """Videos and one label each, from either form of input."""
    if isinstance(videos, Mapping):
        if labels is not None:
            raise ValueError("give {label: [videos]} alone, or videos with labels; not both")
        pairs = [(video, str(label)) for label, group in videos.items() for video in _listed(group)[0]]
        return [video for video, _ in pairs], [label for _, label in pairs]
    if labels is None:
        raise ValueError("videos without labels; give fit({label: [videos]}) or fit(videos, labels)")
    examples, names = list(_listed(videos)[0]), [str(label) for label in labels]
    if len(examples) != len(names):
        raise ValueError(f"one label per video: got {len(examples)} videos and {len(names)} labels")
    return examples, names


def _raise_first(errors: Sequence[VideoError | None]) -> None:
    for error in errors:
        if error is not None:
            raise error
