"""STRM and MoLo against their equations, written as loops over queries, classes, tuples and frames."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from openfsar import hub
from openfsar.encoders.norms import StageNorm
from openfsar.encoders.tiny import tiny_encoder, tiny_resnet
from openfsar.encoders.visual import VisualEncoder
from openfsar.episode import Episode, SupportSet
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import build, create
from openfsar.temporal.motion import pixel_differences

NAMES = ("waving", "running", "jumping")
VOCABULARY = ("climbing", *NAMES, "sitting")
ONE_SHOT, UNEVEN = torch.tensor([1, 2, 0]), torch.tensor([0, 1, 2, 0, 2])
CLEAN, RELEASED = {"preset": "clean"}, {"preset": "released"}

both_encoders = pytest.mark.parametrize("encoder", [tiny_encoder, tiny_resnet])
both_methods = pytest.mark.parametrize("name", ["strm", "molo"])


def make(name: str, encoder: Callable[[], VisualEncoder] = tiny_resnet, **options) -> FewShotMethod:
    """In float64 and eval mode, with nothing at the zeros that some parts start from."""
    if name == "strm":
        options = {"key_width": 24, **options}
    method = build(name, encoder(), **options).double()
    dice = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for key, parameter in method.named_parameters():
            if parameter.requires_grad and not key.startswith("encoder."):
                parameter += 0.05 * torch.randn(parameter.shape, generator=dice, dtype=torch.float64)
    return method


def clips(videos: int, frames: int, seed: int) -> Tensor:
    dice = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (videos, frames, 3, 32, 32), dtype=torch.uint8, generator=dice)


def episode(labels: Tensor = UNEVEN, *, frames: int = 4, vocabulary: tuple[str, ...] = VOCABULARY) -> Episode:
    """Support videos have 4 frames."""
    queries = clips(3, frames, seed=2)
    return Episode(clips(len(labels), 4, seed=1), labels, queries, torch.arange(3), NAMES, vocabulary)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=1e-10)


def deepest(method: FewShotMethod, videos: Tensor) -> list[Tensor]:
    """The deepest maps, one video at a time."""
    return [method.encoder.maps(video[None])[-1][0] for video in videos]


# --- STRM


def strm_frames(method: FewShotMethod, videos: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Behind patches, and behind frames; the parts are held to their definitions in tests/temporal."""
    patches = [method.of_patches(maps) for maps in deepest(method, videos)]
    return patches, [method.of_frames(frames[None])[0] for frames in patches]


def mapped(method: FewShotMethod, frames: Tensor, size: int, i: int) -> list[Tensor]:
    """The tuples of one video for the auxiliary distance; a video too short for any holds its last frame."""
    while len(frames) < method.nearest.least:
        frames = torch.cat([frames, frames[-1:]])
    weight, bias = method.nearest.maps[i].weight, method.nearest.maps[i].bias
    tuples = [torch.cat([frames[t] for t in chosen]) for chosen in combinations(range(len(frames)), size)]
    return [(weight @ row + bias).clamp_min(0) for row in tuples]


def aux_by_hand(method: FewShotMethod, task: Episode, sizes: tuple[int, ...] = (2,)) -> Tensor:
    query, support = (strm_frames(method, videos)[0] for videos in (task.query, task.support))
    rows = torch.zeros(len(query), 3, dtype=torch.float64)
    for i, size in enumerate(sizes):
        shown = [mapped(method, frames, size, i) for frames in support]
        for q, frames in enumerate(query):
            asked = mapped(method, frames, size, i)
            for n in range(3):
                theirs = [u for s, own in enumerate(shown) if task.support_labels[s] == n for u in own]
                gaps = [min(float((u - other).norm()) for other in theirs) for u in asked]
                rows[q, n] -= sum(gaps) / len(gaps) / len(sizes)
    return rows


def main_by_hand(method: FewShotMethod, task: Episode) -> Tensor:
    query, support = (torch.stack(strm_frames(method, videos)[1]) for videos in (task.query, task.support))
    return -method.matcher.attention(query, support, task.support_labels, 3)


