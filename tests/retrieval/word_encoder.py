"""A text encoder for tests whose answers can be foreseen: a text is the sum of its words' random directions, and only
its first twelve words are read. Texts that share words are near each other, others are at right angles (nearly)."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from indexes.records.shards import EncoderRecord

CONTEXT = 12
WIDTH = 256


class WordEncoder:
    def __init__(self, name: str = "words") -> None:
        self.record = EncoderRecord(name, "i" * 64, hashlib.sha256(name.encode()).hexdigest(), WIDTH, {})

    def tokenize(self, texts: Sequence[str]) -> NDArray[np.int64]:
        tokens = np.zeros((len(texts), CONTEXT), np.int64)
        for row, text in enumerate(texts):
            for place, word in enumerate(text.lower().replace(",", " ").split()[:CONTEXT]):
                tokens[row, place] = int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) + 1
        return tokens

    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = [
            sum((np.random.default_rng(token).standard_normal(WIDTH) for token in row[row > 0]), np.zeros(WIDTH))
            for row in self.tokenize(texts)
        ]
        vectors = np.array(rows, np.float32).reshape(len(texts), WIDTH)
        return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
