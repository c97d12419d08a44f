"""Trains ToyCLIP: a real CLIP of 1.7 M parameters on image-caption pairs of the toy world.

    python -m openfsar.toy.pretrain --out toyclip            # two CPU cores: hours; any GPU: minutes

The result is a folder in the Hugging Face CLIP layout, read by exactly the code that reads
openai/clip-vit-base-patch16. A run that is killed continues from its last checkpoint.
"""

import json
import math
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from jsonargparse import auto_cli
from rich.progress import Progress, TimeRemainingColumn
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from openfsar.toy.captions import TEMPLATES, Subject, caption, subject
from openfsar.toy.motions import STEPS
from openfsar.toy.scenes import SCENES
from openfsar.toy.sprites import COLOURS, SHAPES, STATES
from openfsar.toy.stills import SIDE, any_shot, render_pool, still_pair

CONTEXT = 64
"""Longest caption in tokens."""
MEAN, STD = 0.45, 0.25
"""ToyCLIP's own normalisation, one value for all channels; written to preprocessor_config.json."""


RIVALS = (((), 0.15), (("scene",), 0.25), (("scene", "colour"), 0.6))
"""Which facts all pairs of a batch share, and how often. Scene and colour are learnt within minutes; batches
that agree in them leave state, shape, size and place to tell the pairs apart, and these take long."""


@dataclass(frozen=True)
class PretrainConfig:
    """One pre-training run; every number of it is written next to the weights."""

    out: Path = Path("toyclip")
    steps: int = 6000
    batch: int = 128
    lr: float = 1.5e-3
    weight_decay: float = 0.05
    warmup: int = 200
    pool: int = 60_000
    """Stills rendered once and drawn from again with fresh captions."""
    width: int = 128
    layers: int = 4
    heads: int = 4
    patch: int = 8
    seed: int = 0
    workers: int = 2
    checkpoint_every: int = 200
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


def _progress() -> Progress:
    return Progress(*Progress.get_default_columns()[:-1], TimeRemainingColumn(elapsed_when_finished=True))


def build_tokenizer() -> CLIPTokenizer:
    """CLIP's own tokenizer with a small vocabulary learnt from the world's captions.

    All 256 bytes are in the vocabulary, inside and at the end of a word, so any text has tokens.
    """
    rng = np.random.default_rng(0)
    corpus = [caption(subject(shot, 0), rng) for shot in (any_shot(rng) for _ in range(3000))]
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


def build_model(config: PretrainConfig, tokenizer: CLIPTokenizer) -> CLIPModel:
    """A CLIP with random weights in the geometry of the run."""
    tower = dict(
        hidden_size=config.width,
        intermediate_size=4 * config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        projection_dim=config.width,
    )
    text = dict(
        tower,
        vocab_size=len(tokenizer),
        max_position_embeddings=CONTEXT,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = dict(tower, image_size=SIDE, patch_size=config.patch)
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=config.width))


def alike(subjects: list[Subject], facts: tuple[str, ...]) -> list[Int[np.ndarray, " X"]]:
    """Indices of the subjects that agree in ``facts``, a list per combination of values."""
    members: dict[tuple[str, ...], list[int]] = {}
    for i, seen in enumerate(subjects):
        members.setdefault(tuple(getattr(seen, fact) for fact in facts), []).append(i)
    return [np.array(indices) for indices in members.values()]


def rivals(kinds: list[list[Int[np.ndarray, " X"]]], rng: np.random.Generator) -> Int[np.ndarray, " X"]:
    """The stills one batch is drawn from."""
    kind = kinds[rng.choice(len(RIVALS), p=[chance for _, chance in RIVALS])]
    return kind[rng.integers(len(kind))]


