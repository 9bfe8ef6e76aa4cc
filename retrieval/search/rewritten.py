"""Queries with their texts rewritten."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from .query import Query

if TYPE_CHECKING:
    from retrieval.rewriting.rewriter import Rewrite, Rewriter


def rewritten(queries: Sequence[Query], rewriter: "Rewriter") -> tuple[list[Query], list[tuple["Rewrite", ...]]]:
    """The queries with their wanted texts rewritten, and the rewrites of each. What is unwanted keeps its words:
    beauty put into a negative would be beauty turned away."""
    places = [
        (row, at)
        for row, query in enumerate(queries)
        for at, part in enumerate(query.parts)
        if part.kind == "text" and part.weight > 0
    ]
    done = rewriter.rewrite([queries[row].parts[at].value for row, at in places])
    said = [list(query.parts) for query in queries]
    rewrites: list[tuple[Rewrite, ...]] = [()] * len(queries)
    for (row, at), rewrite in zip(places, done, strict=True):
        said[row][at] = replace(said[row][at], value=rewrite.text)
        rewrites[row] += (rewrite,)
    return [Query(tuple(parts)) for parts in said], rewrites
