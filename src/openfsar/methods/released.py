"""Published checkpoints that are whole methods. A file says by its tensors which it is.

Read are ActionCLIP's and CLIP-FSAR's, each in the layouts of two code bases, and TRX's. The files of these
names tell which tensors are used, and what comes from papers and code because no tensor says it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from openfsar.encoders.files import read_file
from openfsar.encoders.geometry import EncoderError
from openfsar.encoders.visual import VisualEncoder
from openfsar.methods.base import FewShotMethod
from openfsar.methods.released_actionclip import read_actionclip
from openfsar.methods.released_clip_fsar import read_clip_fsar
from openfsar.methods.released_trx import read_trx

Reader = Callable[[Mapping[str, Any], Path, str | VisualEncoder | None], FewShotMethod | None]

READERS: tuple[Reader, ...] = (read_trx, read_clip_fsar, read_actionclip)
"""Asked in this order: each knows a ``model_state_dict``, and the last takes any for its own."""


def load_released(path: Path, encoder: str | VisualEncoder | None = None) -> FewShotMethod:
    """The method of a published file, in eval mode and float32.

    Args:
        path: A file of tensors; no code in it is run.
        encoder: Where a file holds no text tower: the CLIP it was tuned from, taken over.

    Raises:
        EncoderError: The file is none, is damaged, or holds a method that is not known here.
    """
    content = read_file(path)
    for read in READERS:
        method = read(content, path, encoder)
        if method is not None:
            method.origin = path.name
            return method
    raise EncoderError(
        "this one holds neither model_state_dict and fusion_model_state_dict (ActionCLIP of its authors) nor "
        "a state_dict with clip. and adapter. (of mmaction2), nor a model_state with head.backbone. and "
        "head.context2. (CLIP-FSAR of its authors), nor a model_state_dict with backbone. and context2. (of "
        "CLIP-SPM) or with resnet. and transformers. (TRX); where it is a CLIP alone, "
        "openfsar.create(method, encoder=file)"
    )
