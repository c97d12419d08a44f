"""Drawing of "none of these": how familiar videos look, and where the border lies."""

import torch
from drawing.board import BLUE, ORANGE, VERMILLION, Board
from drawing.tiny import FALLS, RISES, STAYS, TWICE, WAITS, Heights, video
from torch import Tensor

from openfsar.classifier.calibration import Calibration, calibrate, compare, familiarity
from openfsar.classifier.examples import Examples
from openfsar.episode import FrameFeatures, SupportSet, Task
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import create

ACTIONS = {"rises": RISES, "falls": FALLS}
SHOTS = 10


def shaken(heights: Heights, number: int) -> tuple[float, ...]:
    """The ``number``-th example of a video: its ball trembles, the same way on every machine."""
    tremble = torch.sin(12.9898 * (6.0 * number + torch.arange(6.0)) ** 1.5)
    return tuple((torch.tensor(heights) + 0.12 * tremble).clamp(0, 1).tolist())


def fitted() -> tuple[FewShotMethod, Task, Calibration]:
    """OTAM on what changes, ten examples of two actions, and what leaving each out says."""
    method = create("otam", encoder="tiny", pretrained=False, centre=True)
    frames = torch.stack([video(*shaken(h, i)) for h in ACTIONS.values() for i in range(SHOTS)])
    names = tuple(name for name in ACTIONS for _ in range(SHOTS))
    features = FrameFeatures(frames)
    examples = Examples(features, features, names, names, (b"",) * len(names))
    task = method.prepare(SupportSet(features, examples.labels, len(ACTIONS)))
    return method, task, calibrate(method, examples, {}, None, text_share=0.0, temperature=None)


def unknown() -> Board:
    """Familiarity of examples and of new videos, the border, and what the probabilities would have said."""
    board = Board(26.0, 10.8, cell=0.29)
    method, task, calibration = fitted()
    border = calibration.threshold(0.9)
    left, wide, low, high = 8.6, 12.2, -6.2, 0.4

    def place(value: float) -> float:
        return left + wide * (value - low) / (high - low)

    top, floor = 1.5, 9.2
    board.bar(left, top, place(border) - left, floor - top, ORANGE, alpha=0.12)
    board.line([place(border)] * 2, [top, floor], ORANGE, linewidth=1.6)
    board.text(left + 0.2, 0.8, "none of these", weight="bold")
    board.text(place(border) + 0.2, 0.8, "known", weight="bold")
    board.text(left + wide + 0.6, 0.8, "best guess", fontsize=9, alpha=0.75)
    board.text(left + wide, floor + 0.6, "more familiar →", ha="right", fontsize=9, alpha=0.75)
    rows = {"rises": RISES, "falls": FALLS, "waits, then rises": WAITS, "rises twice": TWICE, "stays": STAYS}
    for row, (name, heights) in enumerate(rows.items()):
        y = 2.2 + 1.5 * row
        learnt = name in ACTIONS
        colour = BLUE if learnt else VERMILLION
        board.strip(heights, 0.5, y - 0.25, side=0.5, colour=colour)
        board.text(left - 0.3, y, name, ha="right", fontsize=9.5)
        logits = torch.cat([_logits(method, task, shaken(heights, SHOTS + i)) for i in range(SHOTS)])
        values = familiarity(logits).tolist()
        board.dots([place(v) for v in values], [y] * SHOTS, colour, size=44, alpha=0.6)
        chance = (logits / calibration.temperature).softmax(-1).mean(0).max().item()
        best = list(ACTIONS)[1 - int(logits.mean(0).argmax())]  # classes are sorted
        board.text(left + wide + 0.6, y, f"{best} {chance:.0%}")
    return board


@torch.no_grad()
def _logits(method: FewShotMethod, task: Task, heights: Heights) -> Tensor:
    return compare(method, FrameFeatures(video(*heights)[None]), task)
