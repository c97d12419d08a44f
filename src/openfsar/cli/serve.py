"""``openfsar serve``: teach and ask in the browser, or over HTTP."""

import os
import secrets
from pathlib import Path
from typing import Literal

from openfsar.cli.console import stage, warn


class ServeError(ValueError):
    """A server that cannot be started as asked."""


def serve(
    model: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    method: str = "otam",
    encoder: str = "toyclip",
    frames: int = 8,
    reject: float | Literal["never"] | None = None,
    token: str | None = None,
    allow_paths: Path | None = None,
    clip_mb: int = 200,
    clip_seconds: float = 600.0,
    video_mb: int = 4000,
    video_hours: float = 4.0,
    classes: int = 1000,
    examples: int = 10_000,
    device: str | None = None,
) -> None:
    """Open a page on which clips teach actions and videos are named, and an HTTP API that does the same.

    Every change is on disk before it is confirmed. On other hosts than 127.0.0.1 a token is asked for; where
    none is given, one is made up and printed.

    Args:
        model: The model folder; a new one is started where there is none.
        host: Address to listen on; 0.0.0.0 lets other machines in, such as your phone.
        port: Port to listen on.
        method: The few-shot method of a new model (see `openfsar models`), or a trained model's folder.
        encoder: The pretrained encoder of a new model.
        frames: Frames sampled from each clip, for a new model.
        reject: Share of videos of known actions to keep when others are called "none of these", or "never".
            By default what the model was fitted with; 0.95 for a new one.
        token: A word that everybody must bring; better set in the environment as OPENFSAR_TOKEN.
        allow_paths: A folder whose videos may be named by path, so that they need not be uploaded.
        clip_mb: Largest clip, in megabytes.
        clip_seconds: Longest clip.
        video_mb: Largest video for a timeline, in megabytes.
        video_hours: Longest video for a timeline.
        classes: Most actions.
        examples: Most examples of all actions together.
        device: Where to compute, such as cpu or cuda; by default the fastest there is.

    Example:
        openfsar serve model
        openfsar serve model --host 0.0.0.0 --encoder clip-vit-b-16
    """
    try:
        import uvicorn
        from filelock import FileLock, Timeout

        from openfsar.serve import LOCAL, Limits, create_app, open_model
        from openfsar.serve.limits import MB
    except ModuleNotFoundError as error:
        raise ServeError(
            f"{error.name} is missing; install the extra: pip install 'openfsar[serve]'"
        ) from error

    token = token or os.environ.get("OPENFSAR_TOKEN") or None
    if token is None and host not in LOCAL:
        token = secrets.token_urlsafe(12)
    limits = Limits(
        clip_bytes=clip_mb * MB,
        clip_seconds=clip_seconds,
        video_bytes=video_mb * MB,
        video_seconds=video_hours * 3600,
        classes=classes,
        examples=examples,
    )
    model = model.absolute()
    model.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(model.with_name(f".{model.name}.lock"), timeout=0):
            with stage("ready") as said:
                classifier = open_model(
                    model, method=method, encoder=encoder, frames=frames, reject=reject, device=device
                )
                app = create_app(classifier, model, limits=limits, token=token, paths=allow_paths)
                said.append(f"{model.name} is served at http://{_shown(host)}:{port}/{_fragment(token)}")
            if token is not None and host not in LOCAL:
                warn("the connection is not encrypted: use a network you trust, or a proxy with TLS")
            uvicorn.run(
                app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=5
            )
    except Timeout as error:
        raise ServeError(
            f"{model} is being served already; stop that server first, or serve another folder"
        ) from error


def _shown(host: str) -> str:
    """What to type into a browser for a host that is listened on."""
    return f"[{host}]" if ":" in host else host


def _fragment(token: str | None) -> str:
    """The page reads the token from behind the #, which no browser sends to a server."""
    return "" if token is None else f"#token={token}"
