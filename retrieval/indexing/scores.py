"""Scores of an index at the command line: the text vectors that its spread of relevance is measured with, and what is
said of its scorers."""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from indexes.building.growth import Growth
    from indexes.records.segments import IndexManifest

    from .update import UpdateReport


def generic_vectors(model: str, why: str) -> "NDArray[Any] | None":
    """The vectors (500, D) of the generic queries in the box by an encoder; None, and a note that says `why` they are
    missed, where the encoder is not there: an index of vectors from elsewhere is whole without."""
    from indexes.errors import BeholderError
    from retrieval.search.generic_queries import generic_queries
    from retrieval.search.query_encoder import load_text_encoder

    texts = list(generic_queries())
    try:
        return load_text_encoder(model, len(texts)).encode_texts(texts)
    except BeholderError as error:
        print(f"note: {why} ({error})", file=sys.stderr)
        return None


def print_scores(manifest: "IndexManifest", *, whole: bool) -> None:
    """The scorers of an index, a line each; `whole`: with the search parameters per beauty weight."""
    for record in manifest.scores:
        ranked = "for --beauty, --where and --sort" if record.in_index else "for --where and --sort"
        default = ", the default" if record.default else ""
        known = f"{min(record.count, manifest.count)} of {manifest.count} pictures"
        print(f"scorer      {record.name}: {known}, {ranked}{default}; column {record.column}")
        if record.drift > 5:
            print(f"            percentiles drifted {record.drift:.1f} points; `beholder index compact` refreshes them")
        for b, step in sorted(record.steps.items()) if whole else ():
            setting = "all pictures are scored"
            if step.parameters is not None:
                setting = ", ".join(f"{name} {value}" for name, value in step.parameters.items())
            print(f"            {record.name}:{b:+d}  knn_recall {step.knn_recall:.3f} with {setting}")
    if manifest.in_index:
        spread = manifest.spread
        said = "not known, so --beauty is refused; `beholder index tune --queries FILE` measures it"
        if spread is not None:
            said = f"{spread['value']:.4f} of relevance, over {spread['queries']} {spread['kind']} queries"
        print(f"spread      {said}")


def print_growth(growth: "Growth | UpdateReport") -> None:
    """What happened to the scores of an index that grew or shrank."""
    for name, count in growth.unscored.items():
        print(f"{count} added pictures have no score of {name}: they stand in the middle of it")
    for name, points in growth.drift.items():
        print(f"percentiles of {name} drifted {points:.1f} points; `beholder index compact` refreshes them")
