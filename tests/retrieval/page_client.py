"""What tests of the page ask its service themselves, to know what it must show; and colours, as people see them."""

import json
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

Open = Callable[..., Any]
ORDER = "() => [...document.querySelectorAll('#pictures > li')].map((item) => Number(item.dataset.id))"


def answered(address: str, query: Any, **config: Any) -> list[dict[str, Any]]:
    body = json.dumps({"query": query, "config": {"k": 48, **config}}).encode()
    with urlopen(Request(f"{address}/search", body, {"content-type": "application/json"}), timeout=120) as answer:
        results: list[dict[str, Any]] = json.load(answer)["results"]
    return results


def ids(address: str, query: Any, **config: Any) -> list[int]:
    return [one["id"] for one in answered(address, query, **config)]


def shows(page: Any, expected: list[int]) -> None:
    """Waits until the wall shows these pictures first, in this order."""
    from playwright.sync_api import TimeoutError

    same = f"(wanted) => JSON.stringify(({ORDER})().slice(0, wanted.length)) === JSON.stringify(wanted)"
    try:
        page.wait_for_function(same, arg=expected)
    except TimeoutError:
        assert page.evaluate(ORDER)[: len(expected)] == expected


def typed(words: str) -> dict[str, Any]:
    return {"text": [{"text": words, "weight": 1}]}


def luminance(colour: str) -> float:
    parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2: (lighter + 0.05) / (darker + 0.05)."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
