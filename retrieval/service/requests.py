"""What clients send, checked: JSON bodies to queries and configurations, within the service's limits.

A client names rewriters and re-rankers that the service was started with, never specs: a spec can name a file of this
machine, a URL, or a model to load.
"""

import re
from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from indexes.errors import BeholderError
from retrieval.search.config import SearchConfig
from retrieval.search.query import NOT_WEIGHT, Part, Query
from retrieval.sources.fetch import fetch_picture

from .config import RERANKERS, REWRITERS, ServeConfig
from .pictures import checked_picture

RERANKER_KIND = re.compile("[:@]")  # what follows a re-ranker's kind in its spec
STRICT = ConfigDict(extra="forbid", populate_by_name=True)


Id = Annotated[int, Field(ge=0, lt=2**63)]


class TextPart(BaseModel):
    model_config = STRICT
    text: str
    weight: float = 1.0


class ImagePart(BaseModel):
    """A picture's file in base64 (a data URI will do), or, where the service may fetch it, its address."""

    model_config = STRICT
    data: str | None = None
    url: str | None = None
    weight: float = 1.0


class LikePart(BaseModel):
    """A picture of the index, by its id."""

    model_config = STRICT
    id: Id
    weight: float = 1.0


class QueryBody(BaseModel):
    """At least one part. `not`: words that results should not show; a weight there is taken against them."""

    model_config = STRICT
    text: list[TextPart | str] = []
    image: list[ImagePart] = []
    like: list[LikePart | Id] = []
    vector: list[float] | None = None
    unwanted: list[TextPart | str] = Field([], alias="not")


class SearchBody(BaseModel):
    """`config` has the fields of SearchConfig: k, where, near, beauty, rewrite, rerank, candidates, sort,
    min_relevance. offset: so many of the best are left out, for the next page. explain: say how it was done."""

    model_config = STRICT
    index: str | None = None
    query: QueryBody | str
    config: dict[str, Any] = {}
    offset: int = Field(0, ge=0)
    explain: bool = False


SEARCH_EXAMPLES = {
    "words": {"value": {"query": "a quiet harbour at dawn", "config": {"k": 20}}},
    "words and a picture": {
        "value": {
            "query": {
                "text": [{"text": "a harbour", "weight": 1}],
                "like": [{"id": 7, "weight": 0.5}],
                "not": ["people"],
            },
            "config": {"k": 20, "where": "width >= 800", "near": 0.97},
        }
    },
    "a vector": {"value": {"query": {"vector": [0.1, -0.2, 0.3]}, "config": {"k": 10}}},
}


def read_body(model: type[BaseModel], content: bytes) -> Any:
    """The model of a JSON body. Raises BeholderError that names the first fields that are wrong."""
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise BeholderError(f"the body cannot be read ({first_errors(error)})", f"a {model.__name__}") from error


