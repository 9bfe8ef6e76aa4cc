"""Our metrics against another implementation, ranx (Bassani, ECIR 2022), over random rankings without ties: what papers
of the field compute is what we compute. Beside it stand the cases by hand in test_metrics.py. A campaign, because
ranx compiles itself for a minute or two the first time.
"""

import numpy as np
import pytest

from benchmarks.measures import metrics

pytestmark = [pytest.mark.campaign, pytest.mark.filterwarnings("ignore:.*unsafe cast from uint64")]
QUERIES, PICTURES = 40, 30


@pytest.fixture(scope="module")
def ranked() -> tuple[np.ndarray, np.ndarray]:
    """Scores that all differ (float64: ranx sorts them itself), and from one to eleven relevant pictures a query."""
    generator = np.random.default_rng(0)
    scores = generator.permuted(np.tile(np.linspace(0, 1, PICTURES), (QUERIES, 1)), axis=1)
    relevance = np.zeros((QUERIES, PICTURES), bool)
    for row in range(QUERIES):
        relevance[row, generator.permutation(PICTURES)[: 1 + row % 11]] = True
    return scores, relevance


def theirs(scores: np.ndarray, relevance: np.ndarray, metric: str) -> np.ndarray:
    """(Q,) by ranx."""
    ranx = pytest.importorskip("ranx", reason="ranx is not installed: pip install 'beholder[oracles]'")
    qrels, run = ranx.Qrels(), ranx.Run()
    names = [f"d{column:02d}" for column in range(PICTURES)]
    for row in range(QUERIES):
        query = f"q{row:02d}"
        run.add_multi([query], [names], [scores[row].tolist()])
        relevant = [names[column] for column in np.flatnonzero(relevance[row])]
        qrels.add_multi([query], [relevant], [[1] * len(relevant)])
    ranx.evaluate(qrels, run, metric)
    return np.array([run.scores[metric][f"q{row:02d}"] for row in range(QUERIES)])


@pytest.mark.parametrize(
    "metric",
    ["map", "ndcg@10", "ndcg@3", "hit_rate@1", "hit_rate@5", "hit_rate@10", "recall@5", "recall@10", "r-precision"],
)
def test_our_metrics_are_those_of_ranx(ranked: tuple[np.ndarray, np.ndarray], metric: str) -> None:
    scores, relevance = ranked
    hits, counts = metrics.ranked_hits(scores, relevance), relevance.sum(axis=1)
    name, _, k = metric.partition("@")
    ours = {
        "map": lambda: metrics.average_precision(hits, counts),
        "ndcg": lambda: metrics.ndcg(hits, counts, int(k)),
        "hit_rate": lambda: metrics.hit_rate(hits, int(k)),
        "recall": lambda: metrics.recall(hits, counts, int(k)),
        "r-precision": lambda: metrics.r_precision(hits, counts),
    }[name]()
    np.testing.assert_allclose(ours, theirs(scores, relevance, metric), atol=1e-12)


def test_the_first_rank_is_one_over_the_reciprocal_rank_of_ranx(ranked: tuple[np.ndarray, np.ndarray]) -> None:
    scores, relevance = ranked
    hits = metrics.ranked_hits(scores, relevance)
    np.testing.assert_allclose(1 / metrics.first_rank(hits), theirs(scores, relevance, "mrr"), atol=1e-12)
