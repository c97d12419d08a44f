"""Model folders: what comes back, what is refused, and what survives a save that dies."""

import json
import os
import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from openfsar import hub
from openfsar.encoders.tiny import tiny_encoder
from openfsar.encoders.trainable import freeze
from openfsar.hub import HubError
from openfsar.methods.base import FewShotMethod
from openfsar.methods.zoo import build, create

CLIPS = torch.randint(
    0, 256, (3, 2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
)
TINY_CLIPS = CLIPS[..., :32, :32]


@pytest.fixture(scope="module")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained encoder in a local folder."""
    return shutil.copytree(
        str(files("openfsar") / "toy" / "weights"), tmp_path_factory.mktemp("towers") / "toy"
    )


def trained(method: FewShotMethod) -> FewShotMethod:
    """As if training had moved every learnt parameter."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter += 0.05 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return method


@torch.no_grad()
def frames(method: FewShotMethod, clips: Tensor = CLIPS) -> Tensor:
    return method.encode(clips).frames


def weights(folder: Path) -> Path:
    (path,) = folder.glob("model-*.safetensors")
    return path


def test_a_trained_method_on_a_pretrained_encoder_stores_the_learnt_part_alone(tmp_path: Path) -> None:
    method = trained(create("protonet", learn_scale=True))
    hub.save(method, tmp_path / "model")
    stored = load_file(weights(tmp_path / "model"))
    assert stored.keys() == method.learnt and "scale.log" in stored
    again = hub.load(tmp_path / "model")
    assert torch.equal(frames(again), frames(method)) and torch.equal(again.scale.log, method.scale.log)
    assert again.encoder.pretrained and again.learnt == method.learnt


@pytest.mark.slow
def test_adapters_of_ma_fsar_on_vit_b_16_fit_in_80_megabytes(tmp_path: Path) -> None:
    method = create("ma-fsar", encoder="clip-vit-b-16", pretrained=False)
    method.spec = replace(method.spec, pretrained=True)  # as with OpenAI's weights; sizes are the same
    hub.save(method, tmp_path)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert 4 * 18_537_728 < size < 80e6


def test_a_method_that_learnt_nothing_stores_nothing_and_comes_back(tmp_path: Path) -> None:
    method = create("zero-shot")
    hub.save(method, tmp_path)
    assert load_file(weights(tmp_path)) == {}
    assert torch.equal(hub.load(tmp_path).text(["waving"]), method.text(["waving"]))


def test_random_encoders_are_stored_whole(tmp_path: Path) -> None:
    method = build("otam", tiny_encoder(seed=5))
    hub.save(method, tmp_path)
    assert load_file(weights(tmp_path)).keys() == method.state_dict().keys()
    again = hub.load(tmp_path)
    assert torch.equal(frames(again, TINY_CLIPS), frames(method, TINY_CLIPS))
    assert torch.equal(again.encoder.text(["waving"]), method.encoder.text(["waving"]))


def test_freezing_a_trained_method_before_saving_loses_nothing(tmp_path: Path) -> None:
    method = freeze(trained(create("otam")))
    hub.save(method, tmp_path)
    assert torch.equal(frames(hub.load(tmp_path)), frames(method))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_a_method_comes_back_in_its_own_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    method = trained(create("otam").to(dtype))
    hub.save(method, tmp_path)
    again = hub.load(tmp_path)
    assert frames(again).dtype == dtype and torch.equal(frames(again), frames(method))


def test_loading_draws_nothing_from_the_global_generator(tmp_path: Path) -> None:
    hub.save(build("otam", tiny_encoder()), tmp_path)
    before = torch.get_rng_state()
    hub.load(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_encoder_folder_may_move(toy_folder: Path, tmp_path: Path) -> None:
    here = shutil.copytree(toy_folder, tmp_path / "here")
    method = trained(create("otam", encoder=str(here)))
    hub.save(method, tmp_path / "model")
    there = here.rename(tmp_path / "there")
    with pytest.raises(HubError, match=r"cannot be built again.*here.*load\(folder, encoder="):
        hub.load(tmp_path / "model")
    assert torch.equal(frames(hub.load(tmp_path / "model", encoder=str(there))), frames(method))
    given = create("otam", encoder=str(there)).encoder
    assert torch.equal(frames(hub.load(tmp_path / "model", encoder=given)), frames(method))


def test_a_relative_encoder_path_is_found_from_another_working_folder(
    toy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(toy_folder.parent)
    hub.save(create("otam", encoder="toy"), tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert hub.load(tmp_path / "model").spec.encoder == str(toy_folder.resolve())


def test_another_tower_of_the_same_shape_is_refused(toy_folder: Path, tmp_path: Path) -> None:
    hub.save(create("otam"), tmp_path)
    other = create("otam").encoder
    with torch.no_grad():
        other.text_tower.norm.bias[0] += 0.01
    with pytest.raises(HubError, match=r"trained on encoder 'toyclip'.*frozen parameters differ.*encoder="):
        hub.load(tmp_path, encoder=other)


def test_a_tower_of_another_shape_is_refused(tmp_path: Path) -> None:
    hub.save(create("otam"), tmp_path)
    with pytest.raises(HubError, match=r"trained on encoder 'toyclip'.*'tiny' .*do not fit"):
        hub.load(tmp_path, encoder=tiny_encoder())


def test_saving_again_replaces_the_model_and_keeps_other_files(tmp_path: Path) -> None:
    hub.save(build("otam", tiny_encoder(seed=1)), tmp_path)
    (tmp_path / "classifier.json").write_text("{}")
    (tmp_path / ".openfsar.json.0123abcd.partial").write_text("of a save that was killed")
    second = build("bi-mhm", tiny_encoder(seed=2))
    hub.save(second, tmp_path)
    assert hub.load(tmp_path).spec == second.spec
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"openfsar.json", "README.md", "classifier.json", weights(tmp_path).name}


@pytest.mark.parametrize("dies_at", [0, 1, 2])
def test_a_save_that_dies_leaves_the_old_model_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int
) -> None:
    old, new = build("otam", tiny_encoder(seed=1)), build("otam", tiny_encoder(seed=2))
    hub.save(old, tmp_path)
    done: list[str] = []

    def replace(source: str, target: str) -> None:
        if len(done) == dies_at:
            raise OSError("no space left on device")
        done.append(str(target))
        os.rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        with pytest.raises(OSError, match="no space"):
            hub.save(new, tmp_path)
    survivor = frames(hub.load(tmp_path), TINY_CLIPS)
    assert torch.equal(survivor, frames(new if dies_at == 2 else old, TINY_CLIPS))
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    hub.save(new, tmp_path)
    assert torch.equal(frames(hub.load(tmp_path), TINY_CLIPS), frames(new, TINY_CLIPS))


def test_a_first_save_that_dies_leaves_no_model_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, real = build("otam", tiny_encoder()), os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda a, b: real(a, b) if "model-" in str(b) else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            hub.save(method, tmp_path)
    with pytest.raises(HubError, match=r"holds no openfsar\.json"):
        hub.load(tmp_path)
    hub.save(method, tmp_path)
    hub.load(tmp_path)


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("my thesis")
    with pytest.raises(HubError, match=r"holds 'README\.md' and no model"):
        hub.save(build("otam", tiny_encoder()), tmp_path)
    assert (tmp_path / "README.md").read_text() == "my thesis"
    with pytest.raises(HubError, match="is a file"):
        hub.save(build("otam", tiny_encoder()), tmp_path / "README.md")


def test_a_method_built_by_hand_cannot_be_saved(tmp_path: Path) -> None:
    from openfsar.methods.otam import Otam

    with pytest.raises(HubError, match=r"make it with openfsar\.create"):
        hub.save(Otam(tiny_encoder()), tmp_path)


def damage(folder: Path, how: str) -> None:
    record = json.loads((folder / "openfsar.json").read_text())
    match how:
        case "truncated weights":
            weights(folder).write_bytes(weights(folder).read_bytes()[:-7])
        case "flipped bit":
            data = bytearray(weights(folder).read_bytes())
            data[-5] ^= 1
            weights(folder).write_bytes(data)
        case "no weights":
            weights(folder).unlink()
        case "no record":
            (folder / "openfsar.json").unlink()
        case "cut record":
            (folder / "openfsar.json").write_bytes((folder / "openfsar.json").read_bytes()[:40])
        case "foreign record":
            (folder / "openfsar.json").write_text('["something", "else"]')
        case "newer format":
            (folder / "openfsar.json").write_text(json.dumps(record | {"format": 99, "more": 1}))
        case "newer method":
            record["spec"]["method"] = "ma-fsar-2"
            (folder / "openfsar.json").write_text(json.dumps(record))
        case "path outside":
            (folder / "openfsar.json").write_text(json.dumps(record | {"weights": "../secret.safetensors"}))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("truncated weights", "is damaged: its [0-9,]+ bytes do not match its name; copy it again"),
        ("flipped bit", "is damaged"),
        ("no weights", r"lacks model-.*copy the whole folder"),
        ("no record", r"holds no openfsar\.json; give a folder that save wrote"),
        ("cut record", "is not valid JSON"),
        ("foreign record", "is not a record of openfsar"),
        ("newer format", "has format 99, this openfsar reads up to 1; upgrade"),
        ("newer method", r"no method 'ma-fsar-2'.*upgrade to openfsar"),
        ("path outside", "is not a record of openfsar"),
    ],
)
def test_a_damaged_folder_is_refused_with_a_remedy(tmp_path: Path, how: str, message: str) -> None:
    hub.save(build("otam", tiny_encoder()), tmp_path)
    damage(tmp_path, how)
    with pytest.raises(HubError, match=message):
        hub.load(tmp_path)


def test_a_place_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place, message in ((tmp_path / "absent", "does not exist"), (tmp_path / "file", "is a file")):
        with pytest.raises(HubError, match=f"{message}; give a folder that save wrote"):
            hub.load(place)


def test_hub_names_are_fetched_and_a_failure_names_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    method = build("otam", tiny_encoder(seed=3))
    hub.save(method, tmp_path / "snapshot")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **_: str(tmp_path / "snapshot"))
    assert torch.equal(frames(hub.load("someone/otam"), TINY_CLIPS), frames(method, TINY_CLIPS))

    def offline(name: str, **_: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(HubError, match=r"someone/otam is no folder here.*no route to host.*copy the model"):
        hub.load("someone/otam")


def test_the_card_says_what_the_model_is(tmp_path: Path) -> None:
    method = create("otam", smoothing=0.25)
    hub.save(method, tmp_path)
    card = (tmp_path / "README.md").read_text()
    for part in ("# otam on toyclip", "smoothing=0.25", "64 px", "parameters trained", "loaded by its name"):
        assert part in card
