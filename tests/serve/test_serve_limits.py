"""Every limit is kept, in words: what was sent, what is allowed, what to try; sizes may be lies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi import Request
from hypothesis import given, settings
from hypothesis import strategies as st
from plain import counts, files, fresh, problem, service, teach, write_colour

from openfsar.serve import Limits, create_app
from openfsar.serve.problems import Problem
from openfsar.serve.uploads import Spool


def test_a_file_over_the_limit_is_refused_and_its_neighbours_are_not(
    tmp_path: Path, plain_clips: Path
) -> None:
    size = max(path.stat().st_size for path in plain_clips.iterdir())
    large = {"large.mp4": b"\0" * (size + 1)}
    with service(tmp_path, limits=Limits(clip_bytes=size)) as client:
        sent = files(plain_clips / "red0.mp4", names=large) + files(plain_clips / "red1.mp4")
        answer = client.post("/api/examples", data={"label": "red"}, files=sent).json()
        assert answer["action"]["count"] == 2 and answer["files"][1]["problem"]["status"] == 413
        found = problem(client.post("/api/examples", data={"label": "red"}, files=files(names=large)), 413)
        assert found["file"] == "large.mp4" and "MB" in found["allowed"] and found["remedy"]


def test_a_request_too_large_is_refused_before_and_while_it_is_read(tmp_path: Path) -> None:
    with service(tmp_path, limits=Limits(clip_bytes=1000, files=2)) as client:
        body = b"--b\r\n" + b"\0" * 200_000
        headers = {"content-type": "multipart/form-data; boundary=b"}
        found = problem(client.post("/api/examples", content=body, headers=headers), 413)
        assert "announces 0.2 MB" in found["detail"]

        def stream() -> AsyncIterator[bytes]:
            yield from (b"--b\r\n", *[b"\0" * 50_000] * 10)  # type: ignore[misc]

        headers["transfer-encoding"] = "chunked"
        problem(client.post("/api/examples", content=stream(), headers=headers), 413)
        headers = {"content-type": "application/json"}
        large = b'{"paths": ["' + b"x" * 1_100_000 + b'"]}'
        problem(client.post("/api/predict/paths", content=large, headers=headers), 413)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(clip_seconds=0.5), "lasts 1.0 s"),
        (Limits(pixels=32 * 47), "has 48x32 pixels"),
        (Limits(frame_rate=9.0), "has 10 frames a second"),
    ],
    ids=["seconds", "pixels", "rate"],
)
def test_the_header_of_a_video_is_looked_at(
    limits: Limits, said: str, tmp_path: Path, plain_clips: Path
) -> None:
    with service(tmp_path, limits=limits) as client:
        sent = files(plain_clips / "red0.mp4")
        found = problem(client.post("/api/examples", data={"label": "red"}, files=sent), 413)
        assert said in found["detail"] and found["allowed"] and found["remedy"]


def test_counts_are_limited(tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path, limits=Limits(files=2, examples=5, classes=2)) as client:
        three = files(*[plain_clips / f"red{i}.mp4" for i in range(3)])
        found = problem(client.post("/api/examples", data={"label": "red"}, files=three), 413)
        assert "more than 2" in found["detail"] and "2" in found["allowed"]
        teach(client, plain_clips, "red", "blue")
        found = problem(client.post("/api/examples", data={"label": "green"}, files=three[:1]), 409)
        assert "number 3" in found["detail"] and found["allowed"] == "2"
        found = problem(client.post("/api/examples", data={"label": "red"}, files=three[:2]), 409)
        assert "4" in found["detail"] and "5" in found["allowed"]
        assert counts(client) == {"blue": 2, "red": 2}


def test_a_request_without_a_file_or_a_form_says_so(tmp_path: Path, plain_clips: Path) -> None:
    with service(tmp_path) as client:
        teach(client, plain_clips, "red", "blue")
        problem(client.post("/api/predict", content=b"x"), 415)
        problem(client.post("/api/predict", json={}), 415)
        problem(
            client.post("/api/predict", headers={"content-type": "multipart/form-data"}, content=b""), 415
        )
        headers = {"content-type": "multipart/form-data; boundary=b"}
        assert problem(client.post("/api/predict", headers=headers, content=b"--b--\r\n"), 422)["remedy"]
        problem(client.post("/api/predict", headers=headers, content=b"nonsense"), 400)
        cut = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nabc'
        assert (
            "in the middle"
            in problem(client.post("/api/predict", headers=headers, content=cut), 400)["detail"]
        )


def test_limits_that_let_nothing_through_are_refused() -> None:
    with pytest.raises(ValueError, match="clip_seconds=0"):
        Limits(clip_seconds=0.0)


def received(spool: Spool, body: bytes, cuts: list[int], *, files: int = 3, each: int = 1000):
    """What becomes of a body that comes in pieces, and how much of it the spool then still counts."""
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    pieces = [body[a:b] for a, b in zip(edges[:-1], edges[1:], strict=True)]

    async def receive():
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    headers = [(b"content-type", b"multipart/form-data; boundary=limit")]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)

    async def read():
        async with spool.receive(request, files=files, each=each) as form:
            assert spool.used == len(body)
            return form.fields, [(u.name, u.path.read_bytes(), u.problem is None) for u in form.uploads]

    return asyncio.run(read())


def body(fields: dict[str, str], uploads: list[tuple[str, bytes]]) -> bytes:
    parts = [f'form-data; name="{k}"\r\n\r\n{v}'.encode() for k, v in fields.items()]
    parts += [f'form-data; name="files"; filename="{n}"\r\n\r\n'.encode() + data for n, data in uploads]
    return b"".join(b"--limit\r\nContent-Disposition: " + part + b"\r\n" for part in parts) + b"--limit--\r\n"


@settings(max_examples=60, deadline=None)
@given(
    data=st.lists(st.binary(max_size=300) | st.just(b"\r\n--limi") | st.just(b"x" * 1001), max_size=3),
    label=st.text("ab é", max_size=5),
    cuts=st.lists(st.integers(0, 5000), max_size=6),
)
def test_a_form_is_the_same_however_it_is_cut(
    data: list[bytes], label: str, cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool") / "uploads", 10_000)
    uploads = [(f"{i}.mp4", content) for i, content in enumerate(data)]
    fields, found = received(spool, body({"label": label}, uploads), cuts)
    assert fields == {"label": label}
    assert found == [(n, c if len(c) <= 1000 else b"", len(c) <= 1000) for n, c in uploads]
    assert spool.used == 0 and list(spool.folder.iterdir()) == []


def test_uploads_share_the_room_there_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "uploads", 400)
    with pytest.raises(Problem) as caught:
        received(spool, body({}, [("a", b"x" * 500)]), [100, 200])
    assert caught.value.status_code == 503 and caught.value.headers == {"Retry-After": "60"}
    assert spool.used == 0 and list(spool.folder.iterdir()) == []
    for many in (body(dict.fromkeys("abcdefghi", "v"), []), body({"a": "v" * 10_001}, [])):
        with pytest.raises(Problem) as caught:
            received(Spool(tmp_path / "more", 100_000), many, [])
        assert caught.value.status_code == 400


def test_long_clips_are_sent_to_the_timeline(tmp_path: Path) -> None:
    long = write_colour(tmp_path / "long.mp4", "red", length=30)
    limits = Limits(clip_seconds=1.0)
    with pytest.raises(Problem) as caught:
        limits.check_video(long, "long.mp4", seconds=limits.clip_seconds)
    assert "timeline" in (caught.value.record.remedy or "")
    assert limits.check_video(long, "long.mp4", seconds=limits.video_seconds).frames == 30


def test_whoever_hangs_up_in_the_middle_leaves_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(fresh(), tmp_path / "model")
    start = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\nhalf a vid'
    events = [{"type": "http.request", "body": start, "more_body": True}, {"type": "http.disconnect"}]
    said: list[dict] = []

    async def receive():
        return events.pop(0)

    async def send(message) -> None:
        said.append(message)

    headers = [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=b")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/api/examples",
        "headers": headers,
        "query_string": b"",
    }
    asyncio.run(app(scope | {"headers": headers}, receive, send))
    assert said == [] and caplog.records == []
    assert list((tmp_path / ".model-uploads").iterdir()) == []
