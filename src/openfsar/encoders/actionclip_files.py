"""ActionCLIP's published files (arXiv 2109.08472): a fine-tuned CLIP under OpenAI's names, and its head.

Its authors write ``model_state_dict`` and ``fusion_model_state_dict``, the latter with names behind
``module.``, beside an epoch and the optimiser; many tensors are float16. mmaction2 writes ``state_dict``,
with names behind ``clip.`` and ``adapter.``. A tower with temporal shift has one more level, ``net``, in the
names of its blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from openfsar.encoders.geometry import EncoderError

State = dict[str, Tensor]

_CLIP, _HEAD = "model_state_dict", "fusion_model_state_dict"
_BLOCKS, _SHIFTED = "visual.transformer.resblocks.", "net"


@dataclass(frozen=True, eq=False)
class ActionClipFile:
    """What such a file holds, in float32."""

    clip: State
    """Both towers and the scale, under OpenAI's names."""

    head: State
    """What stands behind the tower, under the names of its file; empty for a mean over frames."""

    shifted: bool
    """Whether the blocks of the visual tower see frames before and after."""


def split_actionclip(content: Mapping[str, Any]) -> ActionClipFile | None:
    """The parts of a file's content, or None where it is no file of ActionCLIP.

    Raises:
        EncoderError: It is one, and something is missing or left over.
    """
    if _CLIP in content:
        clip, head = (_tensors(content, key) for key in (_CLIP, _HEAD))
        clip, head = ({n.removeprefix("module."): x for n, x in part.items()} for part in (clip, head))
    elif any(str(name).startswith("clip.") for name in _inner(content)):
        both = _tensors(content, "state_dict")
        clip, head = (
            {name.removeprefix(prefix): x for name, x in both.items() if name.startswith(prefix)}
            for prefix in ("clip.", "adapter.")
        )
        other = sorted(name for name in both if not name.startswith(("clip.", "adapter.")))
        if other:
            raise EncoderError(
                f"an ActionCLIP of mmaction2 has tensors of 'clip.' and 'adapter.' alone, and {other[:3]} "
                "are left over; remove them from its state_dict, or give the published file"
            )
    else:
        return None
    clip, shifted = _unwrapped(clip)
    return ActionClipFile(_single(clip), _single(head), shifted)


def _inner(content: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = content.get("state_dict")
    return inner if isinstance(inner, Mapping) else {}


def _tensors(content: Mapping[str, Any], key: str) -> State:
    found = content.get(key)
    if not isinstance(found, Mapping) or not all(
        isinstance(name, str) and isinstance(x, Tensor) for name, x in found.items()
    ):
        there = f"a {type(found).__name__}" if key in content else "nothing"
        raise EncoderError(
            f"an ActionCLIP file has tensors by name under {key!r}, and this one, which holds "
            f"{sorted(map(str, content))}, has {there} there; "
            "give the file as published, or an OpenAI state dict where there is no head"
        )
    return dict(found)


def _unwrapped(clip: State) -> tuple[State, bool]:
    """The names without the level of temporal shift, and whether there was one."""
    blocks = [name.split(".") for name in clip if name.startswith(_BLOCKS)]
    shifted = {parts[4] == _SHIFTED for parts in blocks if len(parts) > 4}
    if len(shifted) > 1:
        raise EncoderError(
            "some blocks of this ActionCLIP's visual tower have temporal shift and some have none; only all "
            "or none can be read: copy the file again"
        )
    if shifted != {True}:
        return clip, False
    plain = {".".join(parts): ".".join([*parts[:4], *parts[5:]]) for parts in blocks}
    return {plain.get(name, name): x for name, x in clip.items()}, True


def _single(state: State) -> State:
    return {name: x.float() if x.is_floating_point() else x for name, x in state.items()}
