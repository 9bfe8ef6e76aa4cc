"""Pictures of an index over HTTP: only what its table of items names, only the bytes that were embedded.

A uri from the table leads to a file; what is sent must lie under the source's folder, links resolved, and have the
sha256 that the table has. So a table from elsewhere, a link or a file put in a picture's place show nothing that was
not embedded as a picture.
"""

import hashlib
import threading
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

from retrieval.sources.archives import Picture, content_of, inside
from retrieval.sources.images import BadPicture, decode, known_formats
from retrieval.sources.sources import Uris, contents, open_archive

JPEG_QUALITY = 82  # as the gallery's
WIDEST = 3.0  # a thumbnail is at most this many times as wide as high
HEIGHTS = (64, 1024)  # of thumbnails, pixels
# What browsers show; everything else that Pillow reads is sent as JPEG.
SHOWN = {"JPEG": "image/jpeg", "MPO": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}
SHOWN |= {"AVIF": "image/avif", "BMP": "image/bmp"}
LISTED_MOST = 64  # archives whose members' places are kept


class NotShown(Exception):
    """The picture cannot be shown; the text says why and names no path."""


@dataclass(frozen=True)
class Shown:
    """Bytes to send and their media type."""

    content: bytes
    media_type: str


class PictureStore:
    """The pictures under `root`. Safe for threads. cache_bytes: of thumbnails kept in memory."""

    def __init__(self, root: Path, *, max_pixels: int, cache_bytes: int, follow_links: bool = False) -> None:
        self.root, self._max_pixels, self._follow = root, max_pixels, follow_links
        self._lock = threading.Lock()
        self._thumbnails: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._held, self._most = 0, cache_bytes
        self._places: OrderedDict[str, dict[str, Picture]] = OrderedDict()

    def picture(self, uri: str, sha256: str) -> Shown:
        """The picture as it was embedded, or as JPEG where browsers do not know its format. Raises NotShown."""
        content = self.embedded(uri, sha256)
        kind = self._format(content)
        if kind in SHOWN:
            return Shown(content, SHOWN[kind])
        return Shown(self._jpeg(content, None), "image/jpeg")

    def thumbnail(self, uri: str, sha256: str, height: int) -> Shown:
        """A JPEG at most `height` pixels high (cut to HEIGHTS) and WIDEST times as wide. Raises NotShown."""
        height = min(max(height, HEIGHTS[0]), HEIGHTS[1])
        with self._lock:
            kept = self._thumbnails.get((sha256, height))
            if kept is not None:
                self._thumbnails.move_to_end((sha256, height))
                return Shown(kept, "image/jpeg")
        made = self._jpeg(self.embedded(uri, sha256), height)
        with self._lock:
            if (sha256, height) not in self._thumbnails:
                self._thumbnails[sha256, height] = made
                self._held += len(made)
            while self._held > self._most:
                self._held -= len(self._thumbnails.popitem(last=False)[1])
        return Shown(made, "image/jpeg")

    def embedded(self, uri: str, sha256: str) -> bytes:
        """The file, with the bytes that were embedded. Raises NotShown."""
        content = self._read(uri)
        if content is None:
            raise NotShown("the picture's file is gone, cannot be read, or lies outside of its source's folder")
        if hashlib.sha256(content).hexdigest() != sha256:
            raise NotShown("the picture's file has changed since it was embedded; index update takes it in")
        return content

    def _read(self, uri: str) -> bytes | None:
        archive, member = Uris(self.root).split(uri)
        try:
            if not self._follow and not inside(self.root / (archive or uri), self.root):
                return None
            if archive:
                place = self._place(archive, member)
                if place is not None:
                    return content_of(place)
            return next((content for _, content in contents(self.root, [uri])), None)
        except (OSError, ValueError):
            return None

    def _place(self, archive: str, member: str) -> Picture | None:
        """Where a plain tar holds a picture: its headers are read once, not for every picture."""
        with self._lock:
            if archive not in self._places:
                reader = open_archive(self.root / archive)
                found = {}
                if archive.lower().endswith(".tar"):
                    found = {one.uri: one for one in reader.pictures(reader.members().names, self.root) if one.path}
                self._places[archive] = found
                if len(self._places) > LISTED_MOST:
                    self._places.popitem(last=False)
            return self._places[archive].get(member)

    def _format(self, content: bytes) -> str:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Image.open(BytesIO(content), formats=known_formats()).format or ""
        except (OSError, Image.DecompressionBombError) as error:
            raise NotShown("the file is no picture") from error

    def _jpeg(self, content: bytes, height: int | None) -> bytes:
        try:
            image = decode(content, self._max_pixels, least=height or 0)
        except BadPicture as error:
            raise NotShown(f"the picture cannot be shown: {error}") from error
        if height is not None:
            image.thumbnail((round(height * WIDEST), height))
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=JPEG_QUALITY)
        return buffer.getvalue()


def checked_picture(content: bytes, max_pixels: int) -> str:
    """ "" for bytes that begin as a picture of at most so many pixels, else the reason why not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            width, height = Image.open(BytesIO(content), formats=known_formats()).size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return "no picture in a known format"
    return "" if width * height <= max_pixels else f"a picture of {width} x {height} pixels (at most {max_pixels:,})"
