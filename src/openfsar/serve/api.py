"""The routes that teach and ask. What they say is in records.py, what they refuse in problems.py."""

import asyncio
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Query, Request, Response

from openfsar.serve.forms import Upload
from openfsar.serve.listing import system
from openfsar.serve.problems import Problem, documented
from openfsar.serve.records import (
    Added,
    AddedRecord,
    ClassRecord,
    ExamplePathsRequest,
    Health,
    LimitsRecord,
    ModelRecord,
    PathsRequest,
    Prediction,
    Predictions,
)
from openfsar.serve.service import Service, raise_if_none_is_left

FILES = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1}
LABEL = {"type": "string", "description": "The action they show.", "examples": ["wave"], "minLength": 1}
Explain: TypeAlias = Annotated[bool, Query(description="Also tell why: the nearest example, frame by frame.")]
REFUSED = documented(400, 413, 415, 422, 503)
"""What an upload may meet with."""


def form(**fields: dict[str, Any]) -> dict[str, Any]:
    """The description of a multipart form whose fields are all required."""
    schema = {"type": "object", "properties": fields, "required": list(fields)}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def model_routes(service: Service, *, token: bool) -> APIRouter:
    """What the service is and knows, and how it learns and forgets."""
    routes = APIRouter(prefix="/api")
    model = service.model

    @routes.get("/health", tags=["model"])
    async def health() -> Health:
        """Whether the service is alive. Needs no token."""
        return Health(version=version("openfsar"), token=token)

    @routes.get("/model", tags=["model"])
    async def about() -> ModelRecord:
        """The method, what it knows so far, and what a request may ask for."""
        classifier = model.classifier
        calibration = classifier.calibration_ if classifier.ready else None
        method, encoder = system(classifier)
        limits = {name: vars(service.limits)[name] for name in LimitsRecord.model_fields}
        return ModelRecord(
            method=method,
            encoder=encoder,
            frames=classifier.frames,
            classes=len(model.classes()),
            examples=len(model.ids),
            ready=classifier.ready,
            rejects=classifier.reject is not None and calibration is not None and calibration.clips > 0,
            calibration=None if calibration is None else str(calibration),
            asked=0 if calibration is None else calibration.clips,
            accuracy=None if calibration is None else calibration.accuracy,
            paths=service.paths.folder is not None,
            limits=LimitsRecord(**limits),
        )

    @routes.get("/classes", tags=["classes"])
    async def classes() -> list[ClassRecord]:
        """Every action with its examples."""
        return model.classes()

    @routes.post(
        "/classes",
        tags=["classes"],
        status_code=201,
        responses=REFUSED | documented(409),
        openapi_extra=form(label=LABEL, files=FILES),
    )
    async def add_class(request: Request) -> AddedRecord:
        """Make a new action from its first examples; refused where it exists."""
        async with service.clips(request) as sent:
            return await learn(service.label(sent.fields.get("label")), sent.uploads, new=True)

    @routes.delete("/classes/{label:path}", tags=["classes"], status_code=204, responses=documented(404, 422))
    async def remove_class(label: str) -> None:
        """Forget an action and all its examples."""
        await model.remove_class(label)

    @routes.post(
        "/examples",
        tags=["examples"],
        status_code=201,
        responses=REFUSED | documented(409),
        openapi_extra=form(label=LABEL, files=FILES),
    )
    async def add_examples(request: Request) -> AddedRecord:
        """Teach an action by clips, one file each; the action is made where it is new.

        Each file is answered for on its own. The request fails only where none of them could be used.
        """
        async with service.clips(request) as sent:
            return await learn(service.label(sent.fields.get("label")), sent.uploads)

    @routes.post(
        "/examples/paths",
        tags=["examples"],
        status_code=201,
        responses=documented(400, 403, 404, 409, 413, 422),
    )
    async def add_paths(body: ExamplePathsRequest) -> AddedRecord:
        """Teach an action by clips that lie on the server, if it was started with `--allow-paths`."""
        return await learn(service.label(body.label), await service.named(body.paths))

    @routes.delete("/examples/{id}", tags=["examples"], status_code=204, responses=documented(404, 422))
    async def remove_example(id: str) -> None:
        """Forget an example; an action without examples is gone."""
        await model.remove_example(id)

    @routes.get(
        "/examples/{id}/strip",
        tags=["examples"],
        response_class=Response,
        responses={200: {"content": {"image/jpeg": {}}}} | documented(404, 422),
    )
    async def strip(id: str) -> Response:
        """The frames of an example side by side, as a JPEG."""
        forever = {"Cache-Control": "private, max-age=31536000, immutable"}  # the id says what is in it
        return Response(model.strip(id), media_type="image/jpeg", headers=forever)

    async def learn(label: str, uploads: Sequence[Upload], *, new: bool = False) -> AddedRecord:
        raise_if_none_is_left(uploads)
        await model.add(label, uploads, new=new)
        raise_if_none_is_left(uploads)
        files = [Added(file=u.name, problem=None if u.problem is None else u.problem.record) for u in uploads]
        action = next(record for record in model.classes() if record.label == label)
        return AddedRecord(files=files, action=action)

    return routes


def predict_routes(service: Service) -> APIRouter:
    """What a video shows."""
    routes = APIRouter(prefix="/api", tags=["predict"])
    model = service.model

    @routes.post("/predict", responses=REFUSED | documented(409), openapi_extra=form(files=FILES))
    async def predict(request: Request, explain: Explain = False) -> Predictions:
        """Name the action in each video.

        Requests that come at the same time are encoded together, unless they ask for an explanation. Each
        file is answered for on its own; the request fails only where none of them could be used.
        """
        model.check_ready()
        async with service.clips(request) as sent:
            return await answers(sent.uploads, explain)

    @routes.post("/predict/paths", responses=documented(400, 403, 404, 409, 413, 422))
    async def predict_paths(body: PathsRequest, explain: Explain = False) -> Predictions:
        """Name the action in videos that lie on the server, if it was started with `--allow-paths`."""
        model.check_ready()
        return await answers(await service.named(body.paths), explain)

    async def answers(uploads: Sequence[Upload], explain: bool) -> Predictions:
        raise_if_none_is_left(uploads)
        results = await asyncio.gather(*(answer(upload, explain) for upload in uploads))
        for result in results:
            service.metrics.videos.labels("refused" if result.problem else "answered").inc()
        raise_if_none_is_left(uploads)
        return Predictions(results=results)

    async def answer(upload: Upload, explain: bool) -> Prediction:
        try:
            if upload.problem is not None:
                raise upload.problem
            ask = model.explain if explain else model.predict
            return await ask(upload.path, upload.name)
        except Problem as problem:
            if problem.status_code == 409:  # an action was removed meanwhile: no fault of this file
                raise
            upload.problem = problem
            return Prediction(file=upload.name, problem=problem.record)

    return routes
