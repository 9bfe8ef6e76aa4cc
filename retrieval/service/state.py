"""What the service says of itself: /health, /ready, /metrics, and /info, from which the page knows what it may ask."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from indexes.errors import FormatError
from indexes.records.critiques import asked_of, column_of
from retrieval.critic.questions import KINDS

from .critic_desk import CriticDesk
from .errors import LOG, json_response
from .served_index import ServedIndex
from .service import Service


def state_router(service: Service) -> APIRouter:
    """/health, /ready, /metrics, /info."""
    router = APIRouter(tags=["state"])

    @router.get("/health", summary="Whether the process answers")
    async def health() -> Response:
        return json_response({"status": "ok"})

    @router.get("/ready", summary="Whether searches are answered")
    async def ready() -> Response:
        if not service.ready:
            return json_response({"error": "the service is ending"}, 503, {"retry-after": "1"})
        return json_response({"status": "ready", "indexes": list(service.indexes)})

    @router.get("/metrics", summary="Counts, in Prometheus' format", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get("/info", summary="The indexes, their columns and scorers, and what may be asked for")
    async def info() -> Response:
        limits = ("max_k", "max_parts", "max_text", "max_picture_bytes", "max_pixels")
        described = await service.on_thread(lambda: [_described(served) for served in service.indexes.values()])
        return json_response(
            {
                "version": version("beholder"),
                "indexes": described,
                "rewriters": service.reader.rewriters,
                "rerankers": service.reader.rerankers,
                "critic": _critic(service.critic),
                "fetches_urls": bool(service.config.fetch_from),
                "limits": {name: getattr(service.config, name) for name in limits},
            }
        )

    return router


def _described(served: ServedIndex) -> dict[str, Any]:
    opened = served.opened
    try:
        asked = asked_of(served.folder)
    except FormatError as error:  # searching goes on without critics' texts; asked for, they are an error
        LOG.error("%s", error)
        asked = []
    manifest = opened.index.manifest
    return {
        "name": served.name,
        "count": len(opened.index),
        "encoder": without_folder(manifest.encoder.name),
        "image_fingerprint": manifest.encoder.image_fingerprint,
        "text_fingerprint": manifest.encoder.text_fingerprint,
        "dimension": manifest.dimension,
        "factory": manifest.factory,
        "columns": dict.fromkeys((column_of(one) for one in asked), "string") | opened.columns,
        "critiques": asked,
        "scorers": [
            {"name": one.name, "card": one.card, "default": one.default, "in_index": one.in_index}
            for one in manifest.scores
        ],
        "beauty": manifest.spread is not None,
        "calibrated": manifest.calibration is not None,
    }


def _critic(desk: CriticDesk | None) -> dict[str, Any] | None:
    """The critic that visitors may ask. answered: whether it has yet; a model is loaded for the first question."""
    return None if desk is None else {"name": desk.name, "kinds": list(KINDS), "answered": desk.answered}


def without_folder(encoder: str) -> str:
    """An encoder's name; of a model in a folder of this machine the folder's own name."""
    return encoder if encoder.startswith("hf-hub:") else encoder.replace("\\", "/").rstrip("/").rpartition("/")[2]
