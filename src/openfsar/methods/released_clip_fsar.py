"""Published checkpoints of CLIP-FSAR, in the layouts of two code bases: see encoders/clip_fsar_files.py.

Preset "released" with what the file says of its run (released_runs.py). The text tower is in no file. It was
that of OpenAI's CLIP, frozen, so it comes from there: from the known RN50 or ViT-B/16, the two that the code
knows, or from the CLIP one gives. Names are written as everywhere here: ``draw_sword``, which the published
configurations leave so, becomes "draw sword".
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.clip_fsar_files import ClipFsarFile, split_clip_fsar
from openfsar.encoders.geometry import EncoderError
from openfsar.encoders.openai import from_openai_visual
from openfsar.encoders.visual import VisualEncoder
from openfsar.encoders.weights import load_encoder
from openfsar.methods.base import FewShotMethod
from openfsar.methods.released_runs import UNTOLD, Run, read_run
from openfsar.methods.zoo import build

_BLOCK = {
    "0.norm.weight": "norm.weight",
    "0.norm.bias": "norm.bias",
    "0.fn.to_q.weight": "queries.weight",
    "0.fn.to_k.weight": "keys.weight",
    "0.fn.to_v.weight": "values.weight",
    "0.fn.to_out.0.weight": "out.0.weight",
    "0.fn.to_out.0.bias": "out.0.bias",
    "1.net.0.weight": "mlp.0.weight",
    "1.net.0.bias": "mlp.0.bias",
    "1.net.3.weight": "mlp.3.weight",
    "1.net.3.bias": "mlp.3.bias",
}
"""Of the published block -> of ``TemporalBlock``."""


def read_clip_fsar(
    content: Mapping[str, Any], path: Path, encoder: str | VisualEncoder | None = None
) -> FewShotMethod | None:
    """The CLIP-FSAR of a file's content, in eval mode and float32; None where it is of other code bases.

    Args:
        content: What ``path`` holds.
        encoder: The CLIP that it was tuned from, which is taken over, or where that is.

    Raises:
        EncoderError: It is damaged, holds another head, or that CLIP cannot be had or does not fit.
    """
    parts = split_clip_fsar(content)
    if parts is None:
        return None
    run = _run(parts)
    clip = _clip(parts, encoder)
    try:
        tower = from_openai_visual(parts.vision, clip.vision)
    except EncoderError as error:
        raise EncoderError(
            f"the backbone.* of this CLIP-FSAR does not fit {clip.name!r}: {error}; copy the file again, or "
            "name the CLIP that it was tuned from: openfsar.load(file, encoder=...)"
        ) from error
    clip.set_statistics(run.mean, run.std)
    method = build("clip-fsar", clip, preset="released", **run.options)
    own = method.state_dict()
    state = {f"encoder.vision.{name}": x for name, x in tower.items()} | {"scale.log": parts.scale.log()}
    for name, x in parts.block.items():
        place = f"temporal.{_BLOCK[name]}"
        if own[place].shape != x.shape:
            raise EncoderError(
                f"'context2.layers.0.{name}' has shape {list(x.shape)}, and beside a tower of joint width "
                f"{clip.dim} it has {list(own[place].shape)}; copy the file again"
            )
        state[place] = x
    method.load_state_dict(state, strict=False)
    return method


def _run(parts: ClipFsarFile) -> Run:
    if not parts.by_authors:
        return UNTOLD
    return Run() if parts.settings is None else read_run(parts.settings)


def _clip(parts: ClipFsarFile, given: str | VisualEncoder | None) -> ClipEncoder:
    """The CLIP whose words the file needs."""
    if not isinstance(given, VisualEncoder):
        name = given or ("clip-rn50" if "layer1.0.conv1.weight" in parts.vision else "clip-vit-b-16")
        try:
            given = load_encoder(name)
        except EncoderError as error:
            raise EncoderError(
                f"this CLIP-FSAR holds no text tower, and that of {name!r} cannot be had: {error}; or say "
                "where the CLIP is that it was tuned from: openfsar.load(file, encoder=...)"
            ) from error
    if not isinstance(given, ClipEncoder):
        raise EncoderError(
            f"this CLIP-FSAR needs the text tower of the CLIP it was tuned from, and {given.name!r} reads no "
            "names; openfsar.load(file, encoder=...) with that CLIP"
        )
    return given
