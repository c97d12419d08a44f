"""TRX's tuple attention against its definition: every tuple of every query and class, one at a time."""

import math
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from openfsar.encoders.trainable import count_parameters
from openfsar.matchers import TupleAttention, tuples

WIDTH = 6
UNEVEN = torch.tensor([2, 0, 1, 0, 2, 0])


def make(sizes: tuple[int, ...] = (2, 3), seed: int = 0) -> TupleAttention:
    """In float64 and eval mode, with norms that do something."""
    torch.manual_seed(seed)
    module = TupleAttention(WIDTH, sizes=sizes, key_width=5).double().eval()
    for maps in module.maps:
        nn.init.normal_(maps.norm.weight)
        nn.init.normal_(maps.norm.bias)
    return module


def videos(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, WIDTH, dtype=torch.float64, generator=generator)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def positioned(video: Tensor) -> list[Tensor]:
    """Frames with a tenth of their position."""
    frames = []
    for t, frame in enumerate(video):
        code = []
        for i in range(0, WIDTH, 2):
            angle = t / 10000 ** (i / WIDTH)
            code += [math.sin(angle), math.cos(angle)]
        frames.append(frame + 0.1 * torch.tensor(code, dtype=torch.float64))
    return frames


def by_hand(module: TupleAttention, query: Tensor, exemplars: Tensor, labels: Tensor, way: int) -> Tensor:
    """Queries by classes. The bias of the published value map is added here, and must not matter."""
    rows = torch.zeros(len(query), way, dtype=torch.float64)
    for maps in module.maps:
        bias = videos(5, seed=9)[:, 0]

        def mapped(video: Tensor, maps: nn.Module = maps, bias: Tensor = bias) -> list[tuple[Tensor, Tensor]]:
            tuples = [torch.cat(chosen) for chosen in combinations(positioned(video), maps.size)]
            return [(maps.norm(maps.keys(p)), maps.values(p) + bias) for p in tuples]

        for q, video in enumerate(query):
            for n in range(way):
                examples = [exemplars[x] for x in range(len(exemplars)) if labels[x] == n]
                known = [pair for example in examples for pair in mapped(example)]
                asked = mapped(video)
                for key, value in asked:
                    powers = [(key @ other / math.sqrt(len(key))).exp() for other, _ in known]
                    weights = [power / sum(powers) for power in powers]
                    answer = sum(w * other for w, (_, other) in zip(weights, known, strict=True))
                    rows[q, n] += (value - answer).square().sum() / len(asked) / len(module.maps)
    return rows


@torch.no_grad()
@pytest.mark.parametrize("sizes", [(2, 3), (3,), (1, 2), (4, 1)], ids=str)
@pytest.mark.parametrize("labels", [torch.tensor([0]), torch.tensor([1, 0]), UNEVEN], ids=len)
@pytest.mark.parametrize("frames", [(4, 4), (4, 5), (5, 4)], ids=str)
def test_equals_the_definition(sizes: tuple[int, ...], labels: Tensor, frames: tuple[int, int]) -> None:
    module, way = make(sizes), int(labels.max()) + 1
    query, exemplars = videos(2, frames[0]), videos(len(labels), frames[1], seed=1)
    close(module(query, exemplars, labels, way), by_hand(module, query, exemplars, labels, way))


@torch.no_grad()
def test_a_short_video_holds_its_last_frame() -> None:
    module, query, exemplars = make(), videos(2, 1), videos(6, 2, seed=1)
    held_query, held = query[:, [0, 0, 0]], exemplars[:, [0, 1, 1]]
    expected = by_hand(module, held_query, held, UNEVEN, 3)
    close(module(query, exemplars, UNEVEN, 3), expected)


@torch.no_grad()
def test_many_episodes_at_once_equal_one_by_one() -> None:
    module, query, exemplars = make(), videos(2, 3, 2, 4), videos(2, 3, 6, 5, seed=1)
    dice = torch.Generator().manual_seed(0)
    labels = torch.stack([UNEVEN[torch.randperm(6, generator=dice)] for _ in range(6)]).view(2, 3, 6)
    labels[1, 1] = torch.tensor([0, 1, 2, 2, 2, 2])  # another largest class than in the other episodes
    batched = module(query, exemplars, labels, 3)
    assert batched.shape == (2, 3, 2, 3)
    for i in range(2):
        for j in range(3):
            close(batched[i, j], module(query[i, j], exemplars[i, j], labels[i, j], 3))


