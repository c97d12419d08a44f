"""Trains ToyResNet: an ImageNet-style ResNet of 1.2 M parameters on labelled stills of the toy world.

    python -m openfsar.toy.pretrain_resnet --out toyresnet   # one CPU core: twenty minutes

The result is a folder in the Hugging Face layout, read by exactly the code that reads microsoft/resnet-50.
It has met no sentence, only labels: one linear head per fact (``Facts``) reads the features averaged over
space, place included. The last map is 3 by 3 and an average forgets where its cells are, so the network has
to write the place into its channels, as zero padding lets it (Islam et al., arXiv 2001.08248); the features
of single frames, which are these averages, then tell where an object goes. A run that is killed continues
from its last checkpoint.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from jsonargparse import auto_cli
from torch import Tensor, nn
from transformers import ResNetConfig, ResNetModel

from openfsar.toy.captions import Subject
from openfsar.toy.facts import Facts
from openfsar.toy.stills import pool_seeds, render_pool, stills
from openfsar.toy.training import (
    MEAN,
    STD,
    adamw,
    normalise,
    pace,
    progress_bar,
    resume,
    save_checkpoint,
)
from openfsar.toy.world import FRAME


@dataclass(frozen=True)
class PretrainResNetConfig:
    """One pre-training run; every number of it is written next to the weights."""

    out: Path = Path("toyresnet")
    steps: int = 3200
    batch: int = 32
    lr: float = 2e-3
    weight_decay: float = 0.05
    warmup: int = 100
    pool: int = 16_000
    """Stills rendered once, at the size of the world's frames, and drawn from again."""
    width: int = 32
    """Channels of the stem and the first stage; every later stage doubles them."""
    judged: int = 1280
    """Stills per kind of figure that the quality is measured on."""
    seed: int = 0
    workers: int = 0
    """Processes that render the pool; 0 renders it in the one that trains."""
    checkpoint_every: int = 200
    device: str = "cuda" if torch.cuda.is_available() else "cpu"


def build_resnet(width: int) -> ResNetModel:
    """Four stages of one basic block each, with random weights: maps of 24, 12, 6 and 3 pixels."""
    sizes = [width, 2 * width, 4 * width, 8 * width]
    return ResNetModel(
        ResNetConfig(
            embedding_size=width,
            hidden_sizes=sizes,
            depths=[1, 1, 1, 1],
            layer_type="basic",
            hidden_act="relu",
        )
    )


def pooled(model: ResNetModel, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
    """Features of the last stage, averaged over space."""
    return model(pixels.contiguous(memory_format=torch.channels_last)).pooler_output.flatten(1)


def pretrain(config: PretrainResNetConfig) -> None:
    """Render the pool, train, and write the model folder with its measured quality."""
    started = time.time()
    config.out.mkdir(parents=True, exist_ok=True)
    images, subjects = render_pool(config.pool, seed=config.seed, workers=config.workers, side=FRAME)
    torch.manual_seed(config.seed)
    model = build_resnet(config.width)
    facts = Facts(subjects, 8 * config.width)
    learner = nn.ModuleDict({"resnet": model, "facts": facts})
    learner.to(config.device)
    learner.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  (a fifth faster on a CPU)
    optimizer = adamw(learner, config.lr, config.weight_decay)
    step, spent = resume(config.out, learner, optimizer)

    with progress_bar() as progress:
        task = progress.add_task("training", total=config.steps, completed=step)
        while step < config.steps:
            rng = np.random.default_rng([config.seed, step])  # a step's data depend on its number alone
            chosen = rng.integers(len(images), size=config.batch)
            pixels = normalise(torch.from_numpy(images[chosen]).to(config.device))
            pixels = pixels * torch.from_numpy(rng.uniform(0.8, 1.2, (config.batch, 1, 1, 1))).to(pixels)
            rate = config.lr * pace(step, config.steps, config.warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = facts.loss(pooled(model, pixels), [subjects[i] for i in chosen])
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
            optimizer.step()
            step += 1
            progress.update(task, completed=step, description=f"loss {loss.item():.3f}")
            if step % config.checkpoint_every == 0 or step == config.steps:
                elapsed = spent + time.time() - started
                save_checkpoint(config.out, learner, optimizer, step, elapsed)
                print(json.dumps({"step": step, "loss": round(loss.item(), 4), "seconds": round(elapsed)}))
    write_folder(config.out, model)
    elapsed = spent + time.time() - started
    quality = {
        "new_stills": measure(model, facts, *_new_stills(config)),
        "held_out_kinds": measure(model, facts, *stills(range(config.judged), held_out=True, side=FRAME)),
    }
    report = {"settings": {key: value for key, value in asdict(config).items() if key != "out"}}
    report |= {"quality": quality, "seconds": round(elapsed)}
    (config.out / "pretraining.json").write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(quality, indent=1))


def _new_stills(config: PretrainResNetConfig) -> tuple[UInt8[np.ndarray, "B H W C"], list[Subject]]:
    """Stills drawn like the pool's, of the seeds that follow."""
    seeds = pool_seeds(config.pool + config.judged, config.seed)
    return stills(seeds[config.pool :], side=FRAME)


def write_folder(folder: Path, model: ResNetModel) -> None:
    """The model in the Hugging Face layout, preprocessing included."""
    model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    model.save_pretrained(folder)
    preprocessing = {
        "do_normalize": True,
        "do_resize": True,
        "resample": 3,
        "size": {"shortest_edge": FRAME},
        "crop_pct": 1.0,
        "image_mean": [MEAN] * 3,
        "image_std": [STD] * 3,
        "image_processor_type": "ConvNextImageProcessor",
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=1) + "\n")


@torch.inference_mode()
def measure(
    model: ResNetModel, facts: Facts, images: UInt8[np.ndarray, "B H W C"], subjects: list[Subject]
) -> dict[str, float]:
    """Top-1 rate of every fact's head, on the images that show the fact."""
    model.eval()
    device = model.device
    parts = torch.from_numpy(images).split(256)
    image = torch.cat([pooled(model, normalise(part.to(device))) for part in parts])
    return {fact: round(rate, 4) for fact, rate in facts.accuracy(image, subjects).items()}


if __name__ == "__main__":
    pretrain(auto_cli(PretrainResNetConfig, as_positional=False))
