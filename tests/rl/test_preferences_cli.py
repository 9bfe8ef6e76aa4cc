"""`align preferences` from the command line over sample pictures: every source, its likeliest mistakes, the page."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from rl.preferences import read_preferences

SAMPLES = Path(__file__).parents[2] / "retrieval" / "samples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, beholder):
    place = tmp_path_factory.mktemp("lists")
    pictures = sorted(SAMPLES.glob("*.jpg"))[::6]
    (place / "pictures").mkdir()
    for picture in pictures:
        shutil.copy(picture, place / "pictures" / picture.name)
    beholder(*["embed", "pictures", "p.emb", "--score", "colourfulness"], cwd=place)
    beholder(*["index", "build", "p.emb", "p.index", "--score", "colourfulness"], cwd=place)
    (place / "queries.txt").write_text("a boat\nflowers\n")
    (place / "names").write_text("\n".join(picture.name for picture in pictures))
    return place


@pytest.fixture
def call(folder, beholder):
    fixed = "align", "preferences", "out.parquet", "--index", "p.index"
    return lambda *arguments: beholder(*fixed, *arguments, cwd=folder, check=False)


def names_of(folder):
    return (folder / "names").read_text().split("\n")


def test_from_the_cascade_with_a_page_of_grids(folder, call):
    grid = ["-u", "2", "-v", "3", "--stride", "2", "--rewrite", "suffix:in_soft_light", "--show", "1"]
    done = call("--queries", "queries.txt", "--scorer", "colourfulness:-1", *grid)
    assert done.returncode == 0, done.stderr
    assert "out.parquet: 2 lists, 18 pairs" in done.stdout
    found = read_preferences(folder / "out.parquet")
    assert [one.query for one in found.lists] == ["a boat", "flowers"]
    assert found.lists[0].provenance["rewrite"].endswith("in_soft_light")
    page = (folder / "out.html").read_text()
    assert page.count("<figure") == 6
    assert ">nan<" not in page


def test_from_people_s_scores_choices_votes_and_ranks(folder, call):
    names = names_of(folder)
    hashes = [sha256((folder / "pictures" / name).read_bytes()).hexdigest() for name in names]
    lines = [f"{name}\t{place}\ttrain" for place, name in enumerate(names)]
    (folder / "scores.tsv").write_text("\n".join(["file\tmean_score\tsplit", *lines, "elsewhere.jpg\t3\ttrain"]))
    (folder / "holes.tsv").write_text(
        "\n".join(["file\tmean_score", f"{names[0]}\tnan", *(f"{n}\t1" for n in names[1:])])
    )
    people = ("--phrasing", "a fine picture")
    done = call("--from-scores", "scores.tsv", "--split", "train", "--lists", "3", "--length", "4", *people)
    assert "3 lists, 18 pairs" in done.stdout, done.stderr
    assert "left out: 1 pictures that are not in the index" in done.stdout
    holes = call("--from-scores", "holes.tsv", *people)
    assert "1 pictures whose score is no number" in holes.stdout + holes.stderr
    for one in read_preferences(folder / "out.parquet").lists:
        for better, worse in zip(one.better, one.worse, strict=True):
            assert hashes.index(one.pictures[better]) > hashes.index(one.pictures[worse])
    pairs = "file_1\tfile_2\twins_1\twins_2\n" + f"{names[0]}\t{names[1]}\t1\t3\n{names[1]}\t{names[2]}\t2\t2\n"
    pairs += f"{names[0]}\t{names[2]}\tnan\t2\n"
    (folder / "pairs.tsv").write_text(pairs)
    done = call("--from-pairs", "pairs.tsv", *people)
    assert "1 lists, 1 pairs" in done.stdout, done.stderr
    assert "left out: 1 choices whose votes are no numbers" in done.stdout
    assert read_preferences(folder / "out.parquet").lists[0].pictures == (hashes[1], hashes[0])
    row = {"prompt": "boats", "generations": names[:3], "ranking": [3, 1, 2]}
    (folder / "ranked.json").write_text(json.dumps([row]))
    done = call("--from-ranked", "ranked.json")
    assert "1 lists, 3 pairs" in done.stdout, done.stderr
    assert "left out" not in done.stdout
    votes = {"accuracy": [None, None], "aesthetics": ["b", "b"], "diversity": [None, None]}
    item = {"qid": "1", "query": "boats", "parts": {}, "group_a": hashes[:2], "group_b": hashes[2:4], "systems": []}
    item |= {"votes": votes, "voters": ["x", "y"], "shown_order": ["ab", "ba"]}
    head = {"kind": "beholder-hpir", "format": 1, "aspects": list(votes)}
    (folder / "hpir.jsonl").write_text(f"{json.dumps(head)}\n{json.dumps(item)}\n")
    done = call("--from-votes", "hpir.jsonl")
    assert "1 lists, 4 pairs" in done.stdout, done.stderr
    assert read_preferences(folder / "out.parquet").lists[0].pictures == (*hashes[2:4], *hashes[:2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "0 sources"),
        (("--queries", "queries.txt", "--from-scores", "scores.tsv"), "2 sources"),
        (("--queries", "queries.txt"), "no scorer"),
        (("--queries", "queries.txt", "--scorer", "beauty"), "no scores of beauty"),
        (("--queries", "queries.txt", "--scorer", "colourfulness"), "expected 241"),
        (("--queries", "queries.txt", "--scorer", "colourfulness", "--pairs", "all"), "--pairs all"),
        (("--queries", "queries.txt", "--scorer", "colourfulness:much"), "NAME or NAME:WEIGHT"),
        (("--queries", "none.txt", "--scorer", "colourfulness", "-u", "1", "-v", "2"), "none.txt cannot be read"),
        (("--from-scores", "none.tsv", "--phrasing", "x"), "there is no table"),
    ],
)
def test_mistakes_are_one_line(call, arguments, message):
    done = call(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_pictures_kept_for_evaluation_are_refused(folder, call):
    name = names_of(folder)[0]
    (folder / "kept.txt").write_text(sha256((folder / "pictures" / name).read_bytes()).hexdigest() + "  # val\n")
    done = call("--queries", "queries.txt", "--scorer", "colourfulness", "-u", "1", "-v", "2", "--exclude", "kept.txt")
    assert done.returncode == 2
    assert "holds 1 pictures that are kept for evaluation" in done.stderr
    (folder / "two.tsv").write_text(f"file\tmean_score\n{name}\t1\n{names_of(folder)[1]}\t2\n")
    done = call("--from-scores", "two.tsv", "--phrasing", "x", "--lists", "1", "--exclude", "kept.txt")
    assert "1 lists hold pictures that are kept for evaluation" in done.stderr


def test_the_shipped_list_is_of_sha256s_and_another_s_bad_line_is_named():
    from benchmarks.tables.evaluation import evaluation_pictures, read_hashes
    from indexes.errors import FormatError

    assert len(evaluation_pictures()) > 1800
    assert read_hashes("# a remark\n" + "a" * 64 + "  # val\n\n", "x") == {"a" * 64}
    with pytest.raises(FormatError, match=r"kept\.txt, line 2 is 'photo\.jpg'"):
        read_hashes("a" * 64 + "\nphoto.jpg\n", "kept.txt")
