"""The service: routes that parse, ask and answer. What they ask of lives elsewhere: served_index.py searches,
requests.py reads bodies, pictures.py reads pictures, gate.py keeps the door, state.py says how it is, critique.py what
critics say, knn_service.py speaks clip-retrieval's dialect, taste.py and page.py are the page's.
"""

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response
from pydantic_core import to_json

from indexes.errors import BeholderError, FormatError
from retrieval.rewriting.rewriter import Rewrite
from retrieval.search.config import SearchConfig
from retrieval.search.query import Part, Query
from retrieval.search.results import Answer, Result

from .config import ServeConfig
from .critic_desk import CriticDesk
from .errors import Hidden, NotThere, handlers, json_response
from .metrics import Metrics
from .pictures import NotShown
from .requests import SEARCH_EXAMPLES, QueryBody, Reader, SearchBody, read_body
from .served_index import ServedIndex, lane_of

Made = TypeVar("Made")
PICTURE_THREADS = 2  # pictures decoded at once: each may take 3 bytes a pixel
KEPT_S = 86_400  # seconds a browser may keep a picture whose address names its content


@dataclass
class Service:
    """The open indexes by name, the first one first, and what all routes share."""

    config: ServeConfig
    indexes: dict[str, ServedIndex]
    metrics: Metrics
    reader: Reader
    hidden: Hidden
    critic: CriticDesk | None = None
    ready: bool = True
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(PICTURE_THREADS, "pictures"))

    def index(self, name: str | None) -> ServedIndex:
        """The index of a name, the first one of none. Raises NotThere."""
        if name is None:
            return next(iter(self.indexes.values()))
        if name not in self.indexes:
            raise NotThere(f"there is no index {name!r}; expected one of {', '.join(self.indexes)}")
        return self.indexes[name]

    async def on_thread(self, work: Callable[[], Made]) -> Made:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def read_query(self, body: QueryBody | str) -> Query:
        """On a thread of its own where there are pictures to look at."""
        if isinstance(body, QueryBody) and body.image:
            return await self.on_thread(lambda: self.reader.query(body))
        return self.reader.query(body)

    def shown(self, served: ServedIndex, result: Result) -> dict[str, Any]:
        """A result with the addresses of its picture. They name its content, so browsers may keep what they got."""
        tail = f"{result.id}?index={served.name}&v={result.sha256[:12]}"
        addresses = {"image": f"/images/{tail}", "thumbnail": f"/thumbnails/{tail}"}
        return {**result.to_dict(), **addresses}

    async def find(self, query: dict[str, Any] | str, config: dict[str, Any]) -> list[dict[str, Any]]:
        """The results of one search as /search gives them: for comparisons."""
        given = dict(config)
        served = self.index(given.pop("index", None))
        asked = query if isinstance(query, str) else read_body(QueryBody, to_json(query))
        answer = await served.search(await self.read_query(asked), self.reader.config(given))
        return [self.shown(served, result) for result in answer.results]

    def close(self) -> None:
        self.ready = False
        for served in self.indexes.values():
            served.close()
        if self.critic is not None:
            self.critic.close(self.config.drain_s)
        self._threads.shutdown()


def answer_dict(service: Service, served: ServedIndex, answer: Answer, offset: int = 0) -> dict[str, Any]:
    """The JSON of an answer. A rewritten query shows what became of its texts."""
    rewrites = [rewrite_dict(service, one) for one in answer.rewrites]
    rewritten = [one["text"] for one in rewrites]
    fallbacks = [one["fallback"] for one in rewrites if one["fallback"]]
    return {
        "query": {
            "original": answer.query.label,
            "rewritten": "; ".join(rewritten) if rewritten else None,
            "fallback": "; ".join(fallbacks) or None,
            "rewrites": rewrites,
        },
        "good_match": answer.good_match,
        "cut_off": None if answer.cut_off is None else asdict(answer.cut_off),
        "notes": [service.hidden.told(note) for note in answer.notes],
        "results": [service.shown(served, result) for result in answer.results[offset:]],
        "seconds": dict(answer.seconds),
    }


def rewrite_dict(service: Service, rewrite: Rewrite) -> dict[str, Any]:
    """The JSON of a rewrite; which server made it is the owner's affair."""
    content = rewrite.to_dict()
    told = {key: service.hidden.told(content[key]) for key in ("rewriter", "fallback") if content[key]}
    return content | told


def explained(served: ServedIndex, config: SearchConfig) -> dict[str, Any]:
    """How a search was done, beside what every answer says."""
    opened = served.opened
    return {
        "pictures": len(opened.index),
        "index": opened.index.manifest.factory,
        "encoder": opened.searcher.encoder.loaded,
        "candidates": config.depth,
        "lane": lane_of(config),
    }


