"""Name the action in a video from a handful of examples, by scikit-learn's rules: words in, words out.

    classifier = FewShotVideoClassifier().fit({"wave": ["a.mp4", "b.mp4"], "clap": ["c.mp4"]})
    classifier.predict("new.mp4")  # 'wave'

Every video is decoded and encoded once, in small batches; another example or class costs its own videos.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from openfsar import hub
from openfsar.classifier import storage
from openfsar.classifier.answers import NONE, Judged, Labelled, NotFittedError
from openfsar.classifier.calibration import OWN, Calibration
from openfsar.classifier.encode import Encoded, Resize, Video, encode_videos, film_strip, read_clip
from openfsar.classifier.examples import Examples
from openfsar.classifier.explanation import Explanation, nearest_example
from openfsar.classifier.fitted import Fitted, Scores, Wishes, fit_either, fit_examples
from openfsar.classifier.inputs import find_method, is_name, listed, pairs, raise_first
from openfsar.classifier.parameters import Parameters
from openfsar.classifier.tune import Tuned, tune_on
from openfsar.episode import Clip, FrameFeatures
from openfsar.methods.base import FewShotMethod


class FewShotVideoClassifier(Parameters):
    """A few-shot method, its examples and a vocabulary, behind ``fit`` and ``predict``.

    Args:
        method: a name of ``METHODS``, a model folder or hub name (with a slash), or a ``FewShotMethod``
            (used as it is, in evaluation mode).
        encoder: the encoder of a method given by name; ignored otherwise.
        frames: frames sampled per video, one from the centre of each of so many equal segments.
        resize: "aspect" (shorter side, then centre crop) or "squash" (the whole frame, proportions lost).
        centre: whether an untrained otam or bi-mhm compares frames less their video's mean, so that only what
            changes counts: right for a camera that stands still. None chooses what names the examples best,
            each from all others, where two classes have two examples or more; else whole frames.
        text_share: share of the class names in the score, 0 (examples alone) to 1 (names alone). None chooses
            likewise; else the method's own. Give 0 if your labels are no words that describe an action.
        prompt: what names are read in, a key of ``openfsar.encoders.prompts.TEMPLATES``; None chooses too.
        temperature: scores are divided by it before the softmax of ``predict_proba``; None chooses likewise.
        reject: None names every video. 0.95 calls "none of these" what looks less familiar than 95 % of
            videos of the known actions; "background" what looks more like the background given to ``fit``.
        tune: train the method on the examples first (adapters, or low-rank changes of the tower); kept only
            if it names clips that were held out better than before. Needs three examples in two classes.
        batch: videos encoded at a time.
        workers: threads that decode.
        device: where to compute; by default a CUDA device where there is one.
        progress: show a progress bar with the time left.

    Attributes:
        classes_: the labels, sorted; the order of columns.
        examples_: what it knows: features, labels, sources, film strips.
        labels_: number of each example's class; ``sources_`` and ``strips_`` say where each came from and
            show it, as a JPEG of its frames.
        calibration_: what was chosen, and how well examples are named from the others.
        method_: the few-shot method.
        tuned_: what tuning did; None without ``tune``.
    """

    def __init__(
        self,
        method: str | Path | FewShotMethod = "otam",
        *,
        encoder: str = "toyclip",
        frames: int = 8,
        resize: Resize = "aspect",
        centre: bool | None = None,
        text_share: float | None = None,
        prompt: str | None = None,
        temperature: float | None = None,
        reject: float | Literal["background"] | None = None,
        tune: bool = False,
        batch: int = 8,
        workers: int = 2,
        device: str | None = None,
        progress: bool = False,
    ) -> None:
        self.method = method
        self.encoder = encoder
        self.frames = frames
        self.resize: Resize = resize
        self.centre = centre
        self.text_share = text_share
        self.prompt = prompt
        self.temperature = temperature
        self.reject: float | Literal["background"] | None = reject
        self.tune = tune
        self.batch = batch
        self.workers = workers
        self.device = device
        self.progress = progress

    def fit(
        self,
        videos: Mapping[str, Any] | Sequence[Video],
        labels: Iterable[str] | None = None,
        *,
        background: Sequence[Video] = (),
    ) -> "FewShotVideoClassifier":
        """Learn a vocabulary from ``{label: [videos]}``, or from videos and one label each.

        A video is a path (a file, or a folder of images) or a ``Clip``. Labels come in any order, and classes
        may have different numbers of examples.

        Args:
            background: videos of none of the classes, for ``reject="background"``.

        Raises:
            VideoError: naming the first example that cannot be read.
            ValueError: for fewer than two classes, as many labels as not videos, an argument out of its
                range, or ``tune`` with too few examples.
        """
        videos, names = pairs(videos, labels)
        classes = sorted(set(names))
        if len(classes) < 2:
            raise ValueError(
                f"fit needs examples of at least 2 classes, got {classes}; "
                "add a folder or label=path of another action"
            )
        # Wishes that cannot be granted are refused before anything is decoded.
        self._wishes()
        Calibration(0.0, OWN, 1.0, background=(0.0,) if background else ()).threshold(self.reject)
        self._forget()
        self.tuned_: Tuned | None = None
        self.method_ = self._resolve()
        self.background_ = self._features(background) if background else None
        self._learn(self._look(videos, names))
        if self.tune:
            self.tuned_ = tune_on(
                self.method_,
                videos,
                names,
                frames=self.frames,
                resize=self.resize,
                wishes=self._wishes(),
                workers=self.workers,
                progress=self.progress,
            )
            if self.tuned_.steps:
                self.method_ = self.tuned_.method
                self.background_ = self._features(background) if background else None
                self._learn(self._look(videos, names))
        return self

    def add_examples(self, label: str, videos: Video | Sequence[Video]) -> "FewShotVideoClassifier":
        """Learn more examples of a class, or a new class; only the new videos are decoded and encoded.

        Works before ``fit``, too: there are answers from the second class on.

        Raises:
            VideoError: naming the first video that cannot be read; then nothing has changed.
        """
        given, _ = listed(videos)
        if not given:
            raise ValueError(f"no videos given for {label!r}; give one at least")
        if "method_" not in vars(self):
            self.method_ = self._resolve()
            self.tuned_ = self.background_ = None
        new = self._look(given, [str(label)] * len(given))
        self._learn(self.examples_ + new if "examples_" in vars(self) else new)
        return self

    def add_class(self, label: str, videos: Video | Sequence[Video]) -> "FewShotVideoClassifier":
        """As ``add_examples``, for a class that is not there yet.

        Raises:
            ValueError: It is.
        """
        if "examples_" in vars(self) and label in self.examples_.names:
            raise ValueError(
                f"class {label!r} exists; give it more examples by add_examples({label!r}, videos)"
            )
        return self.add_examples(label, videos)

    def remove_class(self, label: str) -> "FewShotVideoClassifier":
        """Forget a class and its examples.

        Raises:
            ValueError: There is no such class.
        """
        numbers = [i for i, name in enumerate(self._known().names) if name == label]
        if not numbers:
            raise ValueError(f"no class {label!r}; there are {', '.join(self.classes_)}")
        return self.remove_examples(numbers)

    def remove_examples(self, numbers: Iterable[int]) -> "FewShotVideoClassifier":
        """Forget examples by their number among ``labels_``; a class without examples is gone.

        Raises:
            ValueError: There is no example of that number.
        """
        examples, gone = self._known(), set(numbers)
        wrong = sorted(gone - set(range(len(examples))))
        if wrong:
            raise ValueError(f"no example {wrong[0]}; they are numbered 0 to {len(examples) - 1}")
        kept = [i for i in range(len(examples)) if i not in gone]
        self._learn(examples.take(kept))
        return self

    @property
    def ready(self) -> bool:
        """Whether there are two classes, so that videos can be told apart."""
        return vars(self).get("fitted_") is not None

    @property
    def classes_(self) -> Shaped[np.ndarray, " N"]:
        return self._known().classes

    @property
    def calibration_(self) -> Calibration:
        return self._check_fitted().calibration

    @property
    def labels_(self) -> Int[Tensor, " S"]:
        return self._known().labels

    @property
    def sources_(self) -> list[str]:
        return list(self._known().sources)

    @property
    def strips_(self) -> list[bytes]:
        return list(self._known().strips)

    def _resolve(self) -> FewShotMethod:
        """The method the arguments describe, on its device, in evaluation mode."""
        if isinstance(self.method, FewShotMethod):
            method, device = self.method, self.device or next(self.method.parameters()).device
        else:
            method = find_method(str(self.method), encoder=self.encoder, centre=self.centre)
            device = self.device or ("cuda" if torch.cuda.is_available() else "cpu")
        return method.to(device).eval()

    def _forget(self) -> None:
        """As if nothing had been fitted or loaded."""
        for name in [name for name in vars(self) if name.endswith("_")]:
            delattr(self, name)

    @torch.no_grad()
    def _look(self, videos: Sequence[Video], names: Sequence[str]) -> Examples:
        """Videos as examples, each decoded once and encoded once per role."""
        reads = self.method_.support_reads_text
        text = None
        if reads:
            vocabulary = sorted(set(names))
            known = self.method_.text(vocabulary)
            if known is not None:
                text = known[torch.tensor([vocabulary.index(name) for name in names], device=known.device)]
        found: list[Encoded] = []
        for batch in self._encode(videos, text, both=reads, strips=True):
            raise_first(batch.errors)
            found.append(batch)
        parts = [b.features.to("cpu") for b in found if b.features is not None]
        features = type(parts[0]).cat(parts)
        asked = features
        if text is not None:
            asked = type(parts[0]).cat([b.asked.to("cpu") for b in found if b.asked is not None])
        sources = tuple("clip" if isinstance(video, Clip) else str(video) for video in videos)
        return Examples(features, asked, tuple(names), sources, tuple(s for b in found for s in b.strips))

    def _features(self, videos: Sequence[Video]) -> FrameFeatures:
        """Of videos as queries, on the CPU."""
        parts = []
        for batch in self._encode(videos):
            raise_first(batch.errors)
            if batch.features is not None:
                parts.append(batch.features.to("cpu"))
        return type(parts[0]).cat(parts)

    def _wishes(self) -> Wishes:
        return Wishes(self.text_share, self.prompt, self.temperature)

    def _learn(self, examples: Examples, calibration: Calibration | None = None) -> None:
        """Everything that follows from the examples, without looking at a video again."""
        fitted = None
        if len(examples.classes) > 1:
            fitted = self._fitted(examples, calibration)
            if fitted.method is not self.method_ and fitted.method.spec != self.method_.spec:
                vars(self).pop("home_", None)  # another method than the one that lies there
            self.method_ = fitted.method
        self.examples_, self.fitted_ = examples, fitted

    def _fitted(self, examples: Examples, calibration: Calibration | None) -> Fitted:
        method, wishes, background = self.method_, self._wishes(), self.background_
        if calibration is None and self.centre is None and is_name(self.method):
            return fit_either(method, examples, wishes, background=background)
        return fit_examples(method, examples, wishes, background=background, calibration=calibration)

    def decision_function(self, videos: Video | Sequence[Video]) -> Float[np.ndarray, "*q N"]:
        """Scores (Q, N), higher is nearer; (N,) for a single video."""
        scores, single = self._ask(videos)
        return scores.fused[0].numpy() if single else scores.fused.numpy()

    def predict_proba(self, videos: Video | Sequence[Video]) -> Float[np.ndarray, "*q N"]:
        """Calibrated probabilities of the classes, in the order of ``classes_``: (Q, N), or (N,) for one.

        They tell the classes apart; whether a video is any of them is said by ``predict`` with ``reject``.
        """
        scores, single = self._ask(videos)
        chances = self._check_fitted().probabilities(scores, self.temperature)
        return chances[0] if single else chances

    def predict(self, videos: Video | Sequence[Video]) -> str | Shaped[np.ndarray, " Q"]:
        """The nearest class or "none of these": a word for one video, an array of words for a list."""
        scores, single = self._ask(videos)
        labels = self._labels(scores)
        return str(labels[0]) if single else labels

    def stream(self, videos: Sequence[Video]) -> Generator[Labelled, None, None]:
        """Answers one by one, in order, in constant memory; an unreadable video does not stop the rest."""
        fitted = self._check_fitted()
        for batch in self._encode(videos):
            scores = self._scores(batch.features)
            rows = iter(
                zip(self._labels(scores), fitted.probabilities(scores, self.temperature), strict=True)
            )
            for video, error in zip(batch.videos, batch.errors, strict=True):
                label, chances = next(rows) if error is None else (None, None)
                yield Labelled(video, None if label is None else str(label), chances, error)

    def judge(self, features: FrameFeatures) -> Judged:
        """What is thought of videos that ``method_.encode`` has encoded."""
        fitted = self._check_fitted()
        scores = fitted.scores(features)
        return Judged(fitted.probabilities(scores, self.temperature), fitted.known(scores, self.reject))

    @torch.no_grad()
    def explain(self, video: Video) -> Explanation:
        """Which example a video is nearest to, and which of its frames correspond.

        Raises:
            VideoError: The video cannot be read.
        """
        self._check_fitted()
        method = self.method_
        clip = read_clip(video, frames=self.frames, size=method.encoder.image_size, resize=self.resize)
        features = method.encode(clip[None].to(next(method.parameters()).device))
        judged = self.judge(features)
        labels = self.classes_.tolist()
        label = labels[int(judged.probabilities[0].argmax())]
        best, distances, path = nearest_example(features.to("cpu"), self.examples_, label)
        return Explanation(
            label,
            dict(zip(labels, judged.probabilities[0].tolist(), strict=True)),
            bool(judged.known[0]),
            best,
            self.examples_.sources[best],
            distances,
            path,
            film_strip(clip),
            self.examples_.strips[best],
        )

    def score(
        self, videos: Mapping[str, Any] | Sequence[Video], labels: Iterable[str] | None = None
    ) -> float:
        """Share of videos named rightly, 0..1; takes what ``fit`` takes."""
        examples, names = pairs(videos, labels)
        return float(np.mean(self.predict(examples) == np.array(names)))

    def _known(self) -> Examples:
        if "examples_" not in vars(self):
            raise NotFittedError(f"{self!r} has seen no examples; call fit(...) or load(folder) first")
        return self.examples_

    def _check_fitted(self) -> Fitted:
        self._known()
        if self.fitted_ is None:
            raise NotFittedError(
                f"there is nothing to tell apart: the classes are {self.classes_.tolist()}; "
                "add examples of another by add_class(label, videos)"
            )
        return self.fitted_

    def _ask(self, videos: Video | Sequence[Video]) -> tuple[Scores, bool]:
        """Scores, and whether it was one video alone."""
        self._check_fitted()
        given, single = listed(videos)
        parts = [self._scores(None)]
        for batch in self._encode(given):
            raise_first(batch.errors)
            parts.append(self._scores(batch.features))
        return Scores.cat(parts), single

    def _scores(self, features: FrameFeatures | None) -> Scores:
        if features is None:
            nothing = torch.zeros(0, len(self._check_fitted().classes))
            return Scores(nothing, nothing)
        return self._check_fitted().scores(features)

    def _labels(self, scores: Scores) -> Shaped[np.ndarray, " Q"]:
        fitted = self._check_fitted()
        return np.where(fitted.known(scores, self.reject), fitted.nearest(scores), NONE)

    def _encode(
        self,
        videos: Sequence[Video],
        text: Float[Tensor, "V D"] | None = None,
        *,
        both: bool = False,
        strips: bool = False,
    ) -> Iterator[Encoded]:
        return encode_videos(
            self.method_,
            videos,
            text,
            both=both,
            strips=strips,
            frames=self.frames,
            resize=self.resize,
            batch=self.batch,
            workers=self.workers,
            progress=self.progress,
        )

    def save(self, folder: str | Path) -> None:
        """Write method, examples and vocabulary to a folder, which holds the old or the new, never a mixture.

        The folder is also a model folder: ``openfsar.load`` finds the method in it. Saving again where this
        classifier was saved or loaded writes the examples alone.
        """
        home = Path(folder).resolve()
        self._store(home, same_method=vars(self).get("home_") == home)
        self.home_ = home

    def _store(self, folder: Path, *, same_method: bool) -> None:
        options = {name: value for name, value in self.get_params().items() if name in _STORED}
        fitted = vars(self).get("fitted_")
        calibration = fitted.calibration if fitted else Calibration(0.0, OWN, 1.0)
        parts = self._known(), self.background_, calibration
        storage.save(folder, self.method_, *parts, options, same_method=same_method)

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str | None = None, progress: bool = False
    ) -> "FewShotVideoClassifier":
        """The classifier that ``save`` wrote, from a folder or a hub name (owner/model).

        Raises:
            ModelFolderError: where the folder holds none.
        """
        folder = hub.locate(folder)
        stored, examples, background, calibration = storage.load(folder)
        self = cls(str(folder.resolve()), **stored.options, device=device, progress=progress)
        self.method_ = self._resolve()
        self.tuned_, self.background_ = None, background
        spec = self.method_.spec
        if spec.pretrained and not self.method_.learnt:
            # Nothing of it was trained: more examples may choose again what it looks at, as in a first fit.
            self.method, self.encoder = spec.method, spec.encoder
        self._learn(examples, calibration)
        self.home_ = folder.resolve()
        return self

    def push_to_hub(self, name: str, *, private: bool = True) -> str:
        """Upload to the Hugging Face hub as ``name`` (owner/model), and say where it lies.

        Film strips go along: pictures of your examples. Hence private, unless you say otherwise.
        """
        from huggingface_hub import HfApi

        api = HfApi()
        with TemporaryDirectory() as place:
            folder = Path(place, "model")
            self._store(folder, same_method=False)
            url = api.create_repo(name, private=private, exist_ok=True)
            api.upload_folder(repo_id=name, folder_path=folder)
        return str(url)


_STORED = ("frames", "resize", "centre", "text_share", "prompt", "temperature", "reject")
"""Arguments that decide answers; where and how fast to compute is no matter of the model."""
