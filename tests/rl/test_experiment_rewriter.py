"""The rewriter experiment on a set of twelve pictures: its parts fit together, and it goes on where it was; what
its figures mean is fixed by hand."""

from pathlib import Path
from typing import Any

import pytest

from rl.experiments.rewriter import RewriterExperiment, _exchanged, measure
from rl.experiments.rewriter_numbers import Side, learned_numbers, side_numbers, training_numbers

STYLES = {"Red": "red", "Blue": "blue"}


@pytest.fixture
def config(tmp_path: Path, tiny_model: Path, tiny_captions: Path) -> RewriterExperiment:
    texts, table = tmp_path / "texts", tiny_captions.parent / "items.tsv"
    texts.mkdir()
    rows = [
        f"{number:02}.png\t{'Red' if number % 2 else 'Blue'}\t{'val' if number > 7 else 'train'}"
        for number in range(12)
    ]
    table.write_text("\n".join(["file\tstyle\tsplit", *rows]) + "\n")
    queries, rewrites, glossary = ["style\tphrasing\tquery"], ["query\trewrite\tnamed"], ["query\trewrite\tnamed"]
    for style, name in STYLES.items():
        for phrasing, words in enumerate(("dark square", "round picture", "bright thing"), 1):
            query = f"{words} {'a' if name == 'red' else 'of'}"
            queries.append(f"{style}\t{phrasing}\t{query}")
            rewrites.append(f"{query}\t{name} {query}\t{name}")
            glossary.append(f"{query} something\t{name} {query} something\t{name}")
    for name, lines in (("queries", queries), ("rewrites", rewrites), ("glossary-rewrites", glossary)):
        (texts / f"{name}.tsv").write_text("\n".join(lines) + "\n")
    return RewriterExperiment(
        tmp_path / "run", table, texts, tmp_path / "p.emb", str(tiny_model), seeds=(3,), taught=1,
        dev_phrasings=1, glossary_dev=1, glossary_held=1,
        batch=4, group=2, sft_steps=3, grpo_steps=5, dpo_steps=1, dpo_queries=4, answer_tokens=6, temperature=5.0,
    )  # fmt: skip


def test_the_whole_experiment_goes_on_where_it_was(config: RewriterExperiment) -> None:
    from dataclasses import replace

    lines: list[str] = []
    dev = measure(replace(config, dev_only=True), lines.append)
    assert dev.data["queries"] == 4  # two of phrasing 1, two of the glossary
    assert not (config.run / "steps" / "val.json").exists()
    lines.clear()
    run = measure(config, lines.append)
    assert sum("kept" in line for line in lines) == 7  # tables, pictures, and five steps of the seed
    assert run.data["queries"] == 6
    assert run.numbers["other phrasings: rank gain, grpo less sft"].n == 4
    assert run.numbers["other phrasings: rank gain, grpo less sft, seed 3"].n == 4
    before, after = (
        run.numbers[f"other phrasings: rank gain, {name}"].value for name in ("before: SFT alone", "after: GRPO")
    )
    assert run.numbers["other phrasings: rank gain, grpo less sft"].value == pytest.approx(after - before)
    assert run.command.startswith("beholder align experiment rewriter")


def test_numbers_by_hand() -> None:
    before = Side({"utility": [[0.5, 0.5]], "gain": [[0.1, 0.3], [0.1, 0.1]], "precision@8": [[0.0, 1.0]]})
    after = Side({"utility": [[0.5, 0.5]], "gain": [[0.3, 0.3], [0.3, 0.3]], "precision@8": [[0.0, 1.0]]})
    numbers = learned_numbers("grpo", after, before, (4, 5), "other phrasings")
    assert numbers["other phrasings: rank gain, grpo less sft"].value == pytest.approx(0.15)
    assert numbers["other phrasings: rank gain, grpo less sft, seed 4"].value == pytest.approx(0.1)
    assert numbers["other phrasings: rank gain, grpo less sft, seed 5"].value == pytest.approx(0.2)
    assert side_numbers("no rewrite", before, "x")["x: rank utility, no rewrite"].value == 0.5
    assert side_numbers("sft", before, "x")["x: precision@8, before: SFT alone"].value == 0.5


def test_what_a_log_says_is_taken_from_its_ends() -> None:
    log: list[dict[str, Any]] = [
        {"rewards/rank_gain/mean": 0.1, "kl": 0.0, "entropy": 2.0, "rewards/rank_gain/length_correlation": 0.2},
        {"rewards/rank_gain/mean": 0.3, "kl": 0.4, "entropy": 1.0},
    ]
    numbers = training_numbers({0: {"grpo": log, "grpo seconds": 7.0}})
    assert numbers["grpo, sampled rank gain, last lines"].value == 0.3
    assert numbers["grpo, KL from the start, last lines"].value == 0.4
    assert numbers["grpo, entropy of a token, first lines"].value == 2.0
    assert numbers["grpo, rank gain and length: correlation"].value == pytest.approx(0.2)
    assert numbers["grpo: seconds of a seed"].value == 7.0


def test_exchanged_answers_go_to_the_query_halfway_round() -> None:
    texts = ["red a", "red b", "blue c", "blue d"]
    assert _exchanged(["a", "b", "c", "d"], texts) == ["blue a", "blue b", "red c", "red d"]
