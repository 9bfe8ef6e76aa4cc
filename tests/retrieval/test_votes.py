"""Votes are kept whatever happens after `add` has returned, and come out as an HPIR set that says what people said."""

import json
import multiprocessing
import random
from pathlib import Path

import pytest

from indexes.errors import BeholderError, FormatError
from retrieval.hpir import hpir_items, hpir_lines, read_hpir
from retrieval.votes import ASPECTS, Shown, Side, VoteBook, tally

PLAIN, PRETTY = {"index": "mini"}, {"index": "mini", "beauty": [["saturation", 1.0]]}


def shown(token: str, query: str = "a boat", order: str = "ab", a: str = "123", b: str = "456") -> Shown:
    """Rows of three pictures each, named by a letter."""
    return Shown(token, query, {"text": [query]}, Side(PLAIN, tuple(a)), Side(PRETTY, tuple(b)), order)


def export(book: VoteBook, path: Path) -> Path:
    path.write_bytes(b"".join(hpir_lines(hpir_items(book.showings()))))
    return path


@pytest.mark.parametrize(("order", "row", "choice"), [("ab", 0, "a"), ("ab", 1, "b"), ("ba", 0, "b"), ("ba", 1, "a")])
def test_a_vote_for_a_place_is_a_vote_for_the_row_that_was_shown_there(
    tmp_path: Path, order: str, row: int, choice: str
) -> None:
    book = VoteBook(tmp_path / "votes.jsonl")
    assert book.add(shown("t", order=order), "anna", "accuracy", row) == choice
    assert book.add(shown("t", order=order), "anna", "diversity", -1) == "same"
    assert book.voted("t", "anna") == {"accuracy": choice, "diversity": "same"}


def test_votes_are_there_after_a_restart_and_nothing_is_written_before_the_first(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    book = VoteBook(path)
    assert not path.exists()
    book.add(shown("t1"), "anna", "accuracy", 0)
    book.add(shown("t1"), "ben", "accuracy", 1)
    again = VoteBook(path)
    assert again.voted("t1", "anna") == {"accuracy": "a"}
    again.add(shown("t1"), "anna", "accuracy", 1)  # a change of mind
    assert VoteBook(path).voted("t1", "anna") == {"accuracy": "b"}
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event.get("event", event.get("kind")) for event in events] == [
        "beholder-votes",
        "shown",
        "vote",
        "vote",
        "vote",
    ]


def test_every_place_where_a_crash_may_cut_the_file_keeps_all_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    book = VoteBook(path)
    for voter in ("anna", "ben", "cleo"):
        book.add(shown("t1", "a boat \N{WAVE DASH}"), voter, "aesthetics", 1)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        kept = whole[:cut].count(b'"vote"') if cut == len(whole) or whole[cut - 1 : cut] == b"\n" else None
        torn = VoteBook(path)
        torn.add(shown("t2"), "dora", "aesthetics", 0)
        lines = path.read_bytes().splitlines()
        assert [json.loads(line) for line in lines]
        assert VoteBook(path).voted("t2", "dora") == {"aesthetics": "a"}
        if kept is not None:
            assert sum(b'"vote"' in line for line in lines) == kept + 1


def _vote(path: Path, number: int) -> None:
    book = VoteBook(path)
    for turn in range(20):
        book.add(shown(f"t{turn}"), f"voter {number}", "accuracy", turn % 2)


def test_several_services_add_to_one_file_and_see_each_others_votes(tmp_path: Path) -> None:
    path = tmp_path / "votes.jsonl"
    here = VoteBook(path)
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_vote, args=(path, number)) for number in range(3)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    showings = here.showings()
    assert len(showings) == 20
    assert all(set(showing.votes) == {"voter 0", "voter 1", "voter 2"} for showing in showings)
    assert sum(b'"shown"' in line for line in path.read_bytes().splitlines()) == 20  # each written once


def test_the_set_has_an_item_per_query_and_pair_and_turns_votes_of_turned_pairs(tmp_path: Path) -> None:
    book = VoteBook(tmp_path / "votes.jsonl")
    book.add(shown("t1"), "anna", "accuracy", 0)  # for 123
    book.add(shown("t1"), "anna", "diversity", -1)
    turned = Shown("t2", "a boat", {"text": ["a boat"]}, Side(PRETTY, tuple("456")), Side(PLAIN, tuple("123")), "ab")
    book.add(turned, "ben", "accuracy", 0)  # for 456, which is B of the first
    book.add(shown("t3", "a dog"), "anna", "aesthetics", 1)
    items = read_hpir(export(book, tmp_path / "hpir.jsonl"))
    assert [item.query for item in items] == ["a boat", "a dog"]
    boat = items[0]
    assert (boat.group_a, boat.group_b) == (tuple("123"), tuple("456"))
    assert boat.voters == ("anna", "ben")
    assert boat.votes == {"accuracy": ("a", "b"), "aesthetics": (None, None), "diversity": ("same", None)}
    assert boat.shown_order == ("ab", "ba")  # 456 was the upper row for ben
    assert boat.systems == ({"a": PLAIN, "b": PRETTY},)


