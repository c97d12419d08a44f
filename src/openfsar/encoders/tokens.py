"""Tokenizers: the one that belongs to a checkpoint, and one of plain bytes for towers with random weights."""

import json
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing

from openfsar.encoders.geometry import EncoderError

START, END = "<|startoftext|>", "<|endoftext|>"


def byte_tokenizer() -> Tokenizer:
    """One token per byte between CLIP's start and end tokens: 258 ids, no training, no file."""
    alphabet = sorted(ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate([*alphabet, START, END])}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([START, END])
    tokenizer.post_processor = TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, vocabulary[START]), (END, vocabulary[END])]
    )
    return tokenizer


def read_tokenizer(folder: Path) -> tuple[Tokenizer, int | None]:
    """The tokenizer of a checkpoint folder, and the id that pads (None where the folder names none).

    ``tokenizer.json`` is read as it stands: `transformers` would rebuild it from its own idea of the class,
    and returns a tokenizer of two words, without an error, where the file is absent.

    Raises:
        EncoderError: The file is absent or unreadable.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise EncoderError(
            f"{folder} has no tokenizer.json; put the one that belongs to these weights there (for OpenAI's "
            ".pt files the one of openai/clip-vit-base-patch32; a folder with vocab.json and merges.txt: "
            "CLIPTokenizer.from_pretrained(folder).save_pretrained(folder) writes it)"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises bare Exception
        raise EncoderError(f"{path} is not a tokenizer file: {error}; download it again") from error
    settings = folder / "tokenizer_config.json"
    pad = json.loads(settings.read_text()).get("pad_token") if settings.is_file() else None
    name = pad["content"] if isinstance(pad, dict) else pad  # older files describe the token at length
    return tokenizer, tokenizer.token_to_id(name) if name else None
