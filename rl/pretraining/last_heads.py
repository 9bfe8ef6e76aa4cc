"""Pre-training with a third stage: the heads once more, over features of the tuned towers and whole sources.

Tuning shows labels too seldom for the heads to keep them apart; over cached features every label is seen again in a
minute (docs/decisions/0005). There labels are also told apart among
themselves (rl/pretraining/within.py).
"""

from dataclasses import replace
from pathlib import Path

from rl.processes import Rank0First, join_processes

from .config import PretrainConfig
from .pretrain import PretrainReport, Say, pretrain


def pretrain_all(
    start: Path, data: Path, run: Path, config: PretrainConfig, *, say: Say | None = None
) -> tuple[PretrainReport, Path]:
    """All stages of a run and the folder of what it ends with: `run/model`, or `run/last/model` after a third stage.

    Resumes as `pretrain` does, of which the third stage is a second run.
    """
    report = pretrain(start, data, run, config, say=say)
    if not config.last_head_epochs:
        return report, run / "model"
    with Rank0First(*join_processes(config.device)):
        pass  # process 0 has written the model that all go on from
    again = replace(
        config,
        sources=tuple(name for name, _ in config.shares()),
        head_epochs=config.last_head_epochs,
        head_within=config.last_head_within,
        tune_epochs=0,
        whole_epochs=0,
        last_head_epochs=0,
        last_head_within=(),
    )
    last = pretrain(run / "model", data, run / "last", again, say=say)
    return replace(report, tuned=last.tuned, seconds=report.seconds + last.seconds), run / "last" / "model"
