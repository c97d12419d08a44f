"""Trains ToyCLIP: a real CLIP of 1.7 M parameters on image-caption pairs of the toy world.

    python -m openfsar.toy.pretrain --out toyclip            # two CPU cores: hours; any GPU: minutes

The result is a folder in the Hugging Face CLIP layout, read by exactly the code that reads
openai/clip-vit-base-patch16. A run that is killed continues from its last checkpoint.
"""

import json
import math
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from jsonargparse import auto_cli
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel, CLIPTokenizer

from openfsar.toy.captions import TEMPLATES, Subject, caption
from openfsar.toy.facts import Facts
from openfsar.toy.stills import render_pool, still_pair
from openfsar.toy.toyclip import build_model, build_tokenizer, embed_images, embed_texts, write_folder
from openfsar.toy.training import adamw, normalise, pace, progress_bar, resume, save_checkpoint


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
    model = build_model(
        tokenizer, width=config.width, layers=config.layers, heads=config.heads, patch=config.patch
    )
    nn.Module.to(model, config.device)
    images, subjects = render_pool(config.pool, seed=config.seed, workers=config.workers)
    facts = Facts(subjects, config.width).to(config.device)
    learner = nn.ModuleDict({"clip": model, "facts": facts})
    optimizer = adamw(learner, config.lr, config.weight_decay)
    step, spent = resume(config.out, learner, optimizer)
    if config.compiled:
        model.vision_model.compile()

    with progress_bar() as progress:
        task = progress.add_task("training", total=config.steps, completed=step)
        while step < config.steps:
            rng = np.random.default_rng([config.seed, step])  # a step's data depend on its number alone
            chosen = rng.integers(len(images), size=config.batch)
            seen = [subjects[i] for i in chosen]
            pixels = normalise(torch.from_numpy(images[chosen]).to(config.device))
            pixels = pixels * torch.from_numpy(rng.uniform(0.8, 1.2, (config.batch, 1, 1, 1))).to(pixels)
            rate = config.lr * pace(step, config.steps, config.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
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
                save_checkpoint(config.out, learner, optimizer, step, elapsed)
                print(json.dumps({"step": step, "loss": round(loss.item(), 4), "seconds": round(elapsed)}))
    write_folder(config.out, model, tokenizer)
    quality = measure(model, tokenizer) | {"seconds": round(spent + time.time() - started)}
    settings = {key: value for key, value in asdict(config).items() if key != "out"}
    (config.out / "pretraining.json").write_text(
        json.dumps({"settings": settings, "quality": quality}, indent=1)
    )
    print(json.dumps(quality, indent=1))


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
