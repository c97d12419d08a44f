"""A short training on the user's own clips, kept only where clips that were held out are named better.

A quarter of the clips of every class with three or more (one at least) is held out. Episodes are drawn from
the rest, every query compared with other clips of its class; the state that names the held-out clips best is
kept, the untuned one among the candidates. So it cannot be worse on them; whether it is better on other
videos is what a handful of clips cannot promise.

What trains is light: a method's adapters where it has some, otherwise low-rank changes of its visual tower
(LoRA), which are merged into its matrices at the end; and what the method has beside the encoder.
"""

import copy
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int, UInt8
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from openfsar.classifier.encode import Resize, Video, read_clip
from openfsar.classifier.examples import Examples
from openfsar.classifier.fitted import Wishes, fit_examples
from openfsar.encoders.adapters.lora import add_lora, merge_lora
from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.trainable import trainable_parameters
from openfsar.episode import Episode, FrameFeatures
from openfsar.methods.base import FewShotMethod
from openfsar.methods.memory import training_budget

STEPS, EVERY, PATIENCE = 60, 10, 3
"""Training episodes, episodes between two looks at the held-out clips, looks without gain before it ends."""
WAY, SHOT = 5, 3
"""Of a training episode, at most."""
RATE, WARMUP, NORM = 1e-3, 5, 1.0
"""Of AdamW: peak learning rate, steps it takes to get there, and the longest gradient."""
TRIED = 2
"""Steps after which it is said how long the rest will take."""
RANK = 8
CLIPS = 400
"""In memory at most: 2.4 MB each at 8 frames of 224 pixels."""
LIGHT = 0.25
"""Share of the tower's parameters above which training is not light."""


@dataclass(frozen=True, eq=False)
class Tuned:
    """What tuning did. Accuracies are those of held-out clips, 0..1."""

    method: FewShotMethod
    steps: int
    """Training episodes behind the state that was kept; 0 where none was better than the untuned one."""
    clips: int
    """Held out."""
    before: float
    after: float
    seconds: float

    def __str__(self) -> str:
        what = f"after {self.steps} episodes" if self.steps else "left as it was"
        return (
            f"{what}: {100 * self.before:.0f} -> {100 * self.after:.0f} % of {self.clips} held-out clips, "
            f"{self.seconds:.0f} s"
        )


@dataclass(frozen=True)
class Pool:
    """Clips in memory, at twice the frames, so that an episode can choose one of each pair."""

    clips: UInt8[Tensor, "V T C H W"]
    labels: Int[Tensor, " V"]
    held: Int[Tensor, " Q"]
    """Numbers of the clips that are held out."""
    rest: Int[Tensor, " S"]
    names: tuple[str, ...]

    def still(self, numbers: Int[Tensor, " B"]) -> UInt8[Tensor, "B T C H W"]:
        """Every other frame."""
        return self.clips[numbers, 1::2]

    def jittered(self, numbers: Int[Tensor, " B"], generator: torch.Generator) -> UInt8[Tensor, "B T C H W"]:
        """One frame of each pair, at random."""
        pairs = self.clips[numbers].unflatten(1, (-1, 2))
        chosen = torch.randint(2, pairs.shape[:2], generator=generator)
        return pairs[torch.arange(len(numbers))[:, None], torch.arange(pairs.shape[1]), chosen]


def tune_on(
    method: FewShotMethod,
    videos: Sequence[Video],
    names: Sequence[str],
    *,
    frames: int,
    resize: Resize,
    wishes: Wishes,
    workers: int,
    progress: bool,
    seed: int = 0,
) -> Tuned:
    """Train a copy of the method on labelled videos, and return it or the method itself.

    Raises:
        ValueError: Too few clips to hold any out, or nothing in the method that trains lightly.
        VideoError: A video cannot be read.
    """
    began = time.monotonic()
    generator = torch.Generator().manual_seed(seed)
    pool = _pool(method, videos, names, generator, frames=frames, resize=resize, workers=workers)
    device = next(method.parameters()).device
    learner = copy.deepcopy(method)
    low_rank = _lighten(learner)
    parameters = list(trainable_parameters(learner).values())
    optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=STEPS, pct_start=WARMUP / STEPS, cycle_momentum=False
    )
    first = best = _measure(method, pool, wishes)
    kept, state, since = 0, _state(learner), 0
    budget = training_budget(learner, WAY * (SHOT + 1), frames, device=device)
    learner.recompute_activations(not budget.fits)
    started = time.monotonic()
    for step in _watched(range(1, STEPS + 1), progress):
        learner.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * STEPS + step)
            loss = learner(_episode(pool, generator).to(device))["loss"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, NORM)
        optimizer.step()
        schedule.step()
        if step == TRIED and progress:
            _tell((time.monotonic() - started) / TRIED)
        if step % EVERY == 0:
            found = _measure(learner.eval(), pool, wishes)
            since += 1
            if found > best:
                best, kept, state, since = found, step, _state(learner), 0
            if since == PATIENCE:
                break
    learner.load_state_dict(state, strict=False)
    learner.recompute_activations(False)
    seconds = time.monotonic() - began
    if kept == 0:
        return Tuned(method, 0, len(pool.held), first[0], first[0], seconds)
    if low_rank:
        _merge(learner)
    learner.requires_grad_(False)
    return Tuned(learner.eval(), kept, len(pool.held), first[0], best[0], seconds)


