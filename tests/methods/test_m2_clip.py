"""M2-CLIP: its four losses from their formulas, its parameter counts, its heads, and what stays frozen."""

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
from openfsar.episode import ClipBatch, Episode, SupportSet
from openfsar.methods.m2_clip import M2Clip
from openfsar.methods.zoo import build, create

NAMES = ["waving", "running", "jumping up"]
LABELS = torch.tensor([0, 2, 1, 0])
HEADS = {"classes": ["jumping up", "waving", "running"]}
"""In another order than the batches have them."""


def make(**options) -> M2Clip:
    """In float64 and eval mode, away from the zeros that adapters start with."""
    method = build("m2-clip", tiny_encoder(), **options).double()
    assert isinstance(method, M2Clip)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter += 0.1 * noise
    return method


def clips(videos: int, frames: int = 4, seed: int = 0, size: int = 32) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (videos, frames, 3, size, size), dtype=torch.uint8, generator=dice)


def batch(size: int = 32) -> ClipBatch:
    return ClipBatch(clips(4, size=size), LABELS, tuple(NAMES))


def episode(frames: int = 4, names: tuple[str, ...] = ("running", "waving")) -> Episode:
    return Episode(clips(2, frames, 1), torch.tensor([1, 0]), clips(2, 4, 2), torch.tensor([0, 1]), names)


def close(actual: Tensor, expected: Tensor | float) -> None:
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("encoder", "options", "trained"),
    [
        ("clip-vit-b-16", {"preset": "k400"}, 16_138_136),
        ("clip-vit-b-32", {"preset": "k400-b32"}, 16_138_136 - 394_112),
        ("clip-vit-b-16", {"preset": "ssv2"}, 39_524_248),
        ("clip-vit-b-16", {}, 16_138_136 - 394_112 - 307_600 - 530_440),
        ("clip-vit-b-16", {"preset": "clean"}, 12 * 1_187_328 + 263_936),
        ("clip-vit-b-16", {"preset": "k400", "cmlm_weight": 0.0}, 16_138_136 - 394_112 - 530_440),
        ("clip-vit-b-16", {"preset": "k400", "vc_weight": 0.0}, 16_138_136 - 307_600),
        ("clip-vit-b-16", {"tune": "none", "head_adapter": False}, 0),
    ],
    ids=str,
)
def test_parameters_are_those_of_the_released_models(encoder: str, options: dict, trained: int) -> None:
    with torch.device("meta"):
        method = create("m2-clip", encoder=encoder, pretrained=False, **options)
    count = count_parameters(method)
    assert count.trainable == trained
    assert count.trainable + count.frozen == trained + sum(p.numel() for p in _stock(encoder))


def _stock(encoder: str) -> list[Tensor]:
    with torch.device("meta"):
        return list(load_encoder(encoder, pretrained=False).parameters())


@torch.no_grad()
def test_features_start_as_clip_s_own() -> None:
    encoder = tiny_encoder(dtype=torch.float64)
    plain = encoder.frames(clips(3))
    fresh = build("m2-clip", tiny_encoder(), preset="ssv2", words=20).double()
    found = fresh.encode(clips(3))
    assert torch.equal(found.frames, plain)
    moved = make(preset="ssv2", words=20).encode(clips(3))
    assert (moved.frames - plain).abs().max() > 1e-3


@torch.no_grad()
def test_a_video_passes_the_tower_once_and_keeps_its_class_tokens() -> None:
    method = make()
    tower, calls = method.encoder.vision, []
    handle = tower.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    found = method.encode(clips(3))
    handle.remove()
    assert len(calls) == 1
    tokens = tower.tokens(method.encoder.normalise(clips(3)))[:, :, 0]
    close(found.token, tokens.mean(1))
    frames = tower.head.projection(tower.head.norm(tokens))
    adapter = method.head_adapter
    for video, result in zip(frames, found.frames, strict=True):
        for t in range(4):
            hidden = adapter.conv.bias.clone()
            for step in (-1, 0, 1):
                if 0 <= t + step < 4:
                    hidden += adapter.conv.weight[:, 0, step + 1, 0] * adapter.down(video[t + step])
            close(result[t], video[t] + adapter.up(hidden))