def test_random_votes_come_out_of_the_set_as_they_went_in(tmp_path: Path) -> None:
    generator = random.Random(0)
    book, expected = VoteBook(tmp_path / "votes.jsonl"), {}
    for number in range(60):
        pair = generator.choice(["123", "789"])
        one = shown(f"t{number}", generator.choice(["x", "y"]), generator.choice(["ab", "ba"]), a=pair)
        for aspect in generator.sample(ASPECTS, generator.randint(1, 3)):
            row = generator.choice([0, 1, -1])
            book.add(one, f"v{number}", aspect, row)
            picked = {-1: None, 0: one.a, 1: one.b} if one.order == "ab" else {-1: None, 0: one.b, 1: one.a}
            side = picked[row]
            expected[one.query, f"v{number}", aspect] = side.group if side is not None else "same"
    found = {}
    for item in read_hpir(export(book, tmp_path / "hpir.jsonl")):
        groups = {"a": item.group_a, "b": item.group_b, "same": "same"}
        for aspect, choices in item.votes.items():
            for voter, choice in zip(item.voters, choices, strict=True):
                if choice is not None:
                    found[item.query, voter, aspect] = groups[choice]
    assert found == expected


def test_a_tally_counts_a_pair_of_settings_over_all_queries_either_way_round(tmp_path: Path) -> None:
    book = VoteBook(tmp_path / "votes.jsonl")
    book.add(shown("t1", order="ba"), "anna", "accuracy", 0)  # b
    book.add(shown("t2", "a dog"), "anna", "accuracy", 0)  # a
    turned = Shown("t3", "a cat", {}, Side(PRETTY, ("9",)), Side(PLAIN, ("8",)), "ab")
    book.add(turned, "anna", "accuracy", 0)  # PRETTY, which is b
    assert tally(book.showings(), PLAIN, PRETTY)["accuracy"] == {"a": 1, "b": 2, "same": 0}
    assert tally(book.showings(), PRETTY, PLAIN)["accuracy"] == {"a": 2, "b": 1, "same": 0}
    assert tally(book.showings(), PLAIN, PLAIN)["accuracy"] == {"a": 0, "b": 0, "same": 0}


@pytest.mark.parametrize(
    ("voter", "aspect", "row"),
    [("", "accuracy", 0), ("x" * 65, "accuracy", 0), ("a\nb", "accuracy", 0), ("a", "beauty", 0), ("a", "accuracy", 2)],
)
def test_a_vote_that_makes_no_sense_is_refused_in_one_line_and_not_kept(
    tmp_path: Path, voter: str, aspect: str, row: int
) -> None:
    path = tmp_path / "votes.jsonl"
    with pytest.raises(BeholderError):
        VoteBook(path).add(shown("t"), voter, aspect, row)
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [
        b'{"kind": "beholder-hpir", "format": 1}\n',
        b'{"kind": "beholder-votes", "format": 2}\n',
        b'{"kind": "beholder-votes", "format": 1}\nnot json\n',
        b'{"kind": "beholder-votes", "format": 1}\n[]\n',
        b'{"kind": "beholder-votes", "format": 1}\n{"event": "vote", "token": "unknown"}\n',
        b'{"kind": "beholder-votes", "format": 1}\n{"event": "other"}\n',
    ],
)
def test_a_file_that_is_not_ours_newer_or_damaged_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "votes.jsonl"
    path.write_bytes(content)
    with pytest.raises(FormatError):
        VoteBook(path)
    assert path.read_bytes() == content


def test_a_set_whose_lists_do_not_fit_is_refused(tmp_path: Path) -> None:
    book = VoteBook(tmp_path / "votes.jsonl")
    book.add(shown("t1"), "anna", "accuracy", 0)
    path = export(book, tmp_path / "hpir.jsonl")
    header, item = path.read_text().splitlines()
    for wrong in (
        item.replace('["anna"]', '["anna", "ben"]'),
        item.replace('["a"]', '["c"]'),
        item.replace("qid", "id"),
        item.replace('"ab"', '"aa"'),
    ):
        assert wrong != item
        path.write_text(f"{header}\n{wrong}\n")
        with pytest.raises(FormatError, match="line 2"):
            read_hpir(path)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BeholderError, match="--votes"):
        VoteBook(tmp_path / "missing" / "votes.jsonl").add(shown("t"), "anna", "accuracy", 0)
