"""How much the class names should count: the share that names the validation classes best."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from openfsar.data.dataset import VideoDataset
from openfsar.data.episodes import EpisodeSampler
from openfsar.data.files import whole_file
from openfsar.engine.evaluate import encode_dataset, evaluating, tasks
from openfsar.engine.live import bar
from openfsar.engine.metrics import episode_accuracy, mean_interval
from openfsar.methods.fusion import FusedMethod, fuse

SHARES = tuple(i / 20 for i in range(21))


@dataclass(frozen=True)
class TextShare:
    """What was found on the classes of ``split``. Accuracies are fractions, 0..1."""

    share: float
    """The most accurate of ``shares``, the smallest of equals."""
    before: float
    """The share the method came with."""
    split: str
    """"test" warns that results on the same classes are no fair estimate."""
    episodes: int
    shares: tuple[float, ...]
    accuracy: tuple[float, ...]
    """By share."""
    interval: tuple[float, ...]
    """Half widths of the 95 % intervals. Episodes are the same for all, so gaps are surer than that."""

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        with whole_file(path) as file:
            file.write(json.dumps(asdict(self), indent=2).encode())

    def __str__(self) -> str:
        best, without, alone = (
            f"{100 * self.accuracy[self.shares.index(share)]:.1f} %"
            for share in (self.share, self.shares[0], self.shares[-1])
        )
        return f"{self.share:g}: {best} on {self.split} (examples alone {without}, names alone {alone})"


def choose_text_share(
    method: FusedMethod,
    dataset: VideoDataset,
    *,
    way: int = 5,
    shot: int = 1,
    query: int = 1,
    episodes: int = 2000,
    seed: int = 0,
    shares: Sequence[float] = SHARES,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> TextShare:
    """Try every share on the same episodes, and leave the method with the best.

    Each video is encoded and each episode compared once, whatever the number of shares.

    Args:
        dataset: The validation classes; never those a result is reported on.
        shares: Tried in rising order, from 0 (examples alone) to 1 (names alone).

    Raises:
        ValueError: if two classes have the same name, the method was built to read none, or the data set has
            too few classes or videos for such episodes.
    """
    names = method.read(dataset.classes)
    plan = EpisodeSampler.of(dataset, way=way, shot=shot, query=query, seed=seed).plan(episodes)
    right = []
    with evaluating(method, device), bar(progress) as display:
        names = names.to(next(method.parameters()).device)
        total = display.add_task("encoding videos", total=len(dataset))
        bank = replace(
            encode_dataset(method, dataset, advance=lambda n: display.advance(total, n)), text=names
        )
        asked = torch.arange(way, device=names.device).repeat_interleave(query)
        grid = torch.tensor(shares, device=names.device).view(-1, 1, 1, 1)
        total = display.add_task("choosing the share of the names", total=episodes)
        for features, task in tasks(method, bank, plan):
            assert task.text is not None  # the bank has it
            with torch.inference_mode():
                compared, named = method.compare(features, task), method.named(features, task.text)
                scores = fuse(compared, named, grid, method.mix)
                right.append((scores.argmax(-1) == asked).cpu())
            display.advance(total, len(features))
    found = [mean_interval(episode_accuracy(table)) for table in torch.cat(right, 1)]
    accuracy, interval = (tuple(column) for column in zip(*found, strict=True))
    best = shares[accuracy.index(max(accuracy))]
    before = method.text_share
    method.set_text_share(best)
    return TextShare(best, before, dataset.split, episodes, tuple(shares), accuracy, interval)