@torch.no_grad()
@both_encoders
@pytest.mark.parametrize("labels", [ONE_SHOT, UNEVEN], ids=["one shot", "uneven"])
@pytest.mark.parametrize("frames", [4, 3, 1])
def test_strm_adds_the_nearest_pairs_to_trx(
    encoder: Callable[[], VisualEncoder], labels: Tensor, frames: int
) -> None:
    method, task = make("strm", encoder, frames=4, scale=0.5), episode(labels, frames=frames)
    main, aux = main_by_hand(method, task), aux_by_hand(method, task)
    assert aux.std(-1).min() > 1e-4 and main.std(-1).min() > 1e-4
    close(method.logits(task), method.scale(main + 0.1 * aux))


@torch.no_grad()
def test_strm_takes_any_cardinality_and_weight() -> None:
    method, task = make("strm", sizes=[3, 1], aux_weight=0.7), episode(frames=2)
    close(method.logits(task), main_by_hand(method, task) + 0.7 * aux_by_hand(method, task, (3, 1)))


@torch.no_grad()
def test_strm_without_the_auxiliary_distance_has_no_map_for_it() -> None:
    method, task = make("strm", aux_weight=0.0), episode()
    assert method.nearest is None
    close(method.logits(task), main_by_hand(method, task))
    close(method(task)["loss"], F.cross_entropy(main_by_hand(method, task), torch.arange(3)))


@torch.no_grad()
def test_strm_trains_both_distances_apart() -> None:
    method, task = make("strm", scale=0.1), episode()
    main, aux = method.scale(main_by_hand(method, task)), method.scale(aux_by_hand(method, task))
    each = [F.cross_entropy(logits, torch.arange(3)) for logits in (main, aux)]
    found = method(task)
    assert found.keys() == {"loss", "accuracy", "tuples", "nearest"}
    close(found["loss"], each[0] + 0.1 * each[1])
    close(found["tuples"], each[0])
    close(found["nearest"], each[1])
    right = ((main + 0.1 * aux).argmax(-1) == torch.arange(3)).float().mean()
    close(found["accuracy"], right)


@torch.no_grad()
def test_strm_centred_sees_only_what_changes() -> None:
    method, task = make("strm", centre=True), episode()
    features = method.encode(task.query), method.encode(task.support)
    shifted = [x.map(lambda y: y + torch.linspace(-5, 5, 64, dtype=torch.float64)) for x in features]
    scores = [
        method.score(query, method.prepare(SupportSet(support, UNEVEN, 3)))
        for query, support in (features, shifted)
    ]
    close(*scores)
    plain = make("strm")
    assert (plain.logits(task) - scores[0]).abs().max() > 1e-3


@torch.no_grad()
def test_another_copy_of_an_example_brings_no_tuple_nearer() -> None:
    method = make("strm")
    query, support = method.encode(clips(3, 4, seed=2)), method.encode(clips(3, 4, seed=1))
    once = method.nearest(query.patches, support.patches, ONE_SHOT, 3)
    again = torch.tensor([0, 1, 2, 2])
    close(method.nearest(query.patches, support.patches[again], ONE_SHOT[again], 3), once)
    closer = method.nearest(
        query.patches, torch.cat([support.patches, query.patches[:1]]), UNEVEN[[1, 2, 0, 2]], 3
    )
    assert closer[0, 2] < 1e-6 < once[0].min()
    close(closer[:, :2], once[:, :2])


def test_equal_videos_have_a_finite_gradient() -> None:
    method, videos = make("strm"), clips(3, 4, seed=1)
    task = Episode(videos, torch.arange(3), videos, torch.arange(3), NAMES)
    method(task)["loss"].backward()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)


def test_the_released_map_never_trains_but_the_frames_below_it_do() -> None:
    clean, released = make("strm", **CLEAN), make("strm", **RELEASED)
    maps = {"nearest.maps.0.weight", "nearest.maps.0.bias"}
    assert clean.learnt - released.learnt == maps and not released.learnt - clean.learnt
    assert maps <= dict(released.named_buffers()).keys() & released.state_dict().keys()
    main, aux = released.both(*released.embed(episode()))
    (main.sum() * 0 + aux.std()).backward()
    assert released.of_patches.queries.weight.grad.abs().max() > 0


