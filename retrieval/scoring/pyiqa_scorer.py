"""Any no-reference metric of pyiqa (Chen and Mo, IQA-PyTorch) as a scorer named `pyiqa:METRIC`; extra `score`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexes.errors import BeholderError
from retrieval.encoding.encoder import fingerprint
from retrieval.sources.images import Picture, shrink

from .card import PIXELS, PYIQA, ScorerCard

MAX_SIDE_PX = 1024  # metrics of transformers need memory by the square of the pixels


class PyiqaScorer:
    """A metric of pyiqa on the CPU, one picture at a time: sizes differ."""

    def __init__(self, card: ScorerCard, metric: Any) -> None:
        self.card, self._metric = card, metric

    def score_pictures(self, pictures: Sequence[Picture]) -> NDArray[np.float32]:
        """float32 (N,) in the metric's own unit."""
        import torch

        scores = []
        for picture in pictures:
            pixels = np.array(shrink(picture, self.card.max_side_px))
            with torch.inference_mode():
                value = self._metric(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)
            scores.append(float(value.reshape(-1)[0]))
        return np.array(scores, np.float32)


def load_pyiqa(name: str) -> PyiqaScorer:
    """The scorer of a name like `pyiqa:musiq`; pyiqa downloads the metric's weights itself where it has any.

    Raises BeholderError without pyiqa, for a metric that it lacks or that compares with a reference picture, and where
    the weights cannot be had.
    """
    try:
        import pyiqa
    except ImportError as error:
        raise BeholderError(
            f"the scorer {name} needs pyiqa ({error})", "the extra `score`", "Run `pip install 'beholder[score]'`."
        ) from error
    known, metric = pyiqa.list_models(metric_mode="NR"), name.removeprefix(PYIQA)
    if metric not in known:
        expected = f"a metric without reference, such as {', '.join(known[:12])}"
        raise BeholderError(
            f"pyiqa has no such metric {metric!r}", expected, "See pyiqa.list_models(metric_mode='NR')."
        )
    try:
        model = pyiqa.create_metric(metric, device="cpu")
    except Exception as error:  # whatever a metric's download or constructor raises: it becomes one line
        raise BeholderError(
            f"{name} cannot be loaded ({type(error).__name__}: {str(error)[:200]})", "its weights", "Check the network."
        ) from error
    state = {key: value.detach().cpu().numpy() for key, value in model.net.state_dict().items()}
    card = ScorerCard(
        name=name,
        kind=PIXELS,
        model=f"{metric} of pyiqa {pyiqa.__version__}",
        normalisation=f"RGB in [0, 1], longest side at most {MAX_SIDE_PX} px (box filter), never enlarged",
        unit=f"{metric}, {model.score_range or 'range not stated'}",
        source="chaofengc/IQA-PyTorch; each metric has its own paper",
        licence="pyiqa: PolyForm Noncommercial 1.0.0; the weights of each metric their own",
        checkpoint_sha256=fingerprint(state, metric.encode()) if state else "",
        higher_is_better=not model.lower_better,
        max_side_px=MAX_SIDE_PX,
    )
    return PyiqaScorer(card, model)
