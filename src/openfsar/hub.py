"""Methods on disk: what training changed as safetensors, how to build the rest as JSON, a card to read.

A model folder holds

- ``openfsar.json``: method, encoder, options, the weight file's name, the digest of all that is not in it,
  the statistics of pixels;
- ``model-<digest>.safetensors``: the learnt parameters alone where the encoder can be had again by its name;
  everything where it was random (``pretrained=False``);
- ``README.md``: the model card.

An encoder from a local folder counts as one that can be had again: the record holds its path, and
``load(folder, encoder=path)`` finds it where it has moved to. The record names its weights by their content
and is replaced last, in one step: a save killed at any moment leaves the old model or the new one.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors
from torch import Tensor

from openfsar.data.files import clear_partial, whole_file
from openfsar.encoders.geometry import EncoderError
from openfsar.encoders.trainable import count_parameters, trainable_parameters
from openfsar.encoders.visual import VisualEncoder
from openfsar.encoders.weights import BUNDLED, KNOWN
from openfsar.methods.base import FewShotMethod, MethodSpec
from openfsar.methods.released import load_released
from openfsar.methods.zoo import build, create

RECORD, CARD, FORMAT = "openfsar.json", "README.md", 1

_WEIGHTS = re.compile(r"model-[0-9a-f]{16}\.safetensors")
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.half,
}


class HubError(ValueError):
    """A model that cannot be written or read: which folder, what is wrong, what to do."""


@dataclass(frozen=True)
class _Record:
    """The content of ``openfsar.json``."""

    format: int
    openfsar: str
    """Version that wrote it."""
    spec: dict[str, Any]
    dtype: str
    weights: str
    """Name of the weight file."""
    frozen: str
    """Digest of the parameters that are not in it."""
    pixels: Sequence[Sequence[float]] = ()
    """Their mean and standard deviation, per channel: a published file may have its own."""
    origin: str = ""
    """Name of the published file it was read from."""


def save(method: FewShotMethod, folder: str | Path) -> None:
    """Write a method built by ``create`` or ``build`` to a folder, in place of the model that is there.

    Raises:
        HubError: The method does not know how it was built, or the folder holds something else.
    """
    folder = Path(folder)
    spec = getattr(method, "spec", None)
    if not isinstance(spec, MethodSpec):
        raise HubError(
            f"{type(method).__name__} does not know how it was built; make it with openfsar.create"
        )
    _check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kept = _kept(method)
    data = safetensors.save({name: tensor.detach().cpu().clone() for name, tensor in kept.items()})
    dtype = str(method.encoder.mean.dtype).removeprefix("torch.")
    weights = f"model-{hashlib.sha256(data).hexdigest()[:16]}.safetensors"
    spec = replace(spec, encoder=_lasting(spec.encoder))
    record = _Record(
        FORMAT,
        version("openfsar"),
        asdict(spec),
        dtype,
        weights,
        _frozen(method, kept),
        [x.flatten().tolist() for x in (method.encoder.mean, method.encoder.std)],
        method.origin,
    )
    if not (folder / weights).is_file():
        _write(folder / weights, data)
    _write(folder / RECORD, json.dumps(asdict(record), indent=2).encode())
    _write(folder / CARD, _card(method, record).encode())
    clear_partial(folder)  # of a save that was killed
    for old in folder.glob("model-*.safetensors"):
        if old.name != weights:
            old.unlink()


def load(source: str | Path, *, encoder: str | VisualEncoder | None = None) -> FewShotMethod:
    """The method that ``save`` wrote, in eval mode, from a folder or a hub name ("owner/model").

    Published checkpoints are one file and load as they are: ActionCLIP's, of its authors or of mmaction2,
    with CLIP's tokenizer.json beside it; CLIP-FSAR's, of its authors' or of CLIP-SPM's code base; TRX's. See
    methods/released.py.

    Args:
        source: A local folder or file wins over a hub name.
        encoder: Where the encoder it was trained on is now, or that encoder itself, which is taken over. Of a
            CLIP-FSAR file: the CLIP it was tuned from, which has the text tower; else OpenAI's is fetched.

    Raises:
        HubError: No model there, damaged or foreign files, or another encoder than it was trained on.
    """
    if Path(source).is_file():
        return _released(Path(source), encoder)
    folder = locate(source)
    record = _read_record(folder)
    spec = MethodSpec(**record.spec)
    try:
        if isinstance(encoder, VisualEncoder):
            method = build(spec.method, encoder, **spec.options)
        else:
            place = encoder or spec.encoder
            method = create(spec.method, encoder=place, pretrained=spec.pretrained, **spec.options)
    except ValueError as error:
        raise HubError(
            f"{folder} cannot be built again: {error}. Its encoder was {spec.encoder!r}; if that has moved, "
            f"load(folder, encoder=...); if the method is unknown, upgrade to openfsar {record.openfsar}"
        ) from error
    method.to(_DTYPES[record.dtype])
    method.origin = record.origin
    if record.pixels:
        method.encoder.set_statistics(*record.pixels)
    tensors = _read_weights(folder, record)
    _check_fit(method, tensors, record, folder)
    method.load_state_dict(tensors, strict=False)
    return method


def _released(path: Path, encoder: str | VisualEncoder | None) -> FewShotMethod:
    try:
        return load_released(path, encoder)
    except EncoderError as error:
        raise HubError(
            f"{path} is a file; give a folder that save wrote, or a published checkpoint of ActionCLIP (with "
            f"a tokenizer.json beside it), CLIP-FSAR or TRX: {error}"
        ) from error


def _kept(method: FewShotMethod) -> dict[str, Tensor]:
    """What must be stored: all buffers, and every parameter that trains or did, or has no other source."""
    names = {name for name, _ in method.named_parameters()}
    frozen = names - method.learnt - trainable_parameters(method).keys()
    state = method.state_dict()
    return {n: x for n, x in state.items() if not method.spec.pretrained or n not in frozen}


def _frozen(method: FewShotMethod, kept: Mapping[str, Tensor]) -> str:
    """Digest of the parameters that are not stored, in bfloat16 so that it outlives a change of dtype."""
    digest = hashlib.sha256()
    for name, parameter in sorted(method.named_parameters()):
        if name not in kept:
            digest.update(f"{name}{list(parameter.shape)}".encode())
            rounded = parameter.detach().cpu().bfloat16().flatten()
            digest.update(rounded.view(torch.int16).numpy().data)
    return digest.hexdigest()[:16]


def _check_fit(method: FewShotMethod, tensors: Mapping[str, Tensor], record: _Record, folder: Path) -> None:
    state, needed = method.state_dict(), _kept(method)
    wrong = sorted(
        [name for name in needed if name not in tensors]
        + [name for name, x in tensors.items() if name not in state or state[name].shape != x.shape]
    )
    if wrong or _frozen(method, tensors) != record.frozen:
        what = f"{wrong[0]!r} and {len(wrong) - 1} more do not fit" if wrong else "frozen parameters differ"
        raise HubError(
            f"{folder} was trained on encoder {record.spec['encoder']!r} with other weights than those of "
            f"{method.encoder.name!r} ({what}); load(folder, encoder=...) with the encoder it was trained on"
        )


def _lasting(encoder: str) -> str:
    """A local path must still mean the same from another working folder."""
    local = encoder not in KNOWN and encoder not in BUNDLED and Path(encoder).exists()
    return str(Path(encoder).resolve()) if local else encoder


def _check_free(folder: Path) -> None:
    if folder.is_dir():
        foreign = [
            p.name for p in folder.iterdir() if not (_WEIGHTS.fullmatch(p.name) or p.name.startswith("."))
        ]
        if not foreign or RECORD in foreign:
            return
        raise HubError(
            f"{folder} holds {sorted(foreign)[0]!r} and no model; choose another folder or empty it"
        )
    if folder.exists():
        raise HubError(f"{folder} is a file; choose the name of a folder")


def _write(path: Path, data: bytes) -> None:
    with whole_file(path) as file:
        file.write(data)


def locate(source: str | Path) -> Path:
    """The folder of that name, or a copy of the model of that hub name.

    Raises:
        HubError: There is neither, or no way to the hub.
    """
    folder = Path(source)
    if folder.is_dir():
        return folder
    if not _HUB_NAME.fullmatch(str(source)):
        raise HubError(f"{folder} does not exist; give a folder that save wrote, or a hub name owner/model")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(source), allow_patterns=["*.json", "*.safetensors"]))
    except Exception as error:  # the hub's client raises a dozen unrelated kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise HubError(
            f"{source} is no folder here, and cannot be fetched from the Hugging Face hub ({reason}); "
            "check the name, or copy the model and give its folder"
        ) from error


def _read_record(folder: Path) -> _Record:
    path = folder / RECORD
    if not path.is_file():
        raise HubError(
            f"{folder} holds no {RECORD}; give a folder that save wrote (a training run has it in best/)"
        )
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise HubError(f"{path} is not valid JSON ({error}); copy the folder again") from error
    newest = isinstance(content, dict) and content.get("format", FORMAT)
    if isinstance(newest, int) and newest > FORMAT:
        raise HubError(f"{path} has format {newest}, this openfsar reads up to {FORMAT}; upgrade openfsar")
    if not (
        isinstance(content, dict)
        and {field.name for field in fields(_Record) if field.default is MISSING} <= content.keys()
        and content.keys() <= {field.name for field in fields(_Record)}
        and _are_statistics(content.get("pixels", []))
        and isinstance(content.get("origin", ""), str)
        and isinstance(content["spec"], dict)
        and content["spec"].keys() == {field.name for field in fields(MethodSpec)}
        and str(content["dtype"]) in _DTYPES
        and _WEIGHTS.fullmatch(str(content["weights"]))
    ):
        raise HubError(f"{path} is not a record of openfsar; give a folder that save wrote")
    return _Record(**content)


def _are_statistics(values: object) -> bool:
    """Mean and standard deviation of three channels; older records have none."""
    return values == [] or (
        isinstance(values, list)
        and [len(row) if isinstance(row, list) else 0 for row in values] == [3, 3]
        and all(isinstance(x, float) for row in values for x in row)
    )


def _read_weights(folder: Path, record: _Record) -> dict[str, Tensor]:
    path = folder / record.weights
    if not path.is_file():
        raise HubError(f"{folder} lacks {record.weights}, which {RECORD} names; copy the whole folder again")
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest()[:16] not in record.weights:
        raise HubError(f"{path} is damaged: its {len(data):,} bytes do not match its name; copy it again")
    return safetensors.load(data)


def _card(method: FewShotMethod, record: _Record) -> str:
    spec, known = record.spec, KNOWN.get(record.spec["encoder"])
    about = (type(method).__doc__ or "").strip().splitlines()[0]
    options = ", ".join(f"{name}={value!r}" for name, value in spec["options"].items())
    source = f"{spec['encoder']}{f' ({known.licence} licence)' if known and spec['pretrained'] else ''}"
    holds = (
        "the trained parameters; the encoder is loaded by its name"
        if spec["pretrained"]
        else "all parameters"
    )
    random = "" if spec["pretrained"] or record.origin else ", random weights"
    origin = f"\n| read from | {record.origin}, a published checkpoint |" if record.origin else ""
    return f"""---
library_name: openfsar
tags: [few-shot, action-recognition, video]
---

# {spec["method"]} on {Path(spec["encoder"]).name}

{about}

| | |
|---|---|
| method | {spec["method"]} ({options}) |
| encoder | {source}, {method.encoder.image_size} px{random} |{origin}
| parameters | {count_parameters(method)} |
| this folder holds | {holds} |
| written by | openfsar {record.openfsar}, torch {torch.__version__} |

```python
import openfsar

method = openfsar.load("path/to/this/folder")
```
"""
