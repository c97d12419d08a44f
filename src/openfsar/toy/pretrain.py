"""Trains ToyCLIP: a real CLIP of 1.7 M parameters on image-caption pairs of the toy world.

    python -m openfsar.toy.pretrain --out toyclip            # two CPU cores: hours; any GPU: minutes

The result is a folder in the Hugging Face CLIP layout, read by exactly the code that reads
openai/clip-vit-base-patch16. A run that is killed continues from its last checkpoint.
"""

import json
import math
import os
import time
from dataclasses import asdict, dataclass, fields
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
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from openfsar.toy.captions import TEMPLATES, Subject, caption, subject
from openfsar.toy.motions import STEPS
from openfsar.toy.stills import SIDE, any_shot, render_pool, still_pair

CONTEXT = 64
"""Longest caption in tokens."""
POSITION_SIZE = 0.3
"""Amplitude of the position embeddings that training starts from."""
MEAN, STD = 0.45, 0.25
"""ToyCLIP's own normalisation, one value for all channels; written to preprocessor_config.json."""


@dataclass(frozen=True)
class PretrainConfig:
    """One pre-training run; every number of it is written next to the weights."""

    out: Path = Path("toyclip")
    steps: int = 4000
    facts_first: int = 2500
    """Steps at the start in which images are only asked for facts, without any text (see ``Facts``)."""
    batch: int = 64
    lr: float = 1e-3
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
    compiled: bool = False
    """Compile the visual tower: a quarter faster on a CPU, where there is a C++ compiler."""
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


