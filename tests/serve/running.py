"""The service as people start it: ``openfsar serve`` in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def running(folder: Path, *options: str, token: str = "") -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Address and process of a server for the model in ``folder``, up and answering."""
    port = free_port()
    command = [sys.executable, "-c", "import sys; from openfsar.cli.main import main; sys.exit(main())"]
    log = folder.with_suffix(".log")
    with open(log, "w") as out:
        server = subprocess.Popen(
            [*command, "serve", str(folder), "--port", str(port), "--device", "cpu", *options],
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENFSAR_TOKEN": token},
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        for _ in range(600):
            assert server.poll() is None, log.read_text()
            try:
                httpx2.get(f"http://127.0.0.1:{port}/api/health")
                break
            except httpx2.TransportError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.kill()
        server.wait()
