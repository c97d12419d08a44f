"""The parts of the service in one place, and what its routes have in common."""

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Request

from openfsar.classifier import NONE, FewShotVideoClassifier
from openfsar.serve.forms import Form, Upload
from openfsar.serve.jobs import Jobs
from openfsar.serve.limits import Limits
from openfsar.serve.metrics import Metrics
from openfsar.serve.model import Model
from openfsar.serve.paths import Paths
from openfsar.serve.problems import Problem
from openfsar.serve.uploads import Spool


class Service:
    """Everything that lives as long as the server.

    Args:
        folder: where the model is saved; uploads lie beside it for as long as they are worked on.
        paths: the folder whose videos may be named by path, if any.
    """

    def __init__(
        self, classifier: FewShotVideoClassifier, folder: Path, *, limits: Limits, paths: Path | None
    ) -> None:
        self.limits, self.paths, self.metrics = limits, Paths(paths), Metrics()
        self.spool = Spool(folder.with_name(f".{folder.name}-uploads"), limits.uploading_bytes)
        self.model = Model(classifier, folder, limits=limits, metrics=self.metrics)
        self.jobs = Jobs(queued=limits.queued, kept_seconds=limits.kept_seconds, metrics=self.metrics)

    async def close(self) -> None:
        await self.jobs.close()
        await self.model.close()
        self.spool.close()

    @asynccontextmanager
    async def clips(self, request: Request) -> AsyncIterator[Form]:
        """The form of a request with clips, each looked at and marked where it is refused."""
        async with self.spool.receive(request, files=self.limits.files, each=self.limits.clip_bytes) as form:
            await self.check(form.uploads)
            yield form

    async def named(self, paths: Sequence[str]) -> list[Upload]:
        """Clips of the server's own, likewise."""
        if len(paths) > self.limits.files:
            raise Problem(
                413,
                "too many files",
                f"the request names {len(paths)}",
                allowed=f"{self.limits.files} at a time",
                remedy="send them in several requests",
            )
        uploads = [self.paths.find(path) for path in paths]
        await self.check(uploads)
        return uploads

    async def check(self, uploads: Sequence[Upload]) -> None:
        """Read the header of every clip and mark what is over a limit.

        Raises:
            Problem: There is no clip.
        """
        if not uploads:
            raise Problem(
                422,
                "no video",
                "the form has no file",
                remedy="send videos as files: curl -F files=@clip.mp4",
            )
        self.metrics.uploaded.inc(sum(upload.size for upload in uploads))
        for upload in uploads:
            if upload.problem is None:
                try:
                    await asyncio.to_thread(
                        self.limits.check_video, upload.path, upload.name, seconds=self.limits.clip_seconds
                    )
                except Problem as problem:
                    upload.problem = problem

    async def check_long(self, upload: Upload) -> None:
        """Read the header of a long video.

        Raises:
            Problem: It is over a limit, or none.
        """
        self.metrics.uploaded.inc(upload.size)
        seconds = self.limits.video_seconds
        await asyncio.to_thread(self.limits.check_video, upload.path, upload.name, seconds=seconds)

    def label(self, text: str | None) -> str:
        """The name of an action as it is kept.

        Raises:
            Problem: It is none.
        """
        name = unicodedata.normalize("NFC", text or "").strip()
        most = self.limits.label_letters
        if not name.strip(".") or not name.isprintable() or len(name) > most or name.lower() == NONE:
            raise Problem(
                422,
                "no name of an action",
                f"the label is {text!r}"[:200],
                allowed=f'1 to {most} printable letters, and not "{NONE}"',
                remedy="name the action in a few words",
            )
        return name


def raise_if_none_is_left(uploads: Sequence[Upload]) -> None:
    """Where no file of a request could be used, it failed as a whole, with the status of the first."""
    problems = [upload.problem for upload in uploads if upload.problem is not None]
    if not problems or len(problems) < len(uploads):
        return
    if len(problems) == 1:
        raise problems[0]
    raise Problem(
        problems[0].status_code,
        "none of the videos could be used",
        "; ".join(problem.record.detail for problem in problems),
        remedy=problems[0].record.remedy,
    )
