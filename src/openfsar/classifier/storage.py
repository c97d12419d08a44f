"""A fitted classifier on disk: a model folder, the examples, and one JSON that says how they belong together.

``classifier.json`` names the file of the examples by its content and the model's record by its digest, and is
replaced last, in one step: a save killed at any moment leaves the old classifier or the new one. Where the
method is the one that lies there already only the examples are written, some kilobytes each.
"""

import hashlib
import json
import os
import re
import shutil
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from openfsar import hub
from openfsar.classifier.calibration import Calibration
from openfsar.classifier.examples import Examples
from openfsar.data.files import clear_partial, whole_file
from openfsar.episode import FrameFeatures
from openfsar.methods.base import FewShotMethod

RECORD = "classifier.json"
_EXAMPLES = re.compile(r"examples-[0-9a-f]{16}\.safetensors")


class ModelFolderError(ValueError):
    """A folder that holds no fitted classifier, or something else."""


@dataclass(frozen=True)
class Stored:
    """What ``classifier.json`` holds."""

    names: list[str]
    """The label of each example."""
    sources: list[str]
    features: str
    """Class of the features."""
    examples: str
    """Name of the file with their tensors."""
    options: dict[str, Any]
    """Arguments of the constructor that decide answers."""
    calibration: dict[str, Any]


def save(
    folder: Path,
    method: FewShotMethod,
    examples: Examples,
    background: FrameFeatures | None,
    calibration: Calibration,
    options: dict[str, Any],
    *,
    same_method: bool,
) -> None:
    """Write everything; with ``same_method`` the model that lies there stays as it is.

    Raises:
        ModelFolderError: The folder holds something else.
        HubError: The method does not know how it was built.
    """
    data = save_tensors(_tensors(examples, background))
    file = f"examples-{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
    kind = type(examples.features).__name__
    names, sources = list(examples.names), list(examples.sources)
    stored = Stored(names, sources, kind, file, options, asdict(calibration))
    if same_method and (folder / RECORD).is_file() and (folder / hub.RECORD).is_file():
        _put(folder, stored, data)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        model = staging / "model"
        hub.save(method, model)
        _put(model, stored, data)
        if folder.exists():
            _check_ours(folder)
            os.replace(folder, staging / "old")
        os.replace(model, folder)
    finally:
        shutil.rmtree(staging)


def load(folder: Path) -> tuple[Stored, Examples, FrameFeatures | None, Calibration]:
    """What ``save`` wrote, less the method; the third is the background.

    Raises:
        ModelFolderError: There is none, or it is damaged.
    """
    if not (folder / RECORD).is_file():
        raise ModelFolderError(
            f"{folder} holds no fitted classifier (no {RECORD}); make one with "
            "`openfsar fit EXAMPLES -o FOLDER` or classifier.save(folder)"
        )
    content = json.loads((folder / RECORD).read_text())
    if not isinstance(content, dict) or content.keys() != {field.name for field in fields(Stored)}:
        raise ModelFolderError(
            f"{folder / RECORD} is not one that this openfsar wrote; fit the classifier again"
        )
    stored = Stored(**content)
    path = folder / stored.examples
    if not (_EXAMPLES.fullmatch(stored.examples) and path.is_file()):
        raise ModelFolderError(
            f"{folder} lacks {stored.examples}, which {RECORD} names; copy the whole folder again"
        )
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest()[:16] not in stored.examples:
        raise ModelFolderError(
            f"{path} is damaged: its {len(data):,} bytes do not match its name; copy it again"
        )
    calibration = {**stored.calibration}
    for name in ("known", "background", "losses"):
        calibration[name] = tuple(calibration[name])
    examples, background = _examples(stored, load_tensors(data))
    return stored, examples, background, Calibration(**calibration)


def _put(folder: Path, stored: Stored, data: bytes) -> None:
    """The examples, then the record that names them, then away with those of before."""
    if not (folder / stored.examples).is_file():
        with whole_file(folder / stored.examples) as file:
            file.write(data)
    with whole_file(folder / RECORD) as file:
        file.write(json.dumps(asdict(stored), indent=2, ensure_ascii=False).encode())
    clear_partial(folder)
    for old in folder.glob("examples-*.safetensors"):
        if old.name != stored.examples:
            old.unlink()


def _tensors(examples: Examples, background: FrameFeatures | None) -> dict[str, Tensor]:
    roles = {"features": examples.features, "background": background}
    if examples.asked is not examples.features:
        roles["asked"] = examples.asked
    tensors = {
        f"{role}.{field.name}": getattr(features, field.name).contiguous()
        for role, features in roles.items()
        if features is not None
        for field in fields(features)
    }
    for number, strip in enumerate(examples.strips):
        tensors[f"strip.{number}"] = torch.frombuffer(bytearray(strip), dtype=torch.uint8)
    return tensors


def _examples(stored: Stored, tensors: dict[str, Tensor]) -> tuple[Examples, FrameFeatures | None]:
    kinds = {kind.__name__: kind for kind in (FrameFeatures, *FrameFeatures.__subclasses__())}
    kind = kinds[stored.features]

    def read(role: str) -> FrameFeatures:
        return kind(**{field.name: tensors[f"{role}.{field.name}"] for field in fields(kind)})

    features = read("features")
    asked = read("asked") if "asked.frames" in tensors else features
    strips = tuple(tensors[f"strip.{i}"].numpy().tobytes() for i in range(len(stored.names)))
    examples = Examples(features, asked, tuple(stored.names), tuple(stored.sources), strips)
    return examples, read("background") if "background.frames" in tensors else None


def _check_ours(folder: Path) -> None:
    """Refuse to replace anything but a model folder."""
    if not folder.is_dir() or (any(folder.iterdir()) and not (folder / RECORD).is_file()):
        raise ModelFolderError(f"{folder} exists and is no model folder; choose another name or delete it")
