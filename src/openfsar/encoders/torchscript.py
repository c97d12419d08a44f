"""Reads the tensors of a TorchScript archive without running any of its code.

OpenAI publishes CLIP in this form. An archive is a zip: ``data.pkl`` describes a tree of modules and
``data/<key>`` holds the numbers. The unpickler used here knows tensors and inert modules, and nothing else.
"""

import collections
import io
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from openfsar.encoders.geometry import EncoderError

_DTYPES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}
_DAMAGE = (
    zipfile.BadZipFile,
    pickle.UnpicklingError,
    KeyError,
    EOFError,
    RuntimeError,
    TypeError,
    ValueError,
)


class _Inert:
    """Stands for any scripted module: keeps its attributes, does nothing."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _view(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> Tensor:
    return storage.as_strided(size, stride, offset)


class _TensorUnpickler(pickle.Unpickler):
    """Resolves the few names that describe tensors and refuses every other."""

    def __init__(self, archive: zipfile.ZipFile, root: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{root}/data.pkl")))
        self._archive, self._root = archive, root
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Inert
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _view
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch.jit._pickle" and name in ("build_intlist", "build_doublelist", "build_boollist"):
            return list
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, pid: tuple[str, torch.dtype, str, str, int]) -> Tensor:
        _, dtype, key, _, _ = pid
        if key not in self._storages:
            data = bytearray(self._archive.read(f"{self._root}/data/{key}"))
            self._storages[key] = torch.frombuffer(data, dtype=dtype) if data else torch.empty(0, dtype=dtype)
        return self._storages[key]


def is_torchscript(path: Path) -> bool:
    """Whether the file is a zip that holds code beside its tensors."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of the module tree by its dotted name, as a state dict has it.

    Raises:
        EncoderError: The archive is damaged, or names anything but tensors and modules.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            root = archive.namelist()[0].partition("/")[0]
            return dict(_walk(_TensorUnpickler(archive, root).load(), ""))
    except _DAMAGE as error:
        raise EncoderError(
            f"cannot read the TorchScript archive {path}: {error}; download it again"
        ) from error


def _walk(module: _Inert, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in vars(module).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, _Inert):
            yield from _walk(value, f"{prefix}{name}.")