@torch.no_grad()
def test_the_released_map_scores_alike_twice_and_only_training_drops_frames() -> None:
    method, task = make("strm", **RELEASED), episode()
    assert torch.equal(method.logits(task), method.logits(task))
    features = method.encode(task.query).patches
    torch.manual_seed(0)
    scores = [method.train().nearest(features, features, torch.arange(3), 3) for _ in range(2)]
    assert (scores[0] - scores[1]).abs().max() > 1e-4


@torch.no_grad()
def test_the_released_map_is_saved_where_the_encoder_is_not(tmp_path: Path) -> None:
    options = {"encoder": "toyclip", "tune": "none", "key_width": 8, **RELEASED}
    method = create("strm", seed=3, **options)
    hub.save(method, tmp_path / "model")
    again, other = hub.load(tmp_path / "model"), create("strm", **options)
    start = method.nearest.maps[0].weight
    assert torch.equal(again.nearest.maps[0].weight, start)
    assert not torch.equal(other.nearest.maps[0].weight, start)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 3, 8, 11])
def test_strm_brings_every_video_to_one_length(frames: int) -> None:
    features = make("strm", frames=8).encode(clips(2, frames, seed=0))
    assert features.frames.shape == (2, 8, 64) and features.patches.shape == (2, frames, 64)


# --- MoLo


def cosine_gap(a: Tensor, b: Tensor) -> Tensor:
    return 1 - a @ b / (a.norm() * b.norm() + 0.01)


def set_distance(asked: Tensor, shown: Tensor) -> Tensor:
    table = torch.stack([torch.stack([cosine_gap(a, b) for b in shown]) for a in asked])
    return table.min(0).values.sum() + table.min(1).values.sum()


