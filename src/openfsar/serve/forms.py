"""A multipart form, taken apart as it arrives: files to disk, fields to memory."""

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from openfsar.serve.limits import MB
from openfsar.serve.problems import Problem

FIELDS = 8
FIELD_BYTES = 10_000
"""Of a form field that is no file."""
NAME_BYTES = 200


@dataclass
class Upload:
    """One video of a request, on disk; or why it was refused, and then the others are not affected."""

    name: str
    """What the user calls it."""
    path: Path
    size: int = 0
    problem: Problem | None = None


@dataclass
class Form:
    """A received multipart form."""

    fields: dict[str, str] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)


class Receiver:
    """Turns the bytes of one multipart body into files and fields."""

    def __init__(self, folder: Path, boundary: bytes, *, files: int, each: int) -> None:
        self.folder, self.files, self.each = folder, files, each
        self.form, self.ended = Form(), False
        self.header, self.value, self.disposition = bytearray(), bytearray(), b""
        self.name, self.text = "", bytearray()
        self.upload: Upload | None = None
        self.file: BinaryIO | None = None
        try:
            self.parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers_finished,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._all,
                },
            )
        except FormParserError as error:
            raise _damaged(str(error)) from error

    def write(self, chunk: bytes) -> None:
        try:
            self.parser.write(chunk)
        except FormParserError as error:
            raise _damaged(str(error)) from error

    def finish(self) -> Form:
        """The form, once its last byte is there."""
        if not self.ended:
            raise _damaged("it stops in the middle")
        return self.form

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None

    def _begin(self) -> None:
        self.disposition, self.text, self.upload = b"", bytearray(), None

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self.header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def _header_end(self) -> None:
        if self.header.lower() == b"content-disposition":
            self.disposition = bytes(self.value)
        self.header, self.value = bytearray(), bytearray()

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self.disposition)
        self.name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" not in options:
            return
        number = len(self.form.uploads)
        if number == self.files:
            raise Problem(
                413,
                "too many files",
                f"the request has more than {self.files}",
                allowed=f"{self.files} at a time",
                remedy="send them in several requests",
            )
        name = safe_name(options[b"filename"].decode("utf-8", "replace"))
        path = self.folder / str(number) / name
        path.parent.mkdir()
        self.file = open(path, "wb")
        self.upload = Upload(name, path)
        self.form.uploads.append(self.upload)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self.upload is None or self.file is None:
            self.text += data[start:end]
            if len(self.text) > FIELD_BYTES:
                raise _damaged(f"the field {self.name!r} has more than {FIELD_BYTES} bytes")
            return
        self.upload.size += end - start
        if self.upload.size <= self.each:
            self.file.write(data[start:end])
        elif self.upload.problem is None:
            self.file.truncate(0)
            self.upload.problem = Problem(
                413,
                "the file is too large",
                f"{self.upload.name} has more than {self.each / MB:g} MB",
                allowed=f"{self.each / MB:g} MB a file",
                remedy="cut it, or save it in a lower quality",
                file=self.upload.name,
            )

    def _end(self) -> None:
        if self.upload is None:
            self.form.fields[self.name] = self.text.decode("utf-8", "replace")
            if len(self.form.fields) > FIELDS:
                raise _damaged(f"it has more than {FIELDS} fields")
        self.close()

    def _all(self) -> None:
        self.ended = True


def boundary_of(content_type: str | None) -> bytes:
    """What parts the form that a request announces.

    Raises:
        Problem: It announces none.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise Problem(
            415,
            "not a form",
            f"the content type is {content_type!r}",
            allowed="multipart/form-data with a boundary",
            remedy="send the videos as files of a form: curl -F files=@clip.mp4",
        )
    return options[b"boundary"]


def _damaged(reason: str) -> Problem:
    return Problem(400, "the form is damaged", f"it cannot be read: {reason}", remedy="send it again")


def safe_name(name: str) -> str:
    """The last part of whatever a client calls its file, fit to be a file name here."""
    last = PurePosixPath(name.replace("\\", "/")).name
    plain = "".join(letter for letter in last if letter.isprintable()).strip()
    short = plain.encode("utf-8", "replace")[-NAME_BYTES:].decode("utf-8", "ignore")
    return short if short.strip(".") else "video"
