"""Who may ask: a token where one is set, no foreign pages, no foreign names, no paths outside the folder."""

from pathlib import Path

import pytest
from plain import counts, files, fresh, problem, service, teach

from openfsar.serve import create_app
from openfsar.serve.app import PAGE


def test_a_token_guards_everything_but_the_empty_page(tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path, token="sesame-7") as client:
        for file in ("", *(path.name for path in PAGE.iterdir())):
            assert client.get(f"/{file}").status_code == 200
        assert client.get("/api/health").json()["token"] is True
        for path in ("/api/model", "/api/classes", "/metrics", "/api/openapi.json", "/api/nothing"):
            assert client.get(path).headers["www-authenticate"] == "Bearer"
            problem(client.get(path), 401)
        sent = files(plain_clips / "red0.mp4")
        problem(client.post("/api/examples", data={"label": "red"}, files=sent), 401)
        for wrong in ("Bearer sesame", "Bearer ", "Basic sesame-7", "sesame-7", "Bearer sesame-7 x"):
            problem(client.get("/api/model", headers={"authorization": wrong}), 401)
        right = {"authorization": "Bearer sesame-7"}
        assert client.get("/api/model", headers=right).status_code == 200
        schema = client.get("/api/openapi.json", headers=right).json()
        assert schema["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"


@pytest.mark.parametrize("token", ["", "two words", "sésame", "line\n"])
def test_a_token_that_no_header_can_carry_is_refused(token: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="token"):
        create_app(fresh(), tmp_path / "model", token=token)


def test_pages_of_other_sites_change_nothing(tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path) as client:
        for origin in ("https://evil.example", "null", "http://127.0.0.1:9999", "http://127.0.0.1"):
            sent = files(plain_clips / "red0.mp4")
            answer = client.post(
                "/api/examples", data={"label": "red"}, files=sent, headers={"origin": origin}
            )
            assert origin in problem(answer, 403)["detail"]
        assert counts(client) == {}
        own = {"origin": "http://127.0.0.1:8000"}
        sent = files(plain_clips / "red0.mp4")
        assert client.post("/api/examples", data={"label": "red"}, files=sent, headers=own).status_code == 201
        assert "access-control-allow-origin" not in client.get("/api/classes", headers=own).headers


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[", "[::2]"]
)
def test_a_foreign_name_is_not_answered_without_a_token(host: str, tmp_path: Path) -> None:
    with service(tmp_path) as client:
        problem(client.get("/api/classes", headers={"host": host}), 421)
        for own in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
            assert client.get("/api/classes", headers={"host": own}).status_code == 200
    with service(tmp_path, token="t") as client:
        headers = {"host": "videos.example", "authorization": "Bearer t"}
        assert client.get("/api/classes", headers=headers).status_code == 200


def test_every_answer_tells_the_browser_what_it_may_do(tmp_path: Path) -> None:
    with service(tmp_path) as client:
        for path in ("/", "/main.js", "/api/model", "/nothing", "/metrics"):
            headers = client.get(path).headers
            policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
            assert (
                policy["default-src"] == "'none'"
                and policy["script-src"] == policy["connect-src"] == "'self'"
            )
            assert "unsafe" not in headers["content-security-policy"] and "http" not in str(policy)
            assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
        assert client.get("/api/model").headers["cache-control"] == "no-store"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("openfsar.serve.model.Model.classes", None)
            broken = client.get("/api/classes")
        assert problem(broken, 500)["detail"] == "GET /api/classes failed with TypeError"
        assert "content-security-policy" in broken.headers
        refused = client.get("/api/model", headers={"host": "evil.example"})
        assert "content-security-policy" in refused.headers


@pytest.fixture
def shelf(tmp_path: Path, plain_clips: Path) -> Path:
    """A folder with a clip, one below it, and links that lead inside and outside."""
    folder = tmp_path / "shelf"
    (folder / "deep").mkdir(parents=True)
    (folder / "red.mp4").write_bytes((plain_clips / "red2.mp4").read_bytes())
    (folder / "deep" / "blue.mp4").write_bytes((plain_clips / "blue2.mp4").read_bytes())
    (folder / "inside.mp4").symlink_to(folder / "deep" / "blue.mp4")
    (folder / "outside.mp4").symlink_to(plain_clips / "red0.mp4")
    (folder / "up").symlink_to(tmp_path)
    (folder / "circle").symlink_to(folder / "circle")
    (tmp_path / "shelf-secret").mkdir()
    (tmp_path / "shelf-secret" / "red.mp4").write_bytes((plain_clips / "red2.mp4").read_bytes())
    return folder


def test_paths_lead_nowhere_but_into_the_folder(tmp_path: Path, shelf: Path, plain_clips: Path) -> None:
    with service(tmp_path, paths=shelf) as client:
        teach(client, plain_clips, "red", "blue")
        good = ["red.mp4", "deep/blue.mp4", "inside.mp4", str(shelf / "red.mp4"), "deep/../red.mp4"]
        results = client.post("/api/predict/paths", json={"paths": good}).json()["results"]
        assert [result["label"] for result in results] == ["red", "blue", "blue", "red", "red"]
        outside = [
            *("outside.mp4", "up/shelf/red.mp4/../../shelf-secret/red.mp4", "../shelf-secret/red.mp4"),
            *(str(plain_clips / "red0.mp4"), "/etc/passwd", "../../../../../../etc/passwd", "deep", "."),
            *(
                "no such.mp4",
                "circle",
                "a\0b",
                "x" * 900,
                "~/red.mp4",
                "file:red.mp4",
                "up/shelf-secret/red.mp4",
            ),
        ]
        for path in outside:
            found = problem(client.post("/api/predict/paths", json={"paths": [path]}), 404)
            assert found["title"] == "no such video" and str(tmp_path) not in found["detail"].replace(
                path, ""
            )
            problem(client.post("/api/timelines/paths", json={"path": path}), 404)
        mixed = client.post("/api/predict/paths", json={"paths": ["red.mp4", "/etc/passwd"]}).json()[
            "results"
        ]
        assert mixed[0]["label"] == "red" and mixed[1]["problem"]["status"] == 404
        body = {"label": "red", "paths": ["red.mp4", "outside.mp4"]}
        added = client.post("/api/examples/paths", json=body).json()
        assert added["action"]["count"] == 3 and added["files"][1]["problem"]["title"] == "no such video"
        problem(client.post("/api/predict/paths", json={"paths": ["red.mp4"] * 21}), 413)
        problem(client.post("/api/predict/paths", json={"paths": []}), 422)
    assert (shelf / "red.mp4").exists()


def test_without_a_folder_no_path_is_read(tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path) as client:
        teach(client, plain_clips, "red", "blue")
        body = {"paths": [str(plain_clips / "red0.mp4")]}
        assert "--allow-paths" in problem(client.post("/api/predict/paths", json=body), 403)["remedy"]
        problem(client.post("/api/examples/paths", json=body | {"label": "red"}), 403)
        problem(client.post("/api/timelines/paths", json={"path": body["paths"][0]}), 403)


@pytest.mark.parametrize(
    "path", ["/../app.py", "/%2e%2e/app.py", "/..%2fapp.py", "//etc/passwd", "/page/../../app.py", "/%00"]
)
def test_the_page_is_no_way_to_other_files(path: str, tmp_path: Path) -> None:
    with service(tmp_path) as client:
        assert client.get(path).status_code == 404
