"""Drawings of matchers that look at frames, each computed by the matcher itself on tiny videos."""

import torch
from drawing.board import BLUE, ORANGE, VERMILLION, Board
from drawing.tiny import BOX, FALLS, HALF, RISES, STAYS, TWICE, WAITS, video
from torch import Tensor

from openfsar.matchers import bi_mhm, frame_distances, otam, otam_path
from openfsar.methods.matching import changes

TOP = 0.5
"""Cosine distance between a ball at the bottom and one at the top: the pale end of the heat maps."""


def between(query: Tensor, support: Tensor) -> Tensor:
    """The table of distances between the frames of two videos; equal ones are equal on every machine."""
    return frame_distances(query[None], support[None])[0, 0].round(decimals=5).abs()


def pooled_distance(query: Tensor, support: Tensor) -> float:
    """Between the mean frames of two videos."""
    return between(query.mean(0, keepdim=True), support.mean(0, keepdim=True)).item()


def pooled() -> Board:
    """Four videos, their frames as directions, and the mean."""
    board = Board(19.5, 14.2)
    for row, (name, heights) in enumerate(
        {"rises": RISES, "falls": FALLS, "stays half-way": STAYS, "rises half-way": HALF}.items()
    ):
        y = 0.6 + 3.5 * row
        features = video(*heights)
        board.text(0.5, y + 0.2, name, weight="bold")
        board.strip(heights, 0.4, y + 0.75)
        board.arrow((6.9, y + 1.25), (8.2, y + 1.25), alpha=0.6)
        x, floor, reach = 8.8, y + 2.75, 2.6
        angle = torch.linspace(0, torch.pi / 2, 30)
        board.line(x + reach * angle.cos(), floor - reach * angle.sin(), alpha=0.25)
        board.line([x, x + reach], [floor, floor], alpha=0.25)
        board.line([x, x], [floor, floor - reach], alpha=0.25)
        right, up = features[:, 0], features[:, 1]
        for number, (a, b) in enumerate(zip(right.tolist(), up.tolist(), strict=True)):
            board.dots([x + reach * a], [floor - reach * b], BLUE, size=36, alpha=0.25 + 0.15 * number)
        mean = x + reach * right.mean().item(), floor - reach * up.mean().item()
        board.line([x, mean[0]], [floor, mean[1]], ORANGE, linewidth=2)
        board.dots([mean[0]], [mean[1]], ORANGE, size=70, marker="D")
        far = pooled_distance(video(*RISES), features)
        board.text(12.4, y + 1.25, f"distance {abs(far):.3f}", weight="bold")
        said = {"rises": "to itself", "falls": "order is lost", "stays half-way": "motion is lost"}
        board.text(12.4, y + 1.95, said.get(name, "other places are seen"), fontsize=9, alpha=0.75)
    return board


def ordered() -> Board:
    """Three queries against one example, with the path of the best alignment."""
    board = Board(25.2, 10.6, cell=0.3)
    queries = {"waits, then rises": WAITS, "rises twice": TWICE, "falls": FALLS}
    for number, (name, heights) in enumerate(queries.items()):
        x, y = 1.6 + 8.1 * number, 2.3
        table = between(video(*heights), video(*RISES))
        board.text(x, 0.55, name, weight="bold")
        board.strip(RISES, x, y - 1.15, colour=ORANGE)
        board.strip(heights, x - 1.15, y, down=True)
        board.table(table, x, y, top=TOP)
        board.path(otam_path(table), x, y)
        cost = otam(table, smoothing=0.0, both_ways=False).item()
        board.text(x, y + 6.6, f"cost of the path {cost:.2f}")
    board.dots([1.0], [9.95], BLUE)
    board.text(1.5, 9.95, "query, downwards", fontsize=9, alpha=0.75)
    board.dots([7.1], [9.95], ORANGE)
    board.text(7.6, 9.95, "example, to the right", fontsize=9, alpha=0.75)
    board.scale(18.4, 9.95)
    return board


def unordered() -> Board:
    """Two queries against one example, with a link from every frame to its nearest."""
    board = Board(21.0, 9.6, cell=0.32)
    for number, (name, heights) in enumerate({"falls": FALLS, "rises half-way": HALF}.items()):
        x, y = 3.0 + 9.4 * number, 1.6
        table = between(video(*heights), video(*RISES))
        board.text(x, 0.7, name, weight="bold")
        board.strip(heights, x, y)
        board.strip(RISES, x, y + 4.9, colour=ORANGE)
        for t, u in enumerate(table.argmin(1).tolist()):
            board.arrow((x + 0.42 + t, y + 1.1), (x + 0.42 + u, y + 4.8), BLUE, linestyle=_line(table[t, u]))
        for u, t in enumerate(table.argmin(0).tolist()):
            board.arrow(
                (x + 0.58 + u, y + 4.8), (x + 0.58 + t, y + 1.1), ORANGE, linestyle=_line(table[t, u])
            )
        cost = bi_mhm(table).item()
        board.text(x, y + 6.5, f"sum of all links {abs(cost):.2f}")
    board.text(2.7, 2.1, "query", ha="right")
    board.text(2.7, 7.0, "example", ha="right")
    board.text(12.4, 8.9, "dashed: nearest, but not alike", fontsize=9, alpha=0.75)
    return board


def _line(distance: Tensor) -> str:
    return "-" if distance < 0.01 else (0, (2, 2))  # pyright: ignore[reportReturnType]


def changing() -> Board:
    """Frames of three videos as they are, and less the mean of their video."""
    board = Board(22.4, 12.2, cell=0.31)
    shown = {
        "ball rises": (video(*RISES), BLUE, "o", -0.4),
        "ball falls": (video(*FALLS), VERMILLION, "o", 0.4),
        "box rises": (video(*RISES, what=BOX), ORANGE, "s", 0.0),
    }
    asked = shown["ball rises"][0]
    for column, (title, seen) in enumerate(
        (("frames as they are", Tensor.clone), ("less the mean frame", changes))
    ):
        x, y = 1.0 + 11.2 * column, 1.5
        board.text(x, 0.7, title, weight="bold")
        board.line([x, x, x + 6.0], [y, y + 6.0, y + 6.0], alpha=0.4)
        board.text(x + 6.0, y + 6.5, "what it is", ha="right", fontsize=9, alpha=0.75)
        board.text(x + 0.2, y + 0.2, "where it is", fontsize=9, alpha=0.75)
        board.text(x, y + 6.5, "faint: early", fontsize=9, alpha=0.75)
        for name, (frames, colour, marker, aside) in shown.items():
            points = seen(frames)
            right = x + 3.0 + aside + 1.8 * (points[:, 3] - points[:, 2])
            down = y + 3.2 - 1.9 * (points[:, 1] - points[:, 0])
            board.line(right, down, colour, alpha=0.5)
            for number, (a, b) in enumerate(zip(right.tolist(), down.tolist(), strict=True)):
                board.dots([a], [b], colour, marker, 40, 0.3 + 0.14 * number)
            if name != "ball rises":
                row = 8.8 if name == "box rises" else 10.4
                far = otam(between(seen(asked), seen(frames)), smoothing=0.0).item()
                board.text(x, row, f"ball rises to {name}", fontsize=9)
                board.bar(x, row + 0.35, 0.06 + 0.55 * far, 0.5, colour)
                board.text(x + 0.3 + 0.55 * far, row + 0.62, f"{abs(far):.1f}", fontsize=9)
    return board
