"""`align experiment rewriter`: does a rewriter learn from ranks alone what a picture's style is called?

Queries describe a style without naming it (docs/experiments/knowledge). A small Llama is taught a few recorded
rewrites of each style (SFT), then learns by GRPO from the ranks of pictures for queries that nobody rewrote: which
pictures bear the style is all it is told. Beside it DPO on ranked answers. Trained on train paintings and queries from
the glossary. Held out are 200 queries of the glossary, and 200 phrasings of another kind that training never sees (4 to
8); both over val paintings, read once. Dev are 80 more of the glossary, and phrasings 1 to 3, over train paintings.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.knowledge.texts import key, read_texts, spellings
from benchmarks.measures.stats import bootstrap_mean
from benchmarks.runs import Number, Run, command_of, describe_machine, portable_path
from indexes.errors import BeholderError
from indexes.records.manifest import MANIFEST, sha256_file, write_bytes_atomic, write_json_atomic
from retrieval.rewriting.table import read_rewrites
from rl.rewriting.config import DpoConfig, GrpoConfig, SftConfig
from rl.rewriting.reward_config import RewardConfig

from .rewriter_numbers import LEARNED, Side, learned_numbers, side_numbers, training_numbers
from .steps import Say, Steps, content_of, option

SUFFIX = "suffix:in the style of a famous painting"
RECORDED = "recorded"
DEV = "dev-glossary", "dev"
HELD = "held-out-glossary", "held-out"
SHOWN = {
    "dev-glossary": "dev queries of the glossary",
    "dev": "dev phrasings",
    "held-out-glossary": "unseen queries",
    "held-out": "other phrasings",
}
SKETCH = 4  # answers to each query that DPO ranks
Found = dict[str, Any]


@dataclass(frozen=True)
class RewriterExperiment:
    """Options of the command."""

    run: Path  # folder of the run
    table: Path = option(Path("data/peopleart/items.tsv"), "Table of paintings: file, style, split.")
    texts: Path = option(Path("docs/experiments/knowledge"), "Folder of queries and recorded rewrites.")
    embeddings: Path = option(Path("work/peopleart.emb"), "EMBEDDINGS of the paintings; made where absent.")
    model: str = option("beholder-mini", "Encoder that searches.")
    scorer: str = option("", "Whose percentile weighs the relevant pictures; '': they count alike.")
    seeds: tuple[int, ...] = option((0, 1, 2), "Of everything, one run each (repeatable).")
    taught: int = option(10, "Recorded rewrites of each style that SFT sees.")
    glossary_dev: int = option(2, "Queries of the glossary of each style that are dev.")
    glossary_held: int = option(5, "Queries of the glossary of each style that are held out.")
    dev_phrasings: int = option(3, "Phrasings 1 to this are dev; later ones are reported on.")
    batch: int = option(64, "Answers in a step.")
    sft_steps: int = option(80, "Of SFT.")
    sft_rate: float = option(3e-3, "Its learning rate.")
    grpo_steps: int = option(100, "Of GRPO.")
    grpo_rate: float = option(2.5e-4, "Its learning rate.")
    group: int = option(8, "Answers to one query.")
    scale: str = option("batch", "Advantages are divided by the spread of: group, batch or none.")
    kl: float = option(0.05, "GRPO's beta.")
    temperature: float = option(1.0, "Of sampling.")
    dpo_steps: int = option(20, "Of DPO; 0: without it.")
    dpo_rate: float = option(2e-4, "Its learning rate.")
    dpo_queries: int = option(200, "Queries whose sampled answers are ranked for DPO.")
    answer_tokens: int = option(24, "Of an answer, at most.")
    dev_only: bool = option(False, "Stop before val is read.")
    name: str = option("experiment-rewriter", "Of the run.")


def measure(config: RewriterExperiment, say: Say) -> Run:
    """Train a small rewriter from ranks, three seeds; rank gain alone on 200 held-out queries.

    Example: beholder align experiment rewriter work/rewriter --table $BEHOLDER_DATA/peopleart/items.tsv
    """
    config.run.mkdir(parents=True, exist_ok=True)
    seeds = config.seeds
    steps = Steps(config.run, say, 2 + len(seeds) * (4 + bool(config.dpo_steps)) + (not config.dev_only))
    settings = content_of(config, ("run", "name", "seeds", "dev_only"))
    counts = steps.do("tables", {**settings, "files": _files(config)}, lambda: _tables(config))
    steps.do("pictures", {"model": config.model, "scorer": config.scorer}, lambda: _pictures(config))
    trained: dict[int, Found] = {}
    for seed in seeds:
        trained[seed] = _train(config, seed, settings, steps, say)
    answers = {seed: steps.do(f"answers-{seed}", settings, lambda s=seed: _answers(config, s)) for seed in seeds}  # type: ignore[misc]
    choices = {**settings, "seeds": list(seeds)}
    if config.dev_only:
        sides = {part: _sides(config, answers, part, "train") for part in DEV}
    else:

        def read() -> Found:
            found = {part: _sides(config, answers, part, "val") for part in HELD}
            return {part: {name: one.to_dict() for name, one in of.items()} for part, of in found.items()}

        kept = steps.once("val", choices, read)
        sides = {part: {name: Side.from_dict(one) for name, one in of.items()} for part, of in kept.items()}
    return _run(config, sides, trained, answers, counts, steps)


def _files(config: RewriterExperiment) -> dict[str, str]:
    names = "queries.tsv", "rewrites.tsv", "glossary-rewrites.tsv"
    return {name: sha256_file(config.texts / name) for name in names} | {"table": sha256_file(config.table)}


def _tables(config: RewriterExperiment) -> Found:
    """Writes what is taught, asked in training, asked on dev, and held out; how many of each."""
    from rl.rewriting.data import write_questions

    texts = read_texts(config.texts / "queries.tsv", config.texts / "rewrites.tsv")
    label = {key(spelled): style for style, spelled in spellings(texts).items()}
    of_style: dict[str, list[dict[str, str]]] = {}
    for row in read_rewrites(config.texts / "glossary-rewrites.tsv")[1]:
        of_style.setdefault(label[key(row["named"])], []).append(row)
    taught = [row for rows in of_style.values() for row in rows[: config.taught]]
    _rewrites(config.run / "taught.tsv", [(row["query"], row["rewrite"]) for row in taught])
    glossary = [(row["query"], row["rewrite"]) for rows in of_style.values() for row in rows]
    _rewrites(config.run / "recorded.tsv", [*((one.query, one.rewrite) for one in texts), *glossary])
    _rewrites(config.run / "words.tsv", glossary)
    later, held_rows = config.glossary_dev + config.glossary_held, config.glossary_held
    asked = _asked(of_style, slice(None, -later))
    dev = [(one.query, f"style = '{one.style}'") for one in texts if one.phrasing <= config.dev_phrasings]
    held = [(one.query, f"style = '{one.style}'") for one in texts if one.phrasing > config.dev_phrasings]
    parts = {"questions": asked, "dev": dev, "held-out": held}
    parts["dev-glossary"] = _asked(of_style, slice(-later, -held_rows))
    parts["held-out-glossary"] = _asked(of_style, slice(-held_rows, None))
    for name, rows in parts.items():
        if not rows:
            raise BeholderError(f"{name} has no query", "fewer for the other parts", "See --help.")
        write_questions(config.run / f"{name}.tsv", rows)
    names = spellings(texts)
    named = {row["query"]: row["named"] for rows in of_style.values() for row in rows}
    counts = {name: len(rows) for name, rows in parts.items()} | {"taught": len(taught)}
    return {**counts, "names": named | {one.query: names[one.style] for one in texts}}


def _asked(of_style: Mapping[str, list[dict[str, str]]], which: slice) -> list[tuple[str, str]]:
    return [(row["query"], f"style = '{style}'") for style, rows in of_style.items() for row in rows[which]]


def _rewrites(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    lines = ["query\trewrite", *(f"{query}\t{rewrite}" for query, rewrite in rows)]
    write_bytes_atomic(path, ("\n".join(lines) + "\n").encode())


def _pictures(config: RewriterExperiment) -> Found:
    """Vectors of the paintings, and their scores where a scorer is named."""
    if not (config.embeddings / MANIFEST).is_file():
        from retrieval.encoding.pipeline import EmbedConfig, embed

        embed(config.table.parent, config.embeddings, EmbedConfig(model=config.model))
    if config.scorer:
        from retrieval.scoring.scoring import ScoreConfig, score_folder

        score_folder(config.embeddings, ScoreConfig((config.scorer,)))
    write_json_atomic(config.run / "rewards.json", _rewards(config, "train").to_dict())
    return {}


def _rewards(config: RewriterExperiment, split: str) -> RewardConfig:
    return RewardConfig(
        str(config.embeddings), config.model, str(config.table), split, config.scorer, evaluation=split == "val"
    )


def _train(config: RewriterExperiment, seed: int, settings: Mapping[str, Any], steps: Steps, say: Say) -> Found:
    """SFT, GRPO and DPO of a seed: figures of each one's log."""
    from rl.rewriting.train import read_log, train_rewriter

    home, run = config.run / f"seed-{seed}", config.run
    shared: dict[str, Any] = {"batch": config.batch, "answer_tokens": config.answer_tokens, "seed": seed}
    shared |= {"log_every": 5, "save_every": 20}

    def begin() -> Found:
        from rl.rewriting.small_llama import SmallLlama, write_small_llama

        texts = [text for row in read_rewrites(run / "words.tsv")[1] for text in (row["query"], row["rewrite"])]
        return {"weights": write_small_llama(home / "start", texts, config.model, SmallLlama(seed=seed))}

    def sft() -> Found:
        one = SftConfig(str(home / "start"), config.sft_steps, learning_rate=config.sft_rate,
                        rewrites=(str(run / "taught.tsv"),), **shared)  # fmt: skip
        train_rewriter(one, home / "sft", say=say)
        return {"log": read_log(home / "sft")}

    def grpo() -> Found:
        one = GrpoConfig(str(home / "sft/model"), config.grpo_steps, learning_rate=config.grpo_rate, group=config.group,
                         beta=config.kl, scale=config.scale, temperature=config.temperature,
                         questions=str(run / "questions.tsv"), rewards=str(run / "rewards.json"),
                         **shared)  # fmt: skip
        train_rewriter(one, home / "grpo", say=say)
        return {"log": read_log(home / "grpo")}

    def dpo() -> Found:
        _rank(config, seed, home)
        one = DpoConfig(str(home / "sft/model"), config.dpo_steps, learning_rate=config.dpo_rate,
                        ranked=str(home / "ranked.tsv"), **shared)  # fmt: skip
        train_rewriter(one, home / "dpo", say=say)
        return {"log": read_log(home / "dpo")}

    found = steps.do(f"start-{seed}", settings, begin)
    for name, make in (("sft", sft), ("grpo", grpo), *((("dpo", dpo),) if config.dpo_steps else ())):
        found[name] = steps.do(f"{name}-{seed}", settings, make)["log"]
        found[f"{name} seconds"] = steps.seconds(f"{name}-{seed}")
    return found


