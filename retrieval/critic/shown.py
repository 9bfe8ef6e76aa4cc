"""Pictures as critics are shown them: PNG, no larger than critics look."""

import io
from collections.abc import Sequence

import numpy as np

from retrieval.language.judge_sheet import sheet
from retrieval.sources.images import Picture, decode, shrink

SENT = b"\x89PNG", b"\xff\xd8\xff", b"RIFF"  # what chat_exchange.data_uri sends
MAX_SIDE_PX = 768  # critics shrink pictures further themselves


def shown(picture: Picture) -> bytes:
    """A picture (uint8 (H, W, 3)) as PNG, its longest side at most MAX_SIDE_PX. The same pixels give the same bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.asarray(shrink(picture, MAX_SIDE_PX))).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def sendable(content: bytes) -> bytes:
    """A file as servers take it: PNG, JPEG and WebP as it is, another readable one as PNG."""
    return content if content.startswith(SENT) else shown(np.asarray(decode(content)))


def shown_row(row: Sequence[Picture]) -> bytes:
    """A row of pictures as one: itself where it is one, else the row as a sheet. Raises BeholderError for none."""
    return shown(row[0]) if len(row) == 1 else sheet([row])
