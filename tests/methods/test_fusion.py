"""What examples and names say, fused: against the two formulas, for every method that can read names."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from openfsar import hub
from openfsar.encoders.tiny import tiny_encoder
from openfsar.episode import Episode, FrameFeatures, SupportSet, Task
from openfsar.methods.fusion import FusedMethod, fuse
from openfsar.methods.matching import Changes, make_matcher
from openfsar.methods.spatial import SpatialMethod
from openfsar.methods.zoo import METHODS, build, create

NAMES = ("waving", "running", "jumping")
VISUAL = ["protonet", "otam", "bi-mhm", "trx", "hyrsm"]
ALL = [*VISUAL, "clip-fsar", "ma-fsar", "actionclip", "m2-clip"]


def make(name: str, **options) -> FusedMethod:
    method = build(name, tiny_encoder(), **options).double()
    assert isinstance(method, FusedMethod)
    return method


def clips(videos: int, seed: int) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (videos, 4, 3, 32, 32), dtype=torch.uint8, generator=dice)


def episode() -> Episode:
    return Episode(clips(5, 1), torch.tensor([0, 1, 2, 0, 2]), clips(4, 2), torch.tensor([0, 1, 2, 0]), NAMES)


def test_every_method_with_examples_can_fuse_names() -> None:
    fused = {name for name, kind in METHODS.items() if issubclass(kind, FusedMethod)}
    visual = {name for name, kind in METHODS.items() if issubclass(kind, SpatialMethod)}  # read no names
    assert fused == set(METHODS) - visual - {"zero-shot"} == set(ALL)


@torch.no_grad()
@pytest.mark.parametrize("name", VISUAL)
def test_the_score_is_the_weighted_product_of_probabilities(name: str) -> None:
    alone, fused = make(name), make(name, text_share=0.3)
    near = alone.logits(episode()).softmax(-1)
    frames = fused.encoder.frames(episode().query)
    text = fused.encoder.text(NAMES)
    cosines = F.normalize(frames.mean(1), dim=-1) @ F.normalize(text, dim=-1).T
    named = (fused.encoder.logit_scale.exp() * cosines).softmax(-1)
    torch.testing.assert_close(fused.logits(episode()), (named**0.3 * near**0.7).log())
    assert (named.argmax(-1) != near.argmax(-1)).any()  # or the two could be confused


@torch.no_grad()
@pytest.mark.parametrize("name", VISUAL)
def test_without_a_share_no_name_is_read(name: str) -> None:
    assert make(name).text(NAMES) is None
    assert make(name, text_share=0.2).text(NAMES) is not None


@pytest.mark.parametrize("name", ALL)
def test_the_share_is_a_matter_of_the_prediction_alone(name: str) -> None:
    losses = []
    for share in (0.0, 0.7):
        torch.manual_seed(0)
        losses.append(make(name, text_share=share).eval()(episode())["loss"])
    assert torch.equal(*losses)


@torch.no_grad()
@pytest.mark.parametrize("mix", ["product", "sum"])
def test_extreme_shares_are_one_side_alone(mix) -> None:
    near, named = torch.randn(4, 3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    grid = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64).view(-1, 1, 1)
    table = fuse(near, named, grid, mix)
    torch.testing.assert_close(table[0], near.log_softmax(-1))
    torch.testing.assert_close(table[2], named.log_softmax(-1))
    torch.testing.assert_close(table[1], fuse(near, named, 0.5, mix))


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_lies_between_zero_and_one(share: float) -> None:
    for name in ALL:
        with pytest.raises(ValueError, match="text_share.*0..1"):
            make(name, text_share=share)


def test_a_task_without_names_is_refused_where_they_have_a_share() -> None:
    method = make("otam", text_share=0.5)
    features = FrameFeatures(torch.randn(3, 4, 16, dtype=torch.float64))
    task = method.prepare(SupportSet(features, torch.arange(3), 3))
    with pytest.raises(ValueError, match="text=method.text"):
        method.score(features, task)


def test_a_chosen_share_is_saved_with_the_method(tmp_path: Path) -> None:
    method = create("otam", encoder="toyclip")
    assert isinstance(method, FusedMethod)
    method.set_text_share(0.25)
    hub.save(method, tmp_path / "model")
    again = hub.load(tmp_path / "model")
    assert isinstance(again, FusedMethod) and again.text_share == 0.25
    assert again.spec.options["text_share"] == 0.25
    with pytest.raises(ValueError, match="0..1"):
        method.set_text_share(2.0)


@torch.no_grad()
@pytest.mark.parametrize("name", ["otam", "bi-mhm", "trx"])
def test_changes_are_what_is_left_without_the_mean_frame(name) -> None:
    torch.manual_seed(0)
    query, prototypes = torch.randn(4, 6, 8), torch.randn(3, 5, 8)
    matcher = make_matcher(name, 8, centre=True).eval()
    assert isinstance(matcher, Changes)
    labels = torch.arange(3)
    found = matcher(query, Task(FrameFeatures(prototypes), labels, 3))
    shifted = matcher(query + torch.randn(4, 1, 8), Task(FrameFeatures(prototypes + 1), labels, 3))
    torch.testing.assert_close(found, shifted)
    bare = [torch.stack([frames - frames.mean(0) for frames in videos]) for videos in (query, prototypes)]
    torch.testing.assert_close(found, matcher.matcher(bare[0], Task(FrameFeatures(bare[1]), labels, 3)))


@torch.no_grad()
def test_one_frame_is_compared_as_it_is() -> None:
    query, prototypes = torch.randn(4, 1, 8), torch.randn(3, 1, 8)
    task = Task(FrameFeatures(prototypes), torch.arange(3), 3)
    plain, centred = (make_matcher("otam", 8, centre=centre)(query, task) for centre in (False, True))
    assert torch.equal(plain, centred)


def test_pooled_frames_cannot_be_centred() -> None:
    with pytest.raises(ValueError, match="leaves nothing"):
        make("ma-fsar", matcher="pooled", centre=True)
