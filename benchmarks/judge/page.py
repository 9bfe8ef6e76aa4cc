"""What a judge saw and said, as one HTML file that needs nothing else: a section per query, both rows, the verdict on
each aspect and the answers as they came."""

import io
import json
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image

from benchmarks.runs import Run
from indexes.errors import BeholderError
from indexes.records.manifest import write_bytes_atomic
from retrieval.language.chat_schema import find_json
from retrieval.language.judge import ASPECTS, Verdict
from retrieval.search.gallery import JPEG_QUALITY, WIDEST, Thumbnail
from retrieval.sources.images import Picture

from .rows import Pair, Row

HEIGHT = 132  # pixels of a thumbnail
MOST_WORDS = 1200  # characters of an answer
WORDS = {1: "A", 0: "similar", -1: "B", None: "not read"}
REASON = {"type": "object", "properties": {"reason": {"type": "string"}}, "required": ["reason"]}


def write_page(path: Path, run: Run, pairs: Sequence[Pair], verdicts: Sequence[Verdict]) -> int:
    """Writes the page; its size in bytes. The same call gives the same bytes. Raises BeholderError where it cannot be
    written."""
    template = Template(resources.files(__package__).joinpath("judge.html").read_text(encoding="utf-8"))
    page = template.substitute(
        title=escape(f"Beholder: judge, {run.name}"),
        headline=escape(run.headline),
        notes="\n".join(f"<p>{escape(note)}</p>" for note in run.notes),
        sections="\n".join(_section(*one) for one in zip(pairs, verdicts, strict=True)),
    )
    content = page.encode("utf-8", errors="replace")  # half a surrogate pair of a query has no bytes
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(path, content)
    except OSError as error:
        raise BeholderError(f"cannot write {path} ({error.strerror})", "a file", "Check the path.") from error
    return len(content)


def _section(pair: Pair, verdict: Verdict) -> str:
    aspects = "".join(_aspect(aspect, verdict) for aspect in ASPECTS)
    said = "\n".join(_words(place, text) for place, text in enumerate(verdict.said) if text.strip())
    problems = "".join(f"<blockquote>{escape(problem)}</blockquote>" for problem in verdict.problems)
    return (
        f"<section>\n<h2>{escape(pair.query)}</h2>\n{_row('A', pair.a)}\n{_row('B', pair.b)}\n"
        f"<dl>{aspects}</dl>\n{said}{problems}\n</section>"
    )


def _aspect(aspect: str, verdict: Verdict) -> str:
    choice = verdict.choices[aspect]
    scores = verdict.scores.get(aspect)
    numbers = f" ({scores[0]:g} to {scores[1]:g})" if scores else ""
    kind = ' class="none"' if choice is None else ""
    return f"<div><dt>{escape(aspect)}</dt><dd{kind}>{WORDS[choice]}{numbers}</dd></div>"


def _words(place: int, text: str) -> str:
    """An answer as it came, its reason before it. place: 0, A was the upper row (or alone); 1, B was."""
    value: Any
    value, _ = find_json(text, REASON)
    reason = f"<span>{escape(' '.join(value['reason'].split())[:MOST_WORDS])}</span>\n" if value else ""
    shown = "A above" if place == 0 else "B above"
    rest = {name: one for name, one in value.items() if name != "reason"} if value else None
    raw = json.dumps(rest, ensure_ascii=False) if rest is not None else text.strip()
    return f"<blockquote>{reason}{shown}: {escape(raw[:MOST_WORDS])}</blockquote>"


def _row(label: str, row: Row) -> str:
    try:
        pictures = row.read()
    except BeholderError as error:  # only rows that were not shown to the judge may come here, or a file just went
        return f'<div class="side"><b>{label}</b><div class="row">{escape(str(error))}</div></div>'
    images = "".join(
        f'<img src="{one.data_uri}" width="{one.width}" height="{one.height}" alt="{label}, place {place}">'
        for place, one in enumerate(map(_thumbnail, pictures), 1)
    )
    return f'<div class="side"><b>{label}</b><div class="row">{images}</div></div>'


def _thumbnail(picture: Picture) -> Thumbnail:
    image = Image.fromarray(picture)
    image.thumbnail((round(HEIGHT * WIDEST), HEIGHT))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return Thumbnail(buffer.getvalue(), image.width, image.height)