def embed_images(model: CLIPModel, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
    """Unit image embeddings."""
    pooled = model.vision_model(pixel_values=pixels).pooler_output
    return F.normalize(model.visual_projection(pooled), dim=-1)


def embed_texts(model: CLIPModel, tokenizer: CLIPTokenizer, sentences: list[str]) -> Float[Tensor, "B D"]:
    """Unit text embeddings."""
    tokens = tokenizer(sentences, padding=True, return_tensors="pt").to(model.device)
    pooled = model.text_model(**tokens).pooler_output
    return F.normalize(model.text_projection(pooled), dim=-1)


def contrastive_loss(
    image: Float[Tensor, "B D"], text: Float[Tensor, "B D"], scale: Float[Tensor, ""], captions: list[str]
) -> Float[Tensor, ""]:
    """CLIP's loss in both directions, on unit embeddings; pairs with the same caption match each other."""
    number = {sentence: i for i, sentence in enumerate(dict.fromkeys(captions))}
    label = torch.tensor([number[sentence] for sentence in captions], device=image.device)
    target = (label[:, None] == label[None, :]).float()
    target = target / target.sum(1, keepdim=True)  # symmetric, so it serves both directions
    logits = scale.exp() * image @ text.T
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def pretrain(config: PretrainConfig) -> None:
    """Render the pool, train, and write the model folder with its measured quality."""
    started = time.time()
    config.out.mkdir(parents=True, exist_ok=True)
    if (config.out / "tokenizer.json").exists():  # a run goes on with the vocabulary it began with
        tokenizer = CLIPTokenizer.from_pretrained(config.out)
    else:
        tokenizer = build_tokenizer()
        tokenizer.save_pretrained(config.out)
    torch.manual_seed(config.seed)
    model = build_model(config, tokenizer)
    torch.nn.Module.to(model, config.device)
    decay = [p for p in model.parameters() if p.ndim > 1]
    rest = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98), eps=1e-6)
    step, spent = _resume(config, model, optimizer)
    images, subjects = render_pool(config.pool, seed=config.seed, workers=config.workers)
    kinds = [alike(subjects, facts) for facts, _ in RIVALS]

    with _progress() as progress:
        task = progress.add_task("training", total=config.steps, completed=step)
        while step < config.steps:
            rng = np.random.default_rng([config.seed, step])  # a step's data depend on its number alone
            chosen = rng.choice(rivals(kinds, rng), size=config.batch)
            captions = [caption(subjects[i], rng) for i in chosen]
            pixels = normalise(torch.from_numpy(images[chosen]).to(config.device))
            pixels = pixels * torch.from_numpy(rng.uniform(0.8, 1.2, (config.batch, 1, 1, 1))).to(pixels)
            rate = min(1.0, (step + 1) / config.warmup) * 0.5 * (1 + math.cos(math.pi * step / config.steps))
            for group in optimizer.param_groups:
                group["lr"] = config.lr * rate
            images_and_texts = embed_images(model, pixels), embed_texts(model, tokenizer, captions)
            loss = contrastive_loss(*images_and_texts, model.logit_scale, captions)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(100))
            step += 1
            progress.update(task, completed=step, description=f"loss {loss.item():.3f}")
            if step % config.checkpoint_every == 0 or step == config.steps:
                elapsed = spent + time.time() - started
                _checkpoint(config, model, optimizer, step, elapsed)
                print(json.dumps({"step": step, "loss": round(loss.item(), 4), "seconds": round(elapsed)}))
    write_folder(config.out, model, tokenizer)
    quality = measure(model, tokenizer) | {"seconds": round(spent + time.time() - started)}
    settings = {
        key: str(value) if isinstance(value, Path) else value for key, value in asdict(config).items()
    }
    (config.out / "pretraining.json").write_text(
        json.dumps({"settings": settings, "quality": quality}, indent=1)
    )
    print(json.dumps(quality, indent=1))


def normalise(images: UInt8[Tensor, "B H W C"]) -> Float[Tensor, "B C H W"]:
    """Bytes (B, H, W, 3) to ToyCLIP's input (B, 3, H, W)."""
    return ((images.float() / 255 - MEAN) / STD).permute(0, 3, 1, 2)


def _resume(config: PretrainConfig, model: CLIPModel, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    path = config.out / "checkpoint.pt"
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True, map_location=config.device)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["seconds"]


def _checkpoint(
    config: PretrainConfig, model: CLIPModel, optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    path = config.out / "checkpoint.pt"
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


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


@torch.inference_mode()
def measure(model: CLIPModel, tokenizer: CLIPTokenizer, *, draws: int = 20) -> dict[str, float]:
    """Top-1 rates on kinds the training never captioned.

    ``retrieval_64``: caption to image among 64 held-out pairs, mean over ``draws`` draws. ``shape``,
    ``state``, ``colour``, ``scene``: zero-shot naming of one fact of those images.
    """
    model.eval()
    device = model.device
    pairs = [still_pair(seed, held_out=True) for seed in range(64 * draws)]
    images = torch.from_numpy(np.stack([image for image, _ in pairs])).to(device)
    seen = [facts for _, facts in pairs]
    image = torch.cat([embed_images(model, normalise(part)) for part in images.split(256)])
    text = embed_texts(model, tokenizer, [caption(facts) for facts in seen])
    similarity = text.view(draws, 64, -1) @ image.view(draws, 64, -1).mT
    quality = {
        "retrieval_64": float((similarity.argmax(-1) == torch.arange(64, device=device)).float().mean())
    }
    for fact, values in {"shape": SHAPES, "state": STATES, "colour": COLOURS, "scene": SCENES}.items():
        prompts = [f"a photo of on {v}" if fact == "scene" else f"a photo of {v}" for v in values]
        named = (image @ embed_texts(model, tokenizer, prompts).T).argmax(-1).tolist()
        truth = [list(values).index(getattr(facts, fact)) for facts in seen]
        quality[fact] = float(np.mean(np.equal(named, truth)))
    return {key: round(value, 4) for key, value in quality.items()}


if __name__ == "__main__":
    pretrain(auto_cli(PretrainConfig, as_positional=False))
