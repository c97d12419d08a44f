"""Every method by name, and the two ways to build one."""

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.trainable import trainable_parameters
from openfsar.encoders.weights import load_encoder
from openfsar.methods.base import FewShotMethod, MethodSpec
from openfsar.methods.bi_mhm import BiMHM
from openfsar.methods.otam import Otam
from openfsar.methods.protonet import ProtoNet
from openfsar.methods.zero_shot import ZeroShot

METHODS: dict[str, type[FewShotMethod]] = {
    "zero-shot": ZeroShot,
    "protonet": ProtoNet,
    "otam": Otam,
    "bi-mhm": BiMHM,
}


def create(
    method: str, *, encoder: str = "toyclip", pretrained: bool = True, seed: int = 0, **options: Any
) -> FewShotMethod:
    """The method of that name on a freshly loaded encoder, in eval mode.

    Args:
        method: A key of ``METHODS``.
        encoder: What ``load_encoder`` takes: a short name, a local folder or file, or a hub name.
        pretrained: False builds the encoder's geometry with random weights from ``seed``, without network.
        options: Keyword arguments of the method's class.

    Raises:
        ValueError: No such method or option, or a value it cannot have; the message says what it can be.
        EncoderError: The encoder cannot be had.
    """
    resolve_options(method, options)  # before anything heavy is loaded
    return build(method, load_encoder(encoder, pretrained=pretrained, seed=seed), **options)


def build(method: str, encoder: ClipEncoder, **options: Any) -> FewShotMethod:
    """The method of that name on this encoder, which it takes over, in eval mode.

    Raises:
        ValueError: As ``create`` does.
    """
    resolved = resolve_options(method, options)
    built = METHODS[method](encoder, **resolved)
    built.spec = MethodSpec(method, encoder.name, encoder.pretrained, resolved)
    built.learnt = frozenset(trainable_parameters(built))
    return built.eval()


def resolve_options(method: str, options: dict[str, Any]) -> dict[str, Any]:
    """All options of the method: those given, and the defaults of the rest.

    Raises:
        ValueError: No such method, or no such option.
    """
    if method not in METHODS:
        raise ValueError(f"no method {method!r}; {_hint(method, METHODS)}")
    parameters = inspect.signature(METHODS[method]).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    for name in options:
        if name not in defaults:
            raise ValueError(f"method {method!r} has no option {name!r}; {_hint(name, defaults)}")
    return defaults | options


def _hint(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"{f'did you mean {near[0]!r}? ' if near else ''}choose from {', '.join(known)}"
