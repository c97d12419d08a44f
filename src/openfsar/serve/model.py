"""The classifier behind the service: one thread computes, every change is on disk before it is answered."""

import asyncio
import copy
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from openfsar.classifier import FewShotVideoClassifier, Labelled
from openfsar.serve.answers import explained, predicted
from openfsar.serve.batcher import Batcher
from openfsar.serve.forms import Upload
from openfsar.serve.limits import Limits, unreadable
from openfsar.serve.listing import example_ids, shown
from openfsar.serve.metrics import Metrics
from openfsar.serve.problems import Problem
from openfsar.serve.records import ClassRecord, ExampleRecord, Prediction
from openfsar.video import VideoError

Result = TypeVar("Result")

WAIT = 0.005
"""Seconds a request waits for others to share the encoder with."""


class Model:
    """A classifier that many ask and some change.

    A change is made on a copy, saved, and only then takes the place of the old one: who asks meanwhile, or
    holds the old one for a long video, never sees half a change, and a server killed at any moment comes back
    with all that it ever confirmed.

    Args:
        classifier: fresh, or loaded from ``folder``.
        folder: where it is saved after every change.
    """

    def __init__(
        self, classifier: FewShotVideoClassifier, folder: Path, *, limits: Limits, metrics: Metrics
    ) -> None:
        self.folder, self.limits, self.metrics = folder, limits, metrics
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._batcher: Batcher[Path, tuple[list[str], Labelled]] = Batcher(
            self._predict, size=classifier.batch, wait=WAIT
        )
        self._swap(classifier)

    async def close(self) -> None:
        await self._batcher.close()
        await asyncio.to_thread(self._worker.shutdown)

    def classes(self) -> list[ClassRecord]:
        """Every action with its examples, sorted."""
        by_label: dict[str, list[ExampleRecord]] = {}
        for key, (label, file, _) in zip(self.ids, shown(self.classifier), strict=True):
            by_label.setdefault(label, []).append(ExampleRecord(id=key, file=file))
        return [ClassRecord(label=k, count=len(v), examples=v) for k, v in sorted(by_label.items())]

    def strip(self, key: str) -> bytes:
        """The film strip of an example, a JPEG.

        Raises:
            Problem: There is no example of this id.
        """
        number = self.number(key)
        return self.classifier.strips_[number]

    async def predict(self, path: Path, name: str) -> Prediction:
        """The answer for one video; those asked for at the same time are encoded together.

        Raises:
            Problem: The video cannot be read, or there are no two actions.
        """
        return predicted(name, *await self._batcher.ask(path))

    async def explain(self, path: Path, name: str) -> Prediction:
        """The answer with its reasons; one pass of the encoder like ``predict``, but never a shared one.

        Raises:
            Problem: As above.
        """

        def work() -> Prediction:
            self.check_ready()
            found = self.classifier.explain(path)
            return explained(name, self.ids[found.example], found)

        try:
            return await self._compute(work)
        except VideoError as error:
            raise unreadable(error, name) from error

    async def add(self, label: str, uploads: Sequence[Upload], *, new: bool) -> None:
        """Learn examples; an upload that cannot be read is marked, and the others are learnt.

        Args:
            new: refuse where the class exists.

        Raises:
            Problem: The class exists, or there are too many classes or examples.
        """

        def change(classifier: FewShotVideoClassifier) -> None:
            counts = Counter(record.label for record in self.classes() for _ in record.examples)
            if new and label in counts:
                raise Problem(
                    409,
                    "the action exists",
                    f"there is an action {label!r}, and it has {counts[label]} of the examples",
                    remedy="add examples to it, or choose another name",
                )
            good = [upload for upload in uploads if upload.problem is None]
            self._check_room(len(good), len(counts | {label: 1}))
            while good:
                try:
                    classifier.add_examples(label, [upload.path for upload in good])
                    return
                except VideoError as error:
                    bad = next(upload for upload in good if str(upload.path) == error.source)
                    bad.problem = unreadable(error, bad.name)
                    good.remove(bad)
            raise _Unchanged

        await self._change(change)

    async def remove_class(self, label: str) -> None:
        """Forget an action.

        Raises:
            Problem: There is none of this name.
        """

        def change(classifier: FewShotVideoClassifier) -> None:
            if label not in {record.label for record in self.classes()}:
                raise Problem(
                    404, "no such action", f"there is no action {label!r}", remedy="see /api/classes"
                )
            classifier.remove_class(label)

        await self._change(change)

    async def remove_example(self, key: str) -> None:
        """Forget an example.

        Raises:
            Problem: There is none of this id.
        """
        await self._change(lambda classifier: classifier.remove_examples([self.number(key)]))

    def number(self, key: str) -> int:
        """The number of an example by its id.

        Raises:
            Problem: There is none.
        """
        if key not in self.ids:
            raise Problem(404, "no such example", f"there is no example {key!r}", remedy="see /api/classes")
        return self.ids.index(key)

    def check_ready(self) -> None:
        """Refuse to answer before there is something to tell apart."""
        if not self.classifier.ready:
            known = [record.label for record in self.classes()]
            raise Problem(
                409,
                "there is nothing to tell apart yet",
                f"the actions known are {known}",
                allowed="two actions with an example each",
                remedy="add examples of another action",
            )

    def _check_room(self, more: int, classes: int) -> None:
        if classes > self.limits.classes:
            raise Problem(
                409,
                "too many actions",
                f"this would be number {classes}",
                allowed=f"{self.limits.classes}",
                remedy="remove one, or start the server with another --classes",
            )
        if len(self.ids) + more > self.limits.examples:
            raise Problem(
                409,
                "too many examples",
                f"there are {len(self.ids)}, and these would be {more} more",
                allowed=f"{self.limits.examples}",
                remedy="remove some that look alike, or start the server with another --examples",
            )

    async def _change(self, change: Callable[[FewShotVideoClassifier], object]) -> None:
        def work() -> None:
            fresh = copy.copy(self.classifier)
            try:
                change(fresh)
            except _Unchanged:
                return
            fresh.save(self.folder)
            self._swap(fresh)

        await self._compute(work)

    async def _predict(self, paths: Sequence[Path]) -> list[tuple[list[str], Labelled]]:
        def work() -> list[tuple[list[str], Labelled]]:
            self.check_ready()
            classes = self.classifier.classes_.tolist()
            with self.metrics.encoding.time():
                return [(classes, found) for found in self.classifier.stream(paths)]

        self.metrics.batch.observe(len(paths))
        return await self._compute(work)

    async def _compute(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def _swap(self, classifier: FewShotVideoClassifier) -> None:
        """From now on this one answers."""
        self.ids = example_ids(classifier)
        self.classifier = classifier
        self.metrics.examples.set(len(self.ids))
        self.metrics.classes.set(len(self.classes()))


class _Unchanged(Exception):
    """There was nothing left to do."""
