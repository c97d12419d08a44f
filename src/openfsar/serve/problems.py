"""Everything the service refuses, in one shape: what happened, what is allowed, what to try (RFC 9457)."""

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"
log = logging.getLogger("openfsar.serve")


class ProblemRecord(BaseModel):
    """Why something was refused."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": 413,
                    "title": "the video is too long",
                    "detail": "wave.mp4 lasts 812.0 s",
                    "allowed": "clips of up to 600 s",
                    "remedy": "cut the action out, or use a timeline for long videos",
                    "file": "wave.mp4",
                }
            ]
        }
    )

    status: int = Field(description="The HTTP status, also where other files of the request were accepted.")
    title: str = Field(description="What is wrong, the same words each time.")
    detail: str = Field(description="What is wrong with this request, with the value received.")
    allowed: str | None = Field(default=None, description="What would be accepted.")
    remedy: str | None = Field(default=None, description="What to try.")
    file: str | None = Field(default=None, description="The file it is about, by the name it was sent under.")


class Problem(HTTPException):
    """A refusal that a person can act upon."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        allowed: str | None = None,
        remedy: str | None = None,
        file: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, headers)
        self.record = ProblemRecord(
            status=status, title=title, detail=detail, allowed=allowed, remedy=remedy, file=file
        )

    def response(self) -> JSONResponse:
        """As an answer on its own."""
        content = self.record.model_dump(exclude_none=True)
        return JSONResponse(content, self.status_code, self.headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These refusals, for the OpenAPI description of a route."""
    schema = {"$ref": "#/components/schemas/ProblemRecord"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def install(app: FastAPI) -> None:
    """Make every refusal of the application a problem."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        if isinstance(error, Problem):
            return error.response()
        title = HTTPStatus(error.status_code).phrase.lower()
        remedy = "see /api/openapi.json for what there is" if error.status_code in (404, 405) else None
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return Problem(error.status_code, title, detail, remedy=remedy, headers=_headers(error)).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return Problem(422, "the request does not fit", _sentence(error.errors())).response()


def unforeseen(request: str, error: Exception) -> Problem:
    """What nobody thought of: the log has the traceback, the answer says no internals."""
    log.error("%s failed", request, exc_info=error)
    return Problem(
        500,
        "a bug in openfsar",
        f"{request} failed with {type(error).__name__}",
        remedy="the log of the server has the traceback; please report it",
    )


def _headers(error: HTTPException) -> dict[str, str]:
    return dict(error.headers or {})


def _sentence(errors: Sequence[Any]) -> str:
    """Pydantic's findings in a line: where, what."""
    return "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in errors)