def _progress() -> Progress:
    return Progress(*Progress.get_default_columns()[:-1], TimeRemainingColumn(elapsed_when_finished=True))


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
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=config.width))
    # CLIP's own start, 0.02, is a tenth of what the patches bring: where things are would be learnt very late
    table = model.vision_model.embeddings.position_embedding.weight
    with torch.no_grad():
        table[1:] = POSITION_SIZE * grid_waves(SIDE // config.patch, config.width)
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


def contrastive_loss(
    image: Float[Tensor, "B D"],
    text: Float[Tensor, "U D"],
    scale: Float[Tensor, ""],
    said: Int[Tensor, " B"],
) -> Float[Tensor, ""]:
    """CLIP's loss in both directions, on unit embeddings: image ``b`` goes with text ``said[b]``.

    Several images may go with one text; each of them is then as good an answer to it.
    """
    logits = scale.exp() * image @ text.T
    answers = F.one_hot(said, len(text)).T.float()
    answers = answers / answers.sum(1, keepdim=True)
    return (F.cross_entropy(logits, said) + F.cross_entropy(logits.T, answers)) / 2


class Facts(nn.Module):
    """A free vector per value of every fact, to guess it from an image embedding; thrown away in the end.

    Contrast with captions alone gets stuck: as long as images do not show where things are, the text tower
    makes all words for places alike, and then images have nothing to gain from showing it. After 1,000 steps
    "on the left" and "at the top" were at a cosine of 0.999. Free vectors cannot fall together, and an image
    tower that has met them first gives the text tower something to read.
    """

    def __init__(self, subjects: list[Subject], width: int) -> None:
        super().__init__()
        self.values: dict[str, list[str]] = {}
        for seen in subjects:
            for fact, value in seen.facts().items():
                self.values.setdefault(fact, []).append(value)
        self.values = {fact: sorted(set(values)) for fact, values in self.values.items()}
        self.guess = nn.ModuleDict({fact: nn.Linear(width, len(v)) for fact, v in self.values.items()})

    def loss(self, image: Float[Tensor, "B D"], subjects: list[Subject]) -> Float[Tensor, ""]:
        """Cross entropy of the guesses, the sum over facts."""
        losses = []
        for fact, values in self.values.items():
            named = [seen.facts().get(fact) for seen in subjects]
            truth = [values.index(value) if value else -100 for value in named]
            if any(named):
                losses.append(F.cross_entropy(self.guess[fact](image), torch.tensor(truth).to(image.device)))
        return torch.stack(losses).sum()


class Captions:
    """The texts of one batch: a sentence per image, and a short text for every still fact that can be named.

    Sentences alone leave most facts unlearnt: scene, colour and state already tell most pairs of a batch
    apart, so little is gained by reading shape or place. A caption with one fact leaves nothing else.
    """

    def __init__(self, subjects: list[Subject], rng: np.random.Generator) -> None:
        facts = [seen.facts() for seen in subjects]
        self.images: list[list[int]] = [list(range(len(subjects)))]
        """Per group of texts that compete, the images they are about."""
        said = [[caption(seen, rng) for seen in subjects]]
        for fact in dict.fromkeys(name for named in facts for name in named):
            wording = str(rng.choice(TEMPLATES))
            self.images.append([i for i, named in enumerate(facts) if fact in named])
            said.append([wording.format(named[fact]) for named in facts if fact in named])
        self.texts = [list(dict.fromkeys(group)) for group in said]
        """Per group, every text once."""
        self.said = [
            torch.tensor([texts.index(text) for text in group])
            for texts, group in zip(self.texts, said, strict=True)
        ]
        """Per group and image of it, the number of its text."""

    def loss(
        self, model: CLIPModel, tokenizer: CLIPTokenizer, image: Float[Tensor, "B D"]
    ) -> Float[Tensor, ""]:
        """The contrastive loss of the sentences plus the mean of those of the facts; rows have length 1."""
        facts = embed_texts(model, tokenizer, [text for group in self.texts[1:] for text in group])
        groups = [
            embed_texts(model, tokenizer, self.texts[0]),
            *facts.split([len(group) for group in self.texts[1:]]),
        ]
        losses = [
            contrastive_loss(image[images], text, model.logit_scale, said.to(image.device))
            for images, text, said in zip(self.images, groups, self.said, strict=True)
            if len(text) > 1
        ]
        return losses[0] + torch.stack(losses[1:]).mean()


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
    nn.Module.to(model, config.device)
    images, subjects = render_pool(config.pool, seed=config.seed, workers=config.workers)
    facts = Facts(subjects, config.width).to(config.device)
    learner = nn.ModuleDict({"clip": model, "facts": facts})
    decay = [p for p in learner.parameters() if p.ndim > 1]
    rest = [p for p in learner.parameters() if p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": config.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.98), eps=1e-6)
    step, spent = _resume(config, learner, optimizer)
    if config.compiled:
        model.vision_model.compile()

    with _progress() as progress:
        task = progress.add_task("training", total=config.steps, completed=step)
        while step < config.steps:
            rng = np.random.default_rng([config.seed, step])  # a step's data depend on its number alone
            chosen = rng.integers(len(images), size=config.batch)
            seen = [subjects[i] for i in chosen]
            pixels = normalise(torch.from_numpy(images[chosen]).to(config.device))
            pixels = pixels * torch.from_numpy(rng.uniform(0.8, 1.2, (config.batch, 1, 1, 1))).to(pixels)
            rate = min(1.0, (step + 1) / config.warmup) * 0.5 * (1 + math.cos(math.pi * step / config.steps))
            for group in optimizer.param_groups:
                group["lr"] = config.lr * rate
            embedded = embed_images(model, pixels)
            loss = facts.loss(embedded, seen)
            if step >= config.facts_first:
                captions = Captions(seen, rng)
                loss = loss + captions.loss(model, tokenizer, F.normalize(embedded, dim=-1))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(100))
            step += 1
            progress.update(task, completed=step, description=f"loss {loss.item():.3f}")
            if step % config.checkpoint_every == 0 or step == config.steps:
                elapsed = spent + time.time() - started
                _checkpoint(config, learner, optimizer, step, elapsed)
                print(json.dumps({"step": step, "loss": round(loss.item(), 4), "seconds": round(elapsed)}))
    write_folder(config.out, model, tokenizer)
    quality = measure(model, tokenizer) | {"seconds": round(spent + time.time() - started)}
    settings = {key: value for key, value in asdict(config).items() if key != "out"}
    (config.out / "pretraining.json").write_text(
        json.dumps({"settings": settings, "quality": quality}, indent=1)
    )
    print(json.dumps(quality, indent=1))


def normalise(images: UInt8[Tensor, "B H W C"]) -> Float[Tensor, "B C H W"]:
    """Bytes (B, H, W, 3) to ToyCLIP's input (B, 3, H, W)."""
    return ((images.float() / 255 - MEAN) / STD).permute(0, 3, 1, 2)


def _resume(
    config: PretrainConfig, learner: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, float]:
    path = config.out / "checkpoint.pt"
    if not path.exists():
        return 0, 0.0
    state = torch.load(path, weights_only=True, map_location=config.device)
    learner.load_state_dict(state["learner"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["seconds"]


def _checkpoint(
    config: PretrainConfig, learner: nn.Module, optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    path = config.out / "checkpoint.pt"
    state = {
        "learner": learner.state_dict(),
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

    ``retrieval_64``: caption to image among 64 held-out pairs, mean over ``draws`` draws. The others:
    zero-shot naming of one fact of those images, where they show it.
    """
    model.eval()
    device = model.device
    pairs = [still_pair(seed, held_out=True) for seed in range(64 * draws)]
    images = torch.from_numpy(np.stack([image for image, _ in pairs])).to(device)
    seen = [facts for _, facts in pairs]
    image = torch.cat([embed_images(model, normalise(part)) for part in images.split(256)])
    image = F.normalize(image, dim=-1)
    text = embed_texts(model, tokenizer, [caption(facts) for facts in seen])
    similarity = text.view(draws, 64, -1) @ image.view(draws, 64, -1).mT
    quality = {
        "retrieval_64": float((similarity.argmax(-1) == torch.arange(64, device=device)).float().mean())
    }
    for fact in [field.name for field in fields(Subject) if field.name != "action"]:
        named = [(i, facts.facts()[fact]) for i, facts in enumerate(seen) if fact in facts.facts()]
        values = sorted({value for _, value in named})
        if not values:  # no object of these kinds is ever stretched
            continue
        prompts = embed_texts(model, tokenizer, [f"a photo of {value}" for value in values])
        guess = (image[[i for i, _ in named]] @ prompts.T).argmax(-1).tolist()
        quality[fact] = float(
            np.mean([values[g] == value for g, (_, value) in zip(guess, named, strict=True)])
        )
    return {key: round(value, 4) for key, value in quality.items()}


if __name__ == "__main__":
    pretrain(auto_cli(PretrainConfig, as_positional=False))
