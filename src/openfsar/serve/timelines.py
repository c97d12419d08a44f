"""The routes for long videos, and how one is looked at."""

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
from fastapi import APIRouter, Query, Request, Response

from openfsar.classifier import FewShotVideoClassifier
from openfsar.serve.api import FILES, REFUSED, form
from openfsar.serve.jobs import Job, Report
from openfsar.serve.limits import unreadable
from openfsar.serve.problems import Problem, documented
from openfsar.serve.records import JobRecord, SegmentRecord, TimelineRecord, VideoPathRequest
from openfsar.serve.service import Service
from openfsar.timeline import Rules, Timeline, timeline
from openfsar.timeline.export import TOGETHER, to_vtt
from openfsar.timeline.export import Annotated as Shown
from openfsar.timeline.scan import WINDOW
from openfsar.video import VideoError

Format: TypeAlias = Literal["csv", "json", "vtt", "label-studio", "fiftyone"]
About: TypeAlias = Annotated[
    float, Query(ge=0.2, le=60, description="Seconds looked at together: about as long as an action.")
]
Sure: TypeAlias = Annotated[
    float, Query(gt=0, le=1, description="Probability that a segment reaches somewhere; less finds more.")
]
TYPES = {"csv": "text/csv", "vtt": "text/vtt"}

POINTS = 2000
"""Windows that are told one by one; neighbours are joined in longer videos."""


def timeline_routes(service: Service) -> APIRouter:
    """Long videos: queued, followed, fetched, exported, cancelled."""
    routes = APIRouter(prefix="/api/timelines", tags=["timelines"])
    jobs, model, limits = service.jobs, service.model, service.limits

    @routes.post(
        "",
        status_code=202,
        responses=REFUSED | documented(409, 429),
        openapi_extra=form(files=FILES | {"maxItems": 1}),
    )
    async def start(request: Request, window: About = WINDOW) -> JobRecord:
        """Queue a long video. Ask for `/api/timelines/{id}` until its state is `done`."""
        model.check_ready()
        jobs.check_room()
        async with service.spool.receive(request, files=1, each=limits.video_bytes) as sent:
            if not sent.uploads:
                raise Problem(422, "no video", "the form has no file", remedy="curl -F files=@video.mp4")
            (upload,) = sent.uploads
            if upload.problem is not None:
                raise upload.problem
            await service.check_long(upload)
            path = service.spool.keep(upload)
            try:
                job = jobs.submit(
                    Job(upload.name, partial(look, path, window), partial(service.spool.drop, path))
                )
            except Problem:
                service.spool.drop(path)
                raise
        return jobs.record(job)

    @routes.post("/paths", status_code=202, responses=documented(400, 403, 404, 409, 413, 422, 429))
    async def start_path(body: VideoPathRequest, window: About = WINDOW) -> JobRecord:
        """Queue a long video that lies on the server, if it was started with `--allow-paths`."""
        model.check_ready()
        upload = service.paths.find(body.path)
        if upload.problem is not None:
            raise upload.problem
        await service.check_long(upload)
        return jobs.record(jobs.submit(Job(upload.name, partial(look, upload.path, window), lambda: None)))

    @routes.get("/{id}", responses=documented(404, 422))
    async def follow(id: str, sure: Sure = Rules.enter) -> JobRecord:
        """How far a timeline is, and what came of it."""
        job = jobs.get(id)
        record = jobs.record(job)
        if job.result is not None:
            record.result = await asyncio.to_thread(told, job.result, rules(sure))
        return record

    @routes.get(
        "/{id}/export",
        response_class=Response,
        responses={200: {"content": {kind: {} for kind in ("application/json", *TYPES.values())}}}
        | documented(404, 409, 422),
    )
    async def export(id: str, format: Format = "csv", sure: Sure = Rules.enter) -> Response:
        """The segments as a file: a table, subtitles, or tasks for labelling tools."""
        job = jobs.get(id)
        if job.result is None:
            raise Problem(
                409, "not done", f"the timeline of {job.name} is {job.state}", remedy="wait until it is done"
            )
        shown = Shown(job.result, job.result.segments(rules(sure)))
        text = to_vtt(shown) if format == "vtt" else TOGETHER[format]([shown])
        return Response(text, media_type=TYPES.get(format, "application/json"))

    @routes.delete("/{id}", status_code=204, responses=documented(404, 422))
    async def cancel(id: str) -> None:
        """Stop a timeline, or forget one that is done."""
        jobs.cancel(id)

    def look(path: Path, window: float, report: Report) -> Timeline:
        model.check_ready()
        return look_at(model.classifier, path, window=window, report=report)

    return routes


def look_at(classifier: FewShotVideoClassifier, path: Path, *, window: float, report: Report) -> Timeline:
    """What happens when in one video.

    Raises:
        Problem: It cannot be read.
    """
    try:
        found = timeline(classifier, path, window=window, batch=classifier.batch, progress=report)
    except VideoError as error:
        raise unreadable(error, path.name) from error
    return replace(found, video=path.name)


def rules(sure: float) -> Rules:
    """What makes a segment, from how sure the surest moment of it must be."""
    return replace(Rules(), enter=sure, leave=sure * Rules.leave / Rules.enter)


def told(found: Timeline, rules: Rules) -> TimelineRecord:
    """A timeline as the service tells it."""
    size = -(-len(found.starts) // POINTS)
    borders = np.arange(0, len(found.starts), size)
    scores = np.maximum.reduceat(found.probabilities.astype(np.float64), borders).round(3)
    return TimelineRecord(
        seconds=found.seconds,
        window=found.window,
        segments=[
            SegmentRecord(start=s.start, end=s.end, label=s.label, confidence=s.confidence)
            for s in found.segments(rules)
        ],
        times=(found.starts[borders] + found.window / 2).clip(0, found.seconds).round(3).tolist(),
        scores={label: scores[:, i].tolist() for i, label in enumerate(found.labels)},
        known=np.logical_or.reduceat(found.known, borders).tolist(),
    )
