"""What a step shows: pictures and pairs of pictures, each with several questions and answers about it.

Everything follows from the seed and the number of the step, so that a run goes on exactly without keeping where it was.
Texts are written anew at each visit: the same picture is asked in other words, and compared with others.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator

from retrieval.conversations import Conversation
from retrieval.critic.claims import SIDES, side_said
from rl.critic.grounded import Writer
from rl.critic.grounded_facts import TRAIN

from .asked import asked_of, better_of
from .config import MiniConfig
from .facts import Pictures
from .texts import Group, Text, text_of

SIDED = re.compile(r"\b(left|right)\b", re.IGNORECASE)
PLAIN = "caption", "level", "style", "object", "depiction", "rating"
TALK = "look", "critique"  # one of them at a visit


class Drawer:
    """Draws the groups of a step from the training pictures."""

    def __init__(self, config: MiniConfig, pictures: Pictures) -> None:
        self.config, self.pictures = config, pictures
        self.further = pictures.further.by_rows(pictures.facts)
        self.rows = pictures.rows(TRAIN)
        labelled = [row for row in self.rows if pictures.facts[row].labels]
        self._turn = self.rows + labelled * (config.repeats - 1)
        self._of_source: dict[str, list[int]] = {}
        for row in self.rows:
            self._of_source.setdefault(pictures.facts[row].source, []).append(row)
        self._orders: dict[int, list[int]] = {}

    def step(self, number: int) -> list[Group]:
        """The groups of a step, counted from 0."""
        config = self.config
        singles = [self._visited(number * config.pictures + place) for place in range(config.pictures)]
        found = [self._single(row, visit) for row, visit in singles]
        drawn = random.Random(f"{config.seed}/pairs/{number}")
        while len(found) < config.pictures + config.pairs:
            group = self._pair(drawn)
            if group.texts:
                found.append(group)
        return [one for one in found if one.texts]

    def _visited(self, place: int) -> tuple[int, int]:
        """(row, which place) of one order of all pictures after another."""
        turn, within = divmod(place, len(self._turn))
        if turn not in self._orders:
            order = list(self._turn)
            random.Random(f"{self.config.seed}/order/{turn}").shuffle(order)
            self._orders = {**dict(list(self._orders.items())[-1:]), turn: order}  # a step may lie in two
        return self._orders[turn][within], place

    def _single(self, row: int, visit: int) -> Group:
        facts, config = self.pictures.facts[row], self.config
        drawn = random.Random(f"{config.seed}/{visit}/{facts.sha256}")
        mirrored = config.flips and drawn.random() < 0.5
        writer = Writer(self.pictures.scales, drawn.randrange(1 << 30), config.captions)
        made = list(writer.about(facts, (*PLAIN, drawn.choice(TALK))))
        levels = [one for one in made if one.kind == "level"]
        dropped = {one.id for one in drawn.sample(levels, max(0, len(levels) - config.levels))}
        texts = [text_of(one, self._value(row, one)) for one in made if one.id not in dropped]
        asked = asked_of(facts, self.pictures.scales, drawn)
        texts += [Text(question, answer, kind) for kind, question, answer in asked]
        texts += self.further.get((row,), ())
        kept = (one for one in texts if not (mirrored and SIDED.search(one.answer)))
        return Group((row,), tuple(kept), (mirrored,))

    def _pair(self, drawn: random.Random) -> Group:
        first = drawn.choice(self.rows)
        pool = self.rows if drawn.random() < self.config.across else self._of_source[self.pictures.facts[first].source]
        second = drawn.choice(pool)
        if first == second:
            return Group((first, second), ())
        mirrored = (self.config.flips and drawn.random() < 0.5, self.config.flips and drawn.random() < 0.5)
        return Group((first, second), tuple(self._compared(first, second, drawn)), mirrored)

    def _value(self, row: int, one: Conversation) -> float:
        """Of the attribute that a conversation is about; NaN where it is about none."""
        about = one.turns[-1].claims[0].about if one.kind in ("level", "compare") else ""
        columns = self.pictures.attributes
        return float(self.pictures.values[row, columns.index(about)]) if about in columns else math.nan

    def _compared(self, first: int, second: int, drawn: random.Random) -> Iterator[Text]:
        one, other = self.pictures.facts[first], self.pictures.facts[second]
        writer = Writer(self.pictures.scales, drawn.randrange(1 << 30))
        abouts = sorted(set(one.measured) & set(other.measured))
        for about in drawn.sample(abouts, min(len(abouts), self.config.compared)):
            made = writer.compared(one, other, about)
            if made is not None:
                gap = abs(self._value(first, made) - self._value(second, made))
                yield text_of(made, gap if side_said(made.turns[-1].text) == SIDES[1] else -gap)
        for kind, question, answer in better_of(one, other):
            yield Text(question, answer, kind)
        yield from self.further.get((first, second), ())
