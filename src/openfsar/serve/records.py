"""What the service says, field by field; the OpenAPI description is made from this."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from openfsar.serve.problems import ProblemRecord

Share = Annotated[float, Field(ge=0, le=1)]
Path = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Health(BaseModel):
    """That the service is alive; needs no token."""

    status: Literal["ok"] = "ok"
    version: str = Field(description="Of openfsar.", examples=["0.1.0"])
    token: bool = Field(description="Whether everything else needs a token.")


class LimitsRecord(BaseModel):
    """What one request may ask for."""

    files: int = Field(description="Videos in one request.")
    clip_bytes: int = Field(description="Bytes of one example or video to name.")
    clip_seconds: float
    video_bytes: int = Field(description="Bytes of a video for a timeline.")
    video_seconds: float
    pixels: int = Field(description="Width times height.")
    label_letters: int


class ModelRecord(BaseModel):
    """The recogniser and what it knows so far."""

    method: str = Field(description="The few-shot method.", examples=["otam"])
    encoder: str = Field(description="The pretrained encoder under it.", examples=["toyclip"])
    frames: int = Field(description="Frames looked at in each clip.")
    classes: int
    examples: int
    ready: bool = Field(description="Whether it knows two actions, so that it can tell them apart.")
    rejects: bool = Field(
        description='Whether it can say "none of these" by now: two actions need two examples each.'
    )
    calibration: str | None = Field(description="What was chosen from the examples, in words.")
    asked: int = Field(description="Examples that were asked about as if they were new, each left out once.")
    accuracy: Share | None = Field(description="Share of them that were named rightly from the others.")
    paths: bool = Field(description="Whether videos on the server may be named by path.")
    limits: LimitsRecord


class ExampleRecord(BaseModel):
    """One clip that shows an action. Its film strip is at `/api/examples/{id}/strip`."""

    id: str = Field(examples=["5c1f0de3a0b94a77"])
    file: str = Field(description="The name it was sent under.", examples=["wave1.mp4"])


class ClassRecord(BaseModel):
    """An action and its examples."""

    label: str = Field(examples=["wave"])
    count: int = Field(ge=1)
    examples: list[ExampleRecord]


class Added(BaseModel):
    """What became of one file."""

    file: str
    problem: ProblemRecord | None = Field(
        default=None, description="Why it was not taken; null where it was."
    )


class AddedRecord(BaseModel):
    """What became of each file, in the order they were sent, and the action as it is now."""

    files: list[Added]
    action: ClassRecord


class ExplanationRecord(BaseModel):
    """Which example the video is nearest to, and which of its frames correspond."""

    example: str = Field(description="The id of the example.")
    label: str = Field(description="Its action: the nearest one, also where the video is none of these.")
    file: str = Field(description="The file the example came from.")
    distances: list[list[float]] = Field(
        description="A row per frame of the video, a column per frame of the example; 0 is alike, 2 opposite."
    )
    path: list[tuple[int, int]] = Field(
        description="The best alignment: pairs of row and column, in order of time."
    )
    video_strip: str = Field(description="The frames of the video side by side, a JPEG as a data URL.")
    example_strip: str


class Prediction(BaseModel):
    """What one video shows."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "file": "new.mp4",
                    "label": "wave",
                    "none_of_these": False,
                    "probabilities": {"clap": 0.07, "wave": 0.93},
                }
            ]
        }
    )

    file: str = Field(description="The name it was sent under.")
    label: str | None = Field(
        default=None, description='The action, or "none of these"; null where unreadable.'
    )
    none_of_these: bool = Field(default=False, description="Whether it looks like none of the actions.")
    probabilities: dict[str, Share] | None = Field(
        default=None, description="By action; they add up to 1, also where it is none of them."
    )
    explanation: ExplanationRecord | None = Field(default=None, description="Where it was asked for.")
    problem: ProblemRecord | None = Field(default=None, description="Why there is no answer.")


class Predictions(BaseModel):
    """One answer per file, in the order they were sent."""

    results: list[Prediction]


class SegmentRecord(BaseModel):
    """A stretch of a video in which something happens."""

    start: float = Field(description="Seconds from the start of the video.")
    end: float
    label: str
    confidence: Share


class TimelineRecord(BaseModel):
    """What happens when in a long video."""

    seconds: float = Field(description="Length of the video.")
    window: float = Field(description="Seconds that were looked at together.")
    segments: list[SegmentRecord]
    times: list[float] = Field(description="Middles of the windows that were looked at, 2,000 at most.")
    scores: dict[str, list[float]] = Field(
        description="Probability of each action at these times; the highest where windows were joined."
    )
    known: list[bool] = Field(description="Whether a window shows any of the actions.")


class JobRecord(BaseModel):
    """A timeline that is being made."""

    id: str
    file: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    progress: Share = 0.0
    seconds_left: float | None = Field(default=None, description="A guess, while it runs.")
    ahead: int = Field(default=0, description="Timelines that are made first.")
    result: TimelineRecord | None = None
    problem: ProblemRecord | None = Field(default=None, description="Why it failed.")


class PathsRequest(BaseModel):
    """Videos that already lie on the server, relative to the folder it was started with."""

    paths: list[Path] = Field(min_length=1, max_length=1000, examples=[["monday/0001.mp4"]])


class ExamplePathsRequest(PathsRequest):
    label: str = Field(description="The action they show.", examples=["wave"])


class VideoPathRequest(BaseModel):
    """A long video that already lies on the server."""

    path: Path = Field(examples=["monday/camera-2.mp4"])
