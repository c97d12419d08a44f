"""CLIP-FSAR's published files (arXiv 2303.02982): a tuned visual tower, one temporal block, one factor.

    backbone.*                                OpenAI's ``visual.*``, of a transformer or a ResNet
    context2.layers.0.0.norm                  in front of queries, keys and values
    context2.layers.0.0.fn.to_q, to_k, to_v   without bias; fn.to_out.0 with one
    context2.layers.0.1.net.0, net.3          the two maps of FF
    scale                                     (1,), on cosines with names: itself, not its logarithm

All of it is float32 and used, and nothing else is there. The authors' code base writes ``model_state``, each
name behind ``head.``, and ``cfg``, the settings of the run as JSON text; CLIP-SPM's, which grew out of
CLIP-MEI's, ``model_state_dict`` without ``head.`` and without settings. What else they write (epoch,
optimiser, scheduler, accuracy, an average of the weights as ``model_ema_state``) is left aside.

There is no text tower: both compute the features of their class names once, by OpenAI's, and keep neither.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from openfsar.encoders.geometry import EncoderError

State = dict[str, Tensor]

_LAYOUTS = {"model_state": "head.", "model_state_dict": ""}
"""Where the tensors are, and what their names begin with."""
_TOWER, _BLOCK, _SCALE = "backbone.", "context2.layers.0.", "scale"
_PARTS = (_TOWER, "context2.", "resnet.")
"""What tells a file of these code bases, whatever its head."""
_IN_BLOCK = {
    *("0.norm.weight", "0.norm.bias", "0.fn.to_q.weight", "0.fn.to_k.weight", "0.fn.to_v.weight"),
    *("0.fn.to_out.0.weight", "0.fn.to_out.0.bias"),
    *("1.net.0.weight", "1.net.0.bias", "1.net.3.weight", "1.net.3.bias"),
}
_OTHER_HEADS = {
    "token_tr.": "the head of CLIP-MEI or CLIP-SPM, whose scores depend on all queries of a task",
    "motion_conv1.": "CPM2C's head",
    "mapm.": "STEN's head",
    "class_token": "MoLo's head, whose branches are not those of method molo",
    "fr_enrich.": "STRM's head, a part of which no file has",
    "context2.layers.1.": "a temporal transformer of several layers (TRANSFORMER_DEPTH)",
    "backbone.0.": "a ResNet of torchvision under another head; that of OTAM has 0.01 more in the divisor of "
    "its cosine, which method otam has not",
}
"""A beginning of names that only one head has, and what it is; the first that is found is told."""


@dataclass(frozen=True, eq=False)
class ClipFsarFile:
    """What such a file holds, in float32."""

    vision: State
    """The visual tower under OpenAI's names, without ``visual.``."""

    block: State
    """The temporal block under the names above, without ``context2.layers.0.``."""

    scale: Tensor
    """The factor on cosines with names."""

    by_authors: bool
    """Whether it is in the layout of the authors' code base, otherwise in CLIP-SPM's."""

    settings: object
    """Its ``cfg``; None where it has none."""


def split_clip_fsar(content: Mapping[str, Any]) -> ClipFsarFile | None:
    """The parts of a file's content, or None where it is of other code bases.

    Raises:
        EncoderError: It is of these, and holds another head, or something is missing or left over.
    """
    for key, prefix in _LAYOUTS.items():
        inner = content.get(key)
        inner = inner if isinstance(inner, Mapping) else {}
        state = {_bare(str(name), prefix): x for name, x in inner.items()}
        if any(name.startswith(_PARTS) for name in state):
            _check(state)
            tower, block = _under(state, _TOWER), _under(state, _BLOCK)
            scale = state[_SCALE].float().reshape(())
            return ClipFsarFile(tower, block, scale, by_authors=bool(prefix), settings=content.get("cfg"))
    return None


def _bare(name: str, prefix: str) -> str:
    """Without the levels that several GPUs put around the model or its tower."""
    return name.removeprefix("module.").removeprefix(prefix).replace("backbone.module.", _TOWER)


def _under(state: State, prefix: str) -> State:
    found = {name.removeprefix(prefix): x for name, x in state.items() if name.startswith(prefix)}
    return {name: x.float() if x.is_floating_point() else x for name, x in found.items()}


def _check(state: Mapping[str, Any]) -> None:
    for mark, head in _OTHER_HEADS.items():
        if any(name.startswith(mark) for name in state):
            raise EncoderError(
                f"this one has {mark}*: {head}; of the heads of these code bases only CLIP-FSAR's is read"
            )
    wanted = {f"{_BLOCK}{name}" for name in _IN_BLOCK} | {_SCALE}
    missing = sorted(wanted - state.keys())
    left = sorted(name for name in state.keys() - wanted if not name.startswith(_TOWER))
    foreign = sorted(name for name, x in state.items() if not isinstance(x, Tensor))
    for names, what in ((missing, "missing"), (left, "left over"), (foreign, "no tensors")):
        if names:
            raise EncoderError(
                f"this looks like a CLIP-FSAR, and {names[:3]} are {what}; copy the file again, or give it "
                "as its code base wrote it"
            )
    scale = state[_SCALE]
    if scale.numel() != 1 or not 0 < scale.item() < math.inf:
        raise EncoderError(
            f"'scale' of this CLIP-FSAR is {scale.tolist()} and must be one positive number; copy the file "
            "again"
        )
