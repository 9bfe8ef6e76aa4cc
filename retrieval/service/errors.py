"""Errors as answers: {"error": one line} with the status that fits, and nothing of the machine in it.

Messages are written for the owner of the machine, who reads them in a terminal: they name folders, and servers of
language models. Clients are told names instead.
"""

import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic_core import to_json
from starlette.exceptions import HTTPException

from indexes.errors import BeholderError, FormatError

from .gate import BodyTooLarge
from .microbatch import Busy, TooLate

Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]
LOG = logging.getLogger("beholder.service")


class NotThere(Exception):
    """404, with one line."""


class Hidden:
    """What clients are not told, and what they are told instead."""

    def __init__(self, folders: Iterable[tuple[str, Path]], specs: Iterable[tuple[str, str]]) -> None:
        pairs = [
            (str(path), name) for name, folder in folders for path in (folder, folder.absolute(), folder.resolve())
        ]
        for name, spec in specs:
            plain = spec.partition("#")[0]
            # Behind the first @ an address, or a critic (lmm@llm:MODEL@URL), whose address is behind the last.
            for address in (plain.partition("@")[2], plain.rpartition("@")[2] if "@http" in plain else ""):
                pairs += [(spec, name), (address, name), (address.removesuffix("/v1"), name)]
        # The longest first: a folder may lie in another.
        self._pairs = sorted({pair for pair in pairs if len(pair[0]) > 1}, key=lambda pair: -len(pair[0]))

    def told(self, text: str) -> str:
        """A message as a client may read it."""
        for secret, name in self._pairs:
            text = text.replace(secret, name)
        return text


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(to_json(content, inf_nan_mode="null"), status, dict(headers or {}), "application/json")


def handlers(hidden: Hidden) -> dict[Any, Handler]:
    """Exception -> handler, for the application."""

    def answered(status: int, read: Callable[[Any], str] = str) -> Handler:
        async def handler(request: Request, error: Any) -> Response:
            headers = {"retry-after": str(error.retry_after_s)} if isinstance(error, Busy) else None
            return json_response({"error": hidden.told(read(error))}, status, headers)

        return handler

    async def fault(request: Request, error: Exception) -> Response:
        LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return json_response({"error": "the service failed; its log says how"}, 500)

    async def damaged(request: Request, error: FormatError) -> Response:
        LOG.error("%s", error)
        return json_response({"error": "an index cannot be read; the log says why"}, 500)

    async def by_framework(request: Request, error: HTTPException) -> Response:
        return json_response({"error": str(error.detail)}, error.status_code, error.headers)

    return {
        BeholderError: answered(400),
        FormatError: damaged,
        RequestValidationError: answered(422, _validation),
        NotThere: answered(404),
        BodyTooLarge: answered(413),
        Busy: answered(503),
        TooLate: answered(504),
        HTTPException: by_framework,
        Exception: fault,
    }


def _validation(error: RequestValidationError) -> str:
    return "; ".join(f"{'.'.join(str(step) for step in one['loc'][1:])}: {one['msg']}" for one in error.errors()[:3])
