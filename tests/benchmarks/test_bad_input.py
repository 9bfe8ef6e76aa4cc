"""Every verb of `bench` with a wrong file, an empty set, one query, all ties and missing pictures: one clear line each,
an error that names what is wrong, or the result with a line that says how little it means."""

from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from benchmarks.cli import app
from indexes.building.build import build_index
from indexes.building.index_config import IndexConfig
from indexes.errors import BeholderError
from retrieval.encoding.pipeline import EmbedConfig, embed
from retrieval.scoring.scoring import ScoreConfig, score_embeddings
from tests.benchmarks.bad_input import KINDS, write_bad

VERBS = {
    "retrieval": "retrieval K/captions.tsv --text-column caption --model MODEL --pictures PICTURES",
    "labels": "retrieval K/labels.tsv --label-column style --model MODEL --pictures PICTURES",
    "through an index": "retrieval K/captions.tsv --text-column caption --model MODEL --index INDEX",
    "index": "index EMBEDDINGS K/captions.tsv --model MODEL",
    "cutoff": "cutoff INDEX K/captions.tsv --model MODEL",
    "negatives": "negatives INDEX K/captions.tsv",
    "pareto": "pareto K/captions.tsv --model MODEL --scorer brightness --embeddings EMBEDDINGS",
    "rewriting": "rewriting K/captions.tsv --model MODEL --pictures PICTURES",
    "look": "look K/captions.tsv --base MODEL --pictures PICTURES",
    "aesthetics": "aesthetics K/scores.tsv --score-column score --scorer brightness --pictures PICTURES",
    "choices": "aesthetics K/pairs.tsv --scorer brightness --pictures PICTURES",
    "hpir make": "hpir make K/made --scores K/scores.tsv --query beautiful",
    "hpir make, choices": "hpir make K/made --pairs K/pairs.tsv --query beautiful --test-share 1",
    "hpir score": "hpir score K/set.jsonl --scorer brightness --pictures PICTURES",
    "judge": "judge INDEX K/queries.txt --model-a MODEL --model-b MODEL --judge offline:MODEL --b {}",
    "knowledge check": "knowledge check K/labels.tsv K/knowledge.tsv K/rewrites.tsv",
    "knowledge": "knowledge measure K/labels.tsv K/knowledge.tsv K/rewrites.tsv --model MODEL",
    "speed embed": "speed embed K --model MODEL --repeats 1 --workers 1",
    "speed embed, elsewhere": "speed embed K/elsewhere --model MODEL",
    "speed search": "speed search --index INDEX --texts K/queries.txt --model MODEL --repeats 1",
    "speed serve": "speed serve --text-index INDEX --texts K/queries.txt --count 1000 --width 16 --seconds 0.1",
    "scale": "scale K/run.json K/run.json",
}
NOT_TEXT, NO_ROWS, SOME_PICTURES = (
    "not UTF-8|cannot be read|is not JSON",
    "has no rows",
    "are not under .*first: gone-00.png",
)
TEN = "24 pictures; expected at least 100"
# verb -> what is said of: wrong, empty, one, ties, missing; None: no such input, or a test of its own
SAID: dict[str, tuple[str | None, ...]] = {
    "retrieval": (NOT_TEXT, NO_ROWS, "every one of 1 pictures", "all 24 queries are 'a dog'", SOME_PICTURES),
    "labels": (NOT_TEXT, NO_ROWS, "every one of 1 pictures", "every one of 24 pictures", SOME_PICTURES),
    "through an index": (NOT_TEXT, NO_ROWS, None, "all 24 queries", "24 of 24 pictures are not in .*index"),
    "index": (NOT_TEXT, NO_ROWS, "all captions are of split val", "all 20 queries", "20 of 20 .*not in .*embeddings"),
    "cutoff": (NOT_TEXT, NO_ROWS, "in split 'train'", TEN, TEN),
    "negatives": (NOT_TEXT, NO_ROWS, "no picture of the table", "no two subjects", "no picture of the table"),
    "pareto": (NOT_TEXT, NO_ROWS, "every one of 1 pictures", "all 20 queries", "20 of 20 pictures are not in"),
    "rewriting": (NOT_TEXT, NO_ROWS, "every one of 1 pictures", "all 20 queries", SOME_PICTURES),
    "look": (NOT_TEXT, NO_ROWS, "1 pictures; expected at least 20", None, SOME_PICTURES),
    "aesthetics": (NOT_TEXT, NO_ROWS, "nothing to compare", "24 pictures with nothing to compare", SOME_PICTURES),
    "choices": (NOT_TEXT, NO_ROWS, None, "as often one way as the other", SOME_PICTURES),
    "hpir make": (NOT_TEXT, NO_ROWS, "1 pictures; expected 2", "no two pictures differ", "24 of 24 .* are missing"),
    "hpir make, choices": (NOT_TEXT, NO_ROWS, None, "as often one way", "24 of 24 .* are missing"),
    "hpir score": (NOT_TEXT, "holds no items", None, "has a majority", "2 of the set's 2 pictures are missing"),
    "judge": (NOT_TEXT, "holds no queries", None, None, None),
    "knowledge check": (NOT_TEXT, "has no queries", None, None, None),
    "knowledge": (NOT_TEXT, "has no queries", "every one of 1 pictures", "every one of 24 pictures", SOME_PICTURES),
    "speed embed": ("24 of 24 pictures are bad", "holds no pictures", None, None, None),
    "speed embed, elsewhere": (None, None, None, None, "is not a folder|no folder"),
    "speed search": (NOT_TEXT, "is empty", None, None, None),
    "speed serve": (NOT_TEXT, "is empty", None, None, None),
    "scale": (NOT_TEXT, "is of kind nothing", None, None, "there is no run"),
}
CASES = [
    pytest.param(verb, kind, said, id=f"{verb}: {kind}")
    for verb, row in SAID.items()
    for kind, said in zip(KINDS, row, strict=True)
    if said is not None
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("bad") / "input"
    write_bad(folder)
    embed(folder / "pictures", folder / "embeddings", EmbedConfig(model=str(tiny_model), workers=1))
    score_embeddings(folder / "embeddings", ScoreConfig(("brightness",), workers=1))
    build_index(folder / "embeddings", folder / "index", IndexConfig(factory="Flat"))
    found = {name.upper(): str(folder / name) for name in ("pictures", "embeddings", "index")}
    return {**found, "MODEL": str(tiny_model), "K": str(folder)}


def asked(verb: str, kind: str, places: dict[str, str]) -> list[str]:
    words = []
    for word in VERBS[verb].split():
        head, slash, rest = word.partition("/")
        if word in places and word != "K":
            words.append(places[word])
        elif word.startswith("offline:"):
            words.append(f"offline:{places['MODEL']}")
        else:
            words.append(f"{places['K']}/{kind}{slash}{rest}" if head == "K" else word)
    return words


@pytest.mark.parametrize(("verb", "kind", "said"), CASES)
def test_what_is_wrong_is_said_in_one_line(verb: str, kind: str, said: str, places: dict[str, str]) -> None:
    done = CliRunner().invoke(app, asked(verb, kind, places))
    assert isinstance(done.exception, BeholderError), done.exception or done.stdout
    line = str(done.exception)
    assert "\n" not in line
    with pytest.raises(BeholderError, match=said):
        raise done.exception


def test_one_query_among_many_pictures_has_a_figure_no_interval_and_a_word_about_it(places: dict[str, str]) -> None:
    done = CliRunner().invoke(app, asked("through an index", "one", places))
    assert done.exit_code == 0, done.exception
    assert "note: one query is behind hit_rate@1: nothing to resample, so no interval" in done.stderr
    assert "95 %" not in done.stdout


def test_every_verb_of_bench_is_in_the_table() -> None:
    own = "results", "report", "critique", "speed critique"  # their bad input has tests beside their own
    verbs = getattr(get_command(app), "commands")  # noqa: B009  typer names no type for it
    there = {name for name in verbs if not hasattr(verbs[name], "commands")}
    there |= {f"{name} {below}" for name in verbs for below in getattr(verbs[name], "commands", {})}
    named = {verb for verb in there for words in VERBS.values() if words.startswith(f"{verb} ")}
    left = {verb for verb in there - named if not verb.startswith(own)}
    assert left == {"speed index", "speed scaling"}, "these read no files"
