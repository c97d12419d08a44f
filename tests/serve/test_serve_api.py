"""The service teaches, forgets and answers, each file for itself; what it confirmed is on disk."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plain import COLOURS, counts, files, fresh, problem, service, teach

from openfsar.classifier import NONE, FewShotVideoClassifier, estimator
from openfsar.serve import create_app, open_model
from openfsar.serve.forms import safe_name


def test_a_new_service_knows_nothing_and_says_what_it_needs(tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path) as client:
        assert client.get("/api/health").json()["status"] == "ok"
        about = client.get("/api/model").json()
        assert (about["method"], about["encoder"], about["frames"]) == ("protonet", "tiny", 4)
        assert (about["classes"], about["examples"], about["ready"]) == (0, 0, False)
        assert client.get("/api/classes").json() == []
        problem(client.get("/api/examples/0/strip"), 404)
        problem(client.delete("/api/examples/0"), 404)
        problem(client.delete("/api/classes/red"), 404)
        teach(client, plain_clips, "red")
        found = problem(client.post("/api/predict", files=files(plain_clips / "red2.mp4")), 409)
        assert "red" in found["detail"] and "another action" in found["remedy"]


def test_the_service_answers_what_the_classifier_answers(tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path) as client:
        teach(client, plain_clips, *COLOURS)
        queries = [plain_clips / f"{name}3.mp4" for name in COLOURS]
        results = client.post("/api/predict", files=files(*queries)).json()["results"]
        explained = [
            client.post("/api/predict?explain=true", files=files(path)).json()["results"][0]
            for path in queries
        ]
    assert [result["label"] for result in results] == list(COLOURS)
    assert [result["file"] for result in results] == [path.name for path in queries]
    direct = fresh().fit({name: [plain_clips / f"{name}{seed}.mp4" for seed in range(2)] for name in COLOURS})
    expected = direct.predict_proba(queries)
    for answers in (results, explained):
        found = [[r["probabilities"][name] for name in direct.classes_] for r in answers]
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert all(result["explanation"] is None for result in results)


def test_an_explanation_names_an_example_and_shows_both(tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path) as client:
        teach(client, plain_clips, "red", "blue")
        answer = client.post("/api/predict?explain=true", files=files(plain_clips / "blue2.mp4"))
        why = answer.json()["results"][0]["explanation"]
        (blue,) = [r for r in client.get("/api/classes").json() if r["label"] == "blue"]
        assert {"id": why["example"], "file": why["file"]} in blue["examples"] and why["label"] == "blue"
        strip = client.get(f"/api/examples/{why['example']}/strip")
    assert np.array(why["distances"]).shape == (4, 4)
    assert why["path"] == sorted(why["path"]) and all(0 <= t < 4 and 0 <= u < 4 for t, u in why["path"])
    assert strip.headers["content-type"] == "image/jpeg" and "immutable" in strip.headers["cache-control"]
    picture = Image.open(io.BytesIO(strip.content))
    assert picture.size == (4 * 64, 64)
    red, green, blue_ = np.asarray(picture, dtype=float).mean((0, 1))
    assert blue_ > 2 * max(red, green)
    assert why["video_strip"].startswith("data:image/jpeg;base64,")


def test_one_bad_file_never_affects_another(tmp_path: Path, plain_clips: Path) -> None:
    bad = {"notes.mp4": b"no video", "empty.mp4": b""}
    with service(tmp_path) as client:
        sent = files(plain_clips / "red0.mp4", names=bad) + files(plain_clips / "red1.mp4")
        answer = client.post("/api/examples", data={"label": "red"}, files=sent)
        assert answer.status_code == 201 and answer.json()["action"]["count"] == 2
        problems = [entry["problem"] for entry in answer.json()["files"]]
        assert [p and p["file"] for p in problems] == [None, "notes.mp4", "empty.mp4", None]
        assert "cannot be decoded" in problems[1]["detail"] and "0 bytes" in problems[2]["detail"]
        assert str(tmp_path) not in answer.text  # no paths of the server
        teach(client, plain_clips, "blue")
        sent = files(plain_clips / "blue2.mp4", names=bad) + files(plain_clips / "red2.mp4")
        results = client.post("/api/predict", files=sent).json()["results"]
        assert [result["label"] for result in results] == ["blue", None, None, "red"]
        assert [bool(result["problem"]) for result in results] == [False, True, True, False]
        assert (
            problem(client.post("/api/predict", files=files(names={"a.mp4": b"x"})), 422)["file"] == "a.mp4"
        )
        both = problem(client.post("/api/predict?explain=1", files=files(names=bad)), 422)
        assert "notes.mp4" in both["detail"] and "empty.mp4" in both["detail"]
        assert counts(client) == {"blue": 2, "red": 2}
        problem(client.post("/api/examples", data={"label": "green"}, files=files(names=bad)), 422)
        assert counts(client) == {"blue": 2, "red": 2}  # no class without examples


def test_a_file_that_breaks_in_the_middle_is_found_while_learning(tmp_path: Path, plain_clips: Path) -> None:
    """Its header passes the check, its frames cannot be had."""
    whole = (plain_clips / "red1.mp4").read_bytes()
    start = whole.index(b"mdat") + 4
    torn = whole[:start] + b"\0" * (len(whole) - start)
    with service(tmp_path) as client, pytest.MonkeyPatch.context() as patch:
        patch.setattr("openfsar.serve.limits.Limits.check_video", lambda *_, **__: None)
        sent = files(names={"torn.mp4": torn}) + files(plain_clips / "red0.mp4")
        answer = client.post("/api/examples", data={"label": "red"}, files=sent).json()
        assert [bool(entry["problem"]) for entry in answer["files"]] == [True, False]
        assert [example["file"] for example in answer["action"]["examples"]] == ["red0.mp4"]


def test_examples_keep_their_ids_when_others_go_and_over_a_restart(tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path) as client:
        teach(client, plain_clips, "red", "blue", shots=3)
        teach(client, plain_clips, "red", shots=1)  # the same clip once more
        before = {r["label"]: [e["id"] for e in r["examples"]] for r in client.get("/api/classes").json()}
        first, second, third, twin = before["red"]
        assert len({first, second, third, twin, *before["blue"]}) == 7 and twin == f"{first}-1"
        assert client.delete(f"/api/examples/{second}").status_code == 204
        problem(client.delete(f"/api/examples/{second}"), 404)
        problem(client.get(f"/api/examples/{second}/strip"), 404)
    with service(tmp_path, FewShotVideoClassifier.load(tmp_path / "model")) as client:
        after = {r["label"]: [e["id"] for e in r["examples"]] for r in client.get("/api/classes").json()}
        assert after == {"red": [first, third, twin], "blue": before["blue"]}
        about = client.get("/api/model").json()
        assert (about["method"], about["encoder"], about["ready"]) == ("protonet", "tiny", True)


def test_classes_come_and_go(tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path) as client:
        red = files(plain_clips / "red0.mp4")
        label = "pour / stir: 50 %?"
        assert client.post("/api/classes", data={"label": f" {label} "}, files=red).status_code == 201
        found = problem(client.post("/api/classes", data={"label": label}, files=red), 409)
        assert repr(label) in found["detail"] and "add examples" in found["remedy"]
        teach(client, plain_clips, "blue")
        assert counts(client) == {"blue": 2, label: 1}
        assert client.delete("/api/classes/pour%20%2F%20stir%3A%2050%20%25%3F").status_code == 204
        problem(client.delete("/api/classes/nothing"), 404)
        for example in client.get("/api/classes").json()[0]["examples"]:
            assert client.delete(f"/api/examples/{example['id']}").status_code == 204
        assert counts(client) == {}  # a class without examples is gone
        assert client.get("/api/model").json()["ready"] is False
        teach(client, plain_clips, "red", "green")
        assert counts(client) == {"green": 2, "red": 2}


@pytest.mark.parametrize("label", ["", "  ", "..", "a\nb", "x" * 101, "None of These", "\u200b"])
def test_labels_that_are_none_are_refused(label: str, tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path) as client:
        sent = files(plain_clips / "red0.mp4")
        found = problem(client.post("/api/examples", data={"label": label}, files=sent), 422)
        assert "1 to 100" in found["allowed"]


def test_what_is_confirmed_is_on_disk_and_what_cannot_be_saved_is_not_kept(
    tmp_path: Path, plain_clips: Path
) -> None:
    with service(tmp_path) as client:
        teach(client, plain_clips, "red", "blue")
        names = json.loads((tmp_path / "model" / "classifier.json").read_text())["names"]
        assert sorted(names) == ["blue", "blue", "red", "red"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                FewShotVideoClassifier, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full"))
            )
            sent = files(plain_clips / "green0.mp4")
            found = problem(client.post("/api/examples", data={"label": "green"}, files=sent), 500)
            assert "OSError" in found["detail"] and "disk full" not in json.dumps(found)
        assert 'route="/api/examples",status="500"} 1.0' in client.get("/metrics").text
        assert counts(client) == {"blue": 2, "red": 2}


def test_none_of_these_is_said_as_soon_as_examples_can_be_left_out(tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path, fresh(reject=0.75)) as client:
        assert client.get("/api/model").json()["rejects"] is False
        teach(client, plain_clips, "red", "blue", shots=1)
        teach(client, plain_clips, "red", shots=1)
        about = client.get("/api/model").json()
        assert (about["rejects"], about["asked"]) == (False, 0)
        answer = client.post("/api/predict", files=files(plain_clips / "green0.mp4")).json()["results"][0]
        assert answer["label"] in ("red", "blue") and not answer["none_of_these"]
        teach(client, plain_clips, "blue", shots=3)
        about = client.get("/api/model").json()
        assert (about["rejects"], about["asked"]) == (True, 6)
        for query in ("?explain=true", ""):
            sent = files(plain_clips / "green0.mp4")
            answer = client.post(f"/api/predict{query}", files=sent).json()["results"][0]
            assert answer["label"] == NONE and answer["none_of_these"]
            assert set(answer["probabilities"]) == {"red", "blue"}
    stored = json.loads((tmp_path / "model" / "classifier.json").read_text())["options"]
    assert stored["reject"] == 0.75


def test_a_folder_is_opened_or_started(tmp_path: Path, plain_clips: Path) -> None:
    new = open_model(tmp_path / "model", method="protonet", encoder="toyclip", frames=3)
    assert (new.frames, new.reject) == (3, 0.95) and not new.ready and not (tmp_path / "model").exists()
    fresh().fit([plain_clips / "red0.mp4", plain_clips / "blue0.mp4"], ["r", "b"]).save(tmp_path / "old")
    old = open_model(tmp_path / "old", frames=3)
    assert old.classes_.tolist() == ["b", "r"] and (old.frames, old.reject) == (4, None)
    assert open_model(tmp_path / "old", reject=0.9).reject == 0.9
    assert open_model(tmp_path / "new", reject="never").reject is None
    with pytest.raises(ValueError, match="did you mean 'protonet'"):
        open_model(tmp_path / "new", method="protonett")
    with pytest.raises(ValueError, match="reject=1.5"):
        open_model(tmp_path / "new", reject=1.5)
    with pytest.raises(ValueError, match="holds no fitted classifier"):
        open_model(plain_clips)


def test_uploads_are_gone_afterwards(tmp_path: Path, plain_clips: Path) -> None:
    left = tmp_path / ".model-uploads" / "of-a-killed-server"
    left.mkdir(parents=True)
    with service(tmp_path) as client:
        assert list((tmp_path / ".model-uploads").iterdir()) == []
        teach(client, plain_clips, "red")
        problem(client.post("/api/examples", data={"label": "red"}, files=files(names={"x": b"y"})), 422)
        assert list((tmp_path / ".model-uploads").iterdir()) == []
    assert not (tmp_path / ".model-uploads").exists()


def test_metrics_count_what_happens(tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path) as client:
        teach(client, plain_clips, "red", "blue")
        client.post("/api/predict", files=files(plain_clips / "red2.mp4", names={"bad": b"x"}))
        client.get("/some/scanner/path")
        lines = client.get("/metrics").text.splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert found['openfsar_requests_total{method="POST",route="/api/examples",status="201"}'] == "2.0"
    assert found['openfsar_videos_total{outcome="answered"}'] == "1.0"
    assert found['openfsar_videos_total{outcome="refused"}'] == "1.0"
    assert (found["openfsar_classes"], found["openfsar_examples"]) == ("2.0", "4.0")
    assert found["openfsar_batch_videos_count"] == "1.0"
    assert not any("scanner" in line for line in lines)
    assert float(found["openfsar_uploaded_bytes_total"]) > 0


def test_whatever_clients_call_their_files_is_a_name_here() -> None:
    assert safe_name("wave.mp4") == "wave.mp4" and safe_name("Ünï 1.mp4") == "Ünï 1.mp4"
    assert safe_name("../../etc/passwd") == "passwd" and safe_name(r"C:\clips\a.mp4") == "a.mp4"
    assert safe_name("..") == safe_name("") == safe_name("/") == "video"
    assert safe_name("a\0b\n.mp4") == "ab.mp4"
    assert len(safe_name("é" * 500).encode()) <= 200 and safe_name("x" * 500 + ".mp4").endswith(".mp4")


def test_the_description_is_complete_and_the_page_is_served(tmp_path: Path) -> None:
    schema = create_app(fresh(), tmp_path / "model").openapi()
    for path, verbs in schema["paths"].items():
        for verb, route in verbs.items():
            assert route.get("description"), f"{verb} {path} has no description"
    assert len(schema["paths"]) >= 12
    with service(tmp_path) as client:
        page = client.get("/")
        assert page.headers["content-type"].startswith("text/html") and "<main>" in page.text
        for name in ("style.css", "main.js", "watch.js", "mark.svg"):
            assert client.get(f"/{name}").status_code == 200
        assert problem(client.get("/nothing"), 404)["remedy"]
        problem(client.post("/api/health"), 405)


def test_an_untrained_model_goes_on_choosing_what_it_looks_at_after_a_restart(
    tmp_path: Path, plain_clips: Path
) -> None:
    with service(tmp_path, open_model(tmp_path / "model", method="otam", frames=4)) as client:
        assert client.get("/api/model").json()["method"] == "otam"
        teach(client, plain_clips, "red", "blue", shots=1)
    model = open_model(tmp_path / "model")
    assert (model.method, model.encoder, model.frames) == ("otam", "toyclip", 4)
    with service(tmp_path, model) as client:
        assert client.get("/api/model").json()["encoder"] == "toyclip"
        with pytest.MonkeyPatch.context() as patch:
            chosen: list[int] = []
            either = estimator.fit_either
            patch.setattr(estimator, "fit_either", lambda *a, **k: chosen.append(1) or either(*a, **k))
            teach(client, plain_clips, "red", "blue", shots=3)
        assert chosen == [1, 1] and client.get("/api/model").json()["asked"] == 8
