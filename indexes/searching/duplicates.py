"""Pictures that are in an index more than once: the same file (sha256), or nearly the same (stored vectors).

Near is a cosine of at least `near` between the vectors that the index stores, found through the index itself,
so an approximate index may miss some. Groups are connected: each picture is near another of its group, not
necessarily all of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError

from .search import Index

# What counts as near depends on the encoder. beholder-mini over the 122 sample pictures: 42 % of copies at half size
# and 49 % of crops by a twentieth are within 0.97 (0.95: 68 and 79 %), and none of the 7,381 pairs of different ones
# (0.95: 2). Wrong groups are worse than missed ones.
NEAR = 0.97
BATCH = 1024  # vectors searched at once
NEIGHBOURS = 16  # asked for first; those whose last one is still near are asked for more
NEIGHBOURS_MOST = 1024  # a picture with more near ones is linked to so many, and they to theirs


@dataclass(frozen=True)
class Group:
    """Ids of one group, rising. similarity: the lowest cosine of the links that made it, 1.0 for equal files."""

    ids: tuple[int, ...]
    kind: str  # "exact": all have one sha256; "near": not all
    similarity: float


@dataclass(frozen=True)
class Distinct:
    """The results of one query without repetitions: ids (K,) and scores (K,), best first, and for each the ids
    of the pictures that it stands for."""

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    copies: tuple[tuple[int, ...], ...]


def duplicate_groups(index: Index, near: float | None = NEAR) -> list[Group]:
    """All groups of two or more, the largest first. near: least cosine in (0, 1]; None compares files only."""
    _check_near(near)
    items = index.items_table().select(["id", "sha256"])
    ids = items.column("id").to_numpy()
    _, first, files = np.unique(_texts(items), return_index=True, return_inverse=True)
    links = _Links(len(ids))
    for place, leader in enumerate(first[files]):
        links.join(place, int(leader), 1.0)
    if near is not None:
        leaders = np.sort(first)  # equal files have equal vectors: one of each is enough
        for left, right, similarity in _near_pairs(index, ids[leaders], near):
            links.join(int(np.searchsorted(ids, left)), int(np.searchsorted(ids, right)), similarity)
    groups = [
        Group(
            tuple(int(ids[place]) for place in members),
            "exact" if len({int(files[place]) for place in members}) == 1 else "near",
            similarity,
        )
        for members, similarity in links.groups()
    ]
    return sorted(groups, key=lambda group: (-len(group.ids), group.ids))


def _near_pairs(index: Index, ids: NDArray[np.int64], near: float) -> Iterator[tuple[int, int, float]]:
    """(id, id of another, cosine) wherever the index finds a cosine of at least `near` among ids (n,)."""
    most = min(NEIGHBOURS_MOST, len(ids))
    for start in range(0, len(ids), BATCH):
        own, k = ids[start : start + BATCH], min(NEIGHBOURS, most)
        while len(own):
            found = index.search(index.vectors(own), k, allowed=ids)
            rows, places = np.nonzero((found.scores >= near) & (found.ids != own[:, None]))
            for row, place in zip(rows, places, strict=True):
                yield int(own[row]), int(found.ids[row, place]), float(found.scores[row, place])
            own = own[found.scores[:, -1] >= near] if k < most else own[:0]
            k = min(4 * k, most)


def search_distinct(
    index: Index,
    vectors: NDArray[Any],
    k: int,
    *,
    near: float | None = NEAR,
    parameters: Mapping[str, int] | None = None,
    allowed: NDArray[np.int64] | None = None,
    beauty: Mapping[str, float] | None = None,
) -> list[Distinct]:
    """The best k of each query (Q, D) of which no two are the same file or near each other; fewer where the
    index (or what is allowed) has fewer. A later one is dropped in favour of the best placed one. beauty: weights as
    Index.search takes them."""
    _check_near(near)
    results: list[Distinct | None] = [None] * len(vectors)
    open_rows, fetch = np.arange(len(vectors)), 2 * k
    while len(open_rows):
        found = index.search(vectors[open_rows], fetch, parameters=parameters, allowed=allowed, beauty=beauty)
        ended = found.ids.shape[1] < fetch
        for row, ids, scores in zip(open_rows, found.ids, found.scores, strict=True):
            kept = _collapsed(index, ids, scores, k, near)
            if ended or len(kept.ids) == k:
                results[row] = kept
        open_rows = np.array([row for row in open_rows if results[row] is None], np.int64)
        fetch *= 4
    return [result for result in results if result is not None]


def _collapsed(
    index: Index, ids: NDArray[np.int64], scores: NDArray[np.float32], k: int, near: float | None
) -> Distinct:
    """Goes down the list: a result joins the first kept one that it repeats, or is kept, until k are."""
    files, vectors = _texts(index.items(ids)), index.vectors(ids) if near is not None else None
    kept: list[int] = []
    copies: list[list[int]] = []
    for place in range(len(ids)):
        same = [files[place] == files[other] for other in kept]
        if vectors is not None and kept and near is not None:
            cosines = vectors[kept] @ vectors[place]
            same = [equal or bool(cosine >= near) for equal, cosine in zip(same, cosines, strict=True)]
        if any(same):
            copies[same.index(True)].append(int(ids[place]))
        elif len(kept) < k:
            kept.append(place)
            copies.append([])
        else:
            break
    return Distinct(ids[kept], scores[kept], tuple(tuple(group) for group in copies))


def _texts(items: Any) -> NDArray[Any]:
    return np.array(items.column("sha256").to_pylist(), dtype=np.str_)


def _check_near(near: float | None) -> None:
    if near is not None and not 0 < near <= 1:
        raise BeholderError(f"near = {near}", "a cosine above 0, at most 1")


class _Links:
    """Places 0 to n - 1, joined into groups (union-find), with the lowest similarity that joined each."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))
        self._lowest = [1.0] * count

    def _top(self, place: int) -> int:
        while self._above[place] != place:
            self._above[place] = self._above[self._above[place]]
            place = self._above[place]
        return place

    def join(self, left: int, right: int, similarity: float) -> None:
        """Links that close a circle change nothing, so `similarity` depends on the order of links within a
        group; the groups do not."""
        left, right = self._top(left), self._top(right)
        if left != right:
            low, high = sorted((left, right))
            self._above[high] = low
            self._lowest[low] = min(self._lowest[low], self._lowest[high], similarity)

    def groups(self) -> Iterator[tuple[list[int], float]]:
        """(members, rising; lowest similarity) of every group of two or more."""
        members: dict[int, list[int]] = {}
        for place in range(len(self._above)):
            members.setdefault(self._top(place), []).append(place)
        return ((group, self._lowest[top]) for top, group in members.items() if len(group) > 1)