def by_hand(method: M2Clip, videos: ClipBatch) -> dict[str, float]:
    """All losses but CMLM, video by video."""
    features, scale = method.encode(videos.clips), method.encoder.logit_scale.exp().item()
    words = method.encoder.sentences([f"A video of {name}" for name in videos.vocabulary])
    means = features.frames.mean(1)
    table = [[scale * float(F.cosine_similarity(v, w, dim=0)) for w in words] for v in means]
    logits, labels = torch.tensor(table, dtype=torch.float64), videos.labels.tolist()
    rows = torch.tensor([[row[label] for label in labels] for row in table], dtype=torch.float64)
    kl = 0.0
    for values in (rows, rows.T):
        for i, row in enumerate(values):
            target = torch.tensor([10.0 * (labels[i] == labels[j]) for j in range(4)]).double().softmax(0)
            kl += float((target * (target.log() - row.log_softmax(0))).sum()) / 4 / 2
    classifier, norm = method.heads.classifier[1], method.encoder.vision.head.norm
    vc = 0.0
    for token, label in zip(features.token, labels, strict=True):
        place = method.heads.names.index(videos.vocabulary[label])
        vc -= float(classifier(norm(token)).log_softmax(0)[place]) / 4
    pairs = list(zip(logits, labels, strict=True))
    return {
        "contrastive": kl,
        "cmc": -sum(float(row.log_softmax(0)[label]) for row, label in pairs) / 4,
        "double": -sum(float(row.softmax(0).log_softmax(0)[label]) for row, label in pairs) / 4,
        "vc": vc,
        "accuracy": sum(int(row.argmax()) == label for row, label in pairs) / 4,
    }


@pytest.mark.parametrize("preset", ["paper", "clean"])
@pytest.mark.parametrize("cmc", ["plain", "double-softmax"])
def test_each_loss_is_its_formula_and_the_total_their_weighted_sum(preset: str, cmc: str) -> None:
    method = make(preset=preset, cmc=cmc, **HEADS)
    with torch.no_grad():
        expected = by_hand(method, batch())
    torch.manual_seed(0)
    found = method(batch())
    assert found.keys() == {"loss", "accuracy", "contrastive", "cmc", "vc", "cmlm"}
    close(found["contrastive"], expected["contrastive"])
    close(found["cmc"], expected["double" if cmc == "double-softmax" else "cmc"])
    close(found["vc"], expected["vc"])
    assert found["accuracy"].item() == pytest.approx(expected["accuracy"])
    torch.manual_seed(0)
    sentences = [f"A video of {NAMES[label]}" for label in LABELS.tolist()]
    logits, targets = method.heads.masked_words(method.encoder, sentences, method.encode(clips(4)).frames)
    close(found["cmlm"], F.cross_entropy(logits, targets).detach())
    total = (found["contrastive"] + found["cmc"]) / 2 + found["vc"] + found["cmlm"] / 10
    close(found["loss"].detach(), total)
    other = make(preset=preset, cmc=cmc, contrastive_weight=2.0, cmc_weight=0.0, cmlm_weight=0.0, **HEADS)
    found = other(batch())
    assert found.keys() == {"loss", "accuracy", "contrastive", "vc"}
    close(found["loss"].detach(), 2 * found["contrastive"] + found["vc"])


def test_the_vocabulary_is_read_once_in_a_step_with_gradient_and_without_text_adapters_once_for_all() -> None:
    reads = []
    for options in ({}, {"preset": "clean"}):
        method, calls = make(**options), []
        method.encoder.text_tower.register_forward_hook(lambda _, ids, __, c=calls: c.append(len(ids[0])))
        for _ in range(2):
            method(batch())["loss"].backward()
        reads.append(calls)
    assert reads == [[3, 3], [3]]


