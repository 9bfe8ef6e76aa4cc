"""How near texts are to references: BLEU (sacrebleu), GLEU and METEOR (nltk), ROUGE-L (rouge-score), CIDEr-D
(cider.py), each with a signature that says exactly which; and controls that tell what a number is worth.

METEOR needs WordNet for its synonyms, which nltk fetches and does not bring: where it is not installed, exact words and
stems alone are matched, and the signature says so. None of these metrics sees the picture: a text that fits any
picture scores too, so the controls stand beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from indexes.errors import BeholderError

from .cider import cider_d, tokens

METRICS = "BLEU-4", "GLEU", "METEOR", "ROUGE-L"
CAPTION_METRICS = "BLEU-4", "METEOR", "ROUGE-L", "CIDEr-D"
Texts = Sequence[str]
References = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Scored:
    """A metric of a set of texts: `value` of the whole (BLEU and GLEU are corpus metrics: shares of 1, as the others);
    `each` (N,) where it is a mean over texts, so that an interval can be given."""

    value: float
    each: npt.NDArray[np.float64] | None = None


def measure_texts(answers: Texts, references: References, metrics: Sequence[str] = METRICS) -> dict[str, Scored]:
    """Metric -> score of answers (N,) against one or more references of each. An empty answer scores 0 and counts.

    Raises BeholderError for unequal numbers, a picture without references, and without the packages.
    """
    if len(answers) != len(references) or not answers or not all(references):
        raise BeholderError(f"{len(answers)} answers for {len(references)} lists of references", "references for each")
    return {name: _METRICS[name](answers, references) for name in metrics}


def signatures(metrics: Sequence[str] = METRICS) -> dict[str, str]:
    """Metric -> what exactly is computed."""
    words = "with WordNet synonyms" if _wordnet() is not None else "exact and stem alone: no WordNet here"
    known = {
        "BLEU-4": f"sacrebleu {version('sacrebleu')}, corpus, lowercase, tok:none over our tokens, smooth:exp",
        "GLEU": f"nltk {version('nltk')} corpus_gleu (Google GLEU), 1 to 4 tokens",
        "METEOR": f"nltk {version('nltk')} meteor_score, mean, alpha .9 beta 3 gamma .5, {words}",
        "ROUGE-L": f"rouge-score {version('rouge-score')} rougeL F1, stemmed, best reference, mean",
        "CIDEr-D": "as pycocoevalcap 1.2 computes it, over our tokens, document frequencies of these references",
    }
    return {name: known[name] for name in metrics}


def shuffled(answers: Texts, seed: int = 0) -> list[str]:
    """Answers given to other pictures: each moves on by a random, non-zero number of places. What is left of a score
    is what the style of the texts earns without any picture. Raises BeholderError for fewer than two."""
    if len(answers) < 2:
        raise BeholderError("one answer", "two at least, to exchange them", "Give more.")
    step = int(np.random.default_rng(seed).integers(1, len(answers)))
    return [answers[(place + step) % len(answers)] for place in range(len(answers))]


def lengths(answers: Texts, references: References) -> float:
    """Mean words of the answers as a share of the references': metrics favour one length or the other."""
    said = float(np.mean([len(tokens(text)) for text in answers]))
    return said / max(1e-9, float(np.mean([len(tokens(text)) for known in references for text in known])))


def _bleu(answers: Texts, references: References) -> Scored:
    from_sacre = _import("sacrebleu.metrics")
    most = max(len(known) for known in references)
    streams = [
        [" ".join(tokens(known[place])) if place < len(known) else None for known in references]
        for place in range(most)
    ]
    metric = from_sacre.BLEU(tokenize="none", force=True)
    return Scored(float(metric.corpus_score([" ".join(tokens(text)) for text in answers], streams).score) / 100)


def _gleu(answers: Texts, references: References) -> Scored:
    gleu = _import("nltk.translate.gleu_score")
    return Scored(
        float(gleu.corpus_gleu([[tokens(one) for one in known] for known in references], [*map(tokens, answers)]))
    )


def _meteor(answers: Texts, references: References) -> Scored:
    meteor = _import("nltk.translate.meteor_score")
    words = _wordnet() or _NoSynonyms()
    each = [
        meteor.meteor_score([tokens(one) for one in known], tokens(text), wordnet=words)
        for text, known in zip(answers, references, strict=True)
    ]
    return _mean(each)


def _rouge(answers: Texts, references: References) -> Scored:
    scorer = _import("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=True)
    each = [
        scorer.score_multi(list(known), text)["rougeL"].fmeasure
        for text, known in zip(answers, references, strict=True)
    ]
    return _mean(each)


def _cider(answers: Texts, references: References) -> Scored:
    return _mean(cider_d([tokens(text) for text in answers], [[tokens(one) for one in known] for known in references]))


_METRICS: Mapping[str, Any] = {"BLEU-4": _bleu, "GLEU": _gleu, "METEOR": _meteor, "ROUGE-L": _rouge, "CIDEr-D": _cider}


def _mean(each: Any) -> Scored:
    values = np.asarray(each, np.float64)
    return Scored(float(values.mean()), values)


class _NoSynonyms:
    """A WordNet that knows no synonyms."""

    def synsets(self, _: str) -> list[Any]:
        return []


@cache
def _wordnet() -> Any:
    """nltk's WordNet where its data is installed, else None. Nothing is fetched."""
    corpus = _import("nltk.corpus").wordnet
    try:
        corpus.ensure_loaded()
    except LookupError:
        return None
    return corpus


def _import(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise BeholderError(
            f"{name} is not installed", "the metrics' packages", "pip install 'beholder[critic]'"
        ) from error
