"""M2-CLIP's masked words (CMLM): a video helps to fill in the sentence about it. In training alone.

Wang et al., arXiv 2401.11649. Some words of a sentence are replaced by the word "mask"; with h its tokens
after the last block of the text tower, V the frames of the video, and text adapters A where there are any:

    z  = A(h)
    z  = z + attention(LN1(z), LN1(V))      every token looks at the frames, at no other token, without a mask
    z' = A(z)
    z' = z' + MLP(LN2(z'))
    logits = W LN(gelu(U LN_final(z'))) + b     over the words of all sentences

Only the adapters, U, LN, W and b are learnt here. The published text tower has one more block for this, a
frozen copy of its last one; here it is that last block itself, which is frozen too, so nothing is stored
twice. A token meets no other one behind h, so only those of masked words are computed.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders.adapters import Bottleneck
from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.towers import TextTower

MASK = "mask"
"""An ordinary word: CLIP's tokenizer has no token for this."""


class MaskedWords(nn.Module):
    """The learnt parts; the frozen ones are read from the encoder that each call is given.

    Args:
        sentences: Their words are those to be filled in.
        outputs: How many words the last layer tells apart, 0 for as many as there are.
        dim: Width of the frames. Where the text tower has another (no CLIP of OpenAI's with a vision
            transformer), a learnt map leads to it.
        width: Width of the text tower.
        ratio: Share of the words of a sentence that are masked; at least one is.
        before, between: Adapters in front of the attention and in front of the MLP.

    Raises:
        ValueError: ``outputs`` are too few.
    """

    def __init__(
        self,
        sentences: Sequence[str],
        outputs: int,
        *,
        dim: int,
        width: int,
        ratio: float,
        before: Bottleneck | None,
        between: Bottleneck | None,
    ) -> None:
        super().__init__()
        self.numbers, self.ratio = word_numbers(sentences), ratio
        needed = len(self.numbers)
        if 0 < outputs < needed or not (outputs or needed):
            why = f"the names have {needed} words" if needed else "no names of classes are given"
            raise ValueError(
                f"option words={outputs!r} is too few, {why}; use at least {max(needed, 1)}, or 0 with names"
            )
        self.before, self.between = before, between
        self.widen = nn.Identity() if dim == width else nn.Linear(dim, width, bias=False)
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width))
        self.words = nn.Linear(width, outputs or needed)

    def forward(
        self, encoder: ClipEncoder, sentences: Sequence[str], frames: Float[Tensor, "B T _"]
    ) -> tuple[Float[Tensor, "X A"], Int[Tensor, " X"]]:
        """Logits of each masked word of all sentences, and its number; which ones are masked is drawn.

        A word of several tokens is one target, at the first token of the "mask" that replaced it. Words
        behind the longest text that the tower reads are left out. The draw is from torch's global generator.

        Args:
            sentences: One about each video.
        """
        masked = [masked_words(sentence, self.ratio) for sentence in sentences]
        hidden, tower = [hide(s, m) for s, m in zip(sentences, masked, strict=True)], encoder.text_tower
        found = [
            (row, place, self.numbers[sentence.lower().split()[word]])
            for row, sentence in enumerate(sentences)
            for word, place in zip(
                masked[row], first_tokens(encoder.tokenizer, hidden[row], masked[row]), strict=True
            )
            if place < tower.context - 1  # the last one is the end token
        ]
        ids = encoder.tokenize(hidden)
        rows, places, targets = torch.tensor(found, device=ids.device).view(-1, 3).unbind(1)
        tokens = tower.unnormed(ids)[rows, places]
        return self._fill_in(tower, tokens, self.widen(frames), rows), targets

    def _fill_in(
        self,
        tower: TextTower,
        tokens: Float[Tensor, "X D"],
        frames: Float[Tensor, "B T D"],
        rows: Int[Tensor, " X"],
    ) -> Float[Tensor, "X A"]:
        """Logits of tokens, each of which looks at the video of its row."""
        layer: Any = tower.blocks[-1].layer
        attention = layer.self_attn
        if self.before is not None:
            tokens = self.before(tokens)
        seen = layer.layer_norm1(frames)
        queries = attention.q_proj(layer.layer_norm1(tokens))[:, None]
        keys, values = attention.k_proj(seen)[rows], attention.v_proj(seen)[rows]
        queries, keys, values = (
            x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for x in (queries, keys, values)
        )
        mixed = F.scaled_dot_product_attention(queries, keys, values)[:, :, 0].flatten(1)
        tokens = tokens + attention.out_proj(mixed)
        if self.between is not None:
            tokens = self.between(tokens)
        tokens = tokens + layer.mlp(layer.layer_norm2(tokens))
        return self.words(self.transform(tower.norm(tokens)))


def word_numbers(sentences: Sequence[str]) -> dict[str, int]:
    """A number for each word, in order of appearance; what stands between spaces, in small letters."""
    words = dict.fromkeys(word for sentence in sentences for word in sentence.lower().split())
    return {word: number for number, word in enumerate(words)}


def masked_words(sentence: str, ratio: float) -> list[int]:
    """Which words to mask: each with probability ``ratio``, but at least one."""
    chosen = torch.rand(len(sentence.split())) < ratio
    if not chosen.any():
        chosen[torch.randint(len(chosen), ())] = True
    return chosen.nonzero()[:, 0].tolist()


def hide(sentence: str, masked: Sequence[int]) -> str:
    """The sentence with these words replaced."""
    return " ".join(MASK if i in masked else word for i, word in enumerate(sentence.split()))


def first_tokens(tokenizer: Tokenizer, sentence: str, words: Sequence[int]) -> list[int]:
    """Where the first token of each of these words stands among the tokens of the sentence."""
    starts = [0]
    for word in sentence.split(" "):
        starts.append(starts[-1] + len(word) + 1)
    ends = [end for _, end in tokenizer.encode(sentence).offsets]  # in characters; 0 of special tokens
    return [next(i for i, end in enumerate(ends) if end > starts[word]) for word in words]