def test_an_episode_is_a_batch_of_its_clips_among_its_vocabulary() -> None:
    method = make(**HEADS)
    task = episode()
    videos = ClipBatch(torch.cat([task.support, task.query]), torch.tensor([1, 0, 0, 1]), task.classes)
    losses = []
    for both in (task, videos):
        torch.manual_seed(0)
        losses.append(method(both))
    for name, value in losses[0].items():
        close(value, losses[1][name])
    wide = Episode(
        task.support, task.support_labels, task.query, task.query_labels, task.classes, tuple(NAMES)
    )
    torch.manual_seed(0)
    found = method(wide)
    number = torch.tensor([NAMES.index(name) for name in task.classes])
    torch.manual_seed(0)
    expected = method(ClipBatch(videos.clips, number[videos.labels], tuple(NAMES)))
    close(found["loss"], expected["loss"])
    assert (found["cmc"] - losses[0]["cmc"]).abs() > 1e-3  # three names to choose from, not two
    close(found["vc"], losses[0]["vc"])


def test_support_and_query_may_have_other_numbers_of_frames() -> None:
    method = make(mask_ratio=1.0, **HEADS)  # every word is masked: nothing is drawn
    found = method(episode(frames=3))
    features = [method.encode(videos) for videos in (clips(2, 3, 1), clips(2, 4, 2))]
    logits = torch.cat([method.visual(part) for part in features])
    classes = [method.heads.names.index(name) for name in ("waving", "running", "running", "waving")]
    close(found["vc"], F.cross_entropy(logits, torch.tensor(classes)).detach())
    parts = [["A video of waving", "A video of running"], ["A video of running", "A video of waving"]]
    filled = [
        method.heads.masked_words(method.encoder, sentences, part.frames)
        for sentences, part in zip(parts, features, strict=True)
    ]
    logits, targets = (torch.cat(both) for both in zip(*filled, strict=True))
    close(found["cmlm"], F.cross_entropy(logits, targets).detach())


def test_unseen_classes_are_learnt_and_named_without_the_heads() -> None:
    method = make(**HEADS)
    found = method(episode(names=("diving", "waving")))
    assert found.keys() == {"loss", "accuracy", "contrastive", "cmc"}
    with torch.no_grad():
        names = ["diving", "waving", "falling", "sitting"]
        heads = method.classify(method.encode(clips(2)), names)
    assert heads.keys() == {"text"} and heads["text"].shape == (2, 4)
    with pytest.raises(ValueError, match="class 'diving' is none of the 3.*build it with classes="):
        method(ClipBatch(clips(2), torch.tensor([0, 1]), ("diving", "waving")))
    alone = make(contrastive_weight=0.0, cmc_weight=0.0, **HEADS)
    with pytest.raises(ValueError, match="no loss of m2-clip is left for classes such as 'diving'"):
        alone(episode(names=("diving", "waving")))


@torch.no_grad()
def test_known_classes_are_named_by_three_heads_in_any_order() -> None:
    method = make(**HEADS)
    videos = method.encode(clips(4))
    found = method.classify(videos, NAMES)
    assert list(found) == ["text", "visual", "average"]
    words = F.normalize(method.encoder.sentences([f"A video of {name}" for name in NAMES]), dim=-1)
    means = F.normalize(videos.frames.mean(1), dim=-1)
    close(found["text"], method.encoder.logit_scale.exp() * means @ words.T)
    norm, linear = method.encoder.vision.head.norm, method.heads.classifier[1]
    visual = linear(norm(videos.token))
    close(found["visual"], torch.stack([visual[:, 1], visual[:, 2], visual[:, 0]], 1))
    close(found["average"].exp(), (found["text"].softmax(-1) + found["visual"].softmax(-1)) / 2)
    turned = method.classify(videos, NAMES[::-1])
    for name, logits in found.items():
        close(turned[name].flip(1), logits)