def search_router(service: Service) -> APIRouter:
    """/search, /similar, /rewrite."""
    router = APIRouter(tags=["search"])
    body = {"content": {"application/json": {"schema": _schema(SearchBody), "examples": SEARCH_EXAMPLES}}}

    @router.post("/search", summary="Search with texts, pictures, vectors", openapi_extra={"requestBody": body})
    async def search(request: Request) -> Response:
        asked: SearchBody = read_body(SearchBody, await request.body())
        served = service.index(asked.index)
        config = service.reader.config(asked.config, offset=asked.offset)
        answer = await served.search(await service.read_query(asked.query), config)
        content = answer_dict(service, served, answer, asked.offset)
        if asked.explain:
            content["explain"] = explained(served, config)
        return json_response(content)

    @router.get("/search", summary="Search with words")
    async def search_words(
        request: Request, q: str, k: int = 10, index: str | None = None, where: str | None = None, offset: int = 0
    ) -> Response:
        check_known(request, {"q", "k", "index", "where", "offset"})
        served = service.index(index)
        config = service.reader.config({"k": k, "where": where}, offset=max(offset, 0))
        answer = await served.search(service.reader.query(q), config)
        return json_response(answer_dict(service, served, answer, max(offset, 0)))

    @router.get("/similar", summary="Pictures like one of the index")
    async def similar(
        request: Request, id: int, k: int = 10, index: str | None = None, where: str | None = None
    ) -> Response:
        check_known(request, {"id", "k", "index", "where"})
        served = service.index(index)
        item_of(served, id)
        answer = await served.search(Query((Part("like", id),)), service.reader.config({"k": k, "where": where}))
        return json_response(answer_dict(service, served, answer))

    @router.get("/rewrite", summary="What a rewriter makes of words")
    async def rewrite(q: str, rewrite: str = "template", index: str | None = None) -> Response:
        spec, text = service.reader.rewriter(rewrite), service.reader.text(q, 1.0).value
        made = await service.index(index).rewrite(spec, text)
        return json_response(rewrite_dict(service, made))

    return router


def check_known(request: Request, known: set[str]) -> None:
    """Raises BeholderError for a setting that a GET does not take: left out silently, it would seem to work."""
    strange = sorted(set(request.query_params) - known)
    if strange:
        expected = ", ".join(sorted(known))
        raise BeholderError(f"the setting {', '.join(strange)}", f"of {expected}", "POST /search takes all settings.")


def item_router(service: Service) -> APIRouter:
    """/items, /images, /thumbnails."""
    router = APIRouter(tags=["pictures"])

    @router.get("/items/{id}", summary="What the index knows of a picture")
    async def item(id: int, index: str | None = None) -> Response:
        return json_response(item_of(service.index(index), id))

    @router.get("/images/{id}", summary="The picture", response_class=Response)
    async def image(request: Request, id: int, index: str | None = None, v: str | None = None) -> Response:
        served = service.index(index)
        row = item_of(served, id)
        pictures = served.opened.pictures
        return await _picture(request, row, v, lambda: pictures.picture(row["uri"], row["sha256"]), "image")

    @router.get("/thumbnails/{id}", summary="The picture, small, as JPEG", response_class=Response)
    async def thumbnail(
        request: Request, id: int, height: int = 256, index: str | None = None, v: str | None = None
    ) -> Response:
        served = service.index(index)
        row = item_of(served, id)
        pictures = served.opened.pictures
        made = functools.partial(pictures.thumbnail, row["uri"], row["sha256"], height)
        return await _picture(request, row, v, made, str(height))

    async def _picture(
        request: Request, row: dict[str, Any], version: str | None, made: Callable[[], Any], kind: str
    ) -> Response:
        tag = f'"{row["sha256"][:24]}-{kind}"'
        named = version is not None and len(version) >= 12 and row["sha256"].startswith(version)
        kept = f"private, max-age={KEPT_S}, immutable" if named else "private, no-cache"
        headers = {"etag": tag, "cache-control": kept, "content-security-policy": "default-src 'none'; sandbox"}
        if request.headers.get("if-none-match") == tag:
            return Response(None, 304, headers)
        try:
            shown = await service.on_thread(made)
        except NotShown as error:
            raise NotThere(str(error)) from error
        return Response(shown.content, 200, headers, shown.media_type)

    return router


def item_of(served: ServedIndex, id: int) -> dict[str, Any]:
    """A picture's row of the items. Raises NotThere for an id that no picture has."""
    if not 0 <= id < 2**63:
        raise NotThere(f"there is no picture {id}")
    try:
        row: dict[str, Any] = served.opened.index.items(np.array([id], np.int64)).to_pylist()[0]
    except FormatError:
        raise
    except BeholderError as error:
        raise NotThere(f"there is no picture {id} in {served.name}") from error
    return row


def _schema(model: Any) -> dict[str, Any]:
    """A model's JSON schema with its parts inside, as a route's own documentation needs it."""
    content: dict[str, Any] = model.model_json_schema()
    parts = content.pop("$defs", {})

    def inlined(value: Any) -> Any:
        if isinstance(value, list):
            return [inlined(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            return inlined(parts[value["$ref"].rpartition("/")[2]])
        return {key: inlined(one) for key, one in value.items()}

    return dict(inlined(content))


def make_application(
    service: Service, routers: Sequence[APIRouter] = (), lifespan: Callable[[FastAPI], Any] | None = None
) -> FastAPI:
    """The routes, and what answers errors. service_gate.Gate is put around it."""
    app = FastAPI(
        title="Beholder",
        version=version("beholder"),
        description='Pictures that match the words and are good to look at. Errors are {"error": one line}.',
        exception_handlers=handlers(service.hidden),
        docs_url=None,  # its scripts come from elsewhere; /openapi.json is for any viewer
        redoc_url=None,
        lifespan=lifespan,
    )
    for router in [search_router(service), item_router(service), *routers]:
        app.include_router(router)
    return app
