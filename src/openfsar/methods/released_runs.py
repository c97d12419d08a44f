"""What the code base of CLIP-FSAR's authors keeps of a run beside its tensors: ``cfg``, the settings as JSON.

Read are those that change what the trained model computes, or the loss it would go on with. A switch counts
as the code counts it: where it is there, and true in Python's sense.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from openfsar.encoders.clip import CLIP_MEAN, CLIP_STD
from openfsar.encoders.geometry import EncoderError
from openfsar.encoders.prompts import TEMPLATES


@dataclass(frozen=True)
class Run:
    """The settings in the words of this library; where nothing is said, those of the shipped files."""

    mean: Sequence[float] = CLIP_MEAN
    std: Sequence[float] = CLIP_STD
    """Statistics of the pixels, per channel, on the scale 0..1."""
    merge: Literal["before", "after"] = "before"
    """Where shots are averaged: all the same at one shot, and "before" in all files shipped for five."""
    prompt: str = "clip-fsar"
    """Key of ``TEMPLATES``."""
    text_share: float = 0.0
    """Exponent of the names in the score, beside examples whose cost is divided by 8, as here by T."""
    text_weight: float = 1.0
    """Weight of the loss over names; 1.2 to 3 in the shipped files."""

    @property
    def options(self) -> dict[str, Any]:
        """Those of ``ClipFsar``."""
        return {
            "merge": self.merge,
            "prompt": self.prompt,
            "text_share": self.text_share,
            "text_weight": self.text_weight,
        }


UNTOLD = Run(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), merge="after")
"""A run of CLIP-SPM's code base, whose files say nothing of it: its tower gets pixels of 0..1 as they are,
and none of its configurations for CLIP-FSAR averages shots before the block."""


def read_run(text: object) -> Run:
    """The settings in a ``cfg``.

    Raises:
        EncoderError: It is none, or the run computes what no method here does.
    """
    try:
        cfg = json.loads(text)  # pyright: ignore[reportArgumentType]  (anything but text is a TypeError)
        train, test, data = cfg["TRAIN"], cfg["TEST"], cfg["DATA"]
        mean, std = ([float(data[name][channel]) for channel in range(3)] for name in ("MEAN", "STD"))
        odd = "SINGLE_DIRECT" if train.get("SINGLE_DIRECT") else "TEMPO_PRIOR" if "TEMPO_PRIOR" in cfg else ""
        template = test.get("PROMPT") or "a photo of {}"
        mixed = float(train.get("TEXT_COFF") or 0.9) if train.get("COMBINE") else 0.0
        share = 1.0 if train.get("EVAL_TEXT") else mixed
        weight = float(train["USE_CLASSIFICATION_VALUE"]) if train.get("USE_CLASSIFICATION") else 0.0
        merge = "before" if train.get("MERGE_BEFORE") else "after"
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise EncoderError(
            f"its 'cfg' is not the JSON text of a run ({type(error).__name__}: {error}); copy the file "
            "again, or take 'cfg' out of it, and the shipped settings hold"
        ) from error
    if odd:
        raise EncoderError(
            f"its run set {odd}, and frames are not matched as in CLIP-FSAR then (OTAM both ways, all "
            "distances alike); no method here computes that"
        )
    prompts = {templates[0]: name for name, templates in TEMPLATES.items() if len(templates) == 1}
    if template not in prompts:
        raise EncoderError(
            f"its class names stood in {template!r}, which is none of the prompts here: {', '.join(prompts)}"
        )
    return Run(mean, std, merge, prompts[template], share, weight)
