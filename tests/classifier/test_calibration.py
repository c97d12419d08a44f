"""Leave-one-out: what it asks, what it chooses, and the threshold for "none of these"."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from colours import COLOURS, ColourMethod, clip, plain
from hypothesis import given
from hypothesis import strategies as st

from openfsar.classifier import Calibration, FewShotVideoClassifier
from openfsar.classifier.calibration import ASKED, _asked, _losses, _others, compare, familiarity
from openfsar.episode import Clip, Episode, FrameFeatures, SupportSet
from openfsar.methods.zoo import create


def fitted(method, shots: int = 4, **options) -> FewShotVideoClassifier:
    examples = {name: [clip(name, seed) for seed in range(shots)] for name in COLOURS}
    return FewShotVideoClassifier(method, frames=2, **options).fit(examples)


@torch.no_grad()
@pytest.mark.parametrize("name", ["otam", "trx", "ma-fsar", "gghm"])
def test_every_example_is_asked_of_all_others(name: str) -> None:
    """Against tasks built one by one."""
    method = create(name, encoder="tiny", pretrained=False, seed=2)
    model = fitted(method, 3, text_share=0.0 if name != "gghm" else None)
    examples, text = model.examples_, method.text(model.classes_.tolist())
    found, right = [], 0
    for left in range(9):
        others = [i for i in range(9) if i != left]
        support = SupportSet(examples.features[others], examples.labels[others], 3, text)
        logits = compare(method, examples.asked[[left]], method.prepare(support))
        found.append(float(familiarity(logits)))
        right += int(logits.argmax() == examples.labels[left])
    assert model.calibration_.clips == 9
    np.testing.assert_allclose(model.calibration_.known, sorted(found), rtol=1e-4, atol=1e-5)
    assert model.calibration_.accuracy == pytest.approx(right / 9)


def test_others_is_everything_but_one() -> None:
    found = _others(torch.tensor([0, 2, 3]), 4).tolist()
    assert found == [[1, 2, 3], [0, 1, 3], [0, 1, 2]]


@given(st.lists(st.integers(1, 120), min_size=1, max_size=6))
def test_who_is_asked(counts: list[int]) -> None:
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    asked = _asked(labels)
    able = [label for label, count in enumerate(counts) if count > 1]
    if len(able) < 2:
        assert len(asked) == 0
        return
    of = labels[asked].tolist()
    assert set(of) <= set(able) and len(set(asked.tolist())) == len(asked)
    assert len(asked) == min(ASKED, sum(counts[label] for label in able))
    shares = {label: of.count(label) for label in able}  # as even as the classes allow
    assert all(n == counts[label] or n >= max(shares.values()) - 1 for label, n in shares.items())


def test_one_clip_a_class_leaves_the_defaults_and_rejects_nothing() -> None:
    model = fitted(create("otam", encoder="tiny", pretrained=False), 1, reject=0.9)
    found = model.calibration_
    assert (found.text_share, found.temperature, found.clips, found.accuracy) == (0.0, 1.0, 0, None)
    assert "defaults" in str(found) and found.threshold(0.9) == -math.inf
    model = fitted(create("clip-fsar", encoder="tiny", pretrained=False), 1)
    assert model.calibration_.text_share == 0.5  # the method's own


def test_the_share_of_the_names_follows_who_is_right() -> None:
    """Words that are certain and right are believed, words that are certain and wrong are not."""
    clean = {name: [clip(name, seed) for seed in range(4)] for name in COLOURS}
    truth = {float(np.argmax(colour)): name for name, colour in COLOURS.items()}

    class Told(type(create("otam", encoder="tiny", pretrained=False))):
        turn = 0

        def compare(self, query, task):
            return super().compare(query, task) * 0

        def named(self, videos, text, *, eps=0.0):
            # the encoder of the test: the mean colour of the frames is in the features' first three places
            best = videos.frames.mean(-2)[..., :3].argmax(-1)
            order = sorted(COLOURS)
            column = torch.tensor([order.index(truth[float(i)]) for i in range(3)])
            return 9.0 * torch.nn.functional.one_hot((column[best] + self.turn) % 3, 3).float()

    for turn, share in ((0, True), (1, False)):
        method = create("otam", encoder="tiny", pretrained=False)
        method.__class__ = Told
        method.turn = turn
        method.encoder.frames = lambda clips: torch.nn.functional.pad(
            clips.float().mean((-1, -2)) / 255, (0, 13)
        )
        model = FewShotVideoClassifier(method, frames=2).fit(clean)
        assert (model.calibration_.text_share > 0) is share
        assert (model.calibration_.accuracy == 1.0) is share


def test_given_values_are_kept_and_wrong_ones_refused() -> None:
    method = create("otam", encoder="tiny", pretrained=False)
    found = fitted(method, text_share=0.3, prompt="name", temperature=2.0).calibration_
    assert (found.text_share, found.prompt, found.temperature) == (0.3, "name", 2.0)
    with pytest.raises(ValueError, match="prompt='shout' is unknown; use one of own, photo"):
        fitted(method, prompt="shout")
    with pytest.raises(ValueError, match="text_share=0.5.*ColourMethod.*cannot weigh them"):
        fitted(ColourMethod(), text_share=0.5)
    for options in ({"text_share": 2.0}, {"temperature": 0.0}):
        with pytest.raises(ValueError, match="must lie in 0..1|must be positive"):
            fitted(method, **options)
    for wrong in (1.5, "background"):
        colours = ColourMethod()
        with pytest.raises(ValueError, match="between 0 and 1"):
            fitted(colours, reject=wrong)
        assert colours.batches == []  # before anything is looked at


def test_the_temperature_makes_probabilities_as_good_as_the_answers() -> None:
    """A method that is far too sure of itself is right as often as before, and says so."""

    class Sure(ColourMethod):
        def score(self, query, task):
            return 50 * super().score(query, task)

    generator = torch.Generator().manual_seed(0)
    videos, names = [], []
    for number in range(60):  # two classes that overlap
        name = ("dark", "light")[number % 2]
        level = int(110 + 30 * (number % 2) + 25 * torch.randn((), generator=generator))
        videos.append(plain((level,) * 3, number))
        names.append(name)
    model = FewShotVideoClassifier(Sure(), frames=2).fit(videos[:40], names[:40])
    raw = FewShotVideoClassifier(Sure(), frames=2, temperature=1.0).fit(videos[:40], names[:40])
    truth = np.array(names[40:])
    losses = [
        -np.log(np.maximum(m.predict_proba(videos[40:])[np.arange(20), (truth == "light").astype(int)], 1e-9))
        for m in (model, raw)
    ]
    assert (model.predict(videos[40:]) == raw.predict(videos[40:])).all()
    assert losses[0].mean() < 0.8 < losses[1].mean()


def test_smoothed_losses_by_hand() -> None:
    logits, labels = torch.tensor([[[2.0, 0.0, -1.0], [0.5, 0.0, 0.0]]]).double(), torch.tensor([0, 2])
    doubt = 1 / 3 / 4
    for row, label in enumerate(labels.tolist()):
        p = logits[0, row].exp() / logits[0, row].exp().sum()
        rest = [math.log(p[i]) for i in range(3) if i != label]
        expected = -((1 - doubt) * math.log(p[label]) + doubt * sum(rest) / 2)
        assert float(_losses(logits, labels)[0, row]) == pytest.approx(expected, rel=1e-9)


def test_the_threshold_keeps_the_promised_share() -> None:
    scores = tuple(float(i) for i in range(1, 100))  # 99 clips
    found = Calibration(0.0, "own", 1.0, 99, 1.0, scores)
    assert found.threshold(None) == -math.inf
    assert (
        found.threshold(0.95) == 5.0
    )  # the 5th of 99: a new one of the same kind is below it 5 in 100 times
    assert found.threshold(0.5) == 50.0
    few = Calibration(0.0, "own", 1.0, 4, 1.0, (1.0, 2.0, 3.0, 4.0))
    assert few.threshold(0.8) == 1.0  # one of five
    # Four cannot tell one of twenty: 2.5 less 1.645 times the spread of a fifth, sqrt(5 / 3) sqrt(5 / 4)
    assert few.threshold(0.95) == pytest.approx(2.5 - 1.6448536 * (25 / 12) ** 0.5)
    skewed = Calibration(0.0, "own", 1.0, 4, 1.0, (-9.0, 4.0, 4.0, 4.0))
    assert skewed.threshold(0.85) == -9.0  # never above what was seen


def test_new_videos_of_known_actions_pass_as_often_as_promised() -> None:
    """Conformal: whatever the distribution."""
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(400):
        values = rng.exponential(size=40)
        found = Calibration(0.0, "own", 1.0, 39, 1.0, tuple(sorted(values[:39].tolist())))
        kept.append(values[39] >= found.threshold(0.9))
    assert 0.9 - 3 * 0.015 <= np.mean(kept) <= 0.9 + 3 * 0.015 + 1 / 40


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=9), st.lists(st.integers(0, 12), min_size=1, max_size=9)
)
def test_the_border_to_the_background_is_the_best_one(known: list[int], background: list[int]) -> None:
    values = tuple(sorted(map(float, known))), tuple(sorted(map(float, background)))
    found = Calibration(0.0, "own", 1.0, len(known), 1.0, *values).threshold("background")

    def judged(border: float) -> float:
        return np.mean(np.array(known) >= border) + np.mean(np.array(background) < border)

    assert judged(found) == pytest.approx(max(judged(b / 4) for b in range(-4, 60)))


def test_background_videos_teach_what_is_strange() -> None:
    greys = [plain((level,) * 3, level) for level in (20, 120, 230)]
    examples = {name: [clip(name, seed) for seed in range(3)] for name in COLOURS}
    model = FewShotVideoClassifier(ColourMethod(), frames=2, reject="background")
    model.fit(examples, background=greys)
    assert model.predict([*greys, clip("red", 9)]).tolist()[:3] == ["none of these"] * 3
    assert model.predict(clip("red", 9)) == "red"
    model.add_class("grey", greys)  # strange no more
    assert model.predict(greys[1]) in ("grey", "none of these")


def test_scores_do_not_change_with_the_number_of_tasks_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    from openfsar.classifier import calibration

    method = create("bi-mhm", encoder="tiny", pretrained=False)
    whole = fitted(method).calibration_
    monkeypatch.setattr(calibration, "SUPPORT_BYTES", 1)
    one_by_one = fitted(method).calibration_
    np.testing.assert_allclose(one_by_one.known, whole.known, rtol=1e-5, atol=1e-6)


def test_features_are_records() -> None:
    assert isinstance(fitted(ColourMethod()).examples_.features, FrameFeatures)


def turning(first: str, second: str, ground: int) -> Clip:
    """One colour, then another, of a square on a ground that differs from clip to clip."""
    pixels = torch.full((8, 3, 32, 32), ground, dtype=torch.uint8)
    for half, name in enumerate((first, second)):
        pixels[4 * half : 4 * half + 4, :, 12:20, 12:20] = torch.tensor(
            COLOURS[name], dtype=torch.uint8
        ).view(3, 1, 1)
    return Clip(pixels, torch.arange(8) / 8)


def test_a_still_camera_is_found_out(tmp_path: Path) -> None:
    """Where only what changes tells the classes apart, an untrained method looks at what changes."""
    grounds = (20, 60, 100, 140, 180)
    orders = {"there": ("red", "blue"), "back": ("blue", "red")}
    examples = {name: [turning(*order, ground) for ground in grounds] for name, order in orders.items()}
    model = FewShotVideoClassifier("otam", frames=4, text_share=0.0).fit(examples)
    assert model.method_.spec.options["centre"] is True
    as_told = FewShotVideoClassifier("otam", frames=4, text_share=0.0, centre=False).fit(examples)
    assert as_told.method_.spec.options["centre"] is False
    assert np.mean(model.calibration_.losses) < np.mean(as_told.calibration_.losses)
    given = create("otam", tune="none")
    assert FewShotVideoClassifier(given, frames=4).fit(examples).method_ is given  # whoever builds it decides
    few = {name: clips[:1] for name, clips in examples.items()}
    small = FewShotVideoClassifier("otam", frames=4, text_share=0.0).fit(few)
    assert small.method_.spec.options["centre"] is False
    small.save(tmp_path / "model")
    grown = FewShotVideoClassifier.load(tmp_path / "model")
    for name, clips in examples.items():
        grown.add_examples(name, clips[1:])
    assert grown.method_.spec.options["centre"] is True  # it may choose again, being untrained
    grown.save(tmp_path / "model")
    again = FewShotVideoClassifier.load(tmp_path / "model")
    query = turning("red", "blue", 90)
    np.testing.assert_allclose(again.decision_function(query), model.decision_function(query), rtol=1e-4)


def test_both_sides_of_the_choice_share_their_parameters() -> None:
    method = create("trx", encoder="tiny", pretrained=False)
    other = method.with_centre(True)
    assert other.with_centre(False).spec == method.spec != other.spec
    assert {id(p) for p in other.parameters()} == {id(p) for p in method.parameters()}
    same = create("trx", encoder="tiny", pretrained=False, centre=True)
    clips = torch.randint(
        256, (4, 4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    episode = Episode(clips[:2], torch.arange(2), clips[2:], torch.arange(2), ("a", "b"))
    with torch.no_grad():
        torch.testing.assert_close(other.logits(episode), same.logits(episode))
    with pytest.raises(ValueError, match="ProtoNet has no option centre"):
        create("protonet", encoder="tiny", pretrained=False).with_centre(True)
