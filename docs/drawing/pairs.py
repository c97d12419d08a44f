"""Drawings of matchers that look at ordered pairs of frames, and of all matchers side by side."""

import torch
from drawing.board import BLUE, NEARNESS, ORANGE, SHARE, VERMILLION, Board
from drawing.tiny import BOX, FALLS, HALF, RISES, STAYS, TWICE, WAITS, Heights, video
from matplotlib.colors import to_hex
from torch import Tensor

from openfsar.matchers import TupleAttention, bi_mhm, frame_distances, hybrid, otam
from openfsar.matchers.tuples import POSITION_WEIGHT, sinusoids
from openfsar.methods.matching import changes

OTHERS = {
    "waits, then rises": WAITS,
    "rises twice": TWICE,
    "rises half-way": HALF,
    "falls": FALLS,
    "stays half-way": STAYS,
}
"""What a video that rises is compared with."""


def plain_tuples(size: int = 2, width: int = 4) -> TupleAttention:
    """Cross attention over pairs whose keys and values are the pair itself, the softmax sharpened."""
    attention = TupleAttention(width, sizes=(size,), key_width=size * width, dropout=0.0)
    (maps,) = attention.maps
    with torch.no_grad():
        maps.keys.weight.copy_(torch.eye(size * width))
        maps.keys.bias.zero_()
        maps.values.weight.copy_(torch.eye(size * width))
        maps.norm.weight.fill_(3.0)
    return attention


def tuples() -> Board:
    """One pair of query frames, whom it attends to in two classes, and what they answer."""
    board = Board(25.8, 9.9, cell=0.3)
    asked = (1, 4)
    board.text(0.6, 0.7, "query", weight="bold")
    board.strip(RISES, 0.5, 1.4, faded=set(range(6)) - set(asked))
    board.text(0.6, 3.3, "one of its 15 ordered pairs:")
    board.text(0.6, 4.05, "low, then high")
    board.strip([RISES[i] for i in asked], 2.4, 8.25)
    for column, (name, heights) in enumerate({"class: rises": RISES, "class: falls": FALLS}.items()):
        x, y = 11.0 + 8.0 * column, 2.5
        weights, answer, gap = answered(asked, heights)
        board.text(x - 1.1, 0.7, name, weight="bold")
        board.strip(heights[1:], x, y - 1.1, colour=ORANGE)
        board.strip(heights[:-1], x - 1.1, y, colour=ORANGE, down=True)
        board.table(
            (weights >= 0).float().where(weights >= 0, torch.nan)[:-1, 1:], x, y, top=20.0, cmap=SHARE
        )
        board.table(weights[:-1, 1:], x, y, top=0.35, cmap=SHARE)
        board.text(x - 1.1, 8.75, "answers", fontsize=9, alpha=0.75)
        board.strip(answer, x + 1.4, 8.25, colour=ORANGE)
        board.text(x + 3.6, 8.75, f"gap {gap:.2f}", weight="bold")
    board.text(0.6, 5.3, "Each square is a pair of the class:", fontsize=9, alpha=0.75)
    board.text(0.6, 5.95, "first frame left, second above.", fontsize=9, alpha=0.75)
    board.text(0.6, 6.6, "Blue: how much it is asked.", fontsize=9, alpha=0.75)
    board.text(0.6, 8.75, "asks", fontsize=9, alpha=0.75)
    return board


def answered(asked: tuple[int, int], heights: Heights) -> tuple[Tensor, list[float], float]:
    """To a pair of frames of RISES: attention to the pairs of a class, heights in its answer, their gap."""
    maps = plain_tuples().maps[0]
    pairs = torch.combinations(torch.arange(6), 2)
    query, support = (
        frames + POSITION_WEIGHT * sinusoids(frames) for frames in (video(*RISES), video(*heights))
    )
    with torch.no_grad():
        (keys, values), (support_keys, support_values) = maps(query), maps(support)
    own = pairs.tolist().index(list(asked))
    weights = (support_keys @ keys[own] / keys.shape[-1] ** 0.5).softmax(0)
    gap = (values[own] - weights @ support_values).square().sum().item()
    shown = (weights[:, None, None] * video(*heights)[pairs]).sum(0)  # without the positions
    grid = torch.full((6, 6), torch.nan)
    grid[pairs[:, 0], pairs[:, 1]] = weights
    return grid, (torch.atan2(shown[:, 1], shown[:, 0]) / (torch.pi / 2)).tolist(), gap


