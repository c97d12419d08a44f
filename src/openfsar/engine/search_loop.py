"""The steps of a search for SloshNet's cell: two optimisers, one checkpoint (see search.py)."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from itertools import islice
from math import isfinite
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.utils.data import DataLoader

from openfsar.data.dataset import VideoDataset, seeded
from openfsar.data.episodes import EpisodeDataset, EpisodeSampler
from openfsar.data.files import clear_partial
from openfsar.engine.checkpoint import (
    Checkpoint,
    CheckpointError,
    Entry,
    History,
    load_checkpoint,
    load_trained_state,
    save_checkpoint,
    trained_state,
)
from openfsar.engine.live import TrainingDisplay
from openfsar.engine.loop import CHANGEABLE, TrainingError, join_processes
from openfsar.engine.optim import build_optimizer, learning_rate, set_learning_rate
from openfsar.engine.recipe import Recipe, RecipeError
from openfsar.episode import Episode
from openfsar.methods.sloshnet import SloshNet


class SearchLoop:
    """One search: the moving parts, and the steps that move them.

    Args:
        parts: Videos for both to learn from, or those for the weights and those for the architecture.
        rate: Learning rate of the architecture.

    Raises:
        RecipeError: several processes were started.
    """

    def __init__(
        self,
        method: SloshNet,
        recipe: Recipe,
        parts: Sequence[VideoDataset],
        out: Path,
        *,
        rate: float,
    ) -> None:
        state = join_processes()
        if state.num_processes > 1:
            raise RecipeError(f"a search runs in one process, and there are {state.num_processes}; start one")
        assert state.device is not None  # as soon as there is a state
        self.device = state.device
        self.method, self.recipe, self.parts, self.out = method.to(self.device), recipe, parts, out
        self.settings = {"parts": len(parts), "rate": rate}
        self.architecture = list(method.architecture().values())
        self.optimizers: dict[str, Optimizer] = {
            "weights": _learner(method, recipe),
            "architecture": Adam(self.architecture, lr=rate, betas=(0.5, 0.999), weight_decay=1e-3),
        }
        self.weights = [p for group in self.optimizers["weights"].param_groups for p in group["params"]]
        self.step = 0
        self.history = History()

    @property
    def last(self) -> Path:
        return self.out / "search.pt"

    def go(self, *, resume: bool, progress: bool) -> None:
        """From the checkpoint, or from the start, to the last step."""
        recipe = self.recipe
        if resume and self.last.exists():
            self._restore(load_checkpoint(self.last))
        else:
            self.last.unlink(missing_ok=True)
            recipe.save(self.out / "search.yaml")
        clear_partial(self.out)
        feeds = [self._feed(part) for part in self.parts]
        per_step = recipe.episodes_per_step * len(self.parts)
        with TrainingDisplay(self.step, recipe.steps, "episodes", per_step, progress=progress) as display:
            while self.step < recipe.steps:
                entry = self._learn(feeds)
                self.step += 1
                self.history.train.append({"step": self.step, **entry})
                display.show(self.step, entry)
                if self.step % recipe.checkpoint_every == 0 or self.step == recipe.steps:
                    self._checkpoint()
        self.method.eval()

    def _feed(self, part: VideoDataset) -> Iterator[tuple[int, Episode]]:
        """Numbered episodes from the present step on, read ahead by workers."""
        recipe = self.recipe
        sampler = EpisodeSampler.of(
            part, way=recipe.way, shot=recipe.shot, query=recipe.query, seed=recipe.seed
        )
        count = recipe.steps * recipe.episodes_per_step
        numbers = range(self.step * recipe.episodes_per_step, count)
        loader = DataLoader(
            EpisodeDataset(part, sampler, count),
            batch_size=None,
            sampler=numbers,
            num_workers=recipe.workers,
            generator=torch.Generator(),  # the loader must not draw from the one that dropout reads
        )
        return zip(numbers, loader, strict=True)

    def _learn(self, feeds: Sequence[Iterator[tuple[int, Episode]]]) -> Entry:
        """One step of both; what it reports is that of the episodes the weights learn from."""
        self.method.train()
        set_learning_rate(self.optimizers["weights"], learning_rate(self.step, self.recipe))
        if len(feeds) == 1:
            entry = self._gradients(feeds[0], [*self.weights, *self.architecture])
            self._take("weights", "architecture")
            return entry
        ahead = self._gradients(feeds[1], self.architecture)
        self._take("architecture")
        entry = self._gradients(feeds[0], self.weights)
        self._take("weights")
        return entry | {f"architecture_{name}": value for name, value in ahead.items()}

    def _gradients(self, feed: Iterator[tuple[int, Episode]], parameters: list[nn.Parameter]) -> Entry:
        """Of the mean loss over the episodes of a step, into ``grad`` of these parameters and of no other."""
        count = self.recipe.episodes_per_step
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")
        sums: dict[str, float] = {}
        for number, episode in islice(feed, count):
            torch.manual_seed(seeded(self.recipe.seed, number).initial_seed())
            with autocast:
                report: dict[str, Tensor] = self.method(episode.to(self.device))
            if not report["loss"].isfinite():
                raise TrainingError(
                    f"the loss is not finite in step {self.step + 1}; lower lr, set clip_norm, or use "
                    "precision=fp32"
                )
            # not backward(): a parameter that shall not learn here costs nothing
            for parameter, gradient in zip(
                parameters,
                torch.autograd.grad(report["loss"] / count, parameters, materialize_grads=True),
                strict=True,
            ):
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
            for name, value in report.items():
                sums[name] = sums.get(name, 0.0) + value.item() / count
        return dict(sums)

    def _take(self, *names: str) -> None:
        if "weights" in names and self.recipe.clip_norm:
            norm = nn.utils.clip_grad_norm_(self.weights, self.recipe.clip_norm)
            if not isfinite(norm.item()):
                raise TrainingError(f"the gradient is not finite in step {self.step + 1}; lower lr")
        for name in names:
            self.optimizers[name].step()
            self.optimizers[name].zero_grad()

    def _checkpoint(self) -> None:
        checkpoint = Checkpoint(
            step=self.step,
            weights=trained_state(self.method),
            optimizer={name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            scaler={},
            history=self.history,
            recipe=asdict(self.recipe) | self.settings,
        )
        save_checkpoint(checkpoint, self.last)

    def _restore(self, checkpoint: Checkpoint) -> None:
        now, then = asdict(self.recipe) | self.settings, checkpoint.recipe
        changed = [key for key in now if key not in CHANGEABLE and now[key] != then.get(key)]
        if changed:
            there = ", ".join(f"{key}={then.get(key)} instead of {now[key]}" for key in changed)
            raise CheckpointError(
                f"{self.out} holds a search with {there}; choose another folder, or start over without "
                "resuming"
            )
        load_trained_state(self.method, checkpoint.weights)
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(checkpoint.optimizer[name])
        self.step, self.history = checkpoint.step, checkpoint.history


def _learner(method: SloshNet, recipe: Recipe) -> Optimizer:
    """The recipe's optimiser of everything but the architecture, whose learning rate is not the recipe's."""
    architecture = method.architecture()
    others = {
        start: factor
        for start, factor in recipe.lr_factors.items()
        if not any(name.startswith(start) for name in architecture)
    }
    for parameter in architecture.values():
        parameter.requires_grad_(False)
    optimizer = build_optimizer(method, replace(recipe, lr_factors=others))
    for parameter in architecture.values():
        parameter.requires_grad_(True)
    return optimizer
