"""The classifier keeps scikit-learn's manners, looks at every video once, and survives a trip to disk."""

from pathlib import Path

import numpy as np
import pytest
import torch
from colours import COLOURS, ColourMethod, clip

from openfsar import hub
from openfsar.classifier import FewShotVideoClassifier, ModelFolderError, NotFittedError
from openfsar.episode import Clip
from openfsar.methods.zoo import METHODS, create
from openfsar.video import VideoError, write_video


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    folder = tmp_path_factory.mktemp("colours")
    made: dict[str, list[Path]] = {}
    for name in COLOURS:
        for seed in range(3):
            path = folder / f"{name}{seed}.mp4"
            write_video(path, clip(name, seed).frames, fps=10.0)
            made.setdefault(name, []).append(path)
    return made


@pytest.fixture
def fitted() -> FewShotVideoClassifier:
    examples = {name: [clip(name, seed) for seed in range(2)] for name in COLOURS}
    return FewShotVideoClassifier(ColourMethod(), frames=4).fit(examples)


def test_files_are_named_after_a_fit_on_files(files: dict[str, list[Path]]) -> None:
    classifier = FewShotVideoClassifier(ColourMethod(), frames=4)
    assert classifier.fit({name: group[:2] for name, group in files.items()}) is classifier
    fresh = {name: group[2] for name, group in files.items()}
    assert classifier.predict(list(fresh.values())).tolist() == list(fresh)
    assert classifier.predict(str(fresh["green"])) == "green"
    assert classifier.score(list(fresh.values()), list(fresh)) == 1.0
    assert classifier.score(list(fresh.values()), ["green", "green", "red"]) == pytest.approx(1 / 3)


def test_one_in_one_out_and_a_list_in_a_list_out(fitted: FewShotVideoClassifier) -> None:
    one, many = clip("blue", 7), [clip("blue", 7), clip("red", 8)]
    assert fitted.predict(one) == "blue" and isinstance(fitted.predict(one), str)
    assert fitted.predict(many).tolist() == ["blue", "red"]
    assert fitted.decision_function(one).shape == (3,)
    assert fitted.decision_function(many).shape == (2, 3)
    assert fitted.predict([]).tolist() == [] and fitted.predict_proba([]).shape == (0, 3)
    np.testing.assert_array_equal(fitted.predict_proba(one), fitted.predict_proba(many)[0])


def test_probabilities_are_the_softmax_of_scores_over_the_temperature(fitted: FewShotVideoClassifier) -> None:
    video = clip("red", 9)
    scores = fitted.decision_function(video).astype(np.float64)
    for temperature in (1.0, 0.25, 4.0):
        expected = np.exp(scores / temperature) / np.exp(scores / temperature).sum()
        found = fitted.set_params(temperature=temperature).predict_proba(video)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_labels_come_in_any_order_with_uneven_shots() -> None:
    names = ["red", "blue", "green", "red", "blue", "red"]
    videos = [clip(name, seed) for seed, name in enumerate(names)]
    paired = FewShotVideoClassifier(ColourMethod(), frames=4).fit(videos, names)
    grouped = FewShotVideoClassifier(ColourMethod(), frames=4).fit(
        {
            name: [v for v, n in zip(videos, names, strict=True) if n == name]
            for name in ("green", "red", "blue")
        }
    )
    assert paired.classes_.tolist() == grouped.classes_.tolist() == ["blue", "green", "red"]
    query = [clip(name, 50) for name in COLOURS]
    np.testing.assert_allclose(paired.decision_function(query), grouped.decision_function(query), rtol=1e-6)


def test_every_video_is_encoded_once_in_small_batches() -> None:
    method = ColourMethod()
    classifier = FewShotVideoClassifier(method, frames=4, batch=2)
    classifier.fit({name: [clip(name, seed) for seed in range(2)] for name in COLOURS})
    assert method.batches == [2, 2, 2]
    method.batches.clear()
    classifier.predict([clip("red", seed) for seed in range(5)])
    assert method.batches == [2, 2, 1]


def test_class_names_reach_methods_that_read_them() -> None:
    reader, other = ColourMethod(support_reads_text=True), ColourMethod()
    videos, names = [clip("red", 0), clip("blue", 1), clip("red", 2)], ["red", "blue", "red"]
    for method in (reader, other):
        FewShotVideoClassifier(method, frames=4, batch=2).fit(videos, names)
        assert set(method.named) == {("blue", "red")}
    of_blue, of_red = [0.0, 1.0, 2.0], [3.0, 4.0, 5.0]
    asked = [None if t is None else t.tolist() for t in reader.texts]
    assert asked == [[of_red, of_blue], None, [of_red], None]  # as support and as query
    assert other.texts == [None, None]


