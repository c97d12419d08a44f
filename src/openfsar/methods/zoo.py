"""Every method by name, and the two ways to build one."""

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

import torch

from openfsar.encoders.trainable import trainable_parameters
from openfsar.encoders.visual import VisualEncoder
from openfsar.encoders.weights import load_encoder
from openfsar.methods.actionclip import ActionClip
from openfsar.methods.base import FewShotMethod, MethodSpec
from openfsar.methods.bi_mhm import BiMHM
from openfsar.methods.clip_fsar import ClipFsar
from openfsar.methods.fusion import FusedMethod
from openfsar.methods.gghm import Gghm
from openfsar.methods.hyrsm import Hyrsm
from openfsar.methods.m2_clip import M2Clip
from openfsar.methods.ma_fsar import MaFsar
from openfsar.methods.molo import Molo
from openfsar.methods.otam import Otam
from openfsar.methods.protonet import ProtoNet
from openfsar.methods.sloshnet import SloshNet
from openfsar.methods.strm import Strm
from openfsar.methods.trx import Trx
from openfsar.methods.zero_shot import ZeroShot

METHODS: dict[str, type[FewShotMethod]] = {
    "zero-shot": ZeroShot,
    "protonet": ProtoNet,
    "otam": Otam,
    "bi-mhm": BiMHM,
    "trx": Trx,
    "hyrsm": Hyrsm,
    "clip-fsar": ClipFsar,
    "ma-fsar": MaFsar,
    "actionclip": ActionClip,
    "m2-clip": M2Clip,
    "gghm": Gghm,
    "sloshnet": SloshNet,
    "strm": Strm,
    "molo": Molo,
}

ALIASES = {"ma-clip": ("ma-fsar", "ma-clip")}
"""Names people know a method's preset by."""


def create(
    method: str, *, encoder: str = "toyclip", pretrained: bool = True, seed: int = 0, **options: Any
) -> FewShotMethod:
    """The method of that name on a freshly loaded encoder, in eval mode.

    Args:
        method: A key of ``METHODS``.
        encoder: What ``load_encoder`` takes: a short name, a local folder or file, or a hub name.
        pretrained: False builds the encoder's geometry with random weights from ``seed``, without network.
        options: Keyword arguments of the method's class, and ``preset``: a name of a set of them.

    Raises:
        ValueError: No such method or option, or a value it cannot have; the message says what it can be.
        EncoderError: The encoder cannot be had.
    """
    resolve_options(method, options)  # before anything heavy is loaded
    return build(method, load_encoder(encoder, pretrained=pretrained, seed=seed), seed=seed, **options)


def build(method: str, encoder: VisualEncoder, *, seed: int = 0, **options: Any) -> FewShotMethod:
    """The method of that name on this encoder, which it takes over, in eval mode.

    ``seed`` decides the parameters it adds to the encoder's; the global generator is left as it was.

    Raises:
        ValueError: As ``create`` does.
    """
    resolved = resolve_options(method, options)
    method = ALIASES.get(method, (method,))[0]
    wanted = inspect.signature(METHODS[method]).parameters["encoder"].annotation
    if not isinstance(encoder, wanted):  # VisualEncoder suits every encoder, ClipEncoder those that read
        raise ValueError(
            f"method {method!r} reads class names, and encoder {encoder.name!r} does not; choose a CLIP"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = METHODS[method](encoder, **resolved)
    if isinstance(built, FusedMethod) and built.text_share:
        _ = built.clip  # an encoder without words is refused here, not in the first evaluation
    built.spec = MethodSpec(method, encoder.name, encoder.pretrained, resolved)
    built.learnt = frozenset(trainable_parameters(built))
    return built.eval()


def resolve_options(method: str, options: dict[str, Any]) -> dict[str, Any]:
    """All options of the method: those given, then those of ``preset``, if one is named, then the defaults.

    Raises:
        ValueError: No such method, no such option, or no such preset.
    """
    if method in ALIASES:
        method, preset = ALIASES[method]
        options = {"preset": preset} | options
    if method not in METHODS:
        raise ValueError(f"no method {method!r}; {_hint(method, [*METHODS, *ALIASES])}")
    parameters = inspect.signature(METHODS[method]).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    presets = METHODS[method].presets
    if "preset" in options:
        options = dict(options)
        preset = options.pop("preset")
        if preset not in presets:
            known = _hint(str(preset), presets) if presets else "it has none"
            raise ValueError(f"method {method!r} has no preset {preset!r}; {known}")
        defaults |= presets[preset]
    for name in options:
        if name not in defaults:
            raise ValueError(f"method {method!r} has no option {name!r}; {_hint(name, defaults)}")
    return defaults | options


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"{f'did you mean {near[0]!r}? ' if near else ''}choose from {', '.join(known)}"
