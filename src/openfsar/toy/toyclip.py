"""ToyCLIP itself: its tokenizer, its towers and its folder."""

import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from openfsar.toy.captions import TEMPLATES, caption, subject
from openfsar.toy.motions import STEPS
from openfsar.toy.stills import SIDE, any_shot
from openfsar.toy.training import MEAN, STD

CONTEXT = 64
"""Longest caption in tokens."""
POSITION_SIZE = 0.3
"""Amplitude of the position embeddings that training starts from."""


def build_tokenizer() -> CLIPTokenizer:
    """CLIP's own tokenizer with a small vocabulary learnt from the world's captions.

    All 256 bytes are in the vocabulary, inside and at the end of a word, so any text has tokens.
    """
    rng = np.random.default_rng(0)
    seen = [subject(any_shot(rng), 0) for _ in range(4000)]
    corpus = [caption(facts, rng) for facts in seen if facts]
    corpus += [template.format(name) for name in STEPS for template in TEMPLATES]
    plain = CLIPTokenizer().backend_tokenizer
    learner = Tokenizer(BPE(continuing_subword_prefix="", end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = plain.normalizer, plain.pre_tokenizer
    learner.train_from_iterator(
        corpus, BpeTrainer(vocab_size=800, show_progress=False, end_of_word_suffix="</w>")
    )
    merges = [(a, b) for a, b in json.loads(learner.to_str())["model"]["merges"]]
    letters = sorted(ByteLevel.alphabet())
    words = letters + [letter + "</w>" for letter in letters] + [a + b for a, b in merges]
    tokens = [*dict.fromkeys(words), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=merges,  # pyright: ignore[reportArgumentType]  (pairs are what the tokenizer's own files hold)
        model_max_length=CONTEXT,
    )


def build_model(tokenizer: CLIPTokenizer, *, width: int, layers: int, heads: int, patch: int) -> CLIPModel:
    """A CLIP with random weights, both towers of one width and depth."""
    tower = dict(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=width,
    )
    text = dict(
        tower,
        vocab_size=len(tokenizer),
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = dict(tower, image_size=SIDE, patch_size=patch)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=width))
    # CLIP's own start, 0.02, is a tenth of what the patches bring: where things are would be learnt very late
    table = model.vision_model.embeddings.position_embedding.weight
    with torch.no_grad():
        table[1:] = POSITION_SIZE * grid_waves(SIDE // patch, width)
    return model


def grid_waves(side: int, width: int) -> Float[Tensor, "P D"]:
    """Sines and cosines of row and column of the patches, at a quarter of ``width`` frequencies each.

    Dosovitskiy et al. learn positions from nothing; Beyer et al., arXiv 2205.01580, start from these.
    """
    frequency = 10_000 ** -torch.linspace(0, 1, width // 4)
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = torch.cat([column.reshape(-1, 1) * frequency, row.reshape(-1, 1) * frequency], dim=1)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def embed_images(model: CLIPModel, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
    """Image embeddings, not normalised."""
    return model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)


def embed_texts(model: CLIPModel, tokenizer: CLIPTokenizer, sentences: list[str]) -> Float[Tensor, "B D"]:
    """Unit text embeddings."""
    tokens = tokenizer(sentences, padding=True, return_tensors="pt").to(model.device)
    pooled = model.text_model(**tokens).pooler_output
    return F.normalize(model.text_projection(pooled), dim=-1)


def write_folder(folder: Path, model: CLIPModel, tokenizer: CLIPTokenizer) -> None:
    """The model in the Hugging Face layout, preprocessing included."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    preprocessing = {
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "resample": 3,
        "size": {"shortest_edge": SIDE},
        "crop_size": {"height": SIDE, "width": SIDE},
        "image_mean": [MEAN] * 3,
        "image_std": [STD] * 3,
        "image_processor_type": "CLIPImageProcessor",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=1))
