"""Masked words: which ones, where their tokens stand, and what is made of them, token by token."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from openfsar.encoders.adapters import Bottleneck
from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.tiny import tiny_encoder
from openfsar.encoders.trainable import freeze
from openfsar.encoders.weights import load_encoder
from openfsar.methods import masked_words as module
from openfsar.methods.masked_words import MaskedWords, first_tokens, hide, masked_words, word_numbers

SENTENCES = ["A video of waving", "A video of a Person jumping", "A video of climbing"]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make(encoder: ClipEncoder, *, adapters: bool = True, outputs: int = 0, ratio: float = 0.2) -> MaskedWords:
    torch.manual_seed(0)
    width = encoder.text_tower.width
    before, between = (Bottleneck(width, ratio=0.75, zero=False) if adapters else None for _ in range(2))
    sizes = dict(dim=encoder.dim, width=width, ratio=ratio)
    return MaskedWords(SENTENCES, outputs, before=before, between=between, **sizes).double()


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def test_words_are_numbered_once_in_order_of_appearance_and_in_small_letters() -> None:
    assert word_numbers(["A video of a Cat", "a dog  of"]) == {
        "a": 0,
        "video": 1,
        "of": 2,
        "cat": 3,
        "dog": 4,
    }


def test_masked_words_become_the_word_mask() -> None:
    assert hide("A video of cliff diving", [0, 4]) == "mask video of cliff mask"
    assert hide("A video of cliff diving", []) == "A video of cliff diving"


def test_at_least_one_word_is_masked_and_in_the_mean_the_share_that_was_asked_for() -> None:
    torch.manual_seed(0)
    sentence, draws = "A video of a person who waves both arms", 4000
    for ratio in (0.0, 0.2, 1.0):
        drawn = [masked_words(sentence, ratio) for _ in range(draws)]
        assert all(drawn) and all(sorted(set(words)) == words for words in drawn)
        counts = torch.bincount(torch.tensor(sum(drawn, [])), minlength=9) / draws
        expected = ratio + (1 - ratio) ** 9 / 9  # the second part: of nine that escaped one is caught
        tolerance = 4 * (expected * (1 - expected) / draws) ** 0.5
        assert len(counts) == 9 and (counts - expected).abs().max() <= tolerance + 1e-9


@pytest.mark.parametrize("name", ["tiny", "toyclip"])
def test_the_first_token_of_a_word_is_found(name: str) -> None:
    tokenizer = load_encoder(name, pretrained=name == "toyclip").tokenizer
    words = "mask video of unhurriedly mask é waving (arms) mask".split()
    encoding = tokenizer.encode(" ".join(words))
    places = first_tokens(tokenizer, " ".join(words), range(len(words)))
    assert places == sorted(set(places)) and 0 < places[0] and places[-1] < len(encoding.ids) - 1
    start = 0
    for word, place in zip(words, places, strict=True):
        begin, end = encoding.offsets[place]
        assert begin <= start < end  # in characters; a token may bring the space before it along
        assert encoding.offsets[place - 1][1] <= start
        start += len(word) + 1


def by_hand(masked: MaskedWords, encoder: ClipEncoder, sentence: str, word: int, video: Tensor) -> Tensor:
    """Logits of one masked word of a sentence that is masked already; heads and frames one by one."""
    tower = encoder.text_tower
    layer, count = tower.blocks[-1].layer, len(" ".join(sentence.split()[:word]))
    # one token per byte, behind the start token; a word that is not the first has a space before it
    place = 1 + count + (word > 0)
    z = tower.unnormed(encoder.tokenize([sentence]))[0, place]
    if masked.before is not None:
        z = z + masked.before.up(F.gelu(masked.before.down(z)))
    attention, size = layer.self_attn, z.shape[0] // layer.self_attn.num_heads
    q = attention.q_proj(layer.layer_norm1(z))
    seen = [layer.layer_norm1(masked.widen(frame)) for frame in video]
    heads = []
    for h in range(attention.num_heads):
        part = slice(h * size, (h + 1) * size)
        scores = torch.stack([q[part] @ attention.k_proj(frame)[part] / size**0.5 for frame in seen])
        weights = scores.softmax(0)
        heads.append(sum(w * attention.v_proj(f)[part] for w, f in zip(weights, seen, strict=True)))
    z = z + attention.out_proj(torch.cat(heads))
    if masked.between is not None:
        z = z + masked.between.up(F.gelu(masked.between.down(z)))
    z = tower.norm(z + layer.mlp(layer.layer_norm2(z)))
    dense, _, norm = masked.transform
    return masked.words(norm(F.gelu(dense(z))))


@torch.no_grad()
@pytest.mark.parametrize("adapters", [True, False])
def test_masked_words_are_filled_in_as_the_equations_say(
    adapters: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = tiny_encoder(dtype=torch.float64)
    masked, frames = make(encoder, adapters=adapters), draw(3, 5, encoder.dim)
    choice = {SENTENCES[0]: [3], SENTENCES[1]: [0, 4], SENTENCES[2]: [2]}
    monkeypatch.setattr(module, "masked_words", lambda sentence, ratio: choice[sentence])
    logits, targets = masked(encoder, SENTENCES, frames)
    assert logits.shape == (4, 7)
    assert [list(masked.numbers)[int(t)] for t in targets] == ["waving", "a", "person", "of"]
    hidden = ["A video of mask", "mask video of a mask jumping", "A video mask climbing"]
    expected = [
        by_hand(masked, encoder, hidden[row], word, frames[row])
        for row, word in ((0, 3), (1, 0), (1, 4), (2, 2))
    ]
    close(logits, torch.stack(expected))
    other = masked(encoder, SENTENCES, frames.flip(0))[0]
    assert (logits - other).abs().max() > 1e-4  # the videos matter


@torch.no_grad()
def test_other_videos_and_other_sentences_of_the_batch_do_not_matter() -> None:
    encoder = tiny_encoder(dtype=torch.float64)
    masked, frames = make(encoder, ratio=1.0), draw(3, 4, encoder.dim)
    logits, targets = masked(encoder, SENTENCES, frames)
    assert len(targets) == 4 + 6 + 4
    alone = [masked(encoder, SENTENCES[i : i + 1], frames[i : i + 1]) for i in range(3)]
    close(logits, torch.cat([part for part, _ in alone]))
    assert torch.equal(targets, torch.cat([part for _, part in alone]))


def test_the_loss_of_masked_words_falls() -> None:
    encoder = freeze(tiny_encoder(dtype=torch.float64))
    masked, frames = make(encoder), draw(3, 4, encoder.dim)
    before = {name: p.clone() for name, p in encoder.named_parameters()}
    optimizer = torch.optim.AdamW(masked.parameters(), lr=3e-3)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(*masked(encoder, SENTENCES, frames))
        assert loss.isfinite()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert all(torch.equal(p, before[name]) for name, p in encoder.named_parameters())


def test_words_behind_the_longest_text_are_left_out() -> None:
    encoder = tiny_encoder(dtype=torch.float64)
    assert encoder.text_tower.context == 77
    long = "A video of " + "very " * 20 + "slow waving"  # 77 - 2 bytes are read
    masked = MaskedWords(
        [long],
        0,
        dim=encoder.dim,
        width=encoder.text_tower.width,
        ratio=1.0,
        before=None,
        between=None,
    ).double()
    with pytest.warns(UserWarning, match="is cut to 77"):
        _, targets = masked(encoder, [long], draw(1, 2, encoder.dim))
    # every word is now "mask": five bytes with its space, so the first fifteen begin among the 75
    assert targets.tolist() == [0, 1, 2, *[3] * 12]


def test_a_map_widens_frames_only_where_the_towers_differ() -> None:
    tiny, toy = tiny_encoder(), load_encoder("toyclip", pretrained=False)
    assert isinstance(make(tiny).widen, torch.nn.Linear) and not list(make(toy).widen.parameters())


def test_too_few_words_are_refused() -> None:
    encoder = tiny_encoder()
    assert make(encoder).words.out_features == 7 and make(encoder, outputs=9).words.out_features == 9
    with pytest.raises(ValueError, match=r"words=6 is too few, the names have 7 words; use at least 7, or 0"):
        make(encoder, outputs=6)
