"""`align critic data` from people's reviews, from titles, from other files and from choices: what is kept and what is
counted, against a server that says what was recorded."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexes.errors import BeholderError, ConditionFailed
from retrieval.conversations import read_conversations
from rl.critic.critique_data import Review, from_critiques
from rl.critic.title_data import Painting, from_titles, names_in
from rl.critic.written_data import open_writers, refuses, shared_words

HERE = Path(__file__).parent
SAMPLES = HERE.parents[1] / "retrieval" / "samples"
WHISTLER = Painting("w.jpg", "Nocturne, Blue and Gold, Southampton Water", "James McNeill Whistler")
KLIMT = Painting("k.jpg", "Sonja Knips", "Gustav Klimt")
DOGS = Painting("j.jpg", "One Hundred Dogs (1799)", "Ito Jakuchu")
CITY = Painting("c.jpg", "City", "Olga Rozanova")
BOAT = "The light on the old boat is lovely and the low sun gives the wood a warm glow."
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with subprocess.Popen([sys.executable, str(HERE / "recorded_server.py")], stdout=subprocess.PIPE, text=True) as one:
        assert one.stdout is not None
        yield f"http://127.0.0.1:{int(one.stdout.readline())}/v1"
        one.terminate()


def test_titles_become_analyses_where_models_know_and_agree(server: str, tmp_path: Path) -> None:
    writers = open_writers([f"llm:one@{server}", f"llm:two@{server}"], tmp_path / "kept.sqlite", 512, 2)
    made = from_titles([WHISTLER, KLIMT, DOGS, CITY], writers, source="samples", licence="public domain")
    asked = {(one.pictures[0], one.id.rpartition("-")[2]) for one in made.conversations}
    # Two models agree on colour and light of the first, on composition and figures of the second.
    assert asked == {("w.jpg", "whole"), ("w.jpg", "colour"), ("k.jpg", "whole"), ("k.jpg", "composition")}
    assert made.rejected == {
        "paintings that the writing model does not know": 1,  # City, though the other one knows it
        "elements that too few models name": 3 + 3 + 2,
        "names the title or the painter": 1,  # "Whistler keeps them small"
        "an analysis of fewer than 40 or more than 300 words": 1,
        "a refusal in place of an analysis": 1,  # of the dogs
    }
    for one in made.conversations:
        assert not names_in(one.turns[1].text, next(p for p in (WHISTLER, KLIMT) if p.picture == one.pictures[0]))
        assert one.kind == "formal"


def test_a_title_or_a_painter_given_away_is_found() -> None:
    assert names_in("Here Klimt lets the ground be.", KLIMT) == ["klimt"]
    assert names_in("The sitter, Sonja Knips, looks up.", KLIMT) == ["sonja knips"]
    assert names_in("A city at night.", CITY) == []  # a plain word cannot be told from the title
    assert names_in("There are one hundred dogs.", DOGS) == ["one hundred dogs"]


def test_reviews_become_typed_questions_that_rest_on_them(server: str, tmp_path: Path) -> None:
    writers = open_writers([f"llm:one@{server}"], tmp_path / "kept.sqlite", 512, 2)
    reviews = [
        Review("1", {"general_impression": BOAT, "composition": "Place the horizon lower, it cuts the mast."}, "b.jpg"),
        Review("2", {"general_impression": "Nice."}),
        Review("3", {"general_impression": "Never recorded."}),
    ]
    made = from_critiques(reviews, writers, source="reviews", licence="")
    assert [one.kind for one in made.conversations] == ["critique/what", "critique/improve"]
    assert [one.pictures for one in made.conversations] == [("b.jpg",)] * 2
    assert sum(made.rejected.values()) == 4
    assert made.rejected["speaks of the review"] == made.rejected["does not rest on the review"] == 1
    assert made.rejected["nothing of use in the review"] == 1
    assert any(reason.startswith("no answer") for reason in made.rejected)


def test_nobody_at_the_address_ends_the_run(tmp_path: Path) -> None:
    writers = open_writers(["llm:one@http://127.0.0.1:9/v1"], None, 512, 2)
    with pytest.raises(ConditionFailed, match="one:"):
        from_critiques([Review("1", {"x": "A review."})], writers, source="r", licence="")


def test_writers_must_be_different_models() -> None:
    with pytest.raises(BeholderError, match="twice"):
        open_writers(["llm:a@http://localhost:1/v1", "llm:a@http://localhost:2/v1"], None, 1, 1)
    with pytest.raises(BeholderError, match="no model"):
        open_writers([], None, 1, 1)
    with pytest.raises(BeholderError, match="hf:x"):
        open_writers(["hf:x"], None, 1, 1)


def test_words_shared_with_a_source() -> None:
    assert shared_words("The lighting is glowing", "soft light and a glowing sky") == 1.0
    assert shared_words("Penguins dance cheerfully", "soft light") == 0.0
    assert shared_words("It is", "x") == 1.0
    assert refuses("I'm sorry, but no.")
    assert not refuses("A sorry state of a boat.")


def test_the_verb_from_titles_to_a_file(server: str, tmp_path: Path, beholder: Run) -> None:
    rows = list(csv.DictReader((SAMPLES / "SOURCES.tsv").open(encoding="utf-8"), delimiter="\t"))
    chosen = [row for row in rows if row["title"] in (WHISTLER.title, KLIMT.title)]
    (tmp_path / "art").mkdir()
    lines = ["file\ttitle\tartist"]
    for row in chosen:
        shutil.copy(SAMPLES / row["file"], tmp_path / "art" / row["file"])
        lines.append(f"{row['file']}\t{row['title']}\t{row['author']}")
    lines.append("gone.jpg\tGone\tNobody")
    (tmp_path / "art" / "titles.tsv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out.jsonl"
    given = ["align", "critic", "data", out, "--from-titles", tmp_path / "art/titles.tsv", "--data", tmp_path]
    said = beholder(*given, "--model", f"llm:one@{server}", "--model", f"llm:two@{server}", "--dev-share", "0").stdout
    assert "4 conversations about 2 pictures" in said
    assert "left out: 1 (missing pictures)" in said
    read = read_conversations(out, tmp_path)
    assert read.problems == ()
    assert "not what they saw" in read.origin["rests_on"]
    assert str(tmp_path) not in out.read_text()


def test_the_verb_reads_other_files_and_counts(tmp_path: Path, beholder: Run) -> None:
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A vase."}]
    rows = [{"image": "1.jpg", "conversations": turns}, {"image": "2.jpg", "conversations": turns[:1]}]
    (tmp_path / "1.jpg").write_bytes(b"x")
    (tmp_path / "llava.json").write_text(json.dumps(rows))
    out = tmp_path / "out.jsonl"
    said = beholder("align", "critic", "data", out, "--from-file", tmp_path / "llava.json", "--data", tmp_path).stdout
    assert "1 conversations about 1 pictures" in said
    assert "left out: 1 (wrong order of turns), line 1" in said
    wrong = beholder("align", "critic", "data", out, check=False)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    wrong = beholder("align", "critic", "data", out, "--from-file", "x", "--format", "coco", check=False)
    assert "--format coco" in wrong.stderr


def test_choices_of_people_become_preference_pairs(tmp_path: Path, beholder: Run) -> None:
    pages = tmp_path / "pages"
    pages.mkdir()
    for name in "abc":
        (pages / f"{name}.jpg").write_bytes(b"x")
    (pages / "items.tsv").write_text("file\tsplit\na.jpg\ttrain\nb.jpg\ttrain\nc.jpg\ttest\n")
    (pages / "pairs.tsv").write_text("file_1\tfile_2\twins_1\twins_2\na.jpg\tb.jpg\t2\t0\na.jpg\tc.jpg\t1\t0\n")
    out = tmp_path / "out.jsonl"
    said = beholder("align", "critic", "data", out, "--from-pairs", pages / "pairs.tsv", "--data", tmp_path).stdout
    assert "left out: 2 (pictures of different splits)" in said
    read = read_conversations(out, tmp_path)
    assert {one.rejected for one in read.conversations} == {"The first one.", "The second one."}


def test_reviews_of_the_sample(server: str, tmp_path: Path, data: Path, beholder: Run) -> None:
    out = tmp_path / "out.jsonl"
    table = data / "labels" / "pccd_reviews_sample.tsv"
    given = ["align", "critic", "data", out, "--from-critiques", table, "--limit", "100"]
    told = beholder(*given, "--model", f"llm:rules-1@{server}").stdout
    read = read_conversations(out)
    assert read.origin["reviews"] == 100
    assert len(read.conversations) > 200
    assert all(not one.pictures for one in read.conversations)  # the sample has none
    assert "no answer" in told  # one in twenty was not what was asked for
    assert {one.split for one in read.conversations} == {"train", "dev"}


def test_titles_of_people_art(server: str, tmp_path: Path, data: Path, beholder: Run) -> None:
    out = tmp_path / "out.jsonl"
    given = ["align", "critic", "data", out, "--from-titles", data / "peopleart" / "items.tsv", "--data", data]
    models = [word for n in (1, 2, 3) for word in ("--model", f"llm:rules-{n}@{server}")]
    told = beholder(*given, *models, "--limit", "30").stdout
    read = read_conversations(out, data)
    assert read.problems == ()
    assert 30 < len(read.conversations) < 30 * 6
    assert all(one.sha256s for one in read.conversations)
    assert "elements that too few models name" in told
    again = beholder(*given, *models, "--limit", "30").stdout  # from what was kept
    assert again.splitlines()[:-1] == told.splitlines()[:-1]


@pytest.fixture
def data() -> Path:
    root = os.environ.get("BEHOLDER_DATA")
    if not root:
        pytest.skip("BEHOLDER_DATA is not set")
    return Path(root)
