"""The arms of rewriting that ask a model: what each asks for, and how its answer becomes a query.

Names and idea are the paper's (2406.09397: detail, k list, kw dict, reorg), the wording is ours: its prompts are not
public in readable form. A deliberate difference: the query's own words always stand first, so that they survive where
the text tower cuts. `pattern` is ours: words, with a mark where the query stands. It is what `align rewriter` trains,
as a style named in front of the query counts for more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from indexes.errors import BeholderError
from retrieval.language.chat_schema import Schema, object_schema
from retrieval.language.prompt import Prompt, read_prompt

from .checks import Draft, clean
from .offline import bare
from .rewriter import ARMS

ELEMENTS = 5  # of k-list unless told
MOST_ELEMENTS = 20
ASPECTS = "style", "light", "colour", "composition", "mood"
MARK = "<query>"  # in an answer of the arm `pattern`: where the query's own words stand
STRINGS = {"type": "array", "items": {"type": "string"}, "maxItems": 50}


@dataclass(frozen=True)
class Arm:
    """One way to ask: its prompt, the JSON that it wants, and what is made of query and answer."""

    name: str
    prompt: Prompt
    schema: Schema | None  # None: the answer is words
    compose: Callable[[str, Any], Draft]
    elements: int = 0

    def question(self, text: str) -> tuple[str, str]:
        """System and user text for a query."""
        return self.prompt.filled({"query": " ".join(text.split()), "k": self.elements})


def load_arm(spec: str) -> Arm:
    """The arm of `detail`, `k-list`, `k-list=K`, `kw-dict` or `reorg`. Raises BeholderError for another."""
    name, equals, number = (spec or ARMS[0]).partition("=")
    if name not in ARMS or (equals and name != "k-list"):
        raise BeholderError(f"there is no arm {spec!r}", ", ".join(ARMS), "Example: --rewrite llm:MODEL#k-list=5")
    elements = ELEMENTS
    if equals:
        if not (number.isascii() and number.isdecimal() and 1 <= int(number) <= MOST_ELEMENTS):
            raise BeholderError(f"k-list={number}", f"1 to {MOST_ELEMENTS} elements", "Example: k-list=5")
        elements = int(number)
    prompt = read_prompt(f"rewrite-{name}-1")
    if name == "detail":
        return Arm(name, prompt, object_schema({"query": {"type": "string"}}), detailed)
    if name == "reorg":
        return Arm(name, prompt, object_schema({"query": {"type": "string"}}), reorganised)
    if name == "pattern":
        return Arm(name, prompt, None, filled)
    if name == "kw-dict":
        return Arm(name, prompt, object_schema(dict.fromkeys(ASPECTS, STRINGS)), with_keywords)
    return Arm(f"{name}={elements}", prompt, object_schema({"elements": STRINGS}), _listed(elements), elements)


def detailed(query: str, answer: Any) -> Draft:
    """The model's sentence; with the query before it where it does not begin so. The sentence must be on the topic."""
    said = clean(answer["query"])
    text = said if _words(said)[: len(_words(query))] == _words(query) else f"{bare(query)}, {said}"
    return Draft(text if said else "", judged=said)


def filled(query: str, answer: str) -> Draft:
    """The answer with the query where MARK stands first; without a mark, the query before it. That the query's words
    are kept needs no model to copy them."""
    said = clean(answer)
    before, mark, after = said.partition(MARK)
    added = f"{before} {after}".replace(MARK, " ")
    if not any(character.isalnum() for character in added):
        return Draft("")
    text = f"{before}{bare(query)}{after.replace(MARK, '')}" if mark else f"{bare(query)}, {said}"
    return Draft(text, judged=text)


def reorganised(query: str, answer: Any) -> Draft:
    """The model's sentence alone: this control adds nothing."""
    return Draft(answer["query"], judged=answer["query"])


def with_keywords(query: str, answer: Any) -> Draft:
    """Keywords of all aspects behind the query, those of style first."""
    return _appended(query, [word for aspect in ASPECTS for word in answer[aspect]])


def _listed(elements: int) -> Callable[[str, Any], Draft]:
    def listed(query: str, answer: Any) -> Draft:
        return _appended(query, answer["elements"][:elements])

    return listed


def _appended(query: str, additions: list[str]) -> Draft:
    """Query and additions. Light and mood are by themselves not near any subject, so all together must be."""
    cleaned = dict.fromkeys(clean(addition).strip(" .,;") for addition in additions)
    kept = [addition for addition in cleaned if any(character.isalnum() for character in addition)]
    text = ", ".join([bare(query), *kept])
    return Draft(text, judged=text) if kept else Draft("")


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text.casefold()).split()
