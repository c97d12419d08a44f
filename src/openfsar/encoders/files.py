"""Weights and settings on disk. Only tensors are ever read, and plain numbers with them: safetensors,
``torch.load(weights_only=True)``, the tensors of a TorchScript archive; no file gets to run code.
"""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from openfsar.encoders.geometry import EncoderError
from openfsar.encoders.torchscript import is_torchscript, read_tensors

WEIGHTS = ["model.safetensors", "model-*-of-*.safetensors"]
"""Where a folder in the Hugging Face layout keeps its tensors, as patterns."""
PICKLED = "pytorch_model.bin"
"""Where old ones keep them."""
_SCALAR = np._core.multiarray.scalar  # pyright: ignore[reportAttributeAccessIssue]  (no public name)
_NUMBERS = [
    (_SCALAR, "numpy._core.multiarray.scalar"),
    (_SCALAR, "numpy.core.multiarray.scalar"),  # as numpy 1 wrote it
    np.dtype,
    np.dtypes.Float64DType,
    np.dtypes.Float32DType,
    np.dtypes.Int64DType,
]
"""What a plain number of numpy consists of in a file; published ones keep an accuracy or a count as such."""
DAMAGE = (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError)
"""What readers of tensors raise at a file that is cut off or something else."""


def read_file(path: Path) -> dict[str, Any]:
    """What a file of OpenAI's, or one written by ``torch.save``, holds: tensors, and plain values with them.

    Raises:
        EncoderError: It holds anything else.
    """
    if is_torchscript(path):
        content = read_tensors(path)
    else:
        try:
            with torch.serialization.safe_globals(_NUMBERS):
                content = torch.load(path, map_location="cpu", weights_only=True)
        except DAMAGE as error:
            raise EncoderError(
                f"{path} is not a file of tensors ({first_line(error)}); give an OpenAI state dict, "
                "the archive OpenAI publishes, or a folder in the Hugging Face layout"
            ) from error
    if not isinstance(content, dict):
        raise EncoderError(f"{path} holds a {type(content).__name__}, not a state dict of tensors")
    return content


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of a folder in the Hugging Face layout.

    Raises:
        EncoderError: There are none, or they are damaged.
    """
    shards = [path for pattern in WEIGHTS for path in sorted(folder.glob(pattern))]
    pickled = folder / PICKLED
    if not shards and not pickled.is_file():
        raise EncoderError(
            f"{folder} holds neither model.safetensors nor pytorch_model.bin; copy the weights there"
        )
    try:
        if not shards:
            return torch.load(pickled, map_location="cpu", weights_only=True)
        return {name: tensor for shard in shards for name, tensor in load_file(shard).items()}
    except DAMAGE as error:
        raise EncoderError(
            f"the weights in {folder} are damaged ({first_line(error)}); copy them again"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Named settings.

    Raises:
        EncoderError: The file holds anything else.
    """
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise EncoderError(f"{path} is not valid JSON ({error}); copy it again") from error
    if not isinstance(content, dict):
        raise EncoderError(f"{path} holds a {type(content).__name__}, not named settings; copy it again")
    return content


def first_line(error: BaseException) -> str:
    """Of what an error says, or its kind."""
    return (str(error) or type(error).__name__).splitlines()[0]
