"""Uploads go straight to disk, counted byte by byte, and are gone when the request is done with them."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp

from fastapi import Request

from openfsar.serve.forms import FIELD_BYTES, FIELDS, Form, Receiver, Upload, boundary_of
from openfsar.serve.limits import MB
from openfsar.serve.problems import Problem


class Spool:
    """A folder for uploads that are being worked on; what a killed server left there is cleared at the start.

    Args:
        limit: bytes of all uploads together.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.limit, self.used = folder, limit, 0

    @asynccontextmanager
    async def receive(self, request: Request, *, files: int, each: int) -> AsyncIterator[Form]:
        """Read a form; its files live as long as the context.

        Args:
            files: most files in it.
            each: most bytes of one file; a larger one is marked and not kept, the others are.

        Raises:
            Problem: It is no form, has too many files or bytes, or there is no room.
        """
        boundary = boundary_of(request.headers.get("content-type"))
        most = files * each + FIELDS * FIELD_BYTES + 1000 * (files + FIELDS)  # with the headers of the parts
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > most:
            raise _too_large(f"the request announces {int(declared) / MB:.1f} MB", files, each)
        folder = Path(mkdtemp(dir=self.folder))
        receiver = Receiver(folder, boundary, files=files, each=each)
        received = 0
        try:
            async for chunk in request.stream():
                received += len(chunk)
                self.used += len(chunk)
                if received > most:
                    raise _too_large(f"the request goes on after {most / MB:.1f} MB", files, each)
                if self.used > self.limit:
                    raise self._full()
                await asyncio.to_thread(receiver.write, chunk)
            yield receiver.finish()
        finally:
            self.used -= received
            receiver.close()
            await asyncio.to_thread(shutil.rmtree, folder, True)

    def keep(self, upload: Upload) -> Path:
        """Take a file out of its form, to live until it is dropped."""
        path = Path(mkdtemp(dir=self.folder)) / upload.name
        os.replace(upload.path, path)
        self.used += upload.size
        return path

    def drop(self, path: Path) -> None:
        """Delete a file that was kept."""
        self.used -= path.stat().st_size
        shutil.rmtree(path.parent)

    def close(self) -> None:
        """Delete whatever is left."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _full(self) -> Problem:
        return Problem(
            503,
            "too many uploads at once",
            f"uploads of {self.used / MB:.0f} MB are being worked on",
            allowed=f"{self.limit / MB:g} MB",
            remedy="try again in a minute",
            headers={"Retry-After": "60"},
        )


def _too_large(detail: str, files: int, each: int) -> Problem:
    return Problem(
        413,
        "the upload is too large",
        detail,
        allowed=f"{files} files of {each / MB:g} MB each",
        remedy="send fewer or smaller videos at a time",
    )
