"""/critique/{id}: what a critic said of a picture, apart from what was measured of it.

What `beholder critique --index` left in the index is told as it is. A critic is asked for `?kind=`, and only where the
owner started the service with one: else a visitor could run up a bill, or keep a model busy.
"""

from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response

from indexes.records.critiques import Critique, critiques_of
from retrieval.critic.questions import questions

from .errors import NotThere, json_response
from .served_index import Opened
from .service import Service, check_known, item_of


def critique_router(service: Service) -> APIRouter:
    router = APIRouter(tags=["pictures"])

    @router.get("/critique/{id}", summary="What a critic says of a picture, and what was measured of it")
    async def critique(request: Request, id: int, kind: str | None = None, index: str | None = None) -> Response:
        """kind: critique, formal or emotion is asked for, of the critic that /info names. Then `answer` holds its text,
        or none and the reason as `fallback`."""
        check_known(request, {"kind", "index"})
        served = service.index(index)
        opened, row = served.opened, item_of(served, id)
        kept = await service.on_thread(lambda: critiques_of(served.folder, row["sha256"]))
        content: dict[str, Any] = {
            "id": id,
            "said": [_told(one.asked, one.question, one.name, one.text) for one in kept],
            "measured": _measured(opened, id),
        }
        if kind is not None:
            content["answer"] = await _answer(service, opened, row, kind, kept)
        return json_response(content)

    return router


async def _answer(
    service: Service, opened: Opened, row: dict[str, Any], kind: str, kept: list[Critique]
) -> dict[str, Any]:
    """What the service's critic says; what the index keeps of it is not asked again. Raises NotThere without a
    critic."""
    ((asked, question),) = questions(kind).items()
    desk = service.critic
    if desk is None:
        raise NotThere("this service has no critic; `beholder serve INDEX --critic SPEC` names one")
    same = (one for one in kept if (one.critic, one.asked, one.question) == (desk.identity, asked, question))
    known = next(same, None)
    if known is not None:
        return {**_told(asked, question, desk.name, known.text), "fallback": "", "kept": True}
    pictures, uri, sha256 = opened.pictures, row["uri"], row["sha256"]
    said = await desk.ask(sha256, kind, question, lambda: pictures.embedded(uri, sha256))
    told = _told(asked, question, desk.name, said.text)
    return {**told, "fallback": service.hidden.told(said.fallback), "kept": said.cached}


def _told(asked: str, question: str, critic: str, text: str | None) -> dict[str, Any]:
    """Names of critics hold no path and no address."""
    return {"asked": asked, "question": question, "critic": critic, "text": text}


def _measured(opened: Opened, id: int) -> dict[str, Any]:
    """name of a scorer -> its value, unit and percentile, where it has one for the picture."""
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
            measured[record.name] = {"value": value, "unit": record.card.get("unit"), "percentile": share}
    return measured
