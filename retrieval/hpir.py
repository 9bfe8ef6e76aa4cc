"""An HPIR-format set: queries, two groups of pictures each, and what people said of them; made from votes.

JSONL, kind `beholder-hpir`, format 1, after the Human Preference of Image Retrieval set of arXiv 2406.09397, whose own
file is not public; ours has the parts that the paper names:

    {"kind": "beholder-hpir", "format": 1, "aspects": ["accuracy", "aesthetics", "diversity"]}
    {"qid", "query", "parts", "group_a": [sha256], "group_b": [sha256], "systems": [{"a": config, "b": config}],
     "votes": {"accuracy": ["a"|"b"|"same"|null, ...], "aesthetics": [...], "diversity": [...]},
     "voters": [...], "shown_order": ["ab"|"ba", ...]}

One line per query and unordered pair of groups. Entry i of every list of votes, of `voters` and of `shown_order`
belongs to one showing to one person; a person may have been shown a pair twice, which tells their self-consistency.
"ab": group A was the upper row. Sets made from tables (`bench hpir make`) may not know who said it or in which order
the groups were shown: null. `query` is the words of the query, `parts` all of it (weights, negatives, the sha256 of
pictures).
Deliberate difference: people may say "same", which the paper's screen did not offer; a reader that wants two classes
leaves those out and counts them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError, FormatError
from indexes.records.manifest import sha256_bytes

from .votes import ASPECTS, CHOICES, ORDERS, Showing, Shown, line, mirrored, records

KIND, FORMAT = "beholder-hpir", 1


@dataclass(frozen=True)
class HpirItem:
    """One line of the set; `votes[aspect][i]` belongs to `voters[i]` and `shown_order[i]`."""

    qid: str
    query: str
    parts: Mapping[str, Any]
    group_a: tuple[str, ...]
    group_b: tuple[str, ...]
    systems: tuple[Mapping[str, Any], ...]
    votes: Mapping[str, tuple[str | None, ...]]
    voters: tuple[str | None, ...]
    shown_order: tuple[str | None, ...]


def hpir_items(showings: Sequence[Showing]) -> list[HpirItem]:
    """Showings of the same query and the same two groups, either way round, as one item each, in order of the first.

    Group A is what was A in the first of them; where another has them the other way round, its votes are turned.
    """
    together: dict[str, list[Showing]] = {}
    for showing in showings:
        together.setdefault(_qid(showing.shown), []).append(showing)
    return [_item(qid, members) for qid, members in together.items()]


def hpir_lines(items: Sequence[HpirItem]) -> Iterator[bytes]:
    """The set as a file: a header, then a line per item."""
    yield line({"kind": KIND, "format": FORMAT, "aspects": list(ASPECTS)})
    for item in items:
        yield line(vars(item))


def read_hpir(path: Path) -> list[HpirItem]:
    """The items of a set. Raises FormatError for another kind, a newer format or a damaged line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BeholderError(f"cannot read {path} ({error.strerror})", "an HPIR set", "Check the path.") from error
    return [_read_item(record, f"{path}, line {number}") for number, record in records(path, content, KIND, FORMAT)]


def _read_item(record: Mapping[str, Any], where: str) -> HpirItem:
    try:
        item = HpirItem(
            qid=record["qid"],
            query=record["query"],
            parts=record["parts"],
            group_a=tuple(record["group_a"]),
            group_b=tuple(record["group_b"]),
            systems=tuple(record["systems"]),
            votes={aspect: tuple(record["votes"][aspect]) for aspect in ASPECTS},
            voters=tuple(record["voters"]),
            shown_order=tuple(record["shown_order"]),
        )
    except (KeyError, TypeError) as error:
        raise FormatError(f"{where}: {error!r}", "an item of an HPIR set", "Export it again.") from error
    lengths = {len(item.voters), len(item.shown_order), *map(len, item.votes.values())}
    said = {choice for choices in item.votes.values() for choice in choices}
    if len(lengths) != 1 or not said <= {*CHOICES, None} or not set(item.shown_order) <= {*ORDERS, None}:
        raise FormatError(f"{where}: votes, voters and orders do not fit", "one of each", "Export it again.")
    return item


def _item(qid: str, members: Sequence[Showing]) -> HpirItem:
    first = members[0].shown
    systems: list[Mapping[str, Any]] = []
    rows: list[tuple[str, str, Mapping[str, str]]] = []  # voter, order shown, aspect -> choice
    for showing in members:
        shown = showing.shown
        turned = shown.a.group != first.a.group
        a, b = (shown.b, shown.a) if turned else (shown.a, shown.b)
        system = {"a": dict(a.config), "b": dict(b.config)}
        if system not in systems:
            systems.append(system)
        for voter, said in showing.votes.items():
            seen = {aspect: mirrored(choice) for aspect, choice in said.items()} if turned else said
            rows.append((voter, mirrored(shown.order) if turned else shown.order, seen))
    return HpirItem(
        qid=qid,
        query=first.query,
        parts=first.parts,
        group_a=first.a.group,
        group_b=first.b.group,
        systems=tuple(systems),
        votes={aspect: tuple(said.get(aspect) for _, _, said in rows) for aspect in ASPECTS},
        voters=tuple(voter for voter, _, _ in rows),
        shown_order=tuple(order for _, order, _ in rows),
    )


def _qid(shown: Shown) -> str:
    return item_id(shown.query, shown.parts, shown.a.group, shown.b.group)


def item_id(query: str, parts: Mapping[str, Any], group_a: tuple[str, ...], group_b: tuple[str, ...]) -> str:
    """The name of an item: the same for the same query and groups, either way round."""
    return sha256_bytes(line([query, parts, sorted((group_a, group_b))]))[:16]