def _pool(
    method: FewShotMethod,
    videos: Sequence[Video],
    names: Sequence[str],
    generator: torch.Generator,
    *,
    frames: int,
    resize: Resize,
    workers: int,
) -> Pool:
    groups: dict[str, list[int]] = {}
    order: list[int] = torch.randperm(len(names), generator=generator).tolist()
    for number in order:
        groups.setdefault(names[number], []).append(number)
    groups = {name: group for name, group in sorted(groups.items()) if len(group) >= 3}
    if len(groups) < 2:
        raise ValueError(
            "tune=True needs at least 3 clips of at least 2 classes, one of each to be held out; "
            f"there are {len(groups)} such classes: record more clips, or leave tune=False"
        )
    few = list(groups)[: CLIPS // 3]
    groups = {name: groups[name][: max(3, CLIPS // len(few))] for name in few}
    size = method.encoder.image_size
    chosen = [number for group in groups.values() for number in group]
    with ThreadPoolExecutor(workers) as threads:
        clips = threads.map(
            lambda i: read_clip(videos[i], frames=2 * frames, size=size, resize=resize), chosen
        )
        pixels = torch.stack(list(clips))
    labels = [label for label, group in enumerate(groups.values()) for _ in group]
    kept = [place >= max(1, len(group) // 4) for group in groups.values() for place in range(len(group))]
    rest = torch.tensor(kept)
    return Pool(pixels, torch.tensor(labels), (~rest).nonzero()[:, 0], rest.nonzero()[:, 0], tuple(groups))


def _lighten(learner: FewShotMethod) -> bool:
    """Leave trainable what is light; whether that is a low-rank change."""
    vision = {id(p): p.numel() for p in learner.encoder.vision.parameters()}
    encoder = {id(p) for p in learner.encoder.parameters()}
    inside = sum(vision.get(id(p), 0) for p in trainable_parameters(learner).values())
    adapted = 0 < inside <= LIGHT * sum(vision.values())
    for parameter in learner.parameters():
        if id(parameter) in encoder and not (adapted and id(parameter) in vision):
            parameter.requires_grad_(False)
    low_rank = not adapted and isinstance(learner.encoder, ClipEncoder)
    if low_rank:
        add_lora(learner.encoder.vision, RANK)
    if not trainable_parameters(learner):
        raise ValueError(
            f"tune=True finds nothing light to train in {type(learner).__name__} on "
            f"{learner.encoder.name!r}; use a CLIP for encoder, or a method with adapters such as 'ma-fsar'"
        )
    return low_rank


def _merge(learner: FewShotMethod) -> None:
    """Low-rank changes into the matrices; from now on the tower is a trained one and is stored as such."""
    vision = learner.encoder.vision
    merge_lora(vision)
    ids = {id(parameter) for parameter in vision.parameters()}
    learner.learnt |= {name for name, parameter in learner.named_parameters() if id(parameter) in ids}
    if "tune" in learner.spec.options:
        learner.spec = replace(learner.spec, options={**learner.spec.options, "tune": "full"})


def _episode(pool: Pool, generator: torch.Generator) -> Episode:
    """A few classes; of each one clip asks, and up to ``SHOT`` others answer."""
    classes = torch.randperm(len(pool.names), generator=generator)[:WAY]
    support, query = [], []
    for label in classes.tolist():
        own = pool.rest[pool.labels[pool.rest] == label]
        own = own[torch.randperm(len(own), generator=generator)]
        query.append(own[:1])
        support.append(own[1 : 1 + SHOT])
    counts = torch.tensor([len(group) for group in support])
    places = torch.arange(len(classes))
    return Episode(
        pool.jittered(torch.cat(support), generator),
        places.repeat_interleave(counts),
        pool.jittered(torch.cat(query), generator),
        places,
        tuple(pool.names[label] for label in classes.tolist()),
        pool.names,
    )


@torch.no_grad()
def _measure(method: FewShotMethod, pool: Pool, wishes: Wishes) -> tuple[float, float]:
    """Accuracy on the held-out clips, then minus the loss: what the classifier would say from the rest."""
    labels = pool.labels[pool.rest]
    text = method.text(pool.names) if method.support_reads_text else None
    features = _encode(method, pool.still(pool.rest), None if text is None else text[labels.to(text.device)])
    asked = features if text is None else _encode(method, pool.still(pool.rest))
    names = tuple(pool.names[label] for label in labels.tolist())
    nothing = ("",) * len(names)
    fitted = fit_examples(method, Examples(features, asked, names, nothing, (b"",) * len(names)), wishes)
    held = _encode(method, pool.still(pool.held)).to(next(method.parameters()).device)
    scores, truth = fitted.scores(held), pool.labels[pool.held]
    likely = torch.from_numpy(fitted.probabilities(scores)).log().clamp(min=-20)
    right = float((scores.fused.argmax(-1) == truth).float().mean())
    return right, float(likely[torch.arange(len(truth)), truth].mean())


def _encode(
    method: FewShotMethod, clips: UInt8[Tensor, "B T C H W"], text: Float[Tensor, "B D"] | None = None
) -> FrameFeatures:
    """Eight videos at a time, to the CPU."""
    device = next(method.parameters()).device
    texts = [None] * len(clips) if text is None else text.split(8)
    parts = [
        method.encode(part.to(device), words).to("cpu")
        for part, words in zip(clips.split(8), texts, strict=False)
    ]
    return type(parts[0]).cat(parts)


def _state(learner: FewShotMethod) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in trainable_parameters(learner).items()}


def _tell(seconds: float) -> None:
    """How long training will take at most, from the time of a step."""
    whole = seconds * STEPS
    took = f"{whole / 60:.0f} min" if whole >= 90 else f"{whole:.0f} s"
    Console(stderr=True).print(f"tuning takes about {took}, less where held-out clips stop gaining")


def _watched(steps: range, progress: bool) -> Iterable[int]:
    """With a bar that says how long it will take."""
    console = Console(stderr=True)
    return track(
        steps, "tuning", console=console, transient=True, disable=not (progress and console.is_terminal)
    )