@torch.no_grad()
def test_each_head_may_give_the_answer_and_is_saved_with_the_method(tmp_path: Path) -> None:
    method = make(**HEADS)
    videos = method.encode(clips(2))
    for head in ("visual", "average", "text"):
        method.set_inference(head)
        assert next(iter(method.classify(videos, NAMES))) == head
    method.set_inference("visual")
    hub.save(method, tmp_path / "model")
    again = hub.load(tmp_path / "model")
    assert isinstance(again, M2Clip) and again.inference == "visual" and again.spec == method.spec
    close(again.visual(again.encode(clips(2))), method.visual(videos))
    with pytest.raises(ValueError, match=r"needs the 3 classes of training.*set_inference\('text'\)"):
        method.classify(videos, ["diving", "waving"])
    with pytest.raises(ValueError, match="needs a head for known classes; give classes="):
        make().set_inference("visual")
    with pytest.raises(ValueError, match="has no head for known classes"):
        make().visual(videos)


@torch.no_grad()
def test_examples_are_compared_with_class_means_at_clip_s_scale() -> None:
    method = make(matcher="pooled")
    support, query = method.encode(clips(4, seed=1)), method.encode(clips(3, seed=2))
    task = method.prepare(SupportSet(support, torch.tensor([0, 1, 0, 1]), 2))
    for n in range(2):
        prototype = support.frames[n::2].mean(0).mean(0)
        for q in range(3):
            cosine = F.cosine_similarity(query.frames[q].mean(0), prototype, dim=0)
            close(method.compare(query, task)[q, n], -method.encoder.logit_scale.exp() * (1 - cosine))


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({}, {"vision.blocks.0.around", "vision.blocks.1.around", "text_tower.blocks.1.around"}),
        ({"preset": "clean"}, {"vision.blocks.0.around", "vision.blocks.1.around"}),
        ({"ted_before_attention": [-1], "ted_before_mlp": "none"}, {"vision.blocks.1.before"}),
        ({"tune": "none"}, set()),
    ],
    ids=["default", "clean", "last block alone", "frozen"],
)
def test_adapters_stand_where_the_options_say_and_nothing_else_moves(options: dict, parts: set) -> None:
    if "ted_before_attention" in options:
        options = options | {"text_before_mlp": [2]}
    method = make(**options, **HEADS).train()
    found = {".".join(n.split(".")[1:5]) for n in method.learnt if n.startswith("encoder.")}
    assert found == parts
    outside = {name.split(".")[0] for name in method.learnt} - {"encoder"}
    assert outside == {"heads", "head_adapter"}
    assert "encoder.logit_scale" not in method.learnt
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    torch.manual_seed(0)
    for _ in range(2):
        optimizer.zero_grad()
        method(batch())["loss"].backward()
        optimizer.step()
    for name, parameter in method.named_parameters():
        dead = "blocks.1.around.adapter.difference" in name  # no attention reads what it changes
        assert torch.equal(parameter, before[name]) == (name not in method.learnt or dead), name


def test_full_tuning_has_no_visual_adapters_and_a_frozen_text_tower() -> None:
    method = make(tune="full", text_before_mlp="none")
    tower = {name for name, _ in method.encoder.vision.named_parameters(prefix="encoder.vision")}
    stock = {name for name, _ in tiny_encoder().vision.named_parameters(prefix="encoder.vision")}
    assert tower == stock
    assert method.learnt == tower | {name for name in method.learnt if name.startswith("head_adapter.")}


@torch.no_grad()
def test_text_adapters_change_the_words_from_the_start_and_clean_does_not() -> None:
    plain = tiny_encoder().text(NAMES, ("A video of {}",))
    assert torch.equal(build("m2-clip", tiny_encoder(), preset="clean").read(NAMES), plain)
    assert (build("m2-clip", tiny_encoder()).read(NAMES) - plain).abs().max() > 1e-3


