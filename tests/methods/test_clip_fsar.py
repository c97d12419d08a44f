"""CLIP-FSAR against loops written from the paper's equations and from facts about its released code."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from openfsar import hub
from openfsar.encoders.tiny import tiny_encoder
from openfsar.encoders.trainable import count_parameters
from openfsar.encoders.weights import load_encoder
from openfsar.engine.checkpoint import load_trained_state, trained_state
from openfsar.episode import Episode, FrameFeatures, SupportSet
from openfsar.matchers import otam
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import build, create
from openfsar.temporal.transformer import TemporalBlock

NAMES = ("waving", "running", "jumping")
VOCABULARY = ("climbing", *NAMES, "sitting")
LABELS = torch.tensor([0, 1, 2, 0, 2])


def make(**options) -> FewShotMethod:
    return build("clip-fsar", tiny_encoder(), **options).double()


def clips(videos: int, seed: int) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (videos, 4, 3, 32, 32), dtype=torch.uint8, generator=dice)


def episode() -> Episode:
    return Episode(clips(5, 1), LABELS, clips(3, 2), torch.arange(3), NAMES, VOCABULARY)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def block_by_hand(block: TemporalBlock, tokens: Tensor) -> Tensor:
    """One video (X, D), one head and one pair of tokens at a time."""
    normed = block.norm(tokens)
    q, k, v = (layer(normed) for layer in (block.queries, block.keys, block.values))
    size = tokens.shape[1] // block.heads
    heads = []
    for h in range(block.heads):
        part = slice(h * size, (h + 1) * size)
        weights = torch.stack([torch.stack([a @ b for b in k[:, part]]) for a in q[:, part]]) / size**0.5
        heads.append(weights.softmax(-1) @ v[:, part])
    mixed = tokens + block.out[0](torch.cat(heads, -1))
    return mixed + block.mlp[3](F.gelu(block.mlp[0](mixed)))


def near(x: Tensor, y: Tensor, eps: float) -> Tensor:
    return x @ y / (x.norm() * y.norm() + eps)


def costs_by_hand(method: FewShotMethod, merge: str, eps: float, smoothing: float) -> Tensor:
    """Queries by classes."""
    task, text = episode(), method.text(NAMES)
    support, query = method.encoder.frames(task.support), method.encoder.frames(task.query)
    prototypes = []
    for n in range(3):
        videos = [support[i] for i in range(5) if LABELS[i] == n]
        if merge == "before":
            videos = [torch.stack(videos).mean(0)]
        read = [block_by_hand(method.temporal, torch.cat([v, text[n : n + 1]]))[:-1] for v in videos]
        prototypes.append(torch.stack(read).mean(0))
    rows = []
    for video in query:
        frames = block_by_hand(method.temporal, video)
        tables = [
            torch.stack([torch.stack([1 - near(f, g, eps) for g in prototype]) for f in frames])
            for prototype in prototypes
        ]
        one_way = [otam(t, smoothing=smoothing, both_ways=False) for t in tables]
        other = [otam(t.T, smoothing=smoothing, both_ways=False) for t in tables]
        rows.append(torch.stack([a + b for a, b in zip(one_way, other, strict=True)]))
    return torch.stack(rows)


@torch.no_grad()
@pytest.mark.parametrize("merge", ["before", "after"])
def test_the_released_code_s_visual_score(merge: str) -> None:
    method = make(preset="released", merge=merge)
    costs = costs_by_hand(method, merge, eps=0.01, smoothing=0.5)
    close(method.logits(episode()), -costs / 4)


@torch.no_grad()
def test_the_combined_score_is_a_weighted_product_of_probabilities() -> None:
    method = make(text_share=0.7)
    visual = (-costs_by_hand(method, "before", eps=0.0, smoothing=0.1) / 4).softmax(-1)
    means, text = method.encoder.frames(episode().query).mean(1), method.text(NAMES)
    cosines = torch.stack([torch.stack([near(v, t, 0.0) for t in text]) for v in means])
    named = (method.encoder.logit_scale.exp() * cosines).softmax(-1)
    close(method.logits(episode()), (named**0.7 * visual**0.3).log())
    for share, part in ((1.0, named), (0.0, visual)):
        close(make(text_share=share).logits(episode()).log_softmax(-1), part.log())


def test_the_loss_names_all_videos_among_all_training_classes() -> None:
    method = make(preset="released", text_weight=3.0, merge="after")
    found = method(episode())
    task, text = episode(), method.text(VOCABULARY)
    means = method.encoder.frames(torch.cat([task.support, task.query])).mean(1)
    logits = torch.stack([torch.stack([near(v, t, 0.01) for t in text]) for v in means])
    names = 1 + torch.cat([LABELS, torch.arange(3)])  # the vocabulary has one name before them
    named = F.cross_entropy(logits, names)
    costs = costs_by_hand(method, "after", eps=0.01, smoothing=0.5)
    close(found["loss"], F.cross_entropy(-costs, torch.arange(3)) + 3 * named)


def test_presets_differ_in_whether_the_scale_trains() -> None:
    assert "scale.log" in make(preset="released").learnt and "scale.log" not in make().learnt
    assert make(preset="released").scale(torch.ones(1, dtype=torch.float64)).item() == 1.0


def test_the_temporal_block_has_the_published_size() -> None:
    assert count_parameters(TemporalBlock(512)).trainable == 3_149_824
    assert count_parameters(TemporalBlock(1024)).trainable == 8_394_752


def test_without_names_it_says_what_is_missing() -> None:
    method = make()
    features = method.encode(clips(5, 1))
    with pytest.raises(ValueError, match="clip-fsar reads class names"):
        method.prepare(SupportSet(features, LABELS, 3))
    assert isinstance(features, FrameFeatures)


def trained(*, pretrained: bool) -> FewShotMethod:
    """CLIP-FSAR with LoRA on ToyCLIP's geometry after three steps, B no longer zero."""
    method = create("clip-fsar", tune="lora", rank=4, preset="released", pretrained=pretrained).train()
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        method(toy_episode())["loss"].backward()
        optimizer.step()
    return method.eval()


