"""MA-FSAR against its equations, its parameter count and its ablation table."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from openfsar.encoders.tiny import tiny_encoder
from openfsar.encoders.trainable import count_parameters
from openfsar.encoders.weights import load_encoder
from openfsar.episode import Episode, SupportSet
from openfsar.methods.base import FewShotMethod
from openfsar.methods.fusion import RefinedFeatures
from openfsar.methods.zoo import build
from openfsar.objectives import multi_positive_kl
from openfsar.prototypes import TextGuidance

NAMES = ("waving", "running", "jumping")


def make(**options) -> FewShotMethod:
    """In float64, away from the zeros that adapters start with."""
    method = build("ma-fsar", tiny_encoder(), **options).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter += 0.1 * noise
    return method


def clips(videos: int, frames: int = 4, seed: int = 0) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (videos, frames, 3, 32, 32), dtype=torch.uint8, generator=dice)


def episode() -> Episode:
    labels = torch.tensor([0, 1, 2, 0])
    return Episode(clips(4, seed=1), labels, clips(3, seed=2), torch.arange(3), NAMES)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "millions"),
    [
        ({}, 18_537_728),
        ({"positions": 0}, 18_531_584),
        ({"tune": "none"}, 3_152_384),
        ({"tune": "none", "prototype": "mean"}, 0),
        ({"temporal": False, "joint": False, "positions": 0}, 3_152_384 + 12 * (295_872 + 393_984)),
        ({"joint": False, "positions": 0}, 3_152_384 + 12 * (2 * 295_872 + 393_984)),
        ({"text_layer": "shared"}, 18_537_728 - 11 * 393_984),
    ],
    ids=str,
)
def test_parameters_of_vit_b_are_those_of_the_paper(options: dict, millions: int) -> None:
    with torch.device("meta"):
        encoder = load_encoder("clip-vit-b-32", pretrained=False)
        method = build("ma-fsar", encoder, **options)
    assert count_parameters(method).trainable == millions


def by_hand(method: FewShotMethod, video: Tensor, text: Tensor | None) -> Tensor:
    """Features (T, D) of one video, frame by frame and step by step, from the equations of figure 3."""
    tower = method.encoder.vision
    pixels = method.encoder.normalise(video[None])[0]
    x = [tower.pre_norm(tower.embeddings(frame[None]))[0] for frame in pixels]
    x = [tokens + tower.blocks[0].before.table[t] for t, tokens in enumerate(x)]
    for block in tower.blocks:
        layer, around = block.layer, block.around

        def attention(tokens: Tensor, layer: nn.Module = layer) -> Tensor:
            return layer.self_attn(layer.layer_norm1(tokens)[None])[0][0]

        def adapter(part: nn.Module, tokens: Tensor) -> Tensor:
            return part.up(F.gelu(part.down(tokens)))

        classes = torch.stack([tokens[0] for tokens in x])
        timed = classes + adapter(around.temporal, attention(classes))
        for t, tokens in enumerate(x):
            z = [tokens, timed[t : t + 1]]
            if text is not None:
                z.append(around.text(text)[None])
            z = torch.cat(z)
            seen = attention(z)
            z = z + seen + adapter(around.local, seen)
            kept = z[: len(tokens)]
            h = layer.layer_norm2(kept)
            x[t] = kept + layer.mlp(h) + block.beside.factor * adapter(block.beside.adapter, h)
    return torch.stack([tower.head.projection(tower.head.norm(tokens[0])) for tokens in x])


@torch.no_grad()
def test_the_adapted_tower_is_what_the_equations_say() -> None:
    method = make(positions=4, joint_scale=0.5)
    text = method.text(NAMES)
    videos = clips(3)
    supports = method.encode(videos, text)
    queries = method.encode(videos)
    for i in range(3):
        close(supports.raw[i], by_hand(method, videos[i], text[i]))
        close(queries.raw[i], by_hand(method, videos[i], None))
    assert (supports.raw - queries.raw).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("guidance", ["text-guided", "multimodal", "unimodal"])
def test_prototype_construction_is_what_the_equations_say(guidance: str) -> None:
    layer = TextGuidance(16, guidance=guidance, heads=4).double()
    frames, text = torch.randn(2, 5, 16).double(), torch.randn(2, 16).double()
    found, plain = layer(frames, text), layer(frames)
    for video in range(2):
        for t, expected in ((text[video], found[video]), (None, plain[video])):
            reads = t is not None and guidance != "unimodal"
            seen = torch.cat([t[None], frames[video]]) if reads else frames[video]
            query = frames[video] + t if reads and guidance == "text-guided" else frames[video]
            keys = layer.norm_attention(seen)
            mixed = query + layer.attention(layer.norm_attention(query), keys, keys)[0]
            close(expected, mixed + layer.mlp(layer.norm_mlp(mixed)))


@torch.no_grad()
def test_without_positions_the_order_of_frames_moves_with_the_features() -> None:
    method, order = make(positions=0), torch.tensor([2, 0, 3, 1])
    videos, text = clips(2), method.text(NAMES[:2])
    close(method.encode(videos[:, order], text).frames, method.encode(videos, text).frames[:, order])
    ordered = make(positions=4)
    change = ordered.encode(videos[:, order]).frames - ordered.encode(videos).frames[:, order]
    assert change.abs().max() > 1e-4


@torch.no_grad()
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_scores_are_logarithms_of_the_mixed_probabilities(alpha: float) -> None:
    method, task = make(alpha=alpha, scale=2.0), episode()
    text = method.text(NAMES)
    support, query = method.encode(task.support, text[task.support_labels]), method.encode(task.query)
    prepared = method.prepare(SupportSet(support, task.support_labels, 3, text))
    near = (-2 * method.matcher(query.frames, prepared)).softmax(-1)
    cosines = F.normalize(query.raw.mean(1), dim=-1) @ F.normalize(text, dim=-1).T
    named = (method.encoder.logit_scale.exp() * cosines).softmax(-1)
    close(method.logits(task).softmax(-1), alpha * named + (1 - alpha) * near)


def test_the_prediction_may_have_another_share_than_the_loss() -> None:
    paper, other = make(alpha=0.3), make(alpha=0.3, text_share=0.9)
    assert paper.text_share == 0.3
    assert torch.equal(paper(episode())["loss"], other(episode())["loss"])
    close(other.logits(episode()), make(alpha=0.9).logits(episode()))
    assert make(names=False).text_share == 0
    with pytest.raises(ValueError, match="names=False never reads"):
        make(names=False).read(NAMES)


def test_the_loss_is_the_weighted_sum_of_its_three_parts() -> None:
    found = make(alpha=0.3)(episode())
    names = (found["support_to_text"] + found["query_to_text"]) / 2
    close(found["loss"].detach(), 0.3 * names + 0.7 * found["query_to_support"])
    alone = make(names=False)(episode())
    assert alone.keys() == {"loss", "accuracy"}


def test_the_kl_loss_is_its_definition_and_ordinary_cross_entropy_when_sharp() -> None:
    logits = torch.randn(4, 3, dtype=torch.float64)
    match = F.one_hot(torch.tensor([0, 1, 2, 1])).bool()
    total = 0.0
    for values, target in ((logits, 10.0 * match), (logits.T, 10.0 * match.T)):
        for row, wanted in zip(values, target, strict=True):
            p, q = wanted.double().softmax(0), row.softmax(0)
            total += sum(float(a * math.log(a / b)) for a, b in zip(p, q, strict=True)) / len(values) / 2
    assert multi_positive_kl(logits, match).item() == pytest.approx(total, abs=1e-12)
    only = torch.eye(3).bool()
    sharp = multi_positive_kl(logits[:3], only, sharpness=1000.0)
    label = torch.arange(3)
    both = (F.cross_entropy(logits[:3], label) + F.cross_entropy(logits[:3].T, label)) / 2
    close(sharp, both)


def test_gradient_checkpointing_gives_equal_gradients() -> None:
    gradients = []
    for recompute in (False, True):
        method = make().train()
        method.encoder.vision.checkpoint_blocks(recompute)
        method(episode())["loss"].backward()
        gradients.append({name: p.grad for name, p in method.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() == method.learnt
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, rtol=1e-9, atol=1e-12, msg=name)


@torch.no_grad()
def test_shots_are_merged_behind_or_in_front_of_the_prototype_layer() -> None:
    behind, front = make(), make(merge="before")
    text, labels = behind.text(NAMES), torch.tensor([0, 1, 2, 0])
    features = behind.encode(clips(4, seed=1), text[labels])
    assert isinstance(features, RefinedFeatures)
    one = behind.prepare(SupportSet(features, labels, 3, text)).exemplars.frames
    other = front.prepare(SupportSet(features, labels, 3, text)).exemplars.frames
    close(one[0], features.frames[[0, 3]].mean(0))
    close(other[0], front.guidance(features.raw[[0, 3]].mean(0), text[0]))
    close(one[1:], other[1:])  # with one shot there is nothing to merge


def test_names_that_are_missing_or_too_few_are_refused_with_a_remedy() -> None:
    method = make()
    features = method.encode(clips(3, 1))
    with pytest.raises(ValueError, match=r"text=method.text\(names\)\), or build it with names=False"):
        method.prepare(SupportSet(features, torch.arange(3), 3))
    with pytest.raises(ValueError, match=r"3-way task needs the text features of 3 class names.*got 2"):
        SupportSet(features, torch.arange(3), 3, method.text(NAMES[:2]))
    with pytest.raises(ValueError, match="classes \\[1\\] of 3 have no support video; give each class"):
        SupportSet(features, torch.tensor([0, 2, 0]), 3, method.text(NAMES))


def test_a_name_that_occurs_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="'waving' occurs twice; give every class a name of its own"):
        make().text(["waving", "running", "waving"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, "alpha=1.5 must lie in 0..1"),
        ({"scale": 0.0}, "scale=0.0 must be a positive number"),
        ({"heads": 3}, "heads=3 must divide the feature width 16"),
        ({"preset": "v3"}, "no preset 'v3'.*choose from paper, ma-clip"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("ma-fsar", tiny_encoder(), **options)


def test_a_resnet_has_no_place_for_adapters_but_trains_whole() -> None:
    with pytest.raises(ValueError, match="'adapters' needs a transformer.*tune='full'"):
        build("ma-fsar", load_encoder("tiny-resnet", pretrained=False))
    method = build("ma-fsar", load_encoder("tiny-resnet", pretrained=False), tune="full")
    assert {"guidance.attention.in_proj_weight", "encoder.vision.conv1.weight"} <= method.learnt
    dice = torch.Generator().manual_seed(0)
    videos = torch.randint(0, 256, (6, 2, 3, 64, 64), dtype=torch.uint8, generator=dice)
    task = Episode(videos[:3], torch.arange(3), videos[3:], torch.arange(3), NAMES)
    assert method(task)["loss"].isfinite() and method.logits(task).shape == (3, 3)


def test_ma_clip_is_the_preset_of_the_first_version() -> None:
    first = build("ma-clip", tiny_encoder())
    assert first.spec.method == "ma-fsar" and first.spec.options["prompt"] == "name"
    assert build("ma-clip", tiny_encoder(), alpha=0.2).spec.options["alpha"] == 0.2
