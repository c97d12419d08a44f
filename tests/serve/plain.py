"""Plain colours as footage, a tiny recogniser that tells them apart, and a client of a service with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from httpx2 import Response
from jaxtyping import UInt8
from starlette.testclient import TestClient
from torch import Tensor

from openfsar.classifier import FewShotVideoClassifier
from openfsar.methods.zoo import create
from openfsar.serve import create_app
from openfsar.video import write_video

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}


def write_colour(
    path: Path, colour: str, *, seed: int = 0, length: int = 10, size: tuple[int, int] = (32, 48)
) -> Path:
    """A noisy second of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, colour_frames(colour, seed=seed, length=length, size=size), fps=10.0)
    return path


def colour_frames(
    colour: str, *, seed: int = 0, length: int = 10, size: tuple[int, int] = (32, 48)
) -> UInt8[Tensor, "T 3 H W"]:
    noise = torch.randint(-9, 9, (length, 3, *size), generator=torch.Generator().manual_seed(seed))
    return (torch.tensor(COLOURS[colour]).view(3, 1, 1) + noise).clamp(0, 255).to(torch.uint8)


def fresh(**options: Any) -> FewShotVideoClassifier:
    """An empty classifier, random but always the same, that compares mean frames."""
    method = create("protonet", encoder="tiny", pretrained=False, seed=1)
    return FewShotVideoClassifier(method, frames=4, text_share=0.0, **options)


@contextmanager
def service(
    folder: Path, classifier: FewShotVideoClassifier | None = None, **options: Any
) -> Iterator[TestClient]:
    app = create_app(classifier or fresh(), folder / "model", **options)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client


def files(*paths: Path, names: dict[str, bytes] | None = None) -> list[tuple[str, tuple[str, bytes]]]:
    """A form's files: videos, then bytes by name."""
    videos = [("files", (path.name, path.read_bytes())) for path in paths]
    return videos + [("files", (name, content)) for name, content in (names or {}).items()]


def teach(client: TestClient, footage: Path, *labels: str, shots: int = 2) -> None:
    """Examples of these colours."""
    for label in labels:
        clips = [footage / f"{label}{seed}.mp4" for seed in range(shots)]
        answer = client.post("/api/examples", data={"label": label}, files=files(*clips))
        assert answer.status_code == 201, answer.text


def counts(client: TestClient) -> dict[str, int]:
    return {record["label"]: record["count"] for record in client.get("/api/classes").json()}


def problem(answer: Response, status: int) -> dict[str, Any]:
    """What was refused, in the one shape that refusals have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found = answer.json()
    assert found["status"] == status and found["title"] and found["detail"]
    return found
