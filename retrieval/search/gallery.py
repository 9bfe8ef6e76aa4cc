"""Search results as one HTML file that needs nothing else: pictures inside, nothing loaded."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from io import BytesIO
from math import isnan
from pathlib import Path, PurePosixPath
from string import Template

from indexes.errors import BeholderError
from indexes.records.manifest import write_bytes_atomic
from retrieval.sources.images import BadPicture, decode
from retrieval.sources.sources import contents

from .results import Result

JPEG_QUALITY = 82  # below 80 skies show bands, above 85 the file grows by half for no visible gain
WIDEST = 3.0  # a thumbnail is at most this many times as wide as `thumbnail_px`: panoramas stay small files


@dataclass(frozen=True)
class Thumbnail:
    """A picture for the page: JPEG bytes and its width and height in pixels."""

    jpeg: bytes
    width: int
    height: int

    @property
    def data_uri(self) -> str:
        return "data:image/jpeg;base64," + base64.b64encode(self.jpeg).decode("ascii")


def write_gallery(
    path: Path,
    sections: Sequence[tuple[str, Sequence[Result]]],
    pictures: Path,
    *,
    title: str = "Beholder",
    note: str = "",
    thumbnail_px: int = 420,
) -> int:
    """Writes (query, results) sections as one page; its size in bytes. The same call gives the same bytes.

    `pictures` is the root of the source that the results' `uri` are relative to; `thumbnail_px` the greatest
    height of a picture in the page. A picture that is gone, damaged or outside the folder becomes a grey box with its
    name, and the foot of the page counts them. Raises BeholderError where the page cannot be written.
    """
    if thumbnail_px < 16:
        raise BeholderError(f"thumbnail_px is {thumbnail_px}", "at least 16 pixels", "420 is a good height.")
    # An index from elsewhere must not pull other files into a page that is passed on: `contents` stays in the folder.
    uris = dict.fromkeys(result.uri for _, results in sections for result in results)
    thumbnails: dict[str, Thumbnail | None] = dict.fromkeys(uris)
    for uri, content in contents(pictures, uris):
        thumbnails[uri] = thumbnail_of(content, thumbnail_px) if content is not None else None
    missing = sum(thumbnail is None for thumbnail in thumbnails.values())
    template = Template(resources.files(__package__).joinpath("gallery.html").read_text(encoding="utf-8"))
    failed = f'<p class="missing">{_counted(missing, "picture")} could not be read.</p>' if missing else ""
    bodies = [_section(at, query, results, thumbnails) for at, (query, results) in enumerate(sections, 1)]
    page = template.substitute(
        title=escape(title),
        note=f"<p>{escape(note)}</p>" if note else "",
        contents=_contents([query for query, _ in sections]),
        sections="\n".join(bodies),
        missing=failed,
    )
    # A query typed in a terminal may hold half a surrogate pair, which UTF-8 has no bytes for.
    content = page.encode("utf-8", errors="replace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(path, content)
    except OSError as error:
        raise BeholderError(f"cannot write {path} ({error.strerror})", "a file", "Check the path.") from error
    return len(content)


def thumbnail_of(content: bytes, height: int) -> Thumbnail | None:
    """The picture at most `height` pixels high; None where it cannot be decoded."""
    try:
        image = decode(content)
    except BadPicture:
        return None
    image.thumbnail((round(height * WIDEST), height))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return Thumbnail(buffer.getvalue(), image.width, image.height)


def _contents(queries: Sequence[str]) -> str:
    if len(queries) < 2:
        return ""
    links = "".join(f'<a href="#q{number}">{escape(query)}</a>' for number, query in enumerate(queries, 1))
    return f'<nav aria-label="Queries">{links}</nav>'


def _section(number: int, query: str, results: Sequence[Result], thumbnails: dict[str, Thumbnail | None]) -> str:
    if results:
        figures = "\n".join(_figure(result, thumbnails[result.uri]) for result in results)
        body = f'<div class="row">\n{figures}\n</div>'
    else:
        body = '<p class="empty">No picture was found.</p>'
    return (
        f'<section id="q{number}" aria-labelledby="h{number}">\n<div class="query">'
        f'<h2 id="h{number}">{escape(query)}</h2><span>{_counted(len(results), "picture")}</span></div>\n'
        f"{body}\n</section>"
    )


def _figure(result: Result, thumbnail: Thumbnail | None) -> str:
    words, name = result.caption or "", PurePosixPath(result.uri).name
    described = words or name
    known = "" if isnan(result.relevance) else f"{result.relevance:.3f}"  # no search found the pictures of some pages
    if thumbnail is None:
        ratio = result.width / result.height if result.width > 0 and result.height > 0 else 1.5
        label = escape(f"{described}, not found")
        picture = f'<div class="blank" role="img" aria-label="{label}">{escape(name)}</div>'
    else:
        ratio = thumbnail.width / thumbnail.height
        size = f"{result.width} × {result.height}"
        about = escape(f"{result.rank} · {f'relevance {known} · ' if known else ''}{size} · {result.uri}")
        picture = (
            f'<button class="open" type="button" data-words="{escape(described)}" data-about="{about}">'
            f'<img src="{thumbnail.data_uri}" width="{thumbnail.width}" height="{thumbnail.height}"'
            f' alt="{escape(described)}"></button>'
        )
    kind = "words" if words else "words file"
    return (
        f'<figure style="--ratio:{ratio:.4f}">{picture}<figcaption><span class="rank">{result.rank}</span>'
        f'<span class="{kind}" title="{escape(described)}">{escape(described)}</span>'
        f'<span class="relevance">{known}</span></figcaption></figure>'
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
