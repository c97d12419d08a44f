"""SloshNet against its parts in their order, and what its options leave in and out."""

import pytest
import torch
from torch import Tensor

from openfsar.encoders.fusion import Alignment, FusionCell
from openfsar.encoders.tiny import tiny_encoder, tiny_resnet
from openfsar.encoders.trainable import count_parameters
from openfsar.episode import Episode
from openfsar.methods.matching import Tuples
from openfsar.methods.sloshnet import SloshNet
from openfsar.methods.zoo import build
from openfsar.temporal.short_long import ShortLong

UNEVEN = torch.tensor([0, 1, 2, 0, 2])
CELL = ["gp1", "gp2", "sum", "gp2", "gp1", "sum"]
ENCODERS = pytest.mark.parametrize("encoder", [tiny_encoder, tiny_resnet], ids=["transformer", "resnet"])


def make(encoder=tiny_resnet, **options) -> SloshNet:
    """With norms that have seen other statistics than their start."""
    method = build("sloshnet", encoder(), **{"key_width": 24, **options}).double()
    generator = torch.Generator().manual_seed(3)
    for value in method.align.buffers():
        if value.is_floating_point():
            value += 0.2 * torch.rand(value.shape, generator=generator, dtype=torch.float64)
    assert isinstance(method, SloshNet)
    return method


def clips(videos: int, frames: int, seed: int) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (videos, frames, 3, 32, 32), dtype=torch.uint8, generator=dice)


def episode(frames: int = 3) -> Episode:
    """Support videos have 4 frames."""
    return Episode(
        clips(5, 4, seed=1), UNEVEN, clips(3, frames, seed=2), torch.arange(3), ("wave", "run", "jump")
    )


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@torch.no_grad()
@ENCODERS
@pytest.mark.parametrize(
    "options", [{}, {"fusion": "fixed", "cell": CELL, "width": 16}], ids=["searched", "fixed"]
)
def test_maps_are_aligned_fused_related_in_time_and_averaged(encoder, options: dict) -> None:
    method, task = make(encoder, **options), episode()
    features = []
    for videos in (task.query, task.support):
        frames = []
        for video in videos:  # one at a time: none may depend on those beside it
            levels = method.align(method.encoder.maps(video[None]))
            frames.append(method.temporal(method.cell(levels))[0].mean((-2, -1)))
        features.append(torch.stack(frames))
    assert features[0].shape == (3, 3, method.align.width)
    close(method.logits(task), -method.matcher.attention(features[0], features[1], UNEVEN, 3))


@torch.no_grad()
@ENCODERS
@pytest.mark.parametrize("fusion", ["sum", "top"])
def test_without_a_cell_levels_are_added_or_the_deepest_is_taken(encoder, fusion: str) -> None:
    method, video = make(encoder, fusion=fusion, long=False, short=False), clips(1, 4, seed=5)
    levels = method.encoder.maps(video)
    if fusion == "top":
        expected = levels[-1]
        assert len(method.align.levels) == 1 and not list(method.align.parameters())
    else:
        expected = sum(x for x in method.align(levels))
    close(method.encode(video).frames, expected.mean((-2, -1)))


@torch.no_grad()
def test_certain_weights_make_the_fixed_cell_of_the_searched_one() -> None:
    searched = make()
    for row, name in zip(searched.cell.alphas, CELL, strict=True):
        row[("gp1", "gp2", "sum").index(name)] = 800.0
    fixed = make(fusion="fixed", cell=searched.cell.chosen())
    odd = fixed.load_state_dict(searched.state_dict(), strict=False)
    assert odd.unexpected_keys == ["cell.alphas"] and not odd.missing_keys
    close(fixed.logits(episode()), searched.logits(episode()))


@torch.no_grad()
@pytest.mark.parametrize("short", [True, False])
def test_the_order_of_frames_matters_to_the_short_term_module_alone(short: bool) -> None:
    method, video = make(short=short), clips(1, 4, seed=5)
    order = [2, 0, 3, 1]
    moved = (method.encode(video[:, order]).frames - method.encode(video).frames[:, order]).abs().max()
    assert moved > 1e-4 if short else moved < 1e-10


def test_what_a_search_learns_is_named_and_a_fixed_cell_has_no_choice_left() -> None:
    assert list(make().architecture()) == ["cell.alphas", "cell.mix", "temporal.balance"]
    assert list(make(short=False).architecture()) == ["cell.alphas", "cell.mix"]
    assert list(make(fusion="fixed", cell=CELL).architecture()) == ["cell.mix", "temporal.balance"]
    assert not make(fusion="sum", long=False).architecture()


def test_found_weights_are_where_a_fixed_cell_starts() -> None:
    method = make(fusion="fixed", cell=CELL, mix=[0.2, 0.1, 0.1, 0.4, 0.2], long_share=0.7)
    assert method.cell.mix.softmax(0).tolist() == pytest.approx([0.2, 0.1, 0.1, 0.4, 0.2])
    assert method.temporal.shares().tolist() == pytest.approx([0.7, 0.3])


def test_the_published_head_is_several_times_the_tower() -> None:
    with torch.device("meta"):
        parts = [
            Alignment((256, 512, 1024, 2048)),
            FusionCell(),
            ShortLong(2048),
            Tuples(2048, sizes=[1]),
            Tuples(2048, sizes=[2]),
        ]
    sizes = [count_parameters(part).trainable for part in parts]
    assert sizes[1] == 18 + 5 and sizes[2] == 50_358_272 + 20_973_824 + 2
    # the computed 4.7 and 9.4 million have biases of values, which cancel in a softmax, in neither digit
    assert [size / 1e6 for size in sizes[3:]] == pytest.approx([4.7, 9.4], abs=0.05)
    assert sum(sizes[:4]) / 1e6 == pytest.approx(143, abs=0.5)
    assert sum(sizes) / 1e6 == pytest.approx(153, abs=0.5)


def test_presets_differ_in_the_tuples() -> None:
    assert [len(make(**options).matcher.attention.maps) for options in ({}, {"preset": "ssv2"})] == [1, 2]


@torch.no_grad()
def test_any_matcher_compares_the_frames() -> None:
    rows = [
        make(matcher=name, centre=centre).logits(episode())
        for name, centre in (
            ("trx", False),
            ("trx", True),
            ("otam", False),
            ("bi-mhm", True),
            ("pooled", False),
        )
    ]
    assert all((a - b).abs().max() > 1e-6 for i, a in enumerate(rows) for b in rows[:i])


def test_recomputed_activations_give_the_same_gradients() -> None:
    found = []
    for recompute in (False, True):
        method = make()  # in eval mode: running batch statistics would be those of the parts
        method.recompute_activations(recompute)
        method(episode())["loss"].backward()
        found.append({name: p.grad for name, p in method.named_parameters() if p.requires_grad})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        close(found[1][name], gradient)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fusion": "fixed"}, "must name an operation for each of the 6 edges"),
        ({"width": 12}, "width=12 must be a multiple of 8"),
        ({"heads": 5}, "heads=5 must divide the feature width 64"),
        ({"mix": [0.4, 0.6]}, "must be 5 positive numbers"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)
