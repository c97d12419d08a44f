"""CLIP as this library uses it: clips to frame features, class names to text features."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders.clip_resnet import ClipResNet
from openfsar.encoders.geometry import EncoderError
from openfsar.encoders.prompts import TEMPLATES, fill
from openfsar.encoders.towers import TextTower, VisionTower
from openfsar.encoders.visual import VisualEncoder

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Statistics of OpenAI's training images, per colour channel on the scale 0..1."""

_CHUNK = 256
"""Sentences in one pass of the text tower, so that a vocabulary of thousands fits in memory."""


class ClipEncoder(VisualEncoder):
    """The two towers, the tokenizer and the normalisation of one CLIP or SigLIP.

    Args:
        stock: ``CLIPModel`` or ``SiglipModel`` of `transformers`, or ``ClipResNet``; its modules are taken
            over.
        tokenizer: Adds its own start and end tokens and belongs to the text tower's vocabulary.
        name: What the weights were loaded from.
        pretrained: Whether they were learnt; False for seeded random ones.
        mean, std: Statistics of the training images per channel, on the scale 0..1.
        pad: Id that fills short texts; the end token where None.
    """

    def __init__(
        self,
        stock: Any,
        tokenizer: Tokenizer,
        *,
        name: str,
        pretrained: bool,
        mean: Sequence[float] = CLIP_MEAN,
        std: Sequence[float] = CLIP_STD,
        pad: int | None = None,
    ) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        ends = tokenizer.encode("").ids[-1:]
        vocabulary = stock.config.text_config.vocab_size
        if not ends or tokenizer.get_vocab_size() > vocabulary:
            raise EncoderError(
                f"the tokenizer of {name!r} has {tokenizer.get_vocab_size()} tokens and "
                f"{'an' if ends else 'no'} end token, but the text tower knows {vocabulary} tokens and needs "
                "an end token; use the tokenizer.json that belongs to these weights"
            )
        vision = stock.visual if isinstance(stock, ClipResNet) else VisionTower(stock)
        clip = stock.config.model_type == "clip"
        super().__init__(
            vision,
            name=name,
            pretrained=pretrained,
            image_size=stock.config.vision_config.image_size,
            dim=stock.config.projection_dim if clip else vision.width,
            mean=mean,
            std=std,
        )
        self.tokenizer = tokenizer
        self.pad = ends[0] if pad is None else pad
        self.text_tower = TextTower(stock, end=ends[0])
        self.logit_scale: nn.Parameter = stock.logit_scale
        """Natural logarithm of the factor on cosine similarities, as CLIP stores it."""
        self._known: dict[tuple[bool | str, ...], dict[str, Tensor]] = {}
        """Text features by (unit or not, *templates) and name."""
        self._known_at: list[tuple[int, int]] = []

    def tokenize(self, sentences: Sequence[str]) -> Int[Tensor, "B L"]:
        """Ids padded to the longest sentence (SigLIP: to the full context), end token kept when cut.

        Warns:
            UserWarning: A sentence is longer than the context and loses its tail; the sentence is named.
        """
        tower = self.text_tower
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(list(sentences))]
        for i, row in enumerate(rows):
            if len(row) > tower.context:
                warnings.warn(
                    f"the class prompt {sentences[i]!r} has {len(row)} tokens and is cut to {tower.context}",
                    stacklevel=2,
                )
                rows[i] = [*row[: tower.context - 1], tower.end]
        length = max(map(len, rows)) if tower.causal else tower.context
        ids = [row + [self.pad] * (length - len(row)) for row in rows]
        return torch.tensor(ids, device=self.logit_scale.device)

    def text(
        self, names: Sequence[str], templates: Sequence[str] = TEMPLATES["photo"], *, unit: bool = True
    ) -> Float[Tensor, "N D"]:
        """Features of class names, without gradient: the mean over templates.

        Each name meets each set of templates once; the result is kept until the parameters change or move.

        Args:
            unit: The renormalised mean of unit features, for cosines; otherwise the mean of what the
                projection gives, which has the length of frame features.
        """
        sentences = fill(names, templates)  # also checks both arguments
        known = self._cache().setdefault((unit, *templates), {})
        rows = {name: slice(i * len(templates), (i + 1) * len(templates)) for i, name in enumerate(names)}
        new = [name for name in rows if name not in known]
        if new:
            features = self._text([sentence for name in new for sentence in sentences[rows[name]]])
            features = features.unflatten(0, (len(new), len(templates)))
            means = F.normalize(F.normalize(features, dim=-1).mean(1), dim=-1) if unit else features.mean(1)
            known.update(zip(new, means.unbind(), strict=True))
        return torch.stack([known[name] for name in names])

    def sentences(self, sentences: Sequence[str]) -> Float[Tensor, "B D"]:
        """One vector per sentence, not normalised and not kept; with gradient where the text tower trains."""
        return self.text_tower(self.tokenize(sentences))

    def _text(self, sentences: Sequence[str]) -> Float[Tensor, "B D"]:
        """Features in the parameters' own precision: what is kept must not depend on who asks first."""
        plain = torch.autocast(self.logit_scale.device.type, enabled=False)
        with torch.no_grad(), plain:
            chunks = [sentences[i : i + _CHUNK] for i in range(0, len(sentences), _CHUNK)]
            return torch.cat([self.sentences(chunk) for chunk in chunks])

    def _cache(self) -> dict[tuple[bool | str, ...], dict[str, Tensor]]:
        """The kept text features, emptied when the text tower gained, lost or rewrote a parameter."""
        state = [(id(p), 0 if p.is_inference() else p._version) for p in self.text_tower.parameters()]
        if state != self._known_at:
            self._known, self._known_at = {}, state
        return self._known

    def _apply(self, *args: Any, **options: Any) -> "ClipEncoder":
        """Every move or cast of a module passes here, and leaves the kept features behind."""
        self._known = {}
        return super()._apply(*args, **options)