def toy_episode() -> Episode:
    dice = torch.Generator().manual_seed(4)
    videos = torch.randint(0, 256, (6, 2, 3, 64, 64), dtype=torch.uint8, generator=dice)
    return Episode(videos[:3], torch.arange(3), videos[3:], torch.arange(3), NAMES, VOCABULARY)


def alike(one: FewShotMethod, other: FewShotMethod) -> None:
    """The towers agree to the last bit; logits as far as a text's feature ignores the texts beside it."""
    task = toy_episode()
    assert torch.equal(one.encoder.frames(task.query), other.encoder.frames(task.query))
    torch.testing.assert_close(one.logits(task), other.logits(task), rtol=0, atol=1e-5)


def test_lora_starts_where_a_frozen_tower_starts_and_trains_its_matrices_alone() -> None:
    method, frozen = make(tune="lora"), make(tune="none")
    assert torch.equal(method.logits(episode()), frozen.logits(episode()))
    assert {name for name in method.learnt if ".lora_" not in name} == frozen.learnt
    assert all(name.startswith("temporal.") for name in frozen.learnt)
    assert make(tune="lora", preset="released").learnt == method.learnt | {"scale.log"}


@torch.no_grad()
def test_lora_on_disk_is_lora_and_the_temporal_block(tmp_path: Path) -> None:
    with torch.enable_grad():
        method = trained(pretrained=True)
    start = create("clip-fsar", tune="lora", rank=4, preset="released")
    assert (start.logits(toy_episode()) - method.logits(toy_episode())).abs().max() > 1e-3
    hub.save(method, tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    assert load_file(path).keys() == method.learnt == trained_state(method).keys()
    again = hub.load(tmp_path)
    assert again.learnt == method.learnt
    alike(again, method)
    taken = hub.load(tmp_path, encoder=method.encoder)  # its LoRA makes room
    assert taken.learnt == method.learnt
    alike(taken, again)


@torch.no_grad()
def test_lora_on_a_random_encoder_comes_back_from_folder_and_checkpoint(tmp_path: Path) -> None:
    with torch.enable_grad():
        method = trained(pretrained=False)
    hub.save(method, tmp_path)
    alike(hub.load(tmp_path), method)
    fresh = create("clip-fsar", tune="lora", rank=4, preset="released", pretrained=False)
    load_trained_state(fresh, trained_state(method))
    alike(fresh, method)


def test_lora_fits_a_resnet_too() -> None:
    method = build("clip-fsar", load_encoder("tiny-resnet", pretrained=False), tune="lora", rank=2)
    assert "encoder.vision.layer4.0.conv2.lora_B.default.weight" in method.learnt
    assert method(toy_episode())["loss"].isfinite()
