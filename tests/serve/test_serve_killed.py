"""A server killed at any moment comes back with all that it ever confirmed."""

import threading
from pathlib import Path

import httpx2
import pytest
from plain import files
from running import running

from openfsar.classifier import FewShotVideoClassifier
from openfsar.cli.main import main


@pytest.mark.slow
def test_what_was_confirmed_survives_a_kill(
    tmp_path: Path, plain_clips: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    confirmed: list[str] = []
    with running(model, "--method", "protonet") as (url, server):
        assert main(["serve", str(model)]) == 1  # two servers would overwrite each other's examples
        assert "is being served already" in capsys.readouterr().err
        for name in ("red", "blue"):
            sent = files(plain_clips / f"{name}0.mp4")
            answer = httpx2.post(f"{url}/api/examples", data={"label": name}, files=sent, timeout=60)
            assert answer.status_code == 201
            confirmed.append(answer.json()["action"]["examples"][-1]["id"])

        def teach() -> None:
            """One example after the other, until the server is gone."""
            while True:
                try:
                    sent = files(plain_clips / f"red{len(confirmed) % 4}.mp4")
                    answer = httpx2.post(f"{url}/api/examples", data={"label": "red"}, files=sent, timeout=60)
                except httpx2.TransportError:
                    return
                confirmed.append(answer.json()["action"]["examples"][-1]["id"])
                if len(confirmed) == 7:
                    busy.set()

        busy = threading.Event()
        teaching = threading.Thread(target=teach)
        teaching.start()
        assert busy.wait(60)
        server.kill()  # SIGKILL, in the middle of the next one
        teaching.join()
        assert server.wait() == -9
    alone = FewShotVideoClassifier.load(model)
    assert len(confirmed) <= len(alone.labels_) <= len(confirmed) + 1
    with running(model) as (url, _):
        kept = [e["id"] for record in httpx2.get(f"{url}/api/classes").json() for e in record["examples"]]
        assert set(confirmed) <= set(kept)
        sent = files(plain_clips / "blue3.mp4")
        found = httpx2.post(f"{url}/api/predict", files=sent, timeout=60).json()["results"][0]
        assert found["probabilities"].keys() == {"blue", "red"}
