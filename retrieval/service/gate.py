"""What every request passes before it is understood: the name it called, the token, the size of its body.

Plain ASGI, not Starlette's middleware classes: those start a task per request, which costs more than a search.
"""

import hmac
import json
import time
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, unquote

from .config import ServeConfig
from .page import DOOR, DOOR_POLICY

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
COOKIE = "beholder_token"
OPEN = frozenset({"/health", "/ready"})  # asked by what starts and watches services, which has no token
HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


class BodyTooLarge(Exception):
    """The body goes on beyond what is allowed; the application's handler answers 413."""


class Gate:
    """Wraps an application. `observe(path's template, status, seconds)` is told of each answer."""

    def __init__(self, inner: Application, config: ServeConfig, observe: Callable[[str, int, float], None]) -> None:
        self._inner, self._observe, self._hosts = inner, observe, config.allowed_hosts
        self._token = None if config.token is None else config.token.encode()
        self._most = config.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        refusal = self._refusal(scope)
        try:
            if refusal is not None and refusal[0] == 401 and self._brought(scope):
                await self._welcome(noted)
            elif refusal is not None and refusal[0] == 401 and _opens_page(scope):
                headers = [(b"content-type", b"text/html; charset=utf-8"), (b"content-security-policy", DOOR_POLICY)]
                await send_whole(noted, 401, headers, DOOR)
            elif refusal is not None:
                await answer(noted, *refusal)
            else:
                await self._inner(scope, self._limited(receive), noted)
        finally:
            route = scope.get("route")
            self._observe(getattr(route, "path", "other"), status, time.perf_counter() - started)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = dict(scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self._hosts is not None and _without_port(host) not in self._hosts:
            return 421, f"the service is not called {host or 'nothing'}; start it with --allow-host to name it so"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._most:
            return 413, f"the body is longer than {self._most:,} bytes"
        if self._token is not None and scope["path"] not in OPEN and not self._may(self._token, headers):
            return 401, "no token, or another one; send 'Authorization: Bearer TOKEN', or open /?token=TOKEN"
        return None

    def _may(self, token: bytes, headers: dict[bytes, bytes]) -> bool:
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() == b"bearer":
            return hmac.compare_digest(given.strip(), token)
        try:
            kept = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(COOKIE)
        except CookieError:
            return False
        return kept is not None and hmac.compare_digest(unquote(kept.value).encode(), token)

    def _brought(self, scope: Scope) -> bool:
        """Whether a browser opens the page with the token in its address."""
        if self._token is None or scope["path"] != "/" or scope["method"] != "GET":
            return False
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[-1]
        return hmac.compare_digest(given.encode(), self._token)

    async def _welcome(self, send: Send) -> None:
        """The page again, without the token in the address, which histories keep, but in a cookie that no script and
        no other site can use."""
        cookie = b"%s=%s; Path=/; HttpOnly; SameSite=Strict" % (COOKIE.encode(), quote(self._token or b"").encode())
        headers = [(b"location", b"/"), (b"set-cookie", cookie), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    def _limited(self, receive: Receive) -> Receive:
        seen = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise BodyTooLarge(f"the body is longer than {self._most:,} bytes")
            return message

        return counted


def _opens_page(scope: Scope) -> bool:
    """Whether a person's browser asks, who can be asked for the token."""
    return scope["path"] == "/" and b"text/html" in dict(scope["headers"]).get(b"accept", b"")


def _without_port(host: str) -> str:
    """The name in a Host header: "[::1]:8000" and "localhost:8000" have a port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


async def answer(send: Send, status: int, error: str) -> None:
    """Sends an error as every route does: {"error": one line}."""
    content = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send_whole(send, status, headers, content)


async def send_whole(send: Send, status: int, headers: list[tuple[bytes, bytes]], content: bytes) -> None:
    headers = [*headers, (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