def test_on_disk_it_is_what_was_learnt_and_comes_back_whole(tmp_path: Path) -> None:
    method = create("m2-clip", **HEADS)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.1)
    torch.manual_seed(0)
    for _ in range(2):
        optimizer.zero_grad()
        method(batch(64))["loss"].backward()
        optimizer.step()
    hub.save(method, tmp_path / "model")
    (path,) = (tmp_path / "model").glob("*.safetensors")
    assert load_file(path).keys() == method.learnt
    again = hub.load(tmp_path / "model")
    assert again.spec == method.spec and again.learnt == method.learnt
    losses = []
    for each in (method, again):
        torch.manual_seed(1)
        losses.append(each(batch(64)))
    assert all(torch.equal(value, losses[1][name]) for name, value in losses[0].items())


def test_the_loss_falls_in_a_few_steps() -> None:
    method = build("m2-clip", tiny_encoder(), **HEADS).double()
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=1e-2)
    totals = []
    torch.manual_seed(0)
    for _ in range(30):
        optimizer.zero_grad()
        found = method(batch())
        found["loss"].backward()
        optimizer.step()
        totals.append(found)
    for name in ("loss", "contrastive", "cmc", "vc", "cmlm"):
        values = [found[name].item() for found in totals]
        assert sum(values[-5:]) < 0.8 * sum(values[:5]), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["waving", "running", "waving"]}, "'waving' occurs twice; give every class a name"),
        ({"classes": ["waving", " "]}, "class names must not be empty"),
        ({"classes": "waving"}, r"single string 'waving'; write \['waving'\]"),
        ({"classes": -1}, "classes=-1 must be the names of the classes, or their number, or 0"),
        ({"classes": NAMES, "words": 6}, "words=6 is too few, the names have 7 words; use at least 7, or 0"),
        ({"classes": 400}, "words=0 is too few, no names of classes are given; use at least 1"),
        ({"ted_before_mlp": [0, 2]}, r"ted_before_mlp=\[0, 2\] names block 2, and there are 2.*0..1, -2..-1"),
        ({"text_before_mlp": [-4]}, r"text_before_mlp=\[-4\] names block -4, and there are 3.*0..2, -3..-1"),
        ({"text_before_attention": [3]}, "text_before_attention.*names block 3.*'all' or 'none'"),
        ({"mask_ratio": 1.5}, "mask_ratio=1.5 must lie in 0..1"),
        ({"cmc_weight": -1.0}, "cmc_weight=-1.0 must be 0 or a positive number"),
        ({"matcher": "trx"}, "matcher='trx' has weights that no loss of m2-clip trains"),
        ({"inference": "visual"}, "inference='visual' needs a head for known classes"),
        ({"preset": "v2"}, "no preset 'v2'.*choose from paper, clean, k400, k400-b32, ssv2"),
    ],
    ids=str,
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("m2-clip", tiny_encoder(), **options)


def test_a_tower_without_class_tokens_is_refused_with_a_remedy() -> None:
    with pytest.raises(
        ValueError, match="needs the class tokens.*use clip-vit-b-16.*or the method actionclip"
    ):
        build("m2-clip", load_encoder("tiny-resnet", pretrained=False))


def test_heads_for_a_number_of_classes_cannot_be_asked() -> None:
    method = make(classes=3, words=7)
    with pytest.raises(ValueError, match="none of the 0 whose names the heads .*build it with classes="):
        method(episode())
    assert method.classify(method.encode(clips(2)), NAMES).keys() == {"text"}


def test_names_that_occur_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="'running' occurs twice"):
        make().read(["running", "running"])
    with pytest.raises(ValueError, match="'running' occurs twice"):
        make()(ClipBatch(clips(2), torch.tensor([0, 1]), ("running", "running")))


def test_clips_of_another_size_are_refused_as_by_the_encoder() -> None:
    with pytest.raises(ValueError, match="needs uint8 clips of 32x32 pixels"):
        make().encode(clips(1, size=64))
