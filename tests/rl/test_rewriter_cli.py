"""`align rewriter` from the command line: a model of its own, trained, ranked, measured; likely mistakes."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from indexes.errors import BeholderError
from retrieval.encoding.pipeline import EmbedConfig, embed
from rl.rewriting.cli import app
from rl.rewriting.data import write_questions

runner = CliRunner()


def run(*words: str | Path) -> str:
    result = runner.invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("verb", ["start", "sft", "grpo", "dpo", "rank", "measure"])
def test_every_verb_explains_itself(verb: str) -> None:
    assert "Example" in run(verb, "--help")


def test_from_rewrites_to_a_measured_rewriter(
    tmp_path: Path, tiny_model: Path, tiny_captions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    queries = ["red thing", "green square", "blue picture", "dark thing"]
    table, asked = tmp_path / "rewrites.tsv", tmp_path / "questions.tsv"
    table.write_text("query\trewrite\n" + "".join(f"{one}\tbright {one} of something\n" for one in queries))
    write_questions(asked, [(one, "uri < '04.png'") for one in queries])
    embed(tiny_captions.parent, tmp_path / "p.emb", EmbedConfig(model=str(tiny_model)))
    corpus = ("--questions", asked, "--pictures", tmp_path / "p.emb")
    short = ("--batch", 4, "--answer-tokens", 8, "--threads", 1, "--save-every", 5)
    sizes = ("--width", 16, "--layers", 1, "--encoder", tiny_model)
    assert "weights" in run("start", tmp_path / "start", "--rewrites", table, *sizes)
    sft = ("--rewrites", table, "--run", tmp_path / "sft", "--steps", 5, *short)
    assert run("sft", tmp_path / "start", *sft).splitlines()[-1].endswith("model")
    model = tmp_path / "sft" / "model"
    grpo = (*corpus, "--run", tmp_path / "grpo", "--steps", 2, "--group", 2, "--topic-floor", -1, *short)
    run("grpo", model, *grpo)
    assert json.loads((tmp_path / "grpo" / "rewards.json").read_bytes())["topic_floor"] == -1
    ranked = tmp_path / "ranked.tsv"
    assert "8 answers to 4 queries" in run("rank", model, ranked, *corpus, "--answers", 2, "--temperature", 3)
    told = run("measure", f"hf:{model}", "suffix:bright", *corpus)
    assert told.count("rank gain") == 2
    assert "against the first" in told.splitlines()[-1]


def test_grpo_without_a_corpus_says_so(tmp_path: Path) -> None:
    with pytest.raises(BeholderError, match="no corpus"):
        run("grpo", "m", "--run", tmp_path, "--questions", "q.tsv")
    assert runner.invoke(app, ["sft", "m"]).exit_code == 2
