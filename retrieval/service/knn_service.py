"""clip-retrieval's routes, so that its ClipClient and its front end work unchanged: /knn-service, /indices-list,
/metadata. Written from clip_retrieval/clip_back.py 2.45.0; deliberate differences:

- `deduplicate` gives num_result_ids different pictures (cosine below 0.94, its threshold), where clip-retrieval drops
  repetitions and returns fewer; groups hang on their best placed picture instead of on chains.
- `image` (every picture in base64 in every answer) is left out: `url` is its address here, unless the items have one.
- There is no text index, no mCLIP, no safety and violence model, no aesthetic embedding: the first two are refused, the
  others are ignored, as clip-retrieval itself does where they are not installed.
- An embedding is normalised, an address is fetched only from hosts that the service was told of, errors have a status.
"""

from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from indexes.errors import BeholderError
from retrieval.search.query import Part, Query

from .errors import json_response
from .requests import read_body
from .served_index import Near, ServedIndex
from .service import Service

NEAR = 0.94
COLUMNS = ("url", "image_path", "caption", "NSFW")  # what clip-retrieval returns of the metadata by default


class KnnBody(BaseModel):
    """What ClipClient sends; unknown fields are ignored, as clip-retrieval ignores them."""

    model_config = ConfigDict(extra="ignore")
    text: str | None = None
    image: str | None = None
    image_url: str | None = None
    embedding_input: list[float] | None = None
    modality: str = "image"
    num_images: int = 40
    num_result_ids: int | None = None
    indice_name: str | None = None
    use_mclip: bool = False
    deduplicate: bool = False


class MetadataBody(BaseModel):
    model_config = ConfigDict(extra="ignore")
    ids: list[int]
    indice_name: str | None = None


EXAMPLE = {"text": "a quiet harbour at dawn", "modality": "image", "num_images": 10, "indice_name": None}


def knn_router(service: Service) -> APIRouter:
    router = APIRouter(tags=["clip-retrieval"])
    body = {"content": {"application/json": {"schema": KnnBody.model_json_schema(), "example": EXAMPLE}}}
    ids = {"content": {"application/json": {"schema": MetadataBody.model_json_schema()}}}

    @router.get("/indices-list", summary="Names of the indexes")
    async def indices_list() -> Response:
        return json_response(list(service.indexes))

    @router.post("/knn-service", summary="clip-retrieval's search", openapi_extra={"requestBody": body})
    async def knn_service(request: Request) -> Response:
        asked: KnnBody = read_body(KnnBody, await request.body())
        served = service.index(asked.indice_name or None)
        k = asked.num_images if asked.num_result_ids is None else asked.num_result_ids
        if not 1 <= k <= service.config.max_k:
            raise BeholderError(f"num_result_ids is {k}", f"1 to {service.config.max_k:,}")
        found = await served.near(Near(await _vector(asked, served), k, NEAR if asked.deduplicate else None))
        base = str(request.base_url)
        results = []
        for place, (identity, score) in enumerate(zip(found.ids, found.scores, strict=True)):
            row = _metadata(served, found.items[place], base) if place < asked.num_images else {}
            results.append({**row, "id": identity, "similarity": score})
        return json_response(results)

    @router.post("/metadata", summary="clip-retrieval's look-up of pictures", openapi_extra={"requestBody": ids})
    async def metadata(request: Request) -> Response:
        asked: MetadataBody = read_body(MetadataBody, await request.body())
        if len(asked.ids) > service.config.max_k:
            raise BeholderError(f"{len(asked.ids):,} ids", f"at most {service.config.max_k:,}")
        served = service.index(asked.indice_name or None)
        if not all(0 <= one < 2**63 for one in asked.ids):
            raise BeholderError("an id that no picture has", "ids that a search returned")
        rows = served.opened.index.items(np.array(asked.ids, np.int64)).to_pylist()
        base = str(request.base_url)
        return json_response(
            [{"id": one, "metadata": _metadata(served, row, base)} for one, row in zip(asked.ids, rows, strict=True)]
        )

    async def _vector(asked: KnnBody, served: ServedIndex) -> NDArray[np.float32]:
        """The query, of length 1: text, image, image_url or embedding_input, looked for in that order."""
        if asked.modality != "image":
            raise BeholderError(f"modality is {asked.modality!r}", "image", "There is no index of texts here.")
        if asked.use_mclip:
            raise BeholderError("use_mclip is true", "false", "Ask with the index's own encoder.")
        if not asked.text and asked.image is None and asked.image_url is None:
            if asked.embedding_input is None:
                raise BeholderError("no query", "text, image, image_url or embedding_input")
            vector = np.asarray(asked.embedding_input, np.float32)
            width = served.opened.index.manifest.dimension
            length = float(np.linalg.norm(vector))
            if len(vector) != width or not np.isfinite(length) or length == 0:
                raise BeholderError(f"an embedding of {len(vector)} numbers", f"{width}, finite, not all 0")
            return vector / np.float32(length)
        if asked.text:
            part = service.reader.text(asked.text, 1.0)
        else:
            content = await service.on_thread(lambda: service.reader.picture(asked.image, asked.image_url))
            part = Part("image", content)
        return await served.encode(Query((part,)))

    return router


def _metadata(served: ServedIndex, row: dict[str, Any], base: str) -> dict[str, Any]:
    """The columns that clip-retrieval returns, as far as there are such."""
    own = {name: row[name] for name in COLUMNS if name == "caption" or row.get(name) is not None}
    url = f"{base}images/{row['id']}?index={served.name}&v={row['sha256'][:12]}"
    return {"url": url, "image_path": row["uri"], **own}