def first_errors(error: ValidationError, most: int = 3) -> str:
    told = [
        f"{'.'.join(str(step) for step in one['loc'])}: {one['msg']}".removeprefix(": ")
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    return "; ".join(told[:most]) + (f"; and {len(told) - most} more" if len(told) > most else "")


class Reader:
    """Makes queries and configurations of bodies."""

    def __init__(self, config: ServeConfig) -> None:
        self._limits = config
        self._rewriters = {name: name for name in REWRITERS} | dict(config.rewriters)
        self._rerankers = {name: name for name in RERANKERS} | dict(config.rerankers)

    @property
    def rewriters(self) -> list[str]:
        return list(self._rewriters)

    @property
    def rerankers(self) -> list[str]:
        return list(self._rerankers)

    def rewriter(self, name: str) -> str:
        """The spec of a rewriter that clients may ask for."""
        if name not in self._rewriters:
            raise BeholderError(f"there is no rewriter {name!r} here", f"one of {', '.join(self._rewriters)}")
        return self._rewriters[name]

    def reranker(self, name: str) -> str:
        """The spec of a re-ranker that clients may ask for; those of RERANKERS may bring their share and scorer."""
        if RERANKER_KIND.split(name)[0] in RERANKERS:
            return name
        if name not in self._rerankers:
            raise BeholderError(f"there is no re-ranker {name!r} here", f"one of {', '.join(self._rerankers)}")
        return self._rerankers[name]

    def query(self, body: QueryBody | str) -> Query:
        """Raises BeholderError for too many or too long parts, and for pictures that are none."""
        if isinstance(body, str):
            return Query((self.text(body, 1.0),))
        limits = self._limits
        count = len(body.text) + len(body.image) + len(body.like) + len(body.unwanted) + (body.vector is not None)
        if count > limits.max_parts:
            raise BeholderError(f"a query of {count} parts", f"at most {limits.max_parts}")
        parts = [self._weighted(one, 1.0) for one in body.text]
        for at, one in enumerate(body.image, 1):
            parts.append(Part("image", self.picture(one.data, one.url), one.weight, f"picture {at}"))
        parts += [Part("like", one) if isinstance(one, int) else Part("like", one.id, one.weight) for one in body.like]
        if body.vector is not None:
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which Part refuses
                parts.append(Part("vector", np.asarray(body.vector, np.float32)))
        parts += [self._weighted(one, NOT_WEIGHT, against=True) for one in body.unwanted]
        return Query(tuple(parts))

    def _weighted(self, one: TextPart | str, default: float, *, against: bool = False) -> Part:
        if isinstance(one, str):
            return self.text(one, default)
        return self.text(one.text, -one.weight if against else one.weight)

    def text(self, text: str, weight: float) -> Part:
        if len(text) > self._limits.max_text:
            raise BeholderError(f"a text of {len(text):,} characters", f"at most {self._limits.max_text:,}")
        return Part("text", text, weight)

    def picture(self, data: str | None, url: str | None = None) -> bytes:
        """The bytes of a picture sent in base64, or of one to be fetched: that takes time."""
        if data is None and url is not None:
            return self.checked(fetch_picture(url, self._limits.fetch_from, self._limits.max_picture_bytes))
        if data is None:
            raise BeholderError("a picture without data", "its file in base64")
        if data.startswith("data:"):
            data = data.partition(",")[2]
        try:
            content = b64decode(data, validate=True)
        except (BadBase64, ValueError) as error:
            raise BeholderError("a picture's data that is not base64", "its file in base64") from error
        return self.checked(content)

    def checked(self, content: bytes) -> bytes:
        """The bytes of a picture that is small enough to be decoded."""
        if len(content) > self._limits.max_picture_bytes:
            raise BeholderError(f"a picture of {len(content):,} bytes", f"at most {self._limits.max_picture_bytes:,}")
        reason = checked_picture(content, self._limits.max_pixels)
        if reason:
            raise BeholderError(reason, "a picture", "Send a JPEG, PNG, GIF, WebP or AVIF file, smaller if need be.")
        return content

    def config(self, content: Mapping[str, Any], *, offset: int = 0) -> SearchConfig:
        """A SearchConfig within the limits, deep enough for a page that starts at `offset`."""
        config = SearchConfig.from_dict(content)
        most = self._limits.max_k
        depth = offset + config.k
        if depth > most or config.candidates > most:
            raise BeholderError(f"{max(depth, config.candidates):,} results or candidates", f"at most {most:,}")
        long = 4 * self._limits.max_text
        if len(config.where or "") > long or len(config.sort or "") > long:
            raise BeholderError(f"a condition of {len(config.where or ''):,} characters", f"at most {long:,}")
        candidates = max(config.candidates, depth) if config.candidates else 0
        chain = tuple(self.reranker(name) for name in config.rerank)
        return replace(config, k=depth, candidates=candidates, rewrite=self.rewriter(config.rewrite), rerank=chain)
