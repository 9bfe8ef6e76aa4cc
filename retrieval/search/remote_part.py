"""A part of an index that another machine serves: asked over HTTP, by POST /search with vectors.

What cannot be asked is down, with a reason; what is refused (a condition that cannot be read, too many results) is the
caller's mistake, and raised as such. The service is not trusted: its answers are bounded and checked.
"""

import json
import os
import urllib.request
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from indexes.records.shards import EncoderRecord
from indexes.searching.parts import PartDown
from retrieval.language.chat_http import NoReply, post_json

from .config import SearchConfig
from .results import Result

TIMEOUT_S = 10.0  # for one query: as long as a service takes by default
AT_ONCE = 8  # requests to one service, which puts them into one batch
MOST_BYTES = 64 << 20  # of an answer: 1,000 results with long captions are 2 MB
TOKEN = "BEHOLDER_PARTS_TOKEN"  # not BEHOLDER_TOKEN: a folder of parts from elsewhere must not get this service's own


class RemotePart:
    """One index of a service, http://host:8000/?index=NAME; without a name the service's first."""

    def __init__(self, place: str, timeout_s: float = TIMEOUT_S) -> None:
        split = urlsplit(place)
        strange = split.scheme not in ("http", "https") or not split.hostname or split.fragment or split.username
        names = parse_qs(split.query)
        if strange or set(names) - {"index"} or len(names.get("index", [""])) != 1:
            raise BeholderError(f"the part {place!r}", "http://HOST:PORT/?index=NAME of a service")
        self.place, self.timeout_s = place, timeout_s
        self._root = f"{split.scheme}://{split.netloc}{split.path.rstrip('/')}"
        self._name: str | None = names["index"][0] if names else None

    def described(self) -> tuple[EncoderRecord, int]:
        """The encoder and the number of pictures, as the service tells. Raises PartDown."""
        request = urllib.request.Request(f"{self._root}/info", headers=_headers())
        try:
            with urllib.request.urlopen(request, timeout=self.timeout_s) as response:
                content = json.loads(response.read(MOST_BYTES))
            held = {one["name"]: one for one in content["indexes"]}
            one = held[self._name] if self._name is not None else content["indexes"][0]
            record = EncoderRecord.from_dict(
                {
                    "name": str(one["encoder"]),
                    "image_fingerprint": str(one["image_fingerprint"]),
                    "text_fingerprint": str(one["text_fingerprint"]),
                    "width": int(one["dimension"]),
                    "preprocessing": {},
                }
            )
            return record, int(one["count"])
        except OSError as error:
            raise PartDown(str(getattr(error, "reason", error))) from error
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise PartDown(f"/info names no such index ({type(error).__name__} {error})") from error

    def search(self, vectors: NDArray[np.float32], config: SearchConfig) -> list[list[Result]]:
        """The results of each query (Q, D). Their uri is the picture's address there. Raises PartDown, and
        BeholderError for what the service refuses."""
        asked = config.to_dict()
        with ThreadPoolExecutor(AT_ONCE, "part") as pool:
            return list(pool.map(lambda vector: self._results(vector, asked), vectors))

    def _results(self, vector: NDArray[np.float32], config: Mapping[str, Any]) -> list[Result]:
        body = {"index": self._name, "query": {"vector": vector.tolist()}, "config": config}
        try:
            reply = post_json(
                f"{self._root}/search",
                json.dumps(body).encode(),
                _headers(),
                timeout_s=self.timeout_s,
                most_bytes=MOST_BYTES,
            )
        except NoReply as error:
            raise PartDown(str(error)) from error
        try:
            content = json.loads(reply.body)
            if reply.status in (400, 413, 422):
                raise BeholderError(f"{self.place} refuses the search ({content['error']})")
            if reply.status != 200:
                raise PartDown(f"status {reply.status}: {content['error']}")
            return [self._result(one) for one in content["results"]]
        except (KeyError, TypeError, ValueError) as error:
            raise PartDown(f"its answer cannot be read (status {reply.status}, {error})") from error

    def _result(self, content: Mapping[str, Any]) -> Result:
        result = Result(
            id=int(content["id"]),
            rank=int(content["rank"]),
            uri=str(content["uri"]),
            relevance=float(np.float32(content["relevance"])),
            sha256=str(content["sha256"]),
            width=int(content["width"]),
            height=int(content["height"]),
            caption=None if content["caption"] is None else str(content["caption"]),
            copies=tuple(int(one) for one in content.get("copies", ())),
            scores={str(name): float(value) for name, value in content.get("scores", {}).items()},
        )
        index = f"?index={quote(self._name)}" if self._name else ""
        name = quote(result.uri)  # for people; it is not sent
        return replace(result, uri=f"{self._root}/images/{result.id}{index}#{name}")


def _headers() -> dict[str, str]:
    token = os.environ.get(TOKEN)
    return {"Authorization": f"Bearer {token}"} if token else {}
