"""``openfsar models`` finds what is in the package, in the hub's cache and in the user's folders."""

import json
from pathlib import Path

import pytest
import torch

from openfsar import hub
from openfsar.classifier import FewShotVideoClassifier
from openfsar.cli.main import main
from openfsar.encoders.weights import BUNDLED, KNOWN
from openfsar.episode import Clip
from openfsar.methods.zoo import METHODS, create


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a fitted model, a run, and what must not be taken for one; an empty hub cache."""
    method = create("otam", encoder="tiny", pretrained=False)
    clips = [Clip(torch.full((2, 3, 32, 32), c, dtype=torch.uint8), torch.zeros(2)) for c in (0, 90, 250)]
    FewShotVideoClassifier(method, frames=2).fit(clips, ["wave", "clap", "wave"]).save(tmp_path / "mine")
    run = tmp_path / "runs" / "trained"
    hub.save(method, run / "best")
    for file in ("runs/trained/recipe.yaml", "runs/unfinished/recipe.yaml", "recipes/otam/toy.yaml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    for hidden in (".backup", "a/b/c/d/too deep"):
        (tmp_path / hidden).mkdir(parents=True)
        (tmp_path / hidden / hub.RECORD).write_bytes((run / "best" / hub.RECORD).read_bytes())
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / hub.RECORD).write_text("{")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_everything_that_loads_is_listed(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert METHODS.keys() < told["methods"].keys() and "ma-clip" in told["methods"]
    fetched = {encoder["name"]: encoder["here"] for encoder in told["encoders"]}
    assert fetched == {
        **dict.fromkeys(BUNDLED, True),
        **{name: False for name, known in KNOWN.items() if known.hub},
    }
    assert told["recipes"] == ["recipes/otam/toy.yaml"]
    about = {"method": "otam", "encoder": "tiny"}
    broken = {"method": "None", "encoder": "None"}
    assert told["models"] == [
        {"path": "damaged", **broken, "classes": None, "examples": 0},
        {"path": "mine", **about, "classes": ["clap", "wave"], "examples": 3},
        {"path": "runs/trained", **about, "classes": None, "examples": 0},
    ]


def test_the_tables_say_the_same(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["models"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in (
        "gghm Graph-guided",
        "toyresnet here: ships",
        "resnet-50 to be fetched: microsoft/resnet-50 (Apache-2.0)",
        "recipes/otam/toy.yaml",
        "mine fitted: otam on tiny, 2 actions, 3 examples",
        "runs/trained trained: otam on tiny",
    ):
        assert words in out
    assert "unfinished" not in out and "backup" not in out
    assert main(["models", "recipes"]) == 0
    assert "no models in recipes; make one: openfsar fit" in capsys.readouterr().out
    assert main(["models", "elsewhere"]) == 1
    assert "elsewhere is no folder" in capsys.readouterr().err


def test_what_was_fetched_before_is_here(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contents = {
        KNOWN["clip-vit-b-32"].hub: ("config.json", '{"model_type": "clip"}'),
        "someone/siglip": ("config.json", '{"model_type": "siglip"}'),
        "someone/open": ("open_clip_config.json", "{}"),
        "someone/words": ("config.json", '{"model_type": "bert"}'),
        "someone/fitted": (hub.RECORD, (place / "runs/trained/best" / hub.RECORD).read_text()),
        KNOWN["resnet-50"].hub: ("config.json", '{"model_type": "resnet"}'),
    }
    for name, (record, text) in contents.items():
        repository = place / "cache" / f"models--{str(name).replace('/', '--')}"
        copy = repository / "snapshots" / ("a" * 40)
        copy.mkdir(parents=True)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("a" * 40)
        (copy / record).write_text(text)
        if name != KNOWN["resnet-50"].hub:  # its download was interrupted
            (copy / "model.safetensors").touch()
    assert main(["models", "runs", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [encoder["name"] for encoder in told["encoders"] if encoder["here"]] == [
        *BUNDLED,
        "clip-vit-b-32",
        "someone/open",
        "someone/siglip",
    ]
    assert [model["path"] for model in told["models"]] == ["runs/trained", "someone/fitted"]
