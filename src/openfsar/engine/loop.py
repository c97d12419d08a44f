"""The training loop: one for CPU, one GPU and many processes; after a kill it goes on as if nothing had been.

A batch is an episode, or labelled clips. Step ``s`` (from 0) learns from batches ``s E`` to ``s E + E - 1``,
and every random number of batch ``i``, its dropout included, derives from the seed and ``i``. So the state of
a run is the number of steps done, the trained weights and the optimiser; and how many processes divide the
batches of a step among themselves changes nothing but the order of additions.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict
from datetime import timedelta
from math import inf, isfinite
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, is_tensorboard_available, parse_flag_from_env
from safetensors.torch import save
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from openfsar import hub
from openfsar.data.files import clear_partial, whole_file
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
from openfsar.engine.optim import build_optimizer, learning_rate, set_learning_rate
from openfsar.engine.recipe import Recipe, RecipeError
from openfsar.episode import ClipBatch, Episode
from openfsar.methods.base import FewShotMethod

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}
"""Names of a recipe and of accelerate."""

CHANGEABLE = {"workers", "cache", "tracker", "checkpoint_every", "recompute_blocks", "choose_text_share"}
"""What may differ between a run and its continuation: it has no say in the weights."""

LIMIT = timedelta(hours=12)
"""How long processes wait for one that makes data or evaluates."""


class TrainingError(ValueError):
    """Training that cannot go on; the message says where the evidence lies."""


Batches = Dataset[Episode] | Dataset[ClipBatch]
Measure = Callable[[torch.device], tuple[float, float]]


class Loop:
    """One training run: the moving parts, and the steps that move them.

    Args:
        batches: ``steps * episodes_per_step`` of them, each a function of its number.
        measure: Accuracy of the present model on the selection classes and half of its 95 % interval, as
            fractions, computed on the device it is given.
        unit: What training speed is counted in, and how many of these a batch holds.
    """

    def __init__(
        self,
        method: FewShotMethod,
        recipe: Recipe,
        batches: Batches,
        measure: Measure,
        out: Path,
        *,
        unit: tuple[str, int] = ("episodes", 1),
        progress: bool,
    ) -> None:
        self.method, self.recipe, self.batches, self.measure, self.out = method, recipe, batches, measure, out
        self.unit = unit
        self.accelerator = start_accelerator(recipe, out)
        self.leads = self.accelerator.is_main_process
        self.progress = progress and self.leads
        self.model, self.optimizer = self.accelerator.prepare(method, build_optimizer(method, recipe))
        self.step = 0
        self.history = History()

    @property
    def last(self) -> Path:
        """The checkpoint."""
        return self.out / "last.pt"

    def run(self, *, resume: bool) -> None:
        """From the checkpoint, or from the start, to the last step or the end of patience."""
        recipe = self.recipe
        if resume and self.last.exists():
            self._restore(load_checkpoint(self.last))
        elif self.leads:
            self.last.unlink(missing_ok=True)
            recipe.save(self.out / "recipe.yaml")
        if self.leads:
            clear_partial(self.out)
        self.accelerator.wait_for_everyone()  # a late process must not resume from the first checkpoint
        unit, size = self.unit
        display = TrainingDisplay(
            self.step, recipe.steps, unit, size * recipe.episodes_per_step, progress=self.progress
        )
        with display:
            if not self.history.validation:
                self._evaluate(display)
                self._checkpoint()
            feed = self._feed()
            while self.step < recipe.steps and not 0 < recipe.patience <= self.history.stale:
                entry = self._learn(feed)
                self.step += 1
                self.history.train.append({"step": self.step, **entry})
                self.accelerator.log({f"train/{key}": value for key, value in entry.items()}, self.step)
                display.show(self.step, entry)
                due = self.step % recipe.eval_every == 0 or self.step == recipe.steps
                if due:
                    self._evaluate(display)
                if due or self.step % recipe.checkpoint_every == 0:
                    self._checkpoint()
        self._leave()

    def _leave(self) -> None:
        """End trackers and the process group, in an order that cannot hang.

        The wrapper of several processes holds the group. Were it the last to do so, torch would free the
        group under the interpreter's lock, for which the group's own thread may be waiting: a deadlock.
        """
        self.model = self.method
        self.accelerator.free_memory()
        self.accelerator.end_training()

    def _share(self, step: int) -> range:
        """Numbers of the batches of a step that are this process's."""
        first, count = step * self.recipe.episodes_per_step, self.recipe.episodes_per_step
        return range(first + self.accelerator.process_index, first + count, self.accelerator.num_processes)

    def _feed(self) -> Iterator[Episode | ClipBatch]:
        """This process's batches from the present step on, read ahead by workers."""
        return iter(
            DataLoader(
                self.batches,
                batch_size=None,
                sampler=[
                    index for step in range(self.step, self.recipe.steps) for index in self._share(step)
                ],
                num_workers=self.recipe.workers,
                generator=torch.Generator(),  # the loader must not draw from the one that dropout reads
            )
        )

    def _learn(self, feed: Iterator[Episode | ClipBatch]) -> Entry:
        """One optimiser step; what it reports is the mean over its batches, in every process."""
        recipe, accelerator, mine = self.recipe, self.accelerator, self._share(self.step)
        rate = learning_rate(self.step, recipe)
        set_learning_rate(self.optimizer, rate)
        self.method.train()
        reports: dict[int, dict[str, Tensor]] = {}
        for index in mine:
            batch = next(feed).to(accelerator.device)
            torch.manual_seed(_batch_seed(recipe.seed, index))
            # processes exchange gradients once a step, with the last batch
            with nullcontext() if index == mine[-1] else accelerator.no_sync(self.model):
                reports[index] = self.model(batch)
                share = accelerator.num_processes / recipe.episodes_per_step  # the exchange takes the mean
                accelerator.backward(reports[index]["loss"] * share)
        names, table = self._gather(reports)
        first = self.step * recipe.episodes_per_step
        bad = (~table[:, names.index("loss")].isfinite()).nonzero().flatten().tolist()
        if bad:
            raise self._stopped("the loss is not finite", [first + i for i in bad])
        norm = self._clip()
        if (
            not isfinite(norm) and recipe.precision != "fp16"
        ):  # float16 skips such a step and lowers its scale
            raise self._stopped("the gradient is not finite", list(range(first, first + len(table))))
        self.optimizer.step()
        self.optimizer.zero_grad()
        means = dict(zip(names, table.mean(0).tolist(), strict=True))
        return {**means, "lr": rate, "grad_norm": norm}

    def _clip(self) -> float:
        """Length of the gradient before clipping; an infinite limit only measures it."""
        trained = [p for p in self.method.parameters() if p.requires_grad]
        norm = self.accelerator.clip_grad_norm_(trained, self.recipe.clip_norm or inf)
        assert isinstance(norm, Tensor)  # None under FSDP only
        return norm.item()

    def _gather(self, reports: dict[int, dict[str, Tensor]]) -> tuple[list[str], Tensor]:
        """Names, and a table of this step's batches (rows) by what the method reports (columns)."""
        names = sorted(next(iter(reports.values())))
        count = self.recipe.episodes_per_step
        table = torch.zeros(count, len(names), device=self.accelerator.device)
        for index, report in reports.items():
            table[index % count] = torch.stack([report[name].detach().float() for name in names])
        whole = self.accelerator.reduce(table, "sum")
        assert isinstance(whole, Tensor)
        return names, whole.cpu()

    def _evaluate(self, display: TrainingDisplay) -> None:
        """Measure the present model on the selection classes, and keep it if it is the best so far."""
        recipe = self.recipe
        found: list[Entry] = [{}]
        if self.leads:
            with display.paused(), self.accelerator.autocast():
                accuracy, interval = self.measure(self.accelerator.device)
            found = [{"step": self.step, "accuracy": accuracy, "interval": interval}]
        (entry,) = broadcast_object_list(found)
        self.history.validation.append(entry)
        if self.leads and self.history.best is entry:
            hub.save(self.method, self.out / "best")
        self.accelerator.log({f"{recipe.select}/accuracy": entry["accuracy"]}, self.step)
        display.say(
            f"step {self.step}  accuracy on the {recipe.select} "
            f"{'classes' if recipe.training == 'episodes' else 'videos'} "
            f"{100 * entry['accuracy']:.1f} ± {100 * entry['interval']:.1f} %"
            + ("  (selecting on test: no fair estimate)" if recipe.select == "test" else "")
        )

    def _checkpoint(self) -> None:
        if not self.leads:
            return
        scaler = self.accelerator.scaler
        checkpoint = Checkpoint(
            step=self.step,
            weights=trained_state(self.method),
            optimizer=self.optimizer.state_dict(),
            scaler=scaler.state_dict() if scaler else {},
            history=self.history,
            recipe=asdict(self.recipe),
        )
        save_checkpoint(checkpoint, self.last)
        curves = json.dumps({"select": self.recipe.select, **asdict(self.history)})
        with whole_file(self.out / "history.json") as file:
            file.write(curves.encode())

    def _restore(self, checkpoint: Checkpoint) -> None:
        now, then = asdict(self.recipe), checkpoint.recipe
        changed = [key for key in now if key not in CHANGEABLE and now[key] != then.get(key)]
        if changed:
            there = ", ".join(f"{key}={then.get(key)} instead of {now[key]}" for key in changed)
            raise CheckpointError(
                f"{self.out} holds a run with {there}; choose another folder, or start over without resuming"
            )
        load_trained_state(self.method, checkpoint.weights)
        self.optimizer.load_state_dict(checkpoint.optimizer)
        if self.accelerator.scaler:
            self.accelerator.scaler.load_state_dict(checkpoint.scaler)
        self.step, self.history = checkpoint.step, checkpoint.history

    def _stopped(self, why: str, indices: list[int]) -> TrainingError:
        """Save the batches in pixels and names; they are read again, for a batch is its number."""
        kind = "episode" if self.recipe.training == "episodes" else "batch"
        names = [f"{kind}-{index}.safetensors" for index in indices]
        for index, name in zip(indices, names, strict=True) if self.leads else ():
            batch = self.batches[index]
            pixels = {
                key: value.contiguous() for key, value in vars(batch).items() if isinstance(value, Tensor)
            }
            about = {"why": why, "step": self.step, kind: index, "seed": self.recipe.seed}
            classes = batch.classes if isinstance(batch, Episode) else batch.vocabulary
            text = {key: str(value) for key, value in about.items()} | {"classes": json.dumps(classes)}
            with whole_file(self.out / name) as file:
                file.write(save(pixels, text))
        return TrainingError(
            f"{why} in step {self.step + 1}; its cause lies in {self.out}: {', '.join(names)}. "
            "Lower lr, set clip_norm, or use precision=fp32"
        )


