"""The service as one ASGI application: routes, guard, page."""

import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import Depends, FastAPI, Response
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST

from openfsar.classifier import FewShotVideoClassifier
from openfsar.serve import problems
from openfsar.serve.api import model_routes, predict_routes
from openfsar.serve.guard import Guard
from openfsar.serve.limits import Limits
from openfsar.serve.service import Service
from openfsar.serve.timelines import timeline_routes

LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})
"""Names of this machine for itself."""
PAGE = Path(__file__).parent / "page"

DESCRIPTION = """\
Name your own actions in video from a handful of examples.

Teach each action by a few clips (`POST /api/examples`), ask what a new clip shows (`POST /api/predict`), and
what happens when in a long video (`POST /api/timelines`). Whatever is refused is answered with
`application/problem+json`: what was wrong, what is allowed, what to try.
"""
TAGS = [
    {"name": "model", "description": "The recogniser and what it knows."},
    {"name": "classes", "description": "The actions it tells apart."},
    {"name": "examples", "description": "The clips that show them."},
    {"name": "predict", "description": "What a clip shows."},
    {"name": "timelines", "description": "What happens when in a long video."},
]


def create_app(
    classifier: FewShotVideoClassifier,
    folder: Path,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: Collection[str] = LOCAL,
    paths: Path | None = None,
) -> FastAPI:
    """The application that serves one classifier and keeps it in ``folder``.

    Args:
        classifier: from ``open_model``.
        token: what everybody must bring who wants more than the empty page.
        hosts: names the service answers to where there is no token.
        paths: the folder whose videos may be named by path; none by default.

    Raises:
        ValueError: The token cannot be sent in a header.
    """
    if token is not None and not re.fullmatch(r"[!-~]+", token):
        raise ValueError("the token must be letters, digits and signs of ASCII without spaces, and not empty")
    service = Service(classifier, folder, limits=limits or Limits(), paths=paths)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.close()

    app = FastAPI(
        title="openfsar",
        description=DESCRIPTION,
        version=version("openfsar"),
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages would fetch scripts from elsewhere
        redoc_url=None,
        openapi_tags=TAGS,
        responses=problems.documented(401, 403, 421),  # from the guard
        lifespan=lifespan,
        separate_input_output_schemas=False,
    )
    problems.install(app)
    app.add_middleware(Guard, token=token, hosts=hosts, metrics=service.metrics)
    # Says in the description how to bring the token; the guard is who checks it.
    bearer = [Depends(HTTPBearer(auto_error=False))] if token else []
    app.include_router(model_routes(service, token=token is not None), dependencies=bearer)
    app.include_router(predict_routes(service), dependencies=bearer)
    app.include_router(timeline_routes(service), dependencies=bearer)

    @app.get("/metrics", include_in_schema=False, dependencies=bearer)
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)

    app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    return app
