"""The critic's own tokenizer, learnt from the texts of training and kept with the run."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl.critic.grounded import KINDS, Writer
from rl.critic.grounded_facts import TRAIN

from .asked import asked_of, better_of
from .config import MiniConfig
from .facts import Pictures
from .model import make_tokenizer
from .texts import text_of

ALL = 1 << 30


def words_of(folder: Path, config: MiniConfig, pictures: Pictures) -> Any:
    """The tokenizer in this folder, made there the first time."""
    from transformers import AutoTokenizer

    if not folder.is_dir():
        temporary = folder.with_name(f".{folder.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        make_tokenizer(list(training_texts(config, pictures)), config.vocabulary).save_pretrained(temporary)
        temporary.rename(folder)
    return AutoTokenizer.from_pretrained(folder)


def training_texts(config: MiniConfig, pictures: Pictures) -> Iterator[str]:
    """Questions and answers about each training picture, every caption among them; each is compared with the next."""
    facts = [pictures.facts[row] for row in pictures.rows(TRAIN)]
    writer = Writer(pictures.scales, config.seed, ALL)
    for place, one in enumerate(facts):
        made = [text_of(conversation) for conversation in writer.about(one, KINDS)]
        other = facts[(place + 1) % len(facts)]
        for about in sorted(set(one.measured) & set(other.measured)):
            compared = writer.compared(one, other, about)
            if compared is not None:
                made.append(text_of(compared))
        for text in made:
            yield text.question
            yield f" {text.answer}"
        drawn = random.Random(place)
        for _, question, answer in (*asked_of(one, pictures.scales, drawn), *better_of(one, other)):
            yield question
            yield f" {answer}"