def join_processes() -> PartialState:
    """Join the processes started with this one (``accelerate launch``, ``torchrun``), on GPU or CPU."""
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.accelerator.is_available()
    return PartialState(cpu=cpu, timeout=LIMIT)


def start_accelerator(recipe: Recipe, out: Path) -> Accelerator:
    """Device, precision, processes and tracker of a run.

    Raises:
        RecipeError: if the recipe asks for what this machine or this launch cannot give.
    """
    # accelerate keeps one state per Python process and refuses another precision: a new run, a new state
    AcceleratorState._reset_state()
    state = join_processes()
    cpu = str(state.device) == "cpu"
    if recipe.precision == "fp16" and cpu:
        raise RecipeError("precision=fp16 needs a GPU; use fp32 or bf16 on a CPU")
    if recipe.tracker and not is_tensorboard_available():
        raise RecipeError(f"tracker={recipe.tracker} is not installed; pip install 'openfsar[track]'")
    if state.num_processes > recipe.episodes_per_step:
        raise RecipeError(
            f"episodes_per_step={recipe.episodes_per_step} leaves some of {state.num_processes} processes "
            "idle; start fewer processes, or raise it"
        )
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=PRECISIONS[recipe.precision],
        log_with=recipe.tracker or None,
        project_dir=out,
    )
    if recipe.tracker:
        accelerator.init_trackers("curves")
    return accelerator


def _batch_seed(seed: int, index: int) -> int:
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
