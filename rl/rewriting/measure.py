"""What rewriters are worth on queries with known relevant pictures: rank gain alone, and precision, query by query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexes.errors import BeholderError
from indexes.records.manifest import write_bytes_atomic
from retrieval.rewriting.offline import bare
from retrieval.rewriting.rewriter import Rewrite, Rewriter, count_rewrites
from rl.rewards import Rewards, Values

from .data import prompt_of
from .rank_gain import Floats, ranks, utility
from .reward_corpus import Corpus

DEPTH = 8  # of precision: pictures that a person sees at once
TOGETHER = 64  # answers sampled at once


@dataclass(frozen=True)
class Judged:
    """Queries with what each picture of a corpus counts for them: weights (Q, N)."""

    corpus: Corpus
    queries: list[str]
    weights: Floats

    @classmethod
    def of(cls, corpus: Corpus, rows: Sequence[dict[str, Any]]) -> Judged:
        """Of rows as rewriter_data.questions has them."""
        weights = [corpus.weights(row.get("relevant"), row.get("pictures")) for row in rows]
        return cls(corpus, [row["query"] for row in rows], np.stack(weights))

    def figures(self, texts: Sequence[str]) -> dict[str, Floats]:
        """Of a text for each query, values (Q,): its rank utility, what that is above the query's own, precision@8."""
        scores = self.corpus.scores(texts)
        found = utility(scores, self.weights)
        own = utility(self.corpus.scores([bare(query) for query in self.queries]), self.weights)
        top = (ranks(scores) <= DEPTH) & (self.weights > 0)
        return {"utility": found, "gain": found - own, f"precision@{DEPTH}": np.asarray(top.sum(1) / DEPTH, np.float64)}


def answered(rewriter: Rewriter, queries: Sequence[str]) -> tuple[list[Rewrite], dict[str, Any]]:
    """The rewrites as search would use them, and what became of them: fallbacks, words added."""
    rewrites = rewriter.rewrite(queries)
    counts = count_rewrites(rewrites)
    added = [len(one.text.split()) - len(one.original.split()) for one in rewrites]
    told = {
        "fell back": sum(counts.fallbacks.values()) / len(rewrites),
        "reasons": counts.fallbacks,
        "truncated": counts.truncated / len(rewrites),
        "words added": float(np.mean(added)),
        "different": len({one.text for one in rewrites}) / len(rewrites),
    }
    return rewrites, told


def sampled(model: str, queries: Sequence[str], count: int, *, temperature: float, tokens: int, seed: int) -> list[str]:
    """`count` answers to each query, one query's behind each other; greedy where the temperature is 0."""
    import torch

    from .train import load_causal

    loaded, tokenizer = load_causal(model)
    tokenizer.padding_side = "left"
    torch.manual_seed(seed)
    said: list[str] = []
    asked = [query for query in queries for _ in range(count)]
    for start in range(0, len(asked), TOGETHER):
        prompts = [
            tokenizer.apply_chat_template(prompt_of(query), tokenize=False, add_generation_prompt=True)
            for query in asked[start : start + TOGETHER]
        ]
        batch = tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        with torch.inference_mode():
            ids = loaded.eval().generate(
                input_ids=batch["input_ids"],
                attention_mask=batch["attention_mask"],
                max_new_tokens=tokens,
                do_sample=temperature > 0,
                temperature=temperature if temperature > 0 else None,
                top_k=0 if temperature > 0 else None,
                pad_token_id=tokenizer.pad_token_id,
            )
        said += tokenizer.batch_decode(ids[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return said


def ranked(rewards: Rewards, rows: Sequence[dict[str, Any]], answers: Sequence[str], path: Path) -> int:
    """Writes query, answer and score (rank gain, and what drift, form and length take off it), for DPO: the answers to
    each row's query, equally many for each, one query's behind each other. Returns the number of lines."""
    if not rows or not answers or len(answers) % len(rows):
        raise BeholderError(f"{len(answers)} answers to {len(rows)} queries", "equally many for each")
    several = len(answers) // len(rows)
    repeated = [row for row in rows for _ in range(several)]
    columns = {key: [row.get(key) for row in repeated] for key in ("query", "relevant", "pictures")}
    given = [value for value in columns.items() if any(one is not None for one in value[1])]
    parts: list[Values] = [
        one(None, answers, **dict(given)) for one in (rewards.rank_gain, rewards.drift, rewards.form, rewards.length)
    ]
    scores = np.array(parts, np.float64).sum(0)
    lines = ["query\tanswer\tscore"]
    for row, answer, score in zip(repeated, answers, scores, strict=True):
        lines.append(f"{' '.join(row['query'].split())}\t{' '.join(answer.split())}\t{score:.5f}")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, ("\n".join(lines) + "\n").encode())
    return len(repeated)
