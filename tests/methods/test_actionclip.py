"""ActionCLIP against loops written from the paper's formulas: one video, one sentence at a time."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from openfsar.encoders.adapters import JointSpaceTime, PatchShift, TemporalPosition
from openfsar.encoders.clip import ClipEncoder
from openfsar.encoders.prompts import TEMPLATES
from openfsar.encoders.tiny import tiny_encoder
from openfsar.encoders.towers import VisionTower
from openfsar.encoders.weights import load_encoder
from openfsar.episode import ClipBatch, Episode, FrameFeatures
from openfsar.methods.actionclip import ActionClip
from openfsar.methods.zoo import build, create

NAMES = ("waving", "brush_hair", "jumping")
LABELS = torch.tensor([2, 0, 1, 0, 2, 2])


def make(**options: Any) -> ActionClip:
    method = build("actionclip", tiny_encoder(), **{"layers": 1, **options}).double()
    assert isinstance(method, ActionClip)
    return method


def clips(videos: int, seed: int, frames: int = 3) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (videos, frames, 3, 32, 32), dtype=torch.uint8, generator=dice)


def batch() -> ClipBatch:
    return ClipBatch(clips(6, 1), LABELS, NAMES)


def episode(query_frames: int = 3) -> Episode:
    return Episode(clips(4, 1), LABELS[:4], clips(2, 2, query_frames), LABELS[4:], NAMES)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def cosine(x: Tensor, y: Tensor) -> Tensor:
    return (x / x.norm()) @ (y / y.norm())


def sentence(label: int, template: int) -> str:
    return TEMPLATES["actionclip"][template].replace("{}", NAMES[label].replace("_", " "))


def drawn(seed: int, count: int) -> list[int]:
    torch.manual_seed(seed)
    return torch.randint(16, (count,)).tolist()


def videos_by_hand(method: ActionClip, frames: Tensor) -> list[Tensor]:
    return [method.head(method.encoder.frames(clip[None]))[0].mean(0) for clip in frames]


def similarities(method: ActionClip, seed: int) -> Tensor:
    """Rows are videos, columns the sentences drawn for them."""
    videos = videos_by_hand(method, clips(6, 1))
    told = [sentence(int(n), k) for n, k in zip(LABELS, drawn(seed, 6), strict=True)]
    texts = [method.encoder.sentences([text])[0] for text in told]
    return torch.stack([torch.stack([cosine(v, w) for w in texts]) for v in videos])


def kl_by_hand(rows: Tensor, sharpness: float) -> Tensor:
    """Mean over rows of KL(softmax(sharpness * same label), softmax(row))."""
    total = torch.zeros((), dtype=torch.float64)
    for i, row in enumerate(rows):
        weights = [math.exp(sharpness * float(LABELS[i] == LABELS[j])) for j in range(len(LABELS))]
        for j, weight in enumerate(weights):
            target = weight / sum(weights)
            total = total + target * (math.log(target) - row.log_softmax(0)[j])
    return total / len(rows)


@pytest.mark.parametrize("tune", ["full", "visual"])
@pytest.mark.parametrize("sharpness", [10.0, 2.0])
@pytest.mark.parametrize("scale", [14.0, 180.0])
def test_the_loss_is_the_published_divergence_both_ways(tune: str, sharpness: float, scale: float) -> None:
    method = make(tune=tune, sharpness=sharpness)
    with torch.no_grad():
        method.encoder.logit_scale.fill_(math.log(scale))  # nothing limits it
    table = scale * similarities(method, seed=5)
    torch.manual_seed(5)
    found = method(batch())
    close(found["loss"], (kl_by_hand(table, sharpness) + kl_by_hand(table.T, sharpness)) / 2)
    right = [float(LABELS[int(row.argmax())] == LABELS[i]) for i, row in enumerate(table)]
    assert found["accuracy"].item() == pytest.approx(sum(right) / 6)


@torch.no_grad()
def test_accuracy_asks_which_sentence_is_nearest_to_a_video() -> None:
    method, by_video, by_sentence = make(), [], []
    for seed in range(5):
        table = similarities(method, seed)
        for rows, kept in ((table, by_video), (table.T, by_sentence)):
            kept.append(sum(float(LABELS[int(row.argmax())] == LABELS[i]) for i, row in enumerate(rows)) / 6)
        torch.manual_seed(seed)
        assert method(batch())["accuracy"].item() == pytest.approx(by_video[-1])
    assert by_video != by_sentence


def test_the_diagonal_target_knows_the_own_sentence_alone() -> None:
    method = make(target="diagonal")
    table = method.encoder.logit_scale.exp() * similarities(method, seed=3)
    torch.manual_seed(3)
    expected = -sum(rows.log_softmax(1)[i, i] for rows in (table, table.T) for i in range(6)) / 12
    close(method(batch())["loss"], torch.as_tensor(expected))


@pytest.mark.parametrize("frames", [3, 5])
def test_an_episode_is_one_batch_of_support_and_query(frames: int) -> None:
    method, task = make(), episode(frames)
    torch.manual_seed(1)
    found = method(task)["loss"]
    videos = [*videos_by_hand(method, task.support), *videos_by_hand(method, task.query)]
    texts = [
        method.encoder.sentences([sentence(int(n), k)])[0] for n, k in zip(LABELS, drawn(1, 6), strict=True)
    ]
    scale = method.encoder.logit_scale.exp()
    table = scale * torch.stack([torch.stack([cosine(v, w) for w in texts]) for v in videos])
    close(found, (kl_by_hand(table, 10.0) + kl_by_hand(table.T, 10.0)) / 2)


def test_one_sentence_a_video_is_encoded_and_every_template_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    method, told = make(), []
    original = ClipEncoder.sentences

    def listen(self: ClipEncoder, sentences: list[str]) -> Tensor:
        told.append(list(sentences))
        return original(self, sentences)

    monkeypatch.setattr(ClipEncoder, "sentences", listen)
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(30):
            method(batch())
    assert [len(sentences) for sentences in told] == [6] * 30
    for place, label in enumerate(LABELS.tolist()):  # each video's own name, in every template
        assert {sentences[place] for sentences in told} <= {sentence(label, k) for k in range(16)}
    seen = {s for row in told for s in row}
    assert all(any(sentence(n, k) in seen for n in range(3)) for k in range(16))
    assert any(len(set(row)) == 6 for row in told)  # drawn for each video, not for each batch


def test_a_frozen_text_tower_reads_each_sentence_once(monkeypatch: pytest.MonkeyPatch) -> None:
    method, count = make(tune="visual"), []
    original = ClipEncoder.sentences
    monkeypatch.setattr(
        ClipEncoder, "sentences", lambda self, told: (count.append(len(told)), original(self, told))[1]
    )
    for _ in range(3):
        method(batch())["loss"].backward()
    assert sum(count) == 16 * 3


def test_what_trains() -> None:
    learnt = {tune: make(tune=tune).learnt for tune in ("full", "visual", "none")}
    assert learnt["full"] == {name for name, _ in make().named_parameters()}
    text = {name for name in learnt["full"] if name.startswith("encoder.text_tower.")}
    assert text and learnt["full"] - learnt["visual"] == text
    assert learnt["none"] == {name for name in learnt["full"] if name.startswith("head.")} != set()
    assert make(tune="none", visual="mean").learnt == set()
    table = "encoder.vision.blocks.0.before.table"
    assert table in make(tower="joint", tune="visual").learnt
    assert table not in make(tower="joint", tune="none").learnt


def named_by_hand(method: ActionClip, scale: float) -> Tensor:
    """Probabilities: for each template a softmax over the names, averaged over templates."""
    rows = []
    for video in videos_by_hand(method, clips(2, 2)):
        each = []
        for k in range(16):
            texts = [method.encoder.sentences([sentence(n, k)])[0] for n in range(3)]
            each.append((scale * torch.stack([cosine(video, w) for w in texts])).softmax(0))
        rows.append(torch.stack(each).mean(0))
    return torch.stack(rows)


@torch.no_grad()
@pytest.mark.parametrize(("options", "scale"), [({}, None), ({"preset": "paper"}, 100.0)])
def test_probabilities_of_templates_are_averaged(options: dict[str, Any], scale: float | None) -> None:
    method = make(**options)
    learnt = method.encoder.logit_scale.exp().item()
    expected = named_by_hand(method, scale or learnt)
    close(method.named(method.encode(clips(2, 2)), method.read(NAMES)).exp(), expected)
    close(method.logits(episode()).exp(), expected)  # text_share is 1: the names alone
    close(method.classify(method.encode(clips(2, 2)), NAMES)["text"].exp(), expected)
    assert method.read(NAMES).shape == (3, 16 * 16)


@torch.no_grad()
def test_embeddings_of_templates_are_averaged_to_one_unit_vector() -> None:
    method = make(ensemble="embeddings")
    means = []
    for n in range(3):
        unit = [method.encoder.sentences([sentence(n, k)])[0] for k in range(16)]
        means.append(torch.stack([x / x.norm() for x in unit]).mean(0))
    scale = method.encoder.logit_scale.exp()
    videos = videos_by_hand(method, clips(2, 2))
    expected = torch.stack([torch.stack([scale * cosine(v, w) for w in means]) for v in videos]).softmax(1)
    close(method.logits(episode()).exp(), expected)
    assert method.read(NAMES).shape == (3, 16)
    assert (expected - named_by_hand(make(), scale.item())).abs().max() > 1e-6


@torch.no_grad()
def test_certainty_does_not_underflow() -> None:
    direction = torch.eye(16)[:1]
    text = torch.cat([direction, -direction]).repeat(1, 16)  # every sentence of a name alike
    found = make(preset="paper").float().named(FrameFeatures(direction[None]), text)
    torch.testing.assert_close(found, torch.tensor([[0.0, -200.0]]))  # exp(-200) is 0 in float32


@torch.no_grad()
@pytest.mark.parametrize("test_scale", [0.0, 20.0])
def test_examples_are_compared_with_means_of_the_head_s_frames(test_scale: float) -> None:
    method, task = make(text_share=0.0, test_scale=test_scale), episode()
    scale = test_scale or method.encoder.logit_scale.exp().item()
    support = [method.head(method.encoder.frames(clip[None]))[0] for clip in task.support]
    prototypes = [
        torch.stack([x for x, label in zip(support, LABELS[:4], strict=True) if label == n]).mean((0, 1))
        for n in range(3)
    ]
    expected = [
        torch.stack([scale * (cosine(v, p) - 1) for p in prototypes])
        for v in videos_by_hand(method, task.query)
    ]
    close(method.logits(task), torch.stack(expected))
    assert method.text(NAMES) is None


@torch.no_grad()
def test_both_are_fused_as_a_product() -> None:
    alone, names = make(text_share=0.0).logits(episode()), make().logits(episode())
    close(make(text_share=0.3).logits(episode()), 0.3 * names + 0.7 * alone.log_softmax(-1))


def test_presets_and_the_published_numbers() -> None:
    assert make().spec.options["test_scale"] == 0 and make(preset="clean").spec.options["test_scale"] == 0
    assert make(preset="paper").spec.options["test_scale"] == 100
    assert make(preset="paper", test_scale=30.0).text_scale().item() == 30
    options = build("actionclip", tiny_encoder()).spec.options
    assert (options["layers"], options["sharpness"], options["text_share"]) == (6, 10.0, 1.0)
    templates = TEMPLATES["actionclip"]
    assert len(set(templates)) == 16 and templates[7] == "{}" and templates[15] == "The woman is {}"
    assert make().text_scale().requires_grad and not make(preset="paper").text_scale().requires_grad


def test_the_tower_s_prompts_sit_in_every_block() -> None:
    shift, joint = make(tower="shift").encoder.vision, make(tower="joint", positions=5).encoder.vision
    assert isinstance(shift, VisionTower) and isinstance(joint, VisionTower)
    assert all(isinstance(block.before, PatchShift) and block.around is None for block in shift.blocks)
    assert all(isinstance(block.around, JointSpaceTime) for block in joint.blocks)
    first, second = (block.before for block in joint.blocks)
    assert isinstance(first, TemporalPosition) and first.patches_only and second is None
    assert first.table.shape == (5, 32) and make(tower="joint").state_dict()[
        "encoder.vision.blocks.0.before.table"
    ].shape == (8, 32)


@torch.no_grad()
def test_the_class_token_alone_is_the_video() -> None:
    features = make(visual="transf-cls").encode(clips(2, 1))
    assert isinstance(features, FrameFeatures) and features.frames.shape == (2, 1, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": 0}, "positions=0 must be at least 1, or None"),
        ({"test_scale": -1.0}, "test_scale=-1.0 must be positive, or 0 for the learnt scale"),
        ({"matcher": "trx"}, "matcher='trx' has weights that no loss of actionclip trains; use 'pooled'"),
        ({"centre": True}, "leaves nothing to matcher='pooled'"),
        ({"prompt": "photoo"}, "prompt='photoo' is unknown"),
        ({"layers": 0}, "layers=0 must be at least 1"),
    ],
)
def test_impossible_options_say_what_is_possible(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_two_classes_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="'waving' occurs twice"):
        make().read(("waving", "running", "waving"))


def test_a_resnet_takes_the_prompts_behind_the_tower() -> None:
    encoder = load_encoder("tiny-resnet", pretrained=False)
    with pytest.raises(ValueError, match="tower='shift' needs a transformer.*use tower='plain'"):
        build("actionclip", encoder, tower="shift")
    method = create("actionclip", encoder="tiny-resnet", pretrained=False, layers=1)
    frames = torch.randint(0, 256, (3, 2, 3, 64, 64), dtype=torch.uint8)
    losses = method(ClipBatch(frames, torch.arange(3), NAMES))
    losses["loss"].backward()
    assert losses["loss"].isfinite()
