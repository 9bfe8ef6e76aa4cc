"""The guide to critics runs from its first command to its last, as a reader types them, on the critic in the box."""

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from indexes import load_index
from retrieval.__main__ import app, main
from retrieval.critic.claims import claims_in
from retrieval.critic.conversation_readers import read_llava
from retrieval.scoring.scorers import LOOK, load_scorer
from retrieval.sources.images import decode
from tests.test_docs import ROOT, blocks, commands

GUIDE = ROOT / "docs" / "critics.md"
WRITTEN = ROOT / "docs" / "critiques.json"
SAMPLES = ROOT / "retrieval" / "samples"
CRITIC = ROOT / "retrieval" / "models" / "beholder-mini-critic" / "config.json"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that looks like the root of the repository; fewer samples are quicker to embed."""
    mine = tmp_path / "retrieval" / "samples"
    mine.mkdir(parents=True)
    named = {row["image"] for row in json.loads(WRITTEN.read_bytes())}
    for path in [*sorted(SAMPLES.glob("*.jpg"))[::10], *(SAMPLES / name for name in named), SAMPLES / "SOURCES.tsv"]:
        shutil.copy(path, mine / path.name)
    (tmp_path / "docs").mkdir()
    for name in ("queries.txt", "critiques.json"):
        shutil.copy(ROOT / "docs" / name, tmp_path / "docs")
    return tmp_path


@pytest.mark.skipif(not CRITIC.is_file(), reason="beholder-mini-critic is not in the box")
def test_the_guide_to_critics_runs(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process: torch and transformers are imported once, and not for each of a dozen commands."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / "cache"))
    lines = commands(GUIDE)
    assert len(lines) >= 12
    said: dict[str, str] = {}
    for line in lines:
        monkeypatch.setattr("sys.argv", shlex.split(line))
        try:
            main()
            code: object = 0
        except SystemExit as ended:
            code = ended.code or 0
        told = capsys.readouterr()
        judged = line.startswith("beholder bench judge")  # exit 1 where the judge is unfit, as the guide says
        assert code in ((0, 1) if judged else (0,)), f"{line}\n{told.err}"
        assert told.out, f"{line} says nothing"
        said[line] = told.out

    def first(start: str) -> str:
        return next(text for line, text in said.items() if line.startswith(f"beholder {start}"))

    shown = first("critique retrieval/samples").splitlines()
    assert len(shown) == 3  # the file, what is said, and apart from it what is measured
    assert shown[2].strip().startswith("measured: brightness")
    assert "train 19, dev 5" in first("align critic data")
    assert json.loads((place / "runs/critic/model/critic.json").read_bytes())["base"] == "beholder-mini-critic"
    log = [json.loads(line) for line in (place / "runs/critic/sft/log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in log if "loss" in line]
    assert losses[-1] < 0.7 * losses[0]
    *_, learnt = (
        text for line, text in said.items() if line.startswith("beholder critique --index") and "runs" in line
    )
    assert "What I like is" in learnt  # the manner of what it was taught
    assert (place / "judged.html").is_file()
    scorers = load_index(place / "scored.index").scorers
    assert [one.name for one in scorers if one.name.startswith("critic:")]


def test_every_critique_that_was_written_is_of_a_picture_in_the_box() -> None:
    read = read_llava(WRITTEN, pictures=SAMPLES)
    assert len(read.conversations) == 24
    assert not read.problems


def test_what_the_critiques_claim_of_a_look_is_measured_so() -> None:
    """Bright ones are brighter than the median of the pictures written about, and so on."""
    read = read_llava(WRITTEN).conversations
    pictures = [np.asarray(decode((SAMPLES / one.pictures[0]).read_bytes())) for one in read]
    claims = [(place, claim) for place, one in enumerate(read) for claim in claims_in(one.turns[1].text)]
    claims = [(place, claim) for place, claim in claims if claim.about in LOOK]
    assert len(claims) > 25
    for about in {claim.about for _, claim in claims}:
        scores = np.concatenate([load_scorer(about).score_pictures([one]) for one in pictures])
        for place, claim in claims:
            if claim.about == about:
                assert (scores[place] > np.median(scores)) == (claim.says == "high"), (read[place].id, about)


def test_the_record_that_the_guide_shows_is_in_the_file() -> None:
    (shown,) = blocks(GUIDE, "json")
    assert json.loads(shown) in json.loads(WRITTEN.read_bytes())


def test_options_of_commands_that_are_not_run_exist() -> None:
    """Training on people's choices, the service and the measuring stand in blocks that no test runs."""
    runner = CliRunner()
    lines = [line for block in blocks(GUIDE, "bash") for line in block.splitlines()]
    lines += re.findall(r"^\$ (beholder .*)$", GUIDE.read_text(encoding="utf-8"), re.M)
    assert len(lines) > 7
    for line in lines:
        words = shlex.split(line)[1:]
        verb: list[str] = []
        told = ""
        while "COMMAND" in told or not verb:
            verb.append(words[len(verb)])
            told = runner.invoke(app, [*verb, "--help"], env={**os.environ, "COLUMNS": "200"}).output
        assert all(word in told for word in words if word.startswith("--")), line
