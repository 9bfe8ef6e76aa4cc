"""Routes by which people say which of two rows of pictures is better: /compare, /votes, /votes/export.

The rows come in random order, drawn for each showing, and without what would tell them apart: no settings, no scores.
The token that comes with them is kept here, in memory, for the latest comparisons; the votes file (`votes.py`) gets a
comparison with its first vote. Which row was which is told once all three questions are answered.
"""

import hashlib
import secrets
import threading
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field

from indexes.errors import BeholderError
from retrieval.hpir import hpir_items, hpir_lines
from retrieval.votes import ASPECTS, Shown, Side, VoteBook, tally

PENDING = 10_000  # comparisons that may still be voted on; at 5 pictures a row some 20 MB
ROW = 5  # pictures of a row, as in the paper's judge; a config's k says otherwise
LONGEST_ROW = 20
BLIND = ("id", "width", "height", "caption", "image", "thumbnail")  # what a row shows of a picture

Find = Callable[[dict[str, Any] | str, dict[str, Any]], Awaitable[Sequence[Mapping[str, Any]]]]


class Comparison(BaseModel):
    """A query as /search takes it, and two settings: those of /search, with `index` where there are several."""

    query: dict[str, Any] | str
    a: dict[str, Any] = Field(default_factory=dict)
    b: dict[str, Any] = Field(default_factory=dict)


class Vote(BaseModel):
    """choice: 0 the upper row (the first that /compare gave), 1 the lower one, -1 neither."""

    token: str
    voter: str
    aspect: str
    choice: int


class Pending:
    """The latest comparisons by their token. Safe for threads."""

    def __init__(self, most: int = PENDING) -> None:
        self._most, self._lock = most, threading.Lock()
        self._shown: OrderedDict[str, Shown] = OrderedDict()

    def keep(self, shown: Shown) -> None:
        with self._lock:
            self._shown[shown.token] = shown
            while len(self._shown) > self._most:
                self._shown.popitem(last=False)

    def get(self, token: str) -> Shown | None:
        with self._lock:
            return self._shown.get(token)


def taste_router(find: Find, book: VoteBook) -> APIRouter:
    """The routes. `find(query, config)` gives what /search gives as `results`, each with `sha256` and the BLIND keys,
    and raises what /search raises."""
    router, pending = APIRouter(tags=["taste"]), Pending()

    @router.post("/compare", summary="Two rows for one query, in random order")
    async def compare(comparison: Comparison) -> JSONResponse:
        configs = [_row_config(comparison.a), _row_config(comparison.b)]
        rows = [await find(comparison.query, config) for config in configs]
        sides = [Side(config, tuple(one["sha256"] for one in row)) for config, row in zip(configs, rows, strict=True)]
        order = ("ab", "ba")[secrets.randbelow(2)]
        words, parts = described(comparison.query)
        shown = Shown(secrets.token_urlsafe(16), words, parts, sides[0], sides[1], order)
        same = sides[0].group == sides[1].group
        votable = not same and all(side.group for side in sides)
        if votable:
            pending.keep(shown)
        upper_first = rows if order == "ab" else rows[::-1]
        blind = [[{key: one.get(key) for key in BLIND} for one in row] for row in upper_first]
        return JSONResponse({"token": shown.token if votable else None, "rows": blind, "same": same})

    @router.post("/votes", summary="Say which row is better: accuracy, aesthetics or diversity")
    def vote(vote: Vote) -> JSONResponse:
        shown = pending.get(vote.token)
        if shown is None:
            found = "this comparison is not known (any more)"
            return JSONResponse({"error": f"{found}; compare again and vote on what is shown then"}, 410)
        try:
            book.add(shown, vote.voter, vote.aspect, vote.choice)
        except BeholderError as error:
            return JSONResponse({"error": str(error)}, 400)
        voted = book.voted(shown.token, vote.voter)
        done = set(voted) == set(ASPECTS)
        answer: dict[str, Any] = {"voted": sorted(voted), "revealed": None}
        if done:
            answer["revealed"] = {
                "order": shown.order,
                "voted": voted,
                "tally": tally(book.showings(), shown.a.config, shown.b.config),
            }
        return JSONResponse(answer)

    @router.get("/votes/export", summary="All votes as an HPIR-format set (JSONL)")
    def export() -> StreamingResponse:
        headers = {"content-disposition": 'attachment; filename="hpir.jsonl"'}
        lines = hpir_lines(hpir_items(book.showings()))
        return StreamingResponse(lines, media_type="application/x-ndjson", headers=headers)

    return router


def described(query: Mapping[str, Any] | str) -> tuple[str, dict[str, Any]]:
    """The words of a query's texts, and the whole query with pictures named by the sha256 of their bytes."""
    given: Mapping[str, Any] = {"text": [query]} if isinstance(query, str) else query
    parts = {key: value for key, value in given.items() if value}
    # A query is one item of the set, in whichever of the allowed forms it was sent.
    for key, name in (("text", "text"), ("like", "id")):
        if key in parts:
            parts[key] = [_weighted(one, name) for one in parts[key]]
    texts = [part["text"] for part in parts.get("text", ())]
    if "image" in parts:
        parts["image"] = [_named(one) for one in parts["image"]]
    return ", ".join(texts), parts


def _weighted(part: Any, name: str) -> dict[str, Any]:
    whole = dict(part) if isinstance(part, Mapping) else {name: part}
    return {**whole, "weight": float(whole.get("weight", 1.0))}


def _named(picture: Mapping[str, Any]) -> dict[str, Any]:
    if not picture.get("data"):
        return dict(picture)  # an address
    rest = {key: value for key, value in picture.items() if key != "data"}
    content = b64decode(str(picture["data"]).rpartition(",")[2])  # a data URI has its type before a comma
    return {**rest, "sha256": hashlib.sha256(content).hexdigest()}


def _row_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the length of a row in them, so that what is kept says how many pictures were asked for."""
    k = config.get("k", ROW)
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= LONGEST_ROW:
        raise BeholderError(f"k is {k!r}", f"1 to {LONGEST_ROW} pictures in a row", "Leave it out for 5.")
    return {**config, "k": k}
