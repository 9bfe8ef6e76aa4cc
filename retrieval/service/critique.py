"""/critique/{id}: what a critic said of a picture, as the index keeps it, apart from what was measured of it.

No critic is asked here: a visitor must not be able to run up a bill, or keep a model busy. `beholder critique --index`
asks; what it adds shows at once.
"""

from typing import Any

import numpy as np
from fastapi import APIRouter
from fastapi.responses import Response

from indexes.records.critiques import critiques_of

from .errors import json_response
from .service import Service, item_of


def critique_router(service: Service) -> APIRouter:
    router = APIRouter(tags=["pictures"])

    @router.get("/critique/{id}", summary="What a critic said of a picture, and what was measured of it")
    async def critique(id: int, index: str | None = None) -> Response:
        served = service.index(index)
        opened, row = served.opened, item_of(served, id)
        found = await service.on_thread(lambda: critiques_of(served.folder, row["sha256"]))
        measured: dict[str, Any] = {}
        for record in opened.index.scorers:
            value, share = (
                float(values[0])
                for values in (
                    opened.index.score_values(record.name, np.array([id])),
                    opened.index.percentiles(record.name, np.array([id])),
                )
            )
            if value == value:  # NaN: no score
                unit = record.card.get("unit")
                measured[record.name] = {"value": value, "unit": unit, "percentile": share}
        said = [
            {"asked": one.asked, "question": one.question, "critic": one.name, "text": one.text}
            for one in found  # names of critics hold no path and no address
        ]
        return json_response({"id": id, "said": said, "measured": measured})

    return router
