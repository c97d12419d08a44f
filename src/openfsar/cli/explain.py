"""``openfsar explain``: why a video was given its name, as a picture."""

from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from openfsar.cli.console import show
from openfsar.cli.footage import FootageError

if TYPE_CHECKING:
    from openfsar.classifier import Explanation

SUFFIXES = (".png", ".svg", ".json")


def explain(
    model: Path,
    video: Path,
    *,
    out: Path | None = None,
    device: str | None = None,
    json: bool = False,
) -> None:
    """Show why a video was given its name: the most similar example, and which of their frames correspond.

    The picture has the frames of the video along the top, those of the example down the side, and between
    them how alike they are; the line is the best match of the two that keeps the order of time. It needs
    matplotlib: pip install 'openfsar[report]'.

    Args:
        model: The model folder that `openfsar fit` wrote.
        video: The video to explain.
        out: Where to write it: .png or .svg for the picture, .json for its numbers. By default explain.png.
        device: Where to compute, such as cpu or cuda; by default the fastest there is.
        json: Print the numbers as JSON; a picture is then drawn with --out alone.

    Example:
        openfsar explain model new.mp4
        openfsar explain model new.mp4 -o why.svg
    """
    if out is None and not json:
        out = Path("explain.png")
    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise FootageError(f"{out} must end in {', '.join(SUFFIXES)}, which also decides the format")
    if not video.exists():
        raise FootageError(f"{video} does not exist; check the spelling")
    kind = None if out is None else out.suffix.lower()
    if kind in (".png", ".svg"):
        _check_matplotlib()
    from openfsar.classifier import FewShotVideoClassifier
    from openfsar.data.files import whole_file

    found = FewShotVideoClassifier.load(model, device=device).explain(video)
    record = as_json(found, video)
    if out is not None and kind is not None:
        if kind == ".json":
            data = dumps(record, indent=2).encode()
        else:
            from openfsar.cli.explain_figure import draw

            data = draw(found, video.name, kind.removeprefix("."))
        with whole_file(out) as file:
            file.write(data)
    if json:
        print(dumps(record, indent=2))
        return
    chance = f"{found.probabilities[found.label]:.0%}"
    first = f"{video}: {record['label']}"
    show(Text(first + (f" ({chance})" if found.known else f"; the nearest is {found.label} ({chance})")))
    show(Text(f"most similar example of {found.label}: {found.source}"))
    show(Text(f"-> {out}"))


def _check_matplotlib() -> None:
    """Say what is missing before the model is loaded."""
    try:
        import matplotlib as _  # noqa: F401
    except ModuleNotFoundError as error:
        from openfsar.engine.report import MissingExtraError

        raise MissingExtraError(
            f"a picture needs {error.name}; run: pip install 'openfsar[report]', or write the numbers: "
            "-o explain.json"
        ) from error


def as_json(found: "Explanation", video: Path) -> dict[str, Any]:
    """Everything but the pictures. Frames are numbered from 0 among those that were sampled."""
    from openfsar.classifier import NONE

    return {
        "file": str(video),
        "label": found.label if found.known else NONE,
        "nearest": found.label,
        "probabilities": {name: round(chance, 6) for name, chance in found.probabilities.items()},
        "example": {"number": found.example, "source": found.source},
        "path": [{"video": t, "example": u} for t, u in found.path],
        "distances": [[round(x, 6) for x in row] for row in found.distances.tolist()],
    }
