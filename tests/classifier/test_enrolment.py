"""Examples and classes come and go at the cost of their own videos; the folder survives every change."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from colours import COLOURS, ColourMethod, clip, plain

from openfsar.classifier import NONE, FewShotVideoClassifier, ModelFolderError, NotFittedError
from openfsar.episode import Clip
from openfsar.methods import base
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import create
from openfsar.video import VideoError


def colours(shots: int, names: tuple[str, ...] = tuple(COLOURS)) -> dict[str, list[Clip]]:
    return {name: [clip(name, seed) for seed in range(shots)] for name in names}


def counted(method: FewShotMethod, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that ``encode`` gets from now on."""
    sizes: list[int] = []
    encode = method.encode

    def spy(clips, text=None):
        sizes.append(len(clips))
        return encode(clips, text)

    monkeypatch.setattr(method, "encode", spy)
    return sizes


@pytest.mark.parametrize("name", ["otam", "clip-fsar", "gghm"])
def test_the_101st_example_costs_one_encode_and_so_does_an_answer(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = create(name, encoder="tiny", pretrained=False)
    model = FewShotVideoClassifier(method, frames=2, batch=64).fit(
        {
            label: [clip(label, seed, 4) for seed in range(shots)]
            for label, shots in zip(COLOURS, (40, 40, 20), strict=True)
        }
    )
    assert len(model.labels_) == 100
    sizes = counted(method, monkeypatch)
    model.add_examples("blue", clip("blue", 99, 4))
    assert sizes == [1] and len(model.labels_) == 101
    model.predict(clip("red", 100, 4))
    assert sizes == [1, 1]
    model.remove_examples([0, 1]).remove_class("green")
    model.predict_proba(clip("red", 101, 4))
    assert sizes == [1, 1, 1]


@pytest.mark.parametrize("centre", [False, True])
def test_the_tuples_of_examples_are_described_once_and_not_with_every_answer(
    centre: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And within a limit of memory; both ways give the same answers."""

    def answers(limit: int) -> tuple[list[int], np.ndarray]:
        monkeypatch.setattr(base, "DIGEST_BYTES", limit)
        method = create("trx", encoder="tiny", pretrained=False, seed=1, centre=centre)
        model = FewShotVideoClassifier(method, frames=3).fit(colours(2))
        tuples = method.matcher.matcher if centre else method.matcher
        described: list[int] = []
        describe = tuples.attention.describe

        def spy(frames):
            described.append(len(frames))
            return describe(frames)

        monkeypatch.setattr(tuples.attention, "describe", spy)
        return described, model.decision_function([clip(colour, 50, 3) for colour in COLOURS])

    once, quick = answers(2**30)
    again, slow = answers(0)
    assert once == [len(COLOURS)] and again == [len(COLOURS), 2 * len(COLOURS)]
    np.testing.assert_allclose(quick, slow, rtol=1e-5, atol=1e-6)


def test_a_method_that_reads_names_looks_once_per_role(monkeypatch: pytest.MonkeyPatch) -> None:
    method = create("ma-fsar", encoder="tiny", pretrained=False)
    model = FewShotVideoClassifier(method, frames=2).fit(colours(2))
    sizes = counted(method, monkeypatch)
    model.add_examples("red", clip("red", 9))
    assert sizes == [1, 1]


@pytest.mark.parametrize("name", ["otam", "ma-fsar", "hyrsm", "molo"])
def test_growing_and_shrinking_ends_where_fitting_at_once_does(name: str) -> None:
    method = create(name, encoder="tiny", pretrained=False, seed=1)
    whole = FewShotVideoClassifier(method, frames=3).fit(colours(3, ("blue", "red")))
    grown = FewShotVideoClassifier(method, frames=3).fit(colours(2, ("green", "red")))
    grown.add_class("blue", [clip("blue", seed) for seed in range(3)])
    grown.add_examples("red", [clip("red", 7), clip("red", 2)])
    grown.remove_class("green").remove_examples([i for i, s in enumerate(grown.sources_) if i == 5])
    kept = sorted(grown.labels_.tolist())
    assert grown.classes_.tolist() == ["blue", "red"] and kept == [0, 0, 0, 1, 1, 1]
    query = [clip(colour, 50) for colour in COLOURS]
    np.testing.assert_allclose(
        grown.decision_function(query), whole.decision_function(query), rtol=2e-4, atol=2e-4
    )


def test_a_fresh_classifier_learns_class_by_class() -> None:
    model = FewShotVideoClassifier(ColourMethod(), frames=2)
    assert not model.ready
    model.add_class("red", [clip("red", 0)])
    assert not model.ready and model.classes_.tolist() == ["red"]
    with pytest.raises(NotFittedError, match=r"\['red'\].*add_class"):
        model.predict(clip("red", 1))
    model.add_class("blue", clip("blue", 0))
    assert model.ready and model.predict(clip("red", 1)) == "red"
    model.remove_class("red")
    assert not model.ready


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda m: m.add_class("red", clip("red", 5)), "class 'red' exists.*add_examples"),
        (lambda m: m.add_examples("red", []), "no videos given for 'red'"),
        (lambda m: m.remove_class("pink"), "no class 'pink'; there are blue, green, red"),
        (lambda m: m.remove_examples([6]), "no example 6.*0 to 5"),
        (lambda m: m.add_examples("red", "missing.mp4"), "missing.mp4"),
    ],
)
def test_a_refused_change_changes_nothing(act, message: str) -> None:
    model = FewShotVideoClassifier(ColourMethod(), frames=2).fit(colours(2))
    before = model.examples_
    with pytest.raises((ValueError, VideoError), match=message):
        act(model)
    assert model.examples_ is before and model.predict(clip("green", 5)) == "green"


def test_film_strips_show_the_examples() -> None:
    import io

    from PIL import Image

    model = FewShotVideoClassifier(ColourMethod(), frames=4).fit(colours(1))
    assert model.sources_ == ["clip"] * 3 and len(model.strips_) == 3
    for name, strip in zip(COLOURS, model.strips_, strict=True):
        picture = Image.open(io.BytesIO(strip))
        assert picture.size == (4 * 64, 64)
        mean = np.asarray(picture).reshape(-1, 3).mean(0)
        np.testing.assert_allclose(mean, COLOURS[name], atol=12)


def test_saving_again_at_home_writes_the_examples_alone(tmp_path: Path) -> None:
    method = create("otam", encoder="tiny", pretrained=False)
    model = FewShotVideoClassifier(method, frames=2, reject=0.9).fit(
        colours(2), background=[plain((9, 9, 9))]
    )
    model.save(tmp_path / "model")
    weights = next((tmp_path / "model").glob("model-*.safetensors"))
    before = weights.stat().st_mtime_ns, weights.stat().st_ino
    model.add_examples("red", clip("red", 5)).save(tmp_path / "model")
    assert (weights.stat().st_mtime_ns, weights.stat().st_ino) == before
    loaded = FewShotVideoClassifier.load(tmp_path / "model")
    assert loaded.calibration_ == model.calibration_ and loaded.reject == 0.9
    assert loaded.strips_ == model.strips_ and loaded.sources_ == model.sources_
    assert len(loaded.calibration_.background) == 1
    loaded.remove_class("blue").save(tmp_path / "model")
    again = FewShotVideoClassifier.load(tmp_path / "model")
    assert again.classes_.tolist() == ["green", "red"]
    assert len(list((tmp_path / "model").glob("examples-*"))) == 1
    query = clip("green", 8)
    np.testing.assert_array_equal(again.decision_function(query), loaded.decision_function(query))


def test_damaged_folders_are_refused(tmp_path: Path) -> None:
    model = FewShotVideoClassifier(create("otam", encoder="tiny", pretrained=False), frames=2)
    model.fit(colours(1)).save(tmp_path / "m")
    file = next((tmp_path / "m").glob("examples-*"))
    data = file.read_bytes()
    file.write_bytes(data[:-1] + b"?")
    with pytest.raises(ModelFolderError, match="damaged"):
        FewShotVideoClassifier.load(tmp_path / "m")
    file.unlink()
    with pytest.raises(ModelFolderError, match="lacks examples-"):
        FewShotVideoClassifier.load(tmp_path / "m")
    (tmp_path / "m" / "classifier.json").write_text('{"classes": []}')
    with pytest.raises(ModelFolderError, match="not one that this openfsar wrote"):
        FewShotVideoClassifier.load(tmp_path / "m")


ENDLESS = """
import sys
import torch
from openfsar.classifier import FewShotVideoClassifier
from openfsar.episode import Clip
model = FewShotVideoClassifier.load(sys.argv[1])
number = 0
while True:
    number += 1
    pixels = torch.full((2, 3, 32, 32), number % 250, dtype=torch.uint8)
    model.add_examples("more", Clip(pixels, torch.zeros(2)))
    model.save(sys.argv[1])
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_save_killed_at_any_moment_leaves_a_classifier(tmp_path: Path) -> None:
    model = FewShotVideoClassifier(create("protonet", encoder="tiny", pretrained=False), frames=2)
    model.fit(colours(1)).save(tmp_path / "m")
    for pause in (0.0, 0.013, 0.029):
        with subprocess.Popen(
            [sys.executable, "-c", ENDLESS, str(tmp_path / "m")], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            said = int(child.stdout.readline())
            try:
                child.wait(pause)
            except subprocess.TimeoutExpired:
                pass
            os.kill(child.pid, signal.SIGKILL)
            rest = child.stdout.read().split()
        last = int(rest[-1]) if rest else said
        before = len(model.labels_)
        model = FewShotVideoClassifier.load(tmp_path / "m")
        assert len(model.labels_) - before in (last, last + 1)  # what was said is there


def test_upload_takes_the_whole_folder_and_is_private(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import huggingface_hub

    calls: dict[str, object] = {}

    class Api:
        def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
            calls["repo"] = (name, private)
            return f"https://hub/{name}"

        def upload_folder(self, *, repo_id: str, folder_path: Path) -> None:
            calls["files"] = sorted(path.name.split("-")[0] for path in folder_path.iterdir())

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    model = FewShotVideoClassifier(create("otam", encoder="tiny", pretrained=False), frames=2).fit(colours(1))
    assert model.push_to_hub("me/mine") == "https://hub/me/mine"
    assert calls["repo"] == ("me/mine", True)
    assert calls["files"] == ["README.md", "classifier.json", "examples", "model", "openfsar.json"]
    model.save(tmp_path / "here")  # uploading has not made a temporary folder its home
    assert FewShotVideoClassifier.load(tmp_path / "here").classes_.tolist() == sorted(COLOURS)


def test_an_explanation_names_the_nearest_example_of_the_answer() -> None:
    shades = [(200, 20, 20), (240, 90, 90)]
    model = FewShotVideoClassifier(ColourMethod(), frames=4).fit(
        {"red": [plain(shade, seed) for seed, shade in enumerate(shades)], "blue": [clip("blue", 0)]}
    )
    frames = clip("red", 3, 8).frames
    frames[4:] = clip("blue", 3, 8).frames[4:]
    turning = Clip(frames, clip("red", 3, 8).seconds)
    model.add_examples("red", turning)
    found = model.explain(turning)
    assert found.label in ("red", "blue") and found.known
    assert abs(sum(found.probabilities.values()) - 1) < 1e-5
    if found.label == "red":
        assert found.example == 3 and found.path == [(i, i) for i in range(4)]
        assert float(found.distances.diagonal().max()) < 1e-5
    assert found.query_strip[:2] == b"\xff\xd8" and found.support_strip in model.strips_


def test_none_of_these_is_a_label_of_its_own() -> None:
    model = FewShotVideoClassifier(ColourMethod(), frames=2, reject=0.9).fit(colours(6))
    assert model.predict([clip("red", 40), plain((255, 255, 0))]).tolist() == ["red", NONE]
    answers = list(model.stream([plain((255, 255, 0)), clip("blue", 41)]))
    assert [answer.label for answer in answers] == [NONE, "blue"]
    assert model.set_params(reject=None).predict(plain((255, 255, 0))) in COLOURS