def _rank(config: RewriterExperiment, seed: int, home: Path) -> None:
    from rl.rewards import Rewards
    from rl.rewriting.data import questions
    from rl.rewriting.measure import ranked, sampled

    rows = questions(config.run / "questions.tsv")
    every = max(1, len(rows) // config.dpo_queries)
    rows = rows[seed % every :: every][: config.dpo_queries]
    said = sampled(str(home / "sft/model"), [row["query"] for row in rows], SKETCH, temperature=config.temperature,
                   tokens=config.answer_tokens, seed=seed)  # fmt: skip
    ranked(Rewards(_rewards(config, "train")), rows, said, home / "ranked.tsv")


def _answers(config: RewriterExperiment, seed: int) -> Found:
    """What the seed's rewriters make of dev and held-out queries, as search would use it: no picture is read."""
    from retrieval.encoding.encoders import load_encoder
    from retrieval.rewriting.rewrite import load_rewriter
    from retrieval.rewriting.rewriter import RewriteSettings
    from rl.rewriting.data import questions
    from rl.rewriting.measure import answered

    encoder = load_encoder(config.model)
    settings = RewriteSettings(cache=None, max_answer_tokens=2 * config.answer_tokens)
    found: Found = {}
    for stage in _stages(config):
        rewriter = load_rewriter(f"hf:{config.run / f'seed-{seed}' / stage / 'model'}", settings, encoder=encoder)
        for part in DEV + HELD:
            queries = [row["query"] for row in questions(config.run / f"{part}.tsv")]
            rewrites, told = answered(rewriter, queries)
            found[f"{stage} {part}"] = {"texts": [one.text for one in rewrites], **told}
    return found


def _stages(config: RewriterExperiment) -> tuple[str, ...]:
    return ("sft", "grpo", "dpo") if config.dpo_steps else ("sft", "grpo")


def _sides(config: RewriterExperiment, answers: Mapping[int, Found], part: str, split: str) -> dict[str, Side]:
    """Figures of each side over the pictures of a split, a row per query; trained sides have one list per seed."""
    from retrieval.rewriting.rewrite import load_rewriter
    from rl.rewriting.data import questions
    from rl.rewriting.measure import Judged
    from rl.rewriting.reward_corpus import load_corpus

    corpus = load_corpus(_rewards(config, split))
    judged = Judged.of(corpus, questions(config.run / f"{part}.tsv"))

    def side(*lists: Sequence[str]) -> Side:
        found = [judged.figures(texts) for texts in lists]
        return Side({name: [one[name].tolist() for one in found] for name in found[0]})

    fixed = {"no rewrite": "none", "fixed suffix": SUFFIX, RECORDED: f"file:{config.run / 'recorded.tsv'}"}
    sides = {}
    for name, spec in fixed.items():
        rewriter = load_rewriter(spec, encoder=corpus.encoder)
        sides[name] = side([one.text for one in rewriter.rewrite(judged.queries)])
    for stage in _stages(config):
        lists = [found[f"{stage} {part}"]["texts"] for found in answers.values()]
        sides[stage] = side(*lists)
    sides["exchanged"] = side(*(_exchanged(judged.queries, one["grpo " + part]["texts"]) for one in answers.values()))
    return sides


def _exchanged(queries: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Each query with what was added to another's: halfway round the list, where another style is."""
    from retrieval.rewriting.arms import filled
    from retrieval.rewriting.offline import bare
    from rl.rewriting.data import pattern_of

    patterns = [pattern_of(query, text) or "" for query, text in zip(queries, texts, strict=True)]
    moved = list(np.roll(np.array(patterns, dtype=object), len(patterns) // 2))
    return [filled(query, pattern).text or bare(query) for query, pattern in zip(queries, moved, strict=True)]


def _run(
    config: RewriterExperiment,
    sides: Mapping[str, Mapping[str, Side]],
    trained: Mapping[int, Found],
    answers: Mapping[int, Found],
    counts: Found,
    steps: Steps,
) -> Run:
    numbers: dict[str, Number] = {}
    for part, of in sides.items():
        where = SHOWN[part]
        for name, side in of.items():
            numbers |= side_numbers(name, side, where)
        for stage in LEARNED:
            if stage in of:
                numbers |= learned_numbers(stage, of[stage], of["sft"], tuple(trained), where)
        names = [counts["names"][query] for query in _queries(config, part)]
        for stage in _stages(config):
            told = [found[f"{stage} {part}"] for found in answers.values()]
            right = np.mean([[n in t for n, t in zip(names, one["texts"], strict=True)] for one in told], axis=0)
            fell = float(np.mean([one["fell back"] for one in told]))
            numbers[f"{where}: right style named, {stage}"] = Number.of(bootstrap_mean(right))
            numbers[f"{where}: kept their own words, {stage}"] = Number(fell)
    numbers |= training_numbers(trained)
    parts = "; ".join(f"{SHOWN[part]}: {counts[part]} queries" for part in sides)
    return Run(
        name=config.name,
        command=command_of("align experiment rewriter", config),
        machine=describe_machine(),
        seed=config.seeds[0],
        data={
            "table": portable_path(config.table),
            **{f"{name}_sha256": value for name, value in _files(config).items()},
            "queries": sum(counts[part] for part in sides),
            "encoder": config.model,
        },
        numbers=numbers,
        notes=(
            f"{parts}; over the paintings of {'train' if config.dev_only else 'val'}. {counts['taught']} recorded "
            f"rewrites taught, {counts['questions']} queries asked in training; trained rows are means over "
            f"{len(trained)} seeds, query by query; intervals are over queries, of differences paired.",
        ),
    )


def _queries(config: RewriterExperiment, part: str) -> list[str]:
    from rl.rewriting.data import questions

    return [row["query"] for row in questions(config.run / f"{part}.tsv")]
