"""The figure that choices are made by: of each caption, whether its picture is among the k nearest of the dev
split.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

DEPTHS = (1, 5, 10)


def hit_rates(
    images: NDArray[np.float32],
    texts: NDArray[np.float32],
    owners: NDArray[np.int64],
    depths: Sequence[int] = DEPTHS,
) -> dict[str, float]:
    """`hit_rate@k` in percent, of unit rows (N, D) and (Q, D) and each text's own picture (Q,).

    A picture as near as the own one counts as nearer, so a collapsed model scores nothing.
    """
    scores = texts @ images.T
    own = scores[np.arange(len(texts)), owners]
    ranks = (scores >= own[:, None]).sum(1)  # 1 = the own picture alone is nearest
    return {f"hit_rate@{k}": 100 * float((ranks <= k).mean()) for k in depths}
