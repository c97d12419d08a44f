"""One self-contained HTML page: inline figures and pictures, no script, nothing fetched."""

import base64
import io
from importlib.resources import files
from pathlib import Path

from jaxtyping import UInt8
from torch import Tensor

from openfsar.data.files import whole_file
from openfsar.engine.page import Report


class MissingExtraError(ValueError):
    """The report needs packages that are not installed."""


def build_report(report: Report, path: str | Path) -> Path:
    """Write the page; it appears whole or not at all.

    Raises:
        MissingExtraError: without matplotlib and jinja2 (the extra ``report``).
    """
    try:
        from jinja2 import Environment, StrictUndefined

        from openfsar.engine import figures
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"a report needs {error.name}; run: pip install 'openfsar[report]'"
        ) from error

    path = Path(path)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["picture"] = _picture
    template = environment.from_string(files("openfsar.engine").joinpath("report.html.j2").read_text("utf-8"))
    html = template.render(report=report, figures=figures)
    with whole_file(path) as file:
        file.write(html.encode())
    return path


def _picture(frame: UInt8[Tensor, "C H W"]) -> str:
    """A frame as the address of an inline JPEG."""
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy()).save(data, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode()}"
