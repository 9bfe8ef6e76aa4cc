"""What is won and what is lost at a step: preferences of the dev lists, retention on the dev captions, the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from indexes.searching.search import Index
from rl.dev import hit_rates

from .data import AlignData, RankedList
from .pictures import Folder

if TYPE_CHECKING:
    from torch import Tensor

    from .model import AlignModel

KEPT = "hit_rate@10"  # the figure that the budget is stated in, percent
FORWARD = 64  # pictures in one forward without gradients
Figures = dict[str, float]


@dataclass(frozen=True)
class Budget:
    """How much of the base's retention may be lost, in points."""

    base: Mapping[str, float]
    most: float

    def lost(self, figures: Mapping[str, float]) -> float:
        return self.base[KEPT] - figures[KEPT]

    def inside(self, figures: Mapping[str, float]) -> bool:
        return self.lost(figures) <= self.most + 1e-9


def better(figures: Mapping[str, float], than: Mapping[str, float] | None, select: str) -> bool:
    """Whether figures are to be preferred, by one of them; without it (no dev lists) the later ones are."""
    return than is None or select not in figures or figures[select] > than[select]


def over_budget(history: Sequence[Mapping[str, Any]], budget: Budget) -> int:
    """How many of the last evaluations in a row were over the budget."""
    count = 0
    for figures in reversed(history):
        if budget.inside(figures):
            break
        count += 1
    return count


def pair_figures(scores: Sequence[NDArray[np.floating[Any]]], lists: Sequence[RankedList]) -> Figures:
    """`pair_accuracy` (percent; equal scores count half) and `kendall_tau` over a list's pairs, the mean over lists."""
    shares, taus = [], []
    for row, one in zip(scores, lists, strict=True):
        gaps = (row[:, None] - row[None, :])[one.prefer]
        shares.append(float((gaps > 0).mean() + (gaps == 0).mean() / 2))
        taus.append(float(np.sign(gaps).mean()))
    return {"pair_accuracy": 100 * float(np.mean(shares)), "kendall_tau": float(np.mean(taus))}


def percentile_figures(folders: Sequence[Folder], queries: NDArray[np.float32]) -> Figures:
    """`<scorer>_percentile@10`: the mean percentile (0 to 100) of what plain search finds in the top 10 for queries
    (Q, D), by each scorer of the first INDEX that has any."""
    for folder in folders:
        if isinstance(folder.opened, Index) and folder.opened.scorers:
            index = folder.opened
            ids = index.search(queries, 10).ids
            found = ids[ids >= 0]
            return {
                f"{record.name}_percentile@10": 100 * float(index.percentiles(record.name, found).mean())
                for record in index.scorers
            }
    return {}


class Measure:
    """Figures of a model on the dev data, higher is better in all. `texts` and `pictures` are what the model takes, all
    of a run's."""

    def __init__(self, data: AlignData, texts: Tensor, pictures: NDArray[Any]) -> None:
        self.data, self.texts, self.pictures = data, texts, pictures
        rows = [data.kept.pictures, *(one.pictures for one in data.dev)]
        self.rows = np.unique(np.concatenate(rows))
        self.numbers = np.unique(np.concatenate([data.kept.texts, [one.query for one in data.dev]]).astype(np.int64))

    def __call__(self, model: AlignModel) -> Figures:
        """hit_rate@1/5/10 (percent) of the captions kept; where there are dev lists, figures of their pairs, and of
        what plain search finds for their queries where a folder is an INDEX with scorers."""
        return self.figures(self.text_vectors(model, self.numbers), self.picture_vectors(model, self.rows))

    def figures(self, said: NDArray[np.float32], seen: NDArray[np.float32]) -> Figures:
        """The same of unit rows: of the texts `numbers` and of the pictures `rows`."""
        kept = self.data.kept
        figures = hit_rates(seen[self._seats(kept.pictures)], said[self._places(kept.texts)], kept.owners)
        if self.data.dev:
            queries = said[self._places(np.array([one.query for one in self.data.dev]))]
            scores = [seen[self._seats(one.pictures)] @ q for one, q in zip(self.data.dev, queries, strict=True)]
            figures |= pair_figures(scores, self.data.dev)
            if self.pictures.ndim == 2:  # a tuned image tower would have to embed the index again
                figures |= percentile_figures(self.data.gallery.folders, queries)
        return figures

    def _seats(self, rows: NDArray[np.int64]) -> NDArray[np.intp]:
        return np.searchsorted(self.rows, rows)

    def _places(self, numbers: NDArray[np.int64]) -> NDArray[np.intp]:
        return np.searchsorted(self.numbers, numbers)

    def text_vectors(self, model: AlignModel, numbers: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 (n, D) of texts by number."""
        import torch

        model.eval()
        device = next(model.parameters()).device
        with torch.no_grad():
            found: NDArray[np.float32] = (
                model.text_vectors(self.texts[torch.from_numpy(numbers)].to(device)).float().cpu().numpy()
            )
        return found

    def picture_vectors(self, model: AlignModel, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 (n, D) of the gallery's pictures by row."""
        import torch

        model.eval()
        device = next(model.parameters()).device
        if self.pictures.ndim == 2:
            vectors = self.pictures[rows].astype(np.float32)
            unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            return unit
        parts = []
        for at in range(0, len(rows), FORWARD):
            pixels = torch.from_numpy(np.array(self.pictures[rows[at : at + FORWARD]])).to(device)
            with torch.no_grad():
                parts.append(model.picture_vectors(pixels))
        return torch.cat(parts).float().cpu().numpy()  # type: ignore[no-any-return]


def reference_logits(
    measure: Measure, model: AlignModel, lists: Sequence[RankedList], scale: float
) -> list[NDArray[np.float32]]:
    """The logits (L,) of each list by the model as it is now, given the list's `reference`: computed once, before the
    first step."""
    rows = np.unique(np.concatenate([one.pictures for one in lists]))
    numbers = np.unique(np.array([one.reference for one in lists], np.int64))
    seen, said = measure.picture_vectors(model, rows), measure.text_vectors(model, numbers)
    found = []
    for one in lists:
        query = said[np.searchsorted(numbers, one.reference)]
        found.append((scale * (seen[np.searchsorted(rows, one.pictures)] @ query)).astype(np.float32))
    return found