def molo_tokens(method: FewShotMethod, videos: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of the frames and of the motion; the parts are held to their definitions in tests/temporal."""
    found = []
    for maps in deepest(method, videos):
        motion = method.maps.vectors(method.maps(maps[None]))[0]
        found.append((method.of_frames(maps.mean((-2, -1))), method.of_motion(motion)))
    return found


def prototypes(tokens: list[tuple[Tensor, Tensor]], labels: Tensor) -> list[tuple[Tensor, Tensor]]:
    members = [[own for own, label in zip(tokens, labels, strict=True) if label == n] for n in range(3)]
    return [tuple(torch.stack(branch).mean(0) for branch in zip(*own, strict=True)) for own in members]


def molo_by_hand(method: FewShotMethod, task: Episode, weight: float = 0.3) -> Tensor:
    query = molo_tokens(method, task.query)
    classes = prototypes(molo_tokens(method, task.support), task.support_labels)
    rows = [[-(set_distance(f, g) + weight * set_distance(m, n)) for g, n in classes] for f, m in query]
    return torch.stack([torch.stack(row) for row in rows])


@torch.no_grad()
@both_encoders
@pytest.mark.parametrize("labels", [ONE_SHOT, UNEVEN], ids=["one shot", "uneven"])
@pytest.mark.parametrize("frames", [4, 3, 1])
def test_molo_matches_frames_and_motion_as_sets(
    encoder: Callable[[], VisualEncoder], labels: Tensor, frames: int
) -> None:
    method, task = make("molo", encoder), episode(labels, frames=frames)
    features = method.encode(task.query)
    assert features.frames.shape[1] == frames + 1 and features.motion.shape[1] == max(frames, 2)
    expected = molo_by_hand(method, task)
    assert expected.std(-1).min() > 1e-4
    close(method.logits(task), expected)


@torch.no_grad()
def test_molo_s_options_count() -> None:
    task = episode()
    method = make("molo", scale=0.5, motion_weight=2.0, eps=0.01)
    close(method.logits(task), method.scale(molo_by_hand(method, task, 2.0)))
    assert method.scale.log.exp().item() == pytest.approx(0.5)
    options = ({}, RELEASED, {"divisor": 16.0}, {"position_weight": 0.01}, {"eps": 1.0}, {"centre": True})
    logits = [make("molo", **given).logits(task) for given in options]
    assert all((a - b).abs().max() > 1e-5 for i, a in enumerate(logits) for b in logits[:i])


@torch.no_grad()
@pytest.mark.parametrize("matcher", ["otam", "trx", "hybrid", "pooled"])
def test_molo_gives_both_branches_the_matcher_of_that_name(matcher: str) -> None:
    method, task = make("molo", matcher=matcher), episode()
    query, prepared = method.embed(task)
    frames = method.matcher(query.frames, prepared)
    moving = type(query)(prepared.exemplars.motion, prepared.exemplars.motion)
    motion = method.motion_matcher(query.motion, type(prepared)(moving, prepared.labels, 3))
    close(method.logits(task), -(frames + 0.3 * motion))
    assert motion.std(-1).min() > 1e-6


def contrast_by_hand(method: FewShotMethod, task: Episode) -> Tensor:
    query = molo_tokens(method, task.query)
    classes = prototypes(molo_tokens(method, task.support), task.support_labels)
    total, scales = torch.zeros((), dtype=torch.float64), [x.log.exp() for x in method.contrast_scales]
    for branch in (0, 1):
        for way in (0, 1):
            rows = torch.zeros(3, 3, dtype=torch.float64)
            for q in range(3):
                for n in range(3):
                    pair = query[q][branch], classes[n][branch]
                    short, long = (pair[0][1:], pair[1][0]) if way == 0 else (pair[1][1:], pair[0][0])
                    rows[q, n] = sum(cosine_gap(frame, long) for frame in short)
            total += F.cross_entropy(-scales.pop(0) * rows, torch.arange(3))
    return total


def decoded_by_hand(method: FewShotMethod, task: Episode) -> Tensor:
    """Of videos of one length: the mean over all pixels of all videos."""
    gaps = []
    for video in [*task.support, *task.query]:
        motion = method.maps(method.encoder.maps(video[None])[-1])
        target = pixel_differences(method.encoder.normalise(video[None]))
        gaps.append(method.decoder(motion, (32, 32)) - target)
    return torch.cat(gaps).square().mean()


def classes_by_hand(method: FewShotMethod, task: Episode) -> Tensor:
    losses = []
    for videos, labels in ((task.support, task.support_labels), (task.query, task.query_labels)):
        for (frames, motion), label in zip(molo_tokens(method, videos), labels, strict=True):
            logits = method.classifier(frames.mean(0) + motion.mean(0))
            losses.append(-logits.log_softmax(0)[VOCABULARY.index(NAMES[label])])
    return torch.stack(losses).mean()


@torch.no_grad()
@both_encoders
@pytest.mark.parametrize(("preset", "gain"), [(CLEAN, 1), (RELEASED, 4)], ids=["clean", "released"])
def test_molo_s_loss_has_four_parts(
    encoder: Callable[[], VisualEncoder], preset: dict[str, str], gain: int
) -> None:
    weights = {"class_weight": 0.6, "contrast_weight": 0.05, "decoder_weight": 0.2}
    method, task = make("molo", encoder, classes=7, **weights, **preset), episode()
    matching = F.cross_entropy(molo_by_hand(method, task), torch.arange(3))
    parts = {
        "classes": classes_by_hand(method, task),
        "contrast": contrast_by_hand(method, task),
        "decoder": decoded_by_hand(method, task),
    }
    found = method(task)
    assert found.keys() == {"loss", "accuracy", "matching", *parts}
    for name, part in parts.items():
        close(found[name], part)
    whole = 0.6 * parts["classes"] + 0.05 * parts["contrast"] + 0.2 * gain * parts["decoder"]
    close(found["loss"], matching + whole)


@torch.no_grad()
def test_molo_without_its_other_losses_has_no_parts_for_them() -> None:
    method, task = make("molo", contrast_weight=0.0, decoder_weight=0.0), episode(vocabulary=())
    assert method.classifier is None and method.decoder is None and len(method.contrast_scales) == 0
    found = method(task)
    assert found.keys() == {"loss", "accuracy", "matching"}
    close(found["loss"], F.cross_entropy(method.logits(task), torch.arange(3)))


def test_the_decoder_works_in_training_alone() -> None:
    method, task, runs = make("molo"), episode(), []
    method.decoder.register_forward_hook(lambda *_: runs.append(1))
    method.logits(task)
    assert runs == []
    method(task)
    assert runs == [1, 1]  # support and query


def test_the_decoder_s_statistics_learn_with_its_weights() -> None:
    method, task = make("molo").train(), episode()
    norms = [module for module in method.decoder.modules() if isinstance(module, StageNorm)]
    assert len(norms) == 3
    method(task)
    assert all(norm.num_batches_tracked == 2 and norm.running_mean.any() for norm in norms)
    before = [norm.running_mean.clone() for norm in norms]
    method.logits(task)
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))


def test_molo_trains_with_single_frames_and_with_videos_of_two_lengths() -> None:
    method = make("molo", classes=5)
    for frames in (1, 3):
        found = method(episode(frames=frames))
        found["loss"].backward()
        assert all(value.isfinite() for value in found.values())
    assert (method.classifier.weight.grad != 0).any(1).all()  # names nobody bears are pushed away
    assert {"classifier.weight", "of_motion.token", "contrast_scales.3.log"} <= method.learnt


@pytest.mark.parametrize("vocabulary", [(), ("climbing", "sitting"), (*VOCABULARY, "falling")], ids=len)
def test_molo_says_which_vocabulary_it_needs(vocabulary: tuple[str, ...]) -> None:
    method = make("molo", classes=5)
    with pytest.raises(ValueError, match=f"classes=5 needs episodes .* got {len(vocabulary)} names"):
        method(episode(vocabulary=vocabulary))


# --- both


@both_methods
@both_encoders
def test_computing_activations_again_changes_no_gradient(
    name: str, encoder: Callable[[], VisualEncoder]
) -> None:
    found = []
    for again in (False, True):
        method = make(name, encoder)
        method.recompute_activations(again)
        loss = method(episode())["loss"]
        loss.backward()
        gradients = {key: p.grad for key, p in method.named_parameters() if p.requires_grad}
        found.append({"loss": loss.detach(), **gradients})
    assert found[0].keys() == found[1].keys() and all(x is not None for x in found[0].values())
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, rtol=1e-9, atol=1e-10, msg=key)


@torch.no_grad()
@both_methods
@both_encoders
def test_a_video_s_features_depend_on_no_other_video_and_on_the_order_of_its_frames(
    name: str, encoder: Callable[[], VisualEncoder]
) -> None:
    method, videos = make(name, encoder), clips(3, 4, seed=0)
    together, alone = method.encode(videos), method.encode(videos[1:2])
    for key, value in vars(together).items():
        close(vars(alone)[key], value[1:2])
    order = torch.tensor([2, 0, 3, 1])
    shuffled = method.encode(videos[:, order])
    assert (shuffled.frames - together.frames).abs().max() > 1e-4
    if name == "strm":
        close(shuffled.patches, together.patches[:, order])
    else:
        assert (shuffled.motion - together.motion).abs().max() > 1e-4


@torch.no_grad()
@both_methods
def test_a_resnet_s_method_comes_near_in_half_precision(name: str) -> None:
    method, task = make(name, scale=0.2), episode()
    exact = method.logits(task)
    found = method.bfloat16().logits(task)
    assert found.dtype == torch.float32 and found.isfinite().all()
    torch.testing.assert_close(found.double(), exact, rtol=0.05, atol=0.1)


@both_methods
def test_the_tower_trains_if_it_is_to(name: str) -> None:
    assert any(key.startswith("encoder.vision.") for key in make(name).learnt)
    assert not any(key.startswith("encoder.") for key in make(name, tune="none").learnt)
    assert make(name).text(NAMES) is None


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("strm", {"sizes": [2, 2]}, "sizes=.2, 2. must be different"),
        ("strm", {"frames": 0}, "frames=0 must be at least 1"),
        ("strm", {"patches": 0}, "patches=0 must be at least 1"),
        ("molo", {"heads": 5}, "heads=5 must divide the feature width 64"),
        ("molo", {"classes": -1}, "classes=-1 must be the number"),
    ],
)
def test_impossible_options_are_refused(name: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(name, **options)
