"""What rewards of rewrites need, as JSON: `rewards.json` of a run, and the file that BEHOLDER_REWARDS names."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError, FormatError

NAMES = "rank_gain", "drift", "form", "length", "diversity", "topic"  # rl/rewards.py


@dataclass(frozen=True)
class RewardConfig:
    """Settings of all rewards. Checked when made."""

    pictures: str  # INDEX or EMBEDDINGS folder: the corpus
    encoder: str = ""  # whose text tower will search; "": the corpus' own
    table: str = ""  # TSV with a row for each picture (column `file`): its columns may stand in `relevant`
    split: str = "train"  # of the table; "": all its rows
    scorer: str = ""  # whose percentile weighs the relevant pictures; "": none does
    beauty: float = 0.5  # how much: 0 all relevant pictures count alike, 1 by beauty alone
    words: int = 20  # that may be added before length costs
    topic_floor: float | None = None  # cosine of query and rewrite below which drift costs; None: measured
    judge: str = ""  # llm:MODEL[@URL] that `topic` asks
    evaluation: bool = False  # measuring, not training: pictures kept for evaluation may be relevant

    def __post_init__(self) -> None:
        if not 0 <= self.beauty <= 1 or self.words < 1:
            raise BeholderError(f"beauty {self.beauty:g}, words {self.words}", "beauty from 0 to 1, 1 word or more")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def read(cls, path: Path) -> RewardConfig:
        """Raises FormatError for a file that is none, or holds a setting that there is not."""
        try:
            content: Any = json.loads(path.read_bytes())
            unknown = set(content) - {field.name for field in fields(cls)}
            if unknown:
                raise FormatError(f"{path} sets {', '.join(sorted(unknown))}", "settings of rewards", "Correct it.")
            return cls(**content)
        except (OSError, ValueError, TypeError) as error:
            raise FormatError(f"{path} cannot be read ({error})", "settings of rewards as JSON") from error
