"""The demo: pictures in the box -> embeddings -> index -> three queries -> gallery.html, offline. And a fourth query
twice: by the base and by the aligned text tower, over the same index."""

import shutil
from collections.abc import Callable
from pathlib import Path

from indexes.errors import BeholderError
from indexes.records.manifest import MANIFEST

SAMPLES = Path(__file__).parent / "samples"
SOURCES = "SOURCES.tsv"  # file, kind, title, author, died, licence, source of every sample picture
MODEL, ALIGNED = "beholder-mini", "beholder-mini-aligned"
FOLDER = "beholder-demo"
QUERIES = ("a quiet harbour at dawn", "portrait of a woman", "a city at night")
DESCRIBED = "flat woodblock colours and clean outlines"  # of a style that it does not name: what alignment taught
RESULTS = 6  # about two rows of the page at a desktop width


def run(out: Path | None, echo: Callable[[str], None]) -> Path:
    """Writes embeddings, index and gallery.html under `out` (default: beholder-demo here); the page's path.

    A second run embeds and builds nothing. Raises BeholderError where the folder cannot be used.
    """
    from indexes import build_index, load_index
    from retrieval.encoding.encoders import load_encoder
    from retrieval.encoding.pipeline import EmbedConfig, embed
    from retrieval.search.config import SearchConfig
    from retrieval.search.gallery import write_gallery
    from retrieval.search.searcher import Searcher

    folder = out if out is not None else Path(FOLDER)
    embeddings, index, page = folder / "embeddings", folder / "index", folder / "gallery.html"
    encoder = load_encoder(MODEL)
    _forget_other_encoder(embeddings, encoder.record.image_fingerprint)
    config = EmbedConfig(MODEL, captions=str(SAMPLES / SOURCES))
    report = embed(SAMPLES, embeddings, config, encoder=encoder)
    echo(f"{report.count} sample pictures, {report.embedded} embedded now with {MODEL}")
    build_index(embeddings, index, overwrite=True)
    searcher = Searcher(load_index(index), encoder)
    answers = searcher.search(QUERIES, SearchConfig(k=RESULTS))
    sections = [(answer.query.label, answer.results) for answer in answers]
    for query, results in sections:
        echo(f'  "{query}": {results[0].caption or results[0].uri} ({results[0].relevance:.3f})')
    for name, asked in ((MODEL, searcher), (ALIGNED, Searcher(searcher.index, load_encoder(ALIGNED)))):
        (answer,) = asked.search([DESCRIBED], SearchConfig(k=RESULTS))
        sections.append((f"{DESCRIBED} ({name})", answer.results))
    note = f"{report.count} paintings and photographs, searched with {MODEL}"
    write_gallery(page, sections, SAMPLES, note=note)
    echo(f"gallery: {page}")
    echo(f'next: beholder search {index} "two boats in the evening"')
    return page


def _forget_other_encoder(embeddings: Path, fingerprint: str) -> None:
    """Removes the demo's own vectors where a newer beholder-mini would refuse to go on with them."""
    from indexes.records.shards import EmbeddingsManifest

    if not (embeddings / MANIFEST).is_file():
        return
    try:
        manifest = EmbeddingsManifest.read(embeddings)
    except BeholderError as error:
        raise BeholderError(str(error), "", "Give the demo another folder with --out.") from error
    source = (embeddings / manifest.source).resolve()
    if manifest.encoder.image_fingerprint != fingerprint and source == SAMPLES.resolve():
        shutil.rmtree(embeddings)
