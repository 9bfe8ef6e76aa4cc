"""Sets of human preference: what people said comes out unchanged, train and test share nothing, the seed decides."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.hpir.draw import draw_groups, draw_share
from benchmarks.hpir.make import HpirMakeConfig, make
from benchmarks.tables.hpir_set import pictures_of, read_set
from indexes.errors import BeholderError, FormatError
from retrieval.hpir import hpir_items, hpir_lines
from retrieval.votes import Shown, Side, VoteBook

QUERY = "a beautiful picture"


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """20 'pictures' (bytes are enough here) with scores 0 to 19, the last six for the test; and choices."""
    folder = tmp_path / "rated"
    folder.mkdir()
    lines = ["file\tscore\tsplit"]
    for number in range(20):
        (folder / f"{number:02d}.jpg").write_bytes(f"picture {number}".encode())
        lines.append(f"{number:02d}.jpg\t{number}\t{'test' if number > 13 else 'train'}")
    (folder / "items.tsv").write_text("\n".join(lines) + "\n")
    choices = ["file_1\tfile_2\twins_1\twins_2"]
    for one in range(20):
        for other in range(one):
            choices.append(f"{one:02d}.jpg\t{other:02d}.jpg\t3\t1")
    (folder / "pairs.tsv").write_text("\n".join(choices) + "\n")
    return folder


def digest(number: int) -> str:
    return hashlib.sha256(f"picture {number}".encode()).hexdigest()


NUMBERS = {digest(number): number for number in range(20)}


def from_scores(rated: Path, out: str, **options: object) -> Path:
    make(HpirMakeConfig(rated.parent / out, scores=rated / "items.tsv", query=QUERY, **options))  # type: ignore[arg-type]
    return rated.parent / out


def from_pairs(rated: Path, out: str, **options: object) -> Path:
    make(HpirMakeConfig(rated.parent / out, pairs=rated / "pairs.tsv", query=QUERY, **options))  # type: ignore[arg-type]
    return rated.parent / out


def test_scores_make_every_pair_of_a_split_once_and_the_higher_score_wins(rated: Path) -> None:
    made = read_set(from_scores(rated, "set"))
    assert len(made.items) == 6 * 5 // 2
    assert len({frozenset((*item.group_a, *item.group_b)) for item in made.items}) == 15
    for item in made.items:
        a, b = NUMBERS[item.group_a[0]], NUMBERS[item.group_b[0]]
        assert min(a, b) > 13
        assert item.votes == {"aesthetics": ("a" if a > b else "b",), "accuracy": (None,), "diversity": (None,)}
        assert (item.query, item.parts, item.shown_order) == (QUERY, {"text": [QUERY]}, (None,))
    winners = [item.votes["aesthetics"][0] for item in made.items]
    assert set(winners) == {"a", "b"}  # the better one does not always stand first
    assert sorted(made.made["test_pictures"]) == sorted(digest(number) for number in range(14, 20))


def test_train_and_test_never_share_a_picture_even_under_two_names(rated: Path) -> None:
    shutil.copy(rated / "15.jpg", rated / "copy.jpg")
    with (rated / "items.tsv").open("a") as stream:
        stream.write("copy.jpg\t15\ttrain\n")
    for number, folder in enumerate((from_scores(rated, "a"), from_pairs(rated, "b", splits=rated / "items.tsv"))):
        test, train = (set(pictures_of(read_set(folder, split).items)) for split in ("test", "train"))
        assert test == {digest(number) for number in range(14, 20)}
        assert train == {digest(number) for number in range(14)}
        assert not test & train, number
    drawn = from_scores(rated, "c", test_share=0.3)
    test, train = (set(pictures_of(read_set(drawn, split).items)) for split in ("test", "train"))
    assert (len(test), len(train)) == (6, 14)
    assert not test & train


def test_groups_have_the_size_and_the_gap_and_no_common_picture(rated: Path) -> None:
    made = read_set(from_scores(rated, "set", size=3, gap=2.5, items=40, test_share=1.0))
    assert len({item.qid for item in made.items}) == 40
    for item in made.items:
        assert len({*item.group_a, *item.group_b}) == 6
        means = [np.mean([NUMBERS[sha256] for sha256 in group]) for group in (item.group_a, item.group_b)]
        assert abs(means[0] - means[1]) >= 2.5
        assert item.votes["aesthetics"] == ("a" if means[0] > means[1] else "b",)


def test_the_seed_decides_all_and_is_kept(rated: Path) -> None:
    options = {"size": 2, "items": 30, "test_share": 0.5}
    first, again, other = (
        from_scores(rated, name, seed=seed, **options) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    for name in ("test.jsonl", "train.jsonl", "manifest.json"):
        assert (first / name).read_bytes() == (again / name).read_bytes()
        assert (first / name).read_bytes() != (other / name).read_bytes()
    manifest = json.loads((first / "manifest.json").read_text())
    assert manifest["settings"]["seed"] == 1
    assert str(rated.parent) not in (first / "manifest.json").read_text()  # no path of the machine


def test_choices_are_items_with_their_votes_as_they_are(rated: Path) -> None:
    with (rated / "pairs.tsv").open("a") as stream:
        stream.write("18.jpg\t19.jpg\t0\t2\n14.jpg\t15.jpg\t0\t0\n")  # a pair again, the other way round; and no choice
    made = read_set(from_pairs(rated, "set", splits=rated / "items.tsv"))
    assert len(made.items) == 15
    votes = {(NUMBERS[i.group_a[0]], NUMBERS[i.group_b[0]]): i.votes["aesthetics"] for i in made.items}
    assert votes[19, 18] == ("a", "a", "a", "b", "a", "a")
    assert votes[15, 14] == ("a", "a", "a", "b")
    assert made.made["left_out"]["choices between pictures that are not two of one split"] == 4 * 6 * 14


def test_all_choices_are_the_test_with_a_share_of_one(rated: Path) -> None:
    made = from_pairs(rated, "set", test_share=1.0)
    assert len(read_set(made).items) == 190
    with pytest.raises(FormatError, match="no split train"):
        read_set(made, "train")


def test_bradley_terry_orders_groups_as_the_choices_do(rated: Path) -> None:
    made = read_set(from_pairs(rated, "set", bradley_terry=True, test_share=1.0, size=2, gap=0.5, items=25))
    assert len(made.items) == 25
    for item in made.items:
        sums = [sum(NUMBERS[sha256] for sha256 in group) for group in (item.group_a, item.group_b)]
        assert item.votes["aesthetics"] == ("a" if sums[0] > sums[1] else "b",)


def shown(token: str, query: str, a: tuple[str, ...], b: tuple[str, ...]) -> Shown:
    return Shown(token, query, {"text": [query]}, Side({}, a), Side({"beauty": 1}, b), "ab")


@pytest.fixture
def book(tmp_path: Path) -> VoteBook:
    """Ten queries, of which q0 and q1 share a picture."""
    book = VoteBook(tmp_path / "votes.jsonl")
    for number in range(10):
        a = (f"{number}a", "x" if number < 2 else f"{number}c")
        one = shown(f"t{number}", f"q{number}", a, (f"{number}b", f"{number}d"))
        for voter, row in (("anna", 0), ("ben", 0), ("cleo", 1)):
            book.add(one, voter, "accuracy", row)
    return book


def test_exports_and_votes_files_of_the_page_are_parted_by_query_without_a_common_picture(book: VoteBook) -> None:
    place = book.path.parent
    export = place / "hpir.jsonl"
    export.write_bytes(b"".join(hpir_lines(hpir_items(book.showings()))))
    for name, source in (("a", export), ("b", book.path)):
        make(HpirMakeConfig(place / name, export=(source,), test_share=0.3, seed=0))
    assert (place / "a" / "test.jsonl").read_bytes() == (place / "b" / "test.jsonl").read_bytes()
    test, train = (read_set(place / "a", split).items for split in ("test", "train"))
    assert len({item.query for item in test}) == 3
    assert not {item.query for item in test} & {item.query for item in train}
    assert not set(pictures_of(test)) & set(pictures_of(train))
    assert test[0].votes["accuracy"] == ("a", "a", "b")
    assert test[0].voters == ("anna", "ben", "cleo")


def test_training_items_with_a_picture_of_the_test_are_left_out_and_counted(book: VoteBook) -> None:
    place = book.path.parent
    for seed in range(20):
        made = make(HpirMakeConfig(place / str(seed), export=(book.path,), test_share=0.5, seed=seed))
        test = {item.query for item in read_set(place / str(seed)).items}
        apart = len({"q0", "q1"} & test) == 1
        assert made.left_out["training items that share a picture with the test"] == int(apart)
        assert made.items["test"] == 5
        assert made.items["train"] == 5 - int(apart)


def test_an_export_given_twice_is_refused(book: VoteBook) -> None:
    with pytest.raises(BeholderError, match="twice"):
        make(HpirMakeConfig(book.path.parent / "set", export=(book.path, book.path), test_share=1.0))


def test_drawing_is_by_seed_whatever_the_order_of_names() -> None:
    names = [f"n{number}" for number in range(50)]
    assert draw_share(names, 0.2, 3) == draw_share(names[::-1], 0.2, 3)
    assert len(draw_share(names, 0.2, 3)) == 10
    assert draw_share(names, 1.0, 3) == set(names)
    scores = np.arange(30.0)
    assert [(a.tolist(), b.tolist()) for a, b in draw_groups(scores, 1, 0, 10, 5)] == [
        (a.tolist(), b.tolist()) for a, b in draw_groups(scores, 1, 0, 10, 5)
    ]


def test_equal_scores_make_no_pair() -> None:
    assert len(draw_groups(np.array([1.0, 1.0, 2.0]), 1, 0, 0, 0)) == 2
    with pytest.raises(BeholderError, match="no two pictures"):
        draw_groups(np.ones(5), 1, 0, 0, 0)


def spoil(rated: Path, kind: str) -> None:
    items = rated / "items.tsv"
    text = items.read_text()
    changes = {
        "a score that is no number": lambda: items.write_text(text.replace("\t15\t", "\tfine\t")),
        "a missing picture": lambda: (rated / "03.jpg").unlink(),
        "no rows": lambda: items.write_text("file\tscore\tsplit\n"),
        "no such column": lambda: items.write_text(text.replace("score", "rating")),
        "no pictures' column": lambda: items.write_text(text.replace("file", "page")),
        "no test split": lambda: items.write_text(text.replace("\ttest", "\tval")),
        "no table": items.unlink,
        "not text": lambda: items.write_bytes(b"file\tscore\n\xff\xfe"),
        "outside": lambda: items.write_text(text.replace("03.jpg", "../03.jpg")),
    }
    changes[kind]()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("a score that is no number", "15.jpg has the score 'fine'"),
        ("a missing picture", "1 of 20 pictures of the table are missing (first: 03.jpg)"),
        ("no rows", "no rows"),
        ("no such column", "no column 'score'"),
        ("no pictures' column", "no column of pictures"),
        ("no test split", "no picture is in the split 'test'"),
        ("no table", "there is no table"),
        ("not text", "not UTF-8"),
        ("outside", "outside"),
    ],
)
def test_a_wrong_table_is_one_clear_line(rated: Path, kind: str, words: str) -> None:
    spoil(rated, kind)
    with pytest.raises(BeholderError) as caught:
        from_scores(rated, "set")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (rated.parent / "set").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 5}, "6 pictures"),  # two groups of five out of six
        ({"gap": 30.0}, "no two pictures differ by 30"),
        ({"items": 500}, "15 of 500 items differ"),
        ({"size": 2, "items": 500, "test_share": 0.3}, "of 500 items differ"),
        ({"test_share": 0.0}, "a test share of 0"),
        ({"size": 0}, "groups of 0"),
        ({"aspect": "beauty"}, "the aspect 'beauty'"),
        ({"bradley_terry": True}, "--bradley-terry needs --pairs"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_line(rated: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(BeholderError) as caught:
        from_scores(rated, "set", **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_choices_that_are_no_counts_are_refused(rated: Path) -> None:
    text = (rated / "pairs.tsv").read_text()
    (rated / "pairs.tsv").write_text(text.replace("\t3\t1\n", "\tmany\t1\n", 1))
    with pytest.raises(FormatError, match="wins_1 'many'"):
        from_pairs(rated, "set", test_share=1.0)
    with pytest.raises(BeholderError, match="needs --splits or --test-share"):
        from_pairs(rated, "set")


def test_no_source_and_two_sources_are_refused(rated: Path) -> None:
    out = rated.parent / "set"
    for sources in ({}, {"scores": rated / "items.tsv", "pairs": rated / "pairs.tsv", "test_share": 1.0}):
        with pytest.raises(BeholderError, match="give one of --scores, --pairs and --export"):
            HpirMakeConfig(out, query=QUERY, **sources)  # type: ignore[arg-type]
    with pytest.raises(BeholderError, match="give --query"):
        HpirMakeConfig(out, scores=rated / "items.tsv")


def test_a_made_set_that_was_changed_cut_or_is_newer_is_refused(rated: Path) -> None:
    folder = from_scores(rated, "set")
    whole = (folder / "test.jsonl").read_bytes()
    (folder / "test.jsonl").write_bytes(whole[:-20])
    with pytest.raises(FormatError, match=r"bytes|sha256"):
        read_set(folder)
    (folder / "test.jsonl").write_bytes(whole)
    manifest = json.loads((folder / "manifest.json").read_text())
    for change, words in (
        ({"format": 2}, "format 2"),
        ({"kind": "beholder-index"}, "beholder-index"),
        ({"files": 3}, "whole"),
    ):
        (folder / "manifest.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(FormatError, match=words):
            read_set(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(FormatError):
        read_set(folder)


def test_a_line_that_is_wrong_is_named_by_its_number(rated: Path) -> None:
    lines = (from_scores(rated, "set") / "test.jsonl").read_text().splitlines()
    file = rated.parent / "lone.jsonl"
    broken = json.loads(lines[3])
    del broken["group_b"]
    for third, words in (
        ("{", "line 4 is not JSON"),
        (json.dumps(broken), "line 4: KeyError"),
        ("[]", "line 4 is not an object"),
    ):
        file.write_text("\n".join([*lines[:3], third, *lines[4:]]) + "\n")
        with pytest.raises(FormatError, match=words):
            read_set(file)
    file.write_text("\n".join(lines) + "\n")
    assert len(read_set(file).items) == 15
    file.write_text(lines[0] + "\n")
    with pytest.raises(BeholderError, match="holds no items"):
        read_set(file)


def test_the_command_says_what_it_made(rated: Path) -> None:
    words = ["hpir", "make", str(rated.parent / "set"), "--scores", str(rated / "items.tsv"), "--query", QUERY]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["test: 15 items of 6 pictures", "train: 91 items of 14 pictures"]
    assert "Example:" in CliRunner().invoke(app, ["hpir", "make", "--help"]).stdout
