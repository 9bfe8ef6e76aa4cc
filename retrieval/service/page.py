"""The page of the service: its files, as they lie in `retrieval/service/page/`, and the headers that keep it to them.

No build step and nothing from elsewhere: the content security policy lets the page talk to its own service only.
"""

from functools import cache
from importlib import resources
from types import MappingProxyType

from fastapi import APIRouter
from fastapi.responses import Response

TYPES = MappingProxyType(
    {
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".woff2": "font/woff2",
        ".svg": "image/svg+xml",
    }
)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; connect-src 'self'; "
    "img-src 'self' blob: data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
# What a browser gets instead of the page where the service has a token that it does not know; the gate sends it.
DOOR_POLICY = b"default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
DOOR = b"""<!DOCTYPE html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Beholder</title>
<style>body { display: grid; place-items: center; min-height: 90vh; font: 17px/1.5 system-ui, sans-serif; }
h1 { font: italic 400 28px/1.2 Palatino, Georgia, serif; } input, button { font: inherit; padding: 6px 10px; }</style>
<form action="/" method="get"><h1>This service asks for its token</h1>
<input type="password" name="token" aria-label="Token" autocomplete="current-password" required autofocus>
<button>Enter</button></form></html>
"""


@cache
def page_files() -> MappingProxyType[str, tuple[bytes, str]]:
    """name -> (bytes, media type) of every file of the page; the names are all that is ever served."""
    found = {}
    for entry in resources.files(__package__).joinpath("page").iterdir():
        suffix = "." + entry.name.rpartition(".")[2]
        if suffix in TYPES:
            found[entry.name] = (entry.read_bytes(), TYPES[suffix])
    return MappingProxyType(found)


def page_response(name: str) -> Response:
    """A file of the page, or 404."""
    if name not in page_files():
        return Response("no such file of the page", 404, media_type="text/plain")
    content, media_type = page_files()[name]
    headers = {"content-security-policy": POLICY, "cache-control": "no-cache"}
    return Response(content, media_type=media_type, headers=headers)


def page_router() -> APIRouter:
    """GET / and GET /page/NAME."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def index() -> Response:
        return page_response("index.html")

    @router.get("/page/{name}")
    def file(name: str) -> Response:
        return page_response(name)

    return router
