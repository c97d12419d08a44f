"""What stands before every request: who may ask, what a browser may do with the answer, and the clock.

A page on another site cannot use the service through the visitor's browser: requests that change something
must come from our own page or from no page at all, and without a token the service answers to its own names
only, so that no foreign name can be pointed at it (DNS rebinding).
"""

import secrets
import time
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openfsar.serve.metrics import Metrics
from openfsar.serve.problems import Problem, unforeseen

JSON_BYTES = 1_000_000
"""Of a request body that is no upload."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
SAFE = {"GET", "HEAD", "OPTIONS"}
OPEN = {"/api/health"}
"""Needs no token, so that whoever watches the service needs none."""


class Guard:
    """ASGI middleware.

    Args:
        token: asked for as ``Authorization: Bearer TOKEN``; None asks for none.
        hosts: names the service answers to where there is no token.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, hosts: Collection[str], metrics: Metrics) -> None:
        self.app, self.token, self.hosts, self.metrics = app, token, hosts, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        path, status, begun = scope["path"], 500, False
        private = path.startswith("/api/") or path == "/metrics"

        async def answer(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store" if private else "no-cache")
            await send(message)

        try:
            headers = Headers(scope=scope)
            problem = self._refusal(scope["method"], path, headers, private)
            if problem is None:
                await self.app(scope, _counted(receive, headers), answer)
            else:
                await problem.response()(scope, receive, answer)
        except ClientDisconnect:
            status = 499  # as nginx calls it; nobody is there to be answered
        except Exception as error:
            problem = unforeseen(f"{scope['method']} {path}", error)
            if not begun:
                await problem.response()(scope, receive, answer)
        finally:
            # Only routes that exist become names of metrics; a scanner would make thousands otherwise.
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(scope["method"], route, status).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - start)

    def _refusal(self, method: str, path: str, headers: Headers, private: bool) -> Problem | None:
        host = headers.get("host", "")
        if self.token is None and _name(host) not in self.hosts:
            return Problem(
                421,
                "not a name of this service",
                f"the request was sent to {host!r}",
                allowed=", ".join(sorted(self.hosts)),
                remedy="open the address that the server printed, or start it with a token",
            )
        origin = headers.get("origin")
        if method not in SAFE and origin is not None and urlsplit(origin).netloc != host:
            return Problem(
                403,
                "from another site",
                f"the page at {origin!r} asked to change something here",
                remedy="use the page of this service, or call it from a program",
            )
        if self.token is not None and private and path not in OPEN and not self._known(headers):
            return Problem(
                401,
                "no valid token",
                "the request has none" if "authorization" not in headers else "the one given is wrong",
                allowed="Authorization: Bearer TOKEN",
                remedy="ask whoever started the server for its token",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return None

    def _known(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        same = secrets.compare_digest(given.strip().encode(), (self.token or "").encode())
        return same and scheme.lower() == "bearer"


def _name(host: str) -> str:
    """A Host header without its port."""
    return (urlsplit(f"//{host}").hostname or "") if host.count("[") == host.count("]") else ""


def _counted(receive: Receive, headers: Headers) -> Receive:
    """The same stream, cut off where a body that is no upload grows too large."""
    if headers.get("content-type", "").startswith("multipart/"):
        return receive  # uploads have limits of their own
    size = 0

    async def counted() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > JSON_BYTES:
            raise Problem(
                413,
                "the request is too large",
                f"its body has more than {JSON_BYTES} bytes",
                allowed="uploads as multipart/form-data",
                remedy="send fewer paths at a time",
            )
        return message

    return counted
