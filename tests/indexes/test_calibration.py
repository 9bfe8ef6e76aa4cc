"""The cut-off's statistics: thresholds by hand, bounds that hold, and what is written can be read."""

import json

import numpy as np
import pytest

from indexes.errors import BeholderError
from indexes.records.calibration import DEPTH, Calibration, calibrated, statistic

NULL, REAL = np.linspace(0.0, 0.4, 401), np.linspace(0.3, 0.7, 401)


def test_the_threshold_turns_away_all_but_one_in_a_hundred_meaningless_queries() -> None:
    found = calibrated(NULL, REAL + 0.2, "captions", 1000)
    assert found.threshold == pytest.approx(0.396)
    assert found.null.refused == pytest.approx(0.99, abs=0.003)
    assert found.real.refused == 0
    assert (found.depth, found.pictures, found.null.queries) == (DEPTH, 1000, 401)


@pytest.mark.parametrize(("kind", "share", "threshold"), [("captions", 0.05, 0.32), ("generic", 0.25, 0.396)])
def test_never_more_than_their_share_of_real_queries_is_refused(kind: str, share: float, threshold: float) -> None:
    found = calibrated(NULL, REAL, kind, 1000)  # 0.396 by the meaningless ones
    assert found.threshold == pytest.approx(threshold)
    worse = calibrated(NULL + 0.5, REAL, kind, 1000)  # an encoder that takes gibberish for the best of queries
    assert worse.real.refused <= share + 0.003
    assert worse.null.refused < 0.1


def test_the_statistic_is_the_mean_of_the_best_ten_of_those_there_are() -> None:
    rows = np.sort(np.random.default_rng(0).random((4, 12)).astype(np.float32))[:, ::-1]
    np.testing.assert_allclose(statistic(rows), [sum(row[:10]) / 10 for row in rows.tolist()], rtol=1e-6)
    np.testing.assert_allclose(statistic(rows[:, :3]), [sum(row[:3]) / 3 for row in rows.tolist()], rtol=1e-6)
    np.testing.assert_array_equal(statistic(rows[:, :0]), [-1] * 4)


def test_a_calibration_is_read_as_it_was_written_and_a_damaged_one_is_refused() -> None:
    content = calibrated(NULL, REAL, "generic", 7).to_dict()
    assert Calibration.from_dict(json.loads(json.dumps(content))) == calibrated(NULL, REAL, "generic", 7)
    for damage in ({"threshold": "high"}, {"threshold": 5.0}, {"null": {}}, {"depth": 0}, {"more": 1}):
        with pytest.raises(BeholderError, match="cannot be read"):
            Calibration.from_dict({**content, **damage})


def test_too_few_queries_are_refused() -> None:
    with pytest.raises(BeholderError, match="99 captions queries"):
        calibrated(NULL, REAL[:99], "captions", 1000)
