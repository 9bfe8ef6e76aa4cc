"""Queries that mean nothing, from a seed: what is calibrated against, and what benchmarks ask."""

import random
import string
from collections.abc import Callable

KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890")
CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiou"


def gibberish(count: int, seed: int) -> list[str]:
    """`count` texts of one to four words, each text of one sort: letters at random, runs over a keyboard, syllables
    that could be said, or any printable signs. The same seed gives the same texts."""
    rng = random.Random(seed)
    sorts = (_letters, _keys, _syllables, _signs)
    texts = []
    for _ in range(count):
        sort: Callable[[random.Random, int], str] = rng.choice(sorts)
        texts.append(" ".join(sort(rng, rng.randint(3, 10)) for _ in range(rng.choice((1, 1, 2, 3, 4)))))
    return texts


def _letters(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(string.ascii_lowercase, k=length))


def _keys(rng: random.Random, length: int) -> str:
    row = rng.choice(KEYS)
    start = rng.randrange(len(row))
    return "".join(row[(start + at) % len(row)] for at in range(length))


def _syllables(rng: random.Random, length: int) -> str:
    return "".join(rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(max(2, length // 2)))


def _signs(rng: random.Random, length: int) -> str:
    return "".join(rng.choices(string.ascii_letters + string.digits + string.punctuation, k=length))
