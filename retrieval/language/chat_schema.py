"""JSON out of what a model said, checked against the part of JSON Schema that our prompts use.

Servers ignore, half-support or reject schemas, so every answer is looked for and checked here whatever was asked:
thoughts, code fences and prose around the object are left out. A value is data; nothing in it is run or followed.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

MOST_CHARACTERS = 1 << 16  # of an answer that is looked through
MOST_TRIES = 50  # opening braces from which an object is tried
THOUGHTS = re.compile(r"<(think|thinking|reasoning)>.*?(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE)
Schema = Mapping[str, Any]


def object_schema(properties: Mapping[str, Schema]) -> dict[str, Any]:
    """An object that has all of the properties and no other: the form that OpenAI's strict mode asks for."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def find_json(text: str, schema: Schema) -> tuple[Any, str | None]:
    """The first object in a text that fits the schema and None; or None and what was wrong."""
    said = THOUGHTS.sub("", text)[:MOST_CHARACTERS]
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    problem: str | None = None
    at = -1
    for _ in range(MOST_TRIES):
        at = said.find("{", at + 1)
        if at < 0:
            break
        try:
            value, _ = decoder.raw_decode(said, at)
        except (ValueError, RecursionError):
            continue
        wrong = misfit(value, schema)
        if wrong is None:
            return value, None
        problem = problem or wrong
    return None, problem or ("nothing was said" if not said.strip() else "no JSON object")


def misfit(value: Any, schema: Schema, at: str = "the answer") -> str | None:
    """Why a value does not fit a schema; None where it does. Reads type, enum, properties, required,
    additionalProperties, items, minItems, maxItems, minimum and maximum; other words are left to the server."""
    kinds: dict[str, Any] = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "integer": int,
        "number": (int, float),
    }
    kind = schema.get("type")
    if kind is not None and (
        not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind in ("integer", "number"))
    ):
        return f"{at} is no {kind}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{at} is not one of {', '.join(map(str, schema['enum']))}"
    if isinstance(value, dict):
        return _object_misfit(value, schema, at)
    if isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            return f"{at} has {len(value)} entries"
        wrong = (misfit(one, schema.get("items", {}), f"an entry of {at}") for one in value)
        return next((said for said in wrong if said), None)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = schema.get("minimum", value), schema.get("maximum", value)
        return None if low <= value <= high else f"{at} is not from {low} to {high}"
    return None


def _object_misfit(value: Mapping[str, Any], schema: Schema, at: str) -> str | None:
    properties: Mapping[str, Schema] = schema.get("properties", {})
    missing = [name for name in schema.get("required", ()) if name not in value]
    if missing:
        return f"{at} has no {missing[0]!r}"
    # What was not asked for is let pass: models like to add an explanation, and it is never read.
    wrong = (misfit(value[name], inner, name) for name, inner in properties.items() if name in value)
    return next((said for said in wrong if said), None)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")
