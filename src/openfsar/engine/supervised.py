"""Accuracy in naming videos among all classes at once, without examples."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from openfsar.data.dataset import VideoDataset
from openfsar.encoders.trainable import count_parameters
from openfsar.engine.evaluate import VIDEOS_PER_BATCH, batches, evaluating
from openfsar.engine.live import bar
from openfsar.engine.metrics import class_accuracy, confusion_matrix, mean_interval
from openfsar.methods.fusion import NamingMethod

TOP = 5
"""The wider of the two accuracies: is the right class among so many?"""


@dataclass(frozen=True, eq=False)
class NamingResult:
    """What was found, and all it takes to repeat it. Accuracies are fractions, 0..1."""

    method: str
    encoder: str
    data: str
    split: str
    head: str
    """What gave the answer: "text", or another head of the method."""
    videos: int
    views: int
    """Places in time whose probabilities are averaged."""
    crops: int
    """Places in the image, at each of those in time."""
    accuracy: float
    """Top-1."""
    interval: float
    """Half width of its 95 % confidence interval over videos."""
    top5: float
    mean_class: float
    """Mean over classes of their accuracy, which counts rare classes like frequent ones."""
    per_class: dict[str, float]
    """Accuracy by class name; classes without a video are absent."""
    classes: tuple[str, ...]
    """All names there were to choose from."""
    confusion: Int[Tensor, "A A"]
    """Videos of each class (row) that were given each name (column)."""
    trainable: int
    """Parameters of the method that train."""
    seconds: float
    """Decoding included."""

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"confusion": self.confusion.tolist()}


def name_videos(
    method: NamingMethod,
    dataset: VideoDataset,
    *,
    names: Sequence[str] = (),
    batch: int = VIDEOS_PER_BATCH,
    device: torch.device | str | None = None,
    progress: bool = False,
) -> dict[str, NamingResult]:
    """Name every video among all classes, once by each head of the method; its own answer comes first.

    The probabilities of a video's views (``dataset.views`` times ``dataset.crops``) are averaged.

    Args:
        names: What there is to choose from; by default the classes of the data set.
        batch: Clips in one pass of the encoder, or the views of one video if they are more.
        device: Where to compute; by default the accelerator, if any. The method returns to where it was.
        progress: Show a bar with the time left.

    Raises:
        ValueError: a class of the data set is not among ``names``, or two names are equal.
        VideoError: a video cannot be read.
    """
    names = tuple(names) or dataset.classes
    unknown = sorted(set(dataset.classes) - set(names))
    if unknown:
        raise ValueError(f"class {unknown[0]!r} of {dataset.name} is none of the {len(names)} names")
    began = time.perf_counter()
    views = dataset.views * dataset.crops
    items = [(video, 0, view) for video in range(len(dataset)) for view in range(views)]
    found: dict[str, list[Tensor]] = {}
    with evaluating(method, device), bar(progress) as display, torch.inference_mode():
        total = display.add_task("naming videos", total=len(dataset))
        for rows, clips in batches(method, dataset, items, max(1, batch // views) * views):
            for head, logits in method.classify(method.encode(clips), names).items():
                single = logits.to(torch.promote_types(logits.dtype, torch.float32))
                shares = single.softmax(-1).unflatten(0, (-1, views)).mean(1)
                found.setdefault(head, []).append(shares.cpu())
            display.advance(total, len(rows) // views)
    seconds = time.perf_counter() - began
    return {head: _result(method, dataset, names, head, torch.cat(x), seconds) for head, x in found.items()}


def _result(
    method: NamingMethod,
    dataset: VideoDataset,
    names: tuple[str, ...],
    head: str,
    probabilities: Float[Tensor, "V A"],
    seconds: float,
) -> NamingResult:
    place = torch.tensor([names.index(name) for name in dataset.classes])
    truth = place[dataset.labels]
    ranked = probabilities.topk(min(TOP, len(names)), dim=-1).indices
    right = ranked == truth[:, None]
    accuracy, interval = mean_interval(right[:, 0])
    confusion = confusion_matrix(truth, ranked[:, 0], len(names))
    shares = dict(zip(names, class_accuracy(confusion).tolist(), strict=True))
    per_class = {name: share for name, share in shares.items() if share == share}
    return NamingResult(
        method=method.spec.method,
        encoder=method.encoder.name,
        data=dataset.name,
        split=dataset.split,
        head=head,
        videos=len(dataset),
        views=dataset.views,
        crops=dataset.crops,
        accuracy=accuracy,
        interval=interval,
        top5=right.any(-1).double().mean().item(),
        mean_class=sum(per_class.values()) / len(per_class),
        per_class=per_class,
        classes=names,
        confusion=confusion,
        trainable=count_parameters(method).trainable,
        seconds=seconds,
    )
