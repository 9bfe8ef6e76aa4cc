"""Pictures from the network, only from hosts that were named when the service was started.

The name in the address must be one of them, the answer no redirection to another place, and no longer than allowed:
a client must not use the service to reach what only the service can.
"""

import urllib.error
import urllib.request
from collections.abc import Sequence
from typing import IO, Any
from urllib.parse import urlsplit

from indexes.errors import BeholderError

TIMEOUT_S = 10.0


class _NoRedirection(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str) -> None:
        raise BeholderError("the address leads to another one", "a picture", "Give the last address.")


def fetch_picture(url: str, hosts: Sequence[str], most_bytes: int, timeout_s: float = TIMEOUT_S) -> bytes:
    """The bytes at an http or https address of one of `hosts` ("example.org", or "example.org:8080" for a port that is
    not the usual one). Raises BeholderError for any other, and where they cannot be had."""
    if not hosts:
        raise BeholderError("an address of a picture", "its bytes in base64", "serve --fetch-from HOST allows hosts.")
    try:
        parts = urlsplit(url)
        usual = {"http": 80, "https": 443}.get(parts.scheme)
        name = (parts.hostname or "") + ("" if parts.port in (None, usual) else f":{parts.port}")
    except ValueError as error:
        raise BeholderError(f"an address that cannot be read ({error})", "http or https") from error
    if usual is None or "@" in parts.netloc:
        raise BeholderError("an address of another kind", "http or https, without a name and password")
    if name not in {host.lower() for host in hosts}:
        raise BeholderError(f"pictures are not fetched from {name or 'nowhere'}", f"of {', '.join(hosts)}")
    # No proxy of the environment: it could reach other machines than this one can.
    opener = urllib.request.build_opener(_NoRedirection, urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers={"User-Agent": "beholder"}), timeout=timeout_s) as stream:
            content: bytes = stream.read(most_bytes + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise BeholderError(f"the picture cannot be fetched ({error})", "a picture at that address") from error
    if len(content) > most_bytes:
        raise BeholderError(f"a picture of more than {most_bytes:,} bytes", "a smaller one")
    return content
