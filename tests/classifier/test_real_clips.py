"""Real footage, where it is at hand: the path from files to answers, not how good ToyCLIP is at it."""

from pathlib import Path

import pytest

from openfsar.classifier import NONE, FewShotVideoClassifier

KTH = Path(__file__).parents[3] / "shared" / "data" / "kth_mini"
pytestmark = pytest.mark.skipif(not KTH.is_dir(), reason="no KTH clips at hand")


def clips(person: str) -> dict[str, list[Path]]:
    return {
        folder.name: sorted(folder.glob(f"{person}_*")) for folder in sorted(KTH.iterdir()) if folder.is_dir()
    }


@pytest.mark.slow
def test_one_person_teaches_and_another_asks(tmp_path: Path) -> None:
    first, second = clips("person10"), clips("person15")
    model = FewShotVideoClassifier(frames=4).fit(first)
    assert model.classes_.tolist() == sorted(first) and model.calibration_.clips == 24
    assert model.calibration_.accuracy is not None and model.calibration_.accuracy > 1 / 6  # chance
    videos = [path for group in second.values() for path in group]
    model.save(tmp_path / "kth")
    answers = list(FewShotVideoClassifier.load(tmp_path / "kth").set_params(reject=0.95).stream(videos))
    assert [answer.video for answer in answers] == videos
    assert all(answer.error is None and answer.label in [*first, NONE] for answer in answers)
    found = model.explain(videos[0])
    assert Path(found.source).parent.name == found.label and len(found.path) >= 4
