"""One HTTP POST of JSON with an end: a deadline for the whole exchange, a limit of bytes, no redirects.

A timeout of a socket starts anew with each byte, so a server that drips would hold a query for ever; here a watch cuts
the connection at the deadline. Redirects are not followed: they would carry the key to another host.
"""

import http.client
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

UNREACHABLE = ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError


@dataclass(frozen=True)
class Reply:
    """What a server answered. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class NoReply(Exception):
    """There was no answer to read: refused, cut, too late or too long."""


class Unreachable(NoReply):
    """Nobody listens at the address, there is no such host, or it is not who it says: so it will be the next time."""


class TooLate(NoReply):
    """The deadline passed first."""


class TooLong(NoReply):
    """The answer has more bytes than it may have."""


def post_json(url: str, body: bytes, headers: Mapping[str, str], *, timeout_s: float, most_bytes: int) -> Reply:
    """The answer, whatever its status. Proxies of the environment are used. Raises NoReply."""
    watch = _Watch()
    timer = threading.Timer(timeout_s, watch.cut)
    timer.daemon = True
    opener = urllib.request.build_opener(_Http(watch), _Https(watch), _NoRedirect())
    request = urllib.request.Request(
        url, body, {"Content-Type": "application/json", "Accept": "application/json", **headers}, method="POST"
    )
    timer.start()
    try:
        try:
            response = opener.open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:  # any status that is no success; it can be read like a response
            response = error
        with response:
            content = response.read(most_bytes + 1)
            status, fields = int(response.status), {name.lower(): value for name, value in response.headers.items()}
    except (OSError, http.client.HTTPException, ValueError) as error:
        if watch.late or isinstance(error, TimeoutError) or isinstance(_reason(error), TimeoutError):
            raise TooLate(f"no answer in {timeout_s:.1f} s") from error
        reason = _reason(error)
        kind = Unreachable if isinstance(reason, UNREACHABLE) else NoReply
        raise kind(str(reason) or type(error).__name__) from error
    finally:
        timer.cancel()
    if watch.late:  # what was cut can look like an answer that ended
        raise TooLate(f"no answer in {timeout_s:.1f} s")
    if len(content) > most_bytes:
        raise TooLong(f"an answer of more than {most_bytes} bytes")
    promised = fields.get("content-length", "")
    if promised.isdecimal() and len(content) < int(promised):  # http.client says nothing when it reads in parts
        raise NoReply(f"the answer was cut after {len(content)} of {promised} bytes")
    return Reply(status, fields, content)


def _reason(error: BaseException) -> object:
    return error.reason if isinstance(error, urllib.error.URLError) else error


class _Watch:
    """Holds the socket of an exchange, and cuts it when time is up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.late = False

    def hold(self, held: socket.socket) -> None:
        with self._lock:
            self._socket = held
            if self.late:
                _shut(held)

    def cut(self) -> None:
        with self._lock:
            self.late = True
            if self._socket is not None:
                _shut(self._socket)


def _shut(held: socket.socket) -> None:
    with suppress(OSError):  # already closed
        socket.socket.shutdown(held, socket.SHUT_RDWR)  # the plain socket's: TLS's own would change it under a reader


class _HttpConnection(http.client.HTTPConnection):
    def __init__(self, host: str, *, watch: _Watch, **options: Any) -> None:
        super().__init__(host, **options)
        self._watch = watch

    def connect(self) -> None:
        super().connect()
        self._watch.hold(self.sock)


class _HttpsConnection(http.client.HTTPSConnection):
    def __init__(self, host: str, *, watch: _Watch, **options: Any) -> None:
        super().__init__(host, **options)
        self._watch = watch

    def connect(self) -> None:
        super().connect()
        self._watch.hold(self.sock)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__()
        self._watch = watch

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpConnection, req, watch=self._watch)  # type: ignore[arg-type]


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, watch: _Watch) -> None:
        super().__init__(context=ssl.create_default_context())
        self._watch = watch

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_HttpsConnection, req, context=self._context, watch=self._watch)  # type: ignore[arg-type,attr-defined]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
