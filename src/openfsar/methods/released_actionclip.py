"""Published checkpoints of ActionCLIP, of its authors and of mmaction2.

Such a file says by its tensors what it is: sizes of the towers, temporal shift, and behind the tower a
transformer with its layers and learnt positions (77 rows by the authors, as many as frames by mmaction2), or
nothing but a mean. What it cannot say is taken from the paper: preset "paper", every template, everything
trains.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from openfsar.encoders.actionclip_files import ActionClipFile, State, split_actionclip
from openfsar.encoders.geometry import EncoderError
from openfsar.encoders.visual import VisualEncoder
from openfsar.encoders.weights import from_state
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import build

_POSITIONS = "frame_position_embeddings.weight"
_LAYER = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)\.(\w+)")
_PARTS = {
    "attn": "self_attn",
    "attn.out_proj": "self_attn.out_proj",
    "ln_1": "norm1",
    "ln_2": "norm2",
    "mlp.c_fc": "linear1",
    "mlp.c_proj": "linear2",
}


def read_actionclip(
    content: Mapping[str, Any], path: Path, encoder: str | VisualEncoder | None = None
) -> FewShotMethod | None:
    """The ActionCLIP of a file's content, towers and head, in eval mode and float32; None where it is none.

    Raises:
        EncoderError: It is damaged, holds a head that is not known here, or another encoder is given.
    """
    parts = split_actionclip(content)
    if parts is None:
        return None
    if encoder is not None:
        raise EncoderError("an ActionCLIP holds its own encoder; load it without encoder=...")
    clip = from_state(parts.clip, path, str(path))
    method = build("actionclip", clip, preset="paper", **_options(parts))
    head = {f"head.{name}": tensor for name, tensor in _head(parts.head).items()}
    own = {name: x for name, x in method.state_dict().items() if name.startswith("head.")}
    wrong = sorted(
        {name for name in own.keys() & head.keys() if own[name].shape != head[name].shape}
        | (own.keys() ^ head.keys())
    )
    if wrong:
        raise EncoderError(
            f"{wrong[:3]} of its transformer over frames are missing, left over or of another size (CLIP's "
            f"joint width is {clip.dim}); copy the file again"
        )
    method.load_state_dict(head, strict=False)
    return method


def _options(parts: ActionClipFile) -> dict[str, Any]:
    tower = "shift" if parts.shifted else "plain"
    if not parts.head:
        return {"visual": "mean", "tower": tower}
    unknown = sorted(name for name in parts.head if name != _POSITIONS and not _ours(name))
    layers = {found[1] for name in parts.head if (found := _LAYER.fullmatch(name))}
    if unknown or not layers or _POSITIONS not in parts.head:
        lacks = f"no {_POSITIONS!r}" if _POSITIONS not in parts.head else "no transformer"
        raise EncoderError(
            f"its head has {unknown[:3] if unknown else lacks}; of the published heads the transformer "
            "(Transf) and the mean (MeanP) can be read: for its CLIP alone, "
            "openfsar.create(method, encoder=file)"
        )
    return {
        "visual": "transf",
        "tower": tower,
        "layers": len(layers),
        "positions": len(parts.head[_POSITIONS]),
    }


def _head(theirs: State) -> dict[str, Tensor]:
    """Under the names of ``TimeTransformer``."""
    return {"positions" if name == _POSITIONS else _ours(name): x for name, x in theirs.items()}


def _ours(name: str) -> str:
    """The name here of a tensor of the head's layers, empty for any other."""
    found = _LAYER.fullmatch(name)
    return f"layers.{found[1]}.{_PARTS[found[2]]}.{found[3]}" if found and found[2] in _PARTS else ""