def frames_and_pairs() -> Board:
    """GgHM's two tables for a reversed video, and how much of five distances comes from which."""
    board = Board(26.6, 11.2, cell=0.29)
    query, support = video(*RISES), video(*FALLS)
    board.text(1.5, 0.7, "frames as a set", weight="bold")
    board.strip(FALLS, 1.5, 1.35, colour=ORANGE)
    board.strip(RISES, 0.4, 2.5, down=True)
    table = torch.cdist(query, support).round(decimals=5)
    board.table(table, 1.5, 2.5, top=2**0.5)
    _nearest(board, table, 1.5, 2.5, 1.0)
    board.text(9.0, 0.7, "ordered pairs as a set", weight="bold")
    board.text(9.0, 1.85, "15 of the query by 15 of the example", fontsize=9, alpha=0.75)
    table = torch.cdist(_pairs(query), _pairs(support)).round(decimals=5)
    board.table(table, 9.0, 2.5, top=2**0.5, side=0.4)
    _nearest(board, table, 9.0, 2.5, 0.4)
    board.scale(2.6, 9.3)
    board.dots([9.2], [9.3], ORANGE, size=24)
    board.text(9.6, 9.3, "nearest of its row or column", fontsize=9, alpha=0.75)
    x = 18.2
    board.text(x, 0.7, "distance of rises to", weight="bold")
    for row, (name, heights) in enumerate(OTHERS.items()):
        y, scale = 1.85 + 1.65 * row, 7.0
        exemplar = video(*heights)[None]
        frames, pairs = (hybrid(query[None], exemplar, alpha=alpha).item() / 2 for alpha in (0.0, 1.0))
        board.text(x, y, name, fontsize=9)
        board.bar(x, y + 0.4, scale * frames, 0.6, VERMILLION)
        board.bar(x + scale * frames, y + 0.4, scale * pairs, 0.6, BLUE)
        board.text(x + scale * (frames + pairs) + 0.2, y + 0.72, f"{frames + pairs:.2f}", fontsize=9)
    board.bar(x, 10.1, 0.4, 0.4, VERMILLION)
    board.text(x + 0.6, 10.3, "frames", fontsize=9)
    board.bar(x + 3.0, 10.1, 0.4, 0.4, BLUE)
    board.text(x + 3.6, 10.3, "pairs", fontsize=9)
    return board


def _pairs(frames: Tensor) -> Tensor:
    """Ordered pairs of frames with their positions, put together as the definition says."""
    placed = frames + POSITION_WEIGHT * sinusoids(frames)
    return placed[torch.combinations(torch.arange(len(frames)), 2)].flatten(1)


def _nearest(board: Board, table: Tensor, x: float, y: float, side: float) -> None:
    rows = {(t, u) for t, u in enumerate(table.argmin(1).tolist())}
    cells = sorted(rows | {(t, u) for u, t in enumerate(table.argmin(0).tolist())})
    board.dots(
        [x + side * (u + 0.5) for _, u in cells],
        [y + side * (t + 0.5) for t, _ in cells],
        ORANGE,
        size=70 * side**1.2,
        edgecolors="white",
        linewidths=0.8,
    )


def compared() -> Board:
    """How far the matchers put six videos from one that rises: 0 as itself, 1 as the farthest of the row."""
    board = Board(25.6, 12.9, cell=0.29)
    query = video(*RISES)[None]
    videos = {name: video(*heights) for name, heights in OTHERS.items()}
    videos["a box rises"] = video(*RISES, what=BOX)
    exemplars = torch.stack([video(*RISES), *videos.values()])
    wide, left = 3.3, 5.4
    for column, (name, heights) in enumerate([*OTHERS.items(), ("a box rises", RISES)]):
        x = left + wide * column
        board.text(x + wide / 2, 0.7, name, ha="center", fontsize=9)
        box = name == "a box rises"
        board.strip(
            heights, x + 0.15, 1.2, side=0.5, colour=ORANGE if box else BLUE, marker="s" if box else "o"
        )
    row = 2.1
    for seen, title in ((Tensor.clone, None), (changes, "less the mean frame of each video")):
        if title:
            row += 0.7
            board.text(left - 0.4, row, title, fontsize=9, alpha=0.75)
            row += 0.6
        for name, distances in matched(seen(query), seen(exemplars)).items():
            if title and name == "pooled":
                continue
            shares = (distances - distances[0])[1:]
            shares = shares / shares.max()
            board.text(left - 0.4, row + 0.5, name, ha="right")
            for column, share in enumerate(shares.clamp_min(0).tolist()):
                x = left + wide * column
                board.bar(x + 0.05, row + 0.05, wide - 0.1, 0.9, to_hex(NEARNESS(share)))
                board.text(
                    x + wide / 2,
                    row + 0.53,
                    f"{share:.2f}",
                    ha="center",
                    color="white" if share < 0.45 else "#123a5c",
                )
            row += 1.0
    return board


def matched(query: Tensor, exemplars: Tensor) -> dict[str, Tensor]:
    """Distances of one query to every exemplar by each matcher."""
    table = frame_distances(query, exemplars)[0]
    means = frame_distances(query.mean(-2, keepdim=True), exemplars.mean(-2, keepdim=True))
    with torch.no_grad():
        asked = plain_tuples()(query, exemplars, torch.arange(len(exemplars)), len(exemplars))[0]
    return {
        "pooled": means[0, :, 0, 0],
        "Bi-MHM": bi_mhm(table),
        "OTAM": otam(table),
        "TRX": asked,
        "hybrid": hybrid(query, exemplars)[0],
    }