def test_a_thousand_classes_and_two_classes_work() -> None:
    for way in (2, 1000):
        generator = torch.Generator().manual_seed(way)
        colours = torch.randint(0, 255, (way, 3), generator=generator, dtype=torch.uint8)
        clips = [Clip(c.view(1, 3, 1, 1).repeat(1, 1, 16, 16), torch.zeros(1)) for c in colours]
        labels = [f"class {i:04d}" for i in range(way)]
        classifier = FewShotVideoClassifier(ColourMethod(), frames=1, batch=64).fit(clips, labels)
        assert classifier.predict(clips[:2]).tolist() == labels[:2]
        assert classifier.predict_proba(clips[0]).shape == (way,)


def test_a_stream_skips_what_cannot_be_read_and_predict_names_it(
    fitted: FewShotVideoClassifier, files: dict[str, list[Path]], tmp_path: Path
) -> None:
    broken = tmp_path / "notes.mp4"
    broken.write_text("no video")
    videos = [broken, files["red"][0], tmp_path / "missing.mp4", files["blue"][0], broken]
    answers = list(fitted.set_params(batch=2).stream(videos))
    assert [answer.video for answer in answers] == videos
    assert [type(answer.error) for answer in answers] == [
        VideoError,
        type(None),
        VideoError,
        type(None),
        VideoError,
    ]
    rows = [answer.probabilities for answer in answers if answer.probabilities is not None]
    np.testing.assert_array_equal(np.stack(rows), fitted.predict_proba([videos[1], videos[3]]))
    with pytest.raises(VideoError, match=r"notes\.mp4"):
        fitted.predict(videos)
    with pytest.raises(VideoError, match=r"notes\.mp4"):
        FewShotVideoClassifier(ColourMethod()).fit({"red": files["red"], "noise": [broken]})


def test_parameters_are_those_of_the_constructor() -> None:
    method = ColourMethod()
    classifier = FewShotVideoClassifier(method, frames=5, temperature=0.5)
    params = classifier.get_params()
    assert params["method"] is method and params["frames"] == 5 and params["temperature"] == 0.5
    assert FewShotVideoClassifier(**params).get_params() == params
    assert set(vars(classifier)) == set(params)  # the constructor stores and does nothing else
    assert repr(classifier) == "FewShotVideoClassifier(method='ColourMethod', frames=5, temperature=0.5)"
    with pytest.raises(ValueError, match="'frame'.*'frames'"):
        classifier.set_params(frame=3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"red": [clip("red", 0)]},), "at least 2 classes.*'red'"),
        (([clip("red", 0)], ["red", "blue"]), "1 videos and 2 labels"),
        (([clip("red", 0)],), "without labels"),
        (({"red": [clip("red", 0)]}, ["red"]), "not both"),
        (({},), "at least 2 classes"),
    ],
)
def test_wrong_examples_are_refused_with_what_to_do(arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FewShotVideoClassifier(ColourMethod()).fit(*arguments)


def test_predicting_before_fitting_is_refused() -> None:
    for error in (NotFittedError, ValueError, AttributeError):
        with pytest.raises(error, match="call fit"):
            FewShotVideoClassifier().predict("a.mp4")


def test_a_folder_without_a_classifier_is_refused_and_never_overwritten(
    fitted: FewShotVideoClassifier, tmp_path: Path
) -> None:
    with pytest.raises(ModelFolderError, match="holds no fitted classifier"):
        FewShotVideoClassifier.load(tmp_path)
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years of work")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hub, "save", lambda method, folder: Path(folder).mkdir())
        with pytest.raises(ModelFolderError, match="choose another name"):
            fitted.save(tmp_path / "precious")
    assert [p.name for p in tmp_path.rglob("*")] == ["precious", "thesis.txt"]


@pytest.mark.parametrize("name", sorted(METHODS))
def test_a_saved_classifier_comes_back_the_same(name: str, tmp_path: Path) -> None:
    names = ["red", "blue", "red", "green", "blue", "red"]
    support, query = (
        [clip(colour, seed) for seed, colour in enumerate(names, start)] for start in (0, len(names))
    )
    method = create(name, encoder="tiny", pretrained=False, seed=3)
    fitted = FewShotVideoClassifier(method, frames=4, temperature=0.5, resize="squash").fit(support, names)
    folder = tmp_path / "new" / "model"
    for _ in range(2):  # the second time over the first
        fitted.save(folder)
        assert [p.name for p in folder.parent.iterdir()] == ["model"]
    loaded = FewShotVideoClassifier.load(folder)
    assert loaded.classes_.tolist() == fitted.classes_.tolist()
    assert (loaded.frames, loaded.temperature, loaded.resize) == (4, 0.5, "squash")
    np.testing.assert_array_equal(loaded.decision_function(query), fitted.decision_function(query))
    again = FewShotVideoClassifier(hub.load(folder), frames=4, temperature=0.5, resize="squash")
    again.fit(support, names)
    np.testing.assert_array_equal(again.decision_function(query), fitted.decision_function(query))


def test_a_method_is_found_by_name_with_a_hint_for_typing_errors() -> None:
    with pytest.raises(ValueError, match="did you mean 'protonet'"):
        FewShotVideoClassifier("protonett").fit([clip("red", 0), clip("blue", 0)], ["a", "b"])