@torch.no_grad()
def test_the_order_of_exemplars_and_the_names_of_classes_do_not_matter() -> None:
    module, query, exemplars = make(), videos(2, 4), videos(6, 4, seed=1)
    distances = module(query, exemplars, UNEVEN, 3)
    order = torch.tensor([3, 5, 1, 0, 4, 2])
    close(module(query, exemplars[order], UNEVEN[order], 3), distances)
    new = torch.tensor([1, 2, 0])  # class n becomes new[n]
    close(module(query, exemplars, new[UNEVEN], 3)[:, new], distances)


@torch.no_grad()
def test_a_class_does_not_see_the_other_classes_or_the_padding() -> None:
    module, query, exemplars = make(), videos(2, 4), videos(6, 4, seed=1)
    distances = module(query, exemplars, UNEVEN, 3)
    exemplars[UNEVEN == 0] = 100.0
    changed = module(query, exemplars, UNEVEN, 3)
    close(changed[:, 1:], distances[:, 1:])
    assert (changed[:, 0] - distances[:, 0]).abs().min() > 1e-3


@torch.no_grad()
def test_the_order_of_frames_matters() -> None:
    module, query, exemplars = make(), videos(2, 4), videos(6, 4, seed=1)
    distances = module(query, exemplars, UNEVEN, 3)
    assert (module(query.flip(1), exemplars, UNEVEN, 3) - distances).abs().min() > 1e-3
    assert (module(query, exemplars.flip(1), UNEVEN, 3) - distances).abs().min() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_is_near_and_returned_in_float32(dtype: torch.dtype) -> None:
    module, query, exemplars = make(), videos(4, 8), videos(6, 8, seed=1)
    exact = module(query, exemplars, UNEVEN, 3)
    rounded = module.to(dtype)(query.to(dtype), exemplars.to(dtype), UNEVEN, 3)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), exact, rtol=0.03, atol=0)


@torch.no_grad()
def test_autocast_touches_the_linear_maps_alone() -> None:
    module, query, exemplars = make().float(), videos(4, 8).float(), videos(6, 8, seed=1).float()
    exact = module(query, exemplars, UNEVEN, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        distances = module(query, exemplars, UNEVEN, 3)
    assert distances.dtype == torch.float32
    torch.testing.assert_close(distances, exact, rtol=0.03, atol=0)


def test_gradients_are_right_with_uneven_shots() -> None:
    module, labels = make(), torch.tensor([1, 0, 1])
    query, exemplars = videos(1, 3).requires_grad_(), videos(3, 4, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda q, x: module(q, x, labels, 2), (query, exemplars))


def test_every_parameter_gets_a_finite_gradient() -> None:
    module = make().train()
    module(videos(2, 4), videos(6, 4, seed=1), UNEVEN, 3).sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 1e-9, name  # what cancels would be near 1e-16


@pytest.mark.parametrize(("size", "millions"), [(1, 4.7), (2, 9.4)])
def test_the_published_sizes(size: int, millions: float) -> None:
    with torch.device("meta"):
        module = TupleAttention(2048, sizes=(size,))
    assert round(count_parameters(module).trainable / 1e6, 1) == millions


@pytest.mark.parametrize("sizes", [(), (0,), (2, 2)], ids=str)
def test_impossible_sizes_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="sizes=.* must be different numbers of frames"):
        TupleAttention(WIDTH, sizes=sizes)
    with pytest.raises(ValueError, match="key_width=0"):
        TupleAttention(WIDTH, key_width=0)


@pytest.mark.parametrize(("numbers", "parts"), [(1, [1] * 6), (130, [2, 1, 3])])
def test_classes_a_few_at_a_time_give_the_same_distances(
    numbers: int, parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A class takes 60 numbers in the answers of the pairs, 40 in those of the triples."""
    module = make()
    query, exemplars = videos(2, 4, seed=1)[None], videos(6, 4, seed=2)[None]
    expected = module(query, exemplars, UNEVEN[None], 3)
    together: list[int] = []
    at_once = tuples._distances_at_once

    def spy(query, support, present):
        together.append(present.shape[-2])
        return at_once(query, support, present)

    monkeypatch.setattr(tuples, "ANSWERS", numbers)
    monkeypatch.setattr(tuples, "_distances_at_once", spy)
    close(module(query, exemplars, UNEVEN[None], 3), expected, 1e-14)
    assert together == parts
