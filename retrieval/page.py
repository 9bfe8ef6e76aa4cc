"""The page of the service: its files, as they lie in `retrieval/page/`, and the header that keeps it to them.

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


@cache
def page_files() -> MappingProxyType[str, tuple[bytes, str]]:
    """name -> (bytes, media type) of every file of the page; the names are all that is ever served."""
    folder = resources.files(__package__).joinpath("page")
    found = {}
    for entry in folder.iterdir():
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
