"""`align rewriter`: train a rewriter through TRL, rank its answers, measure it. Settings of training are options."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from indexes.errors import BeholderError
from indexes.records.manifest import write_json_atomic

from .config import STAGES, RewriterConfig, from_dict
from .reward_config import RewardConfig

app = typer.Typer(no_args_is_help=True, help="Train a rewriter of queries through TRL: sft, then grpo or dpo; measure.")
Run = Annotated[Path, typer.Option(help="Folder of the run; called again, it goes on.")]
Pictures = Annotated[Path, typer.Option(help="INDEX or EMBEDDINGS folder: the corpus that ranks are in.")]
Table = Annotated[
    Path | None, typer.Option(help="TSV with a row for each picture (column file): its columns may stand in relevant.")
]
Split = Annotated[str, typer.Option(help="Of --table; '' for all rows.")]
Questions = Annotated[Path, typer.Option(help="TSV of query and relevant, or a table of preferences.")]
REWARDS = {"pictures", "table", "split", "encoder", "scorer", "beauty", "words", "topic_floor", "judge"}


@app.callback()
def rewriter() -> None:
    """Train a rewriter of queries through TRL: sft, then grpo or dpo; measure."""


@app.command()
def start(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    rewrites: Annotated[list[Path], typer.Option(help="Table whose queries and rewrites give the words (repeatable).")],
    encoder: Annotated[str, typer.Option(help="Whose vectors of words it starts from.")] = "beholder-mini",
    width: Annotated[int, typer.Option(help="Of its layers.")] = 128,
    layers: Annotated[int, typer.Option(help="How many.")] = 3,
    words: Annotated[int, typer.Option(help="Of the encoder's vocabulary, beside those of the tables.")] = 6000,
    seed: Annotated[int, typer.Option(help="Of its weights.")] = 0,
) -> None:
    """Make a Llama of a few million weights that trains on a CPU, where no language model is at hand.

    Example: beholder align rewriter start work/small --rewrites rewrites.tsv
    """
    from retrieval.rewriting.table import read_rewrites

    from .small_llama import SmallLlama, write_small_llama

    texts = [text for table in rewrites for row in read_rewrites(table)[1] for text in (row["query"], row["rewrite"])]
    count = write_small_llama(folder, texts, encoder, SmallLlama(width=width, layers=layers, words=words, seed=seed))
    typer.echo(f"{folder}: {count:,} weights")


def sft(run: Run, **settings: Any) -> None:
    """Learn a teacher's rewrites by heart: supervised fine-tuning on tables that `beholder rewrite --out` wrote.

    Example: beholder align rewriter sft Qwen/Qwen3-0.6B --rewrites rewrites.tsv --run work/sft --device cuda
    """
    _train("sft", run, settings)


def grpo(run: Run, **settings: Any) -> None:
    """Learn from ranks: answers are sampled, and those that bring relevant pictures up in the corpus are favoured.

    Example: beholder align rewriter grpo work/sft/model --questions questions.tsv --pictures paintings.index --run
    work/grpo
    """
    rewards = {name: value for name, value in settings.items() if name in REWARDS and value is not None}
    own = {name: value for name, value in settings.items() if name not in REWARDS}
    if "pictures" not in rewards:
        raise BeholderError("no corpus", "--pictures INDEX or EMBEDDINGS", "Ranks are in it.")
    run.mkdir(parents=True, exist_ok=True)
    write_json_atomic(run / "rewards.json", RewardConfig(**rewards).to_dict())
    _train("grpo", run, {**own, "rewards": str(run / "rewards.json")})


def dpo(run: Run, **settings: Any) -> None:
    """Learn from ranked rewrites, without sampling: of each query the best answer against the worse ones.

    Example: beholder align rewriter dpo work/sft/model --ranked ranked.tsv --run work/dpo
    """
    _train("dpo", run, settings)


@app.command()
def rank(
    model: Annotated[str, typer.Argument(help="Rewriter's folder, whose answers are sampled.")],
    out: Annotated[Path, typer.Argument(help="TSV to write: query, answer, score.")],
    questions: Questions,
    pictures: Pictures,
    table: Table = None,
    split: Split = "train",
    answers: Annotated[int, typer.Option(help="To each query.")] = 4,
    temperature: Annotated[float, typer.Option(help="Of sampling.")] = 1.0,
    answer_tokens: Annotated[int, typer.Option(help="Of an answer, at most.")] = 64,
    seed: Annotated[int, typer.Option(help="Of sampling.")] = 0,
) -> None:
    """Sample answers and score them by rank gain, for `dpo`.

    Example: beholder align rewriter rank work/sft/model ranked.tsv --questions questions.tsv --pictures paintings.emb
    """
    from rl.rewards import Rewards

    from .data import questions as read_questions
    from .measure import ranked, sampled

    rows = read_questions(questions)
    rewards = Rewards(RewardConfig(str(pictures), table=str(table or ""), split=split))
    said = sampled(
        model,
        [row["query"] for row in rows],
        answers,
        temperature=temperature,
        tokens=answer_tokens,
        seed=seed,
    )
    typer.echo(f"{out}: {ranked(rewards, rows, said, out)} answers to {len(rows)} queries")


@app.command()
def measure(
    rewriters: Annotated[list[str], typer.Argument(help="As `search --rewrite` takes them: hf:FOLDER, suffix, ...")],
    questions: Questions,
    pictures: Pictures,
    table: Table = None,
    split: Split = "val",
    scorer: Annotated[str, typer.Option(help="Whose percentile weighs the relevant pictures.")] = "",
    seed: Annotated[int, typer.Option(help="Of resampling.")] = 0,
) -> None:
    """Rank gain alone, with intervals over queries; the first rewriter's gain is the one that others are compared to.

    Example: beholder align rewriter measure hf:work/sft/model hf:work/grpo/model --questions held-out.tsv --pictures
    paintings.emb
    """
    from benchmarks.measures.stats import bootstrap_mean, paired_difference
    from retrieval.rewriting.rewrite import load_rewriter
    from retrieval.rewriting.rewriter import RewriteSettings

    from .data import questions as read_questions
    from .measure import Judged, answered
    from .reward_corpus import load_corpus

    rewards = RewardConfig(str(pictures), table=str(table or ""), split=split, scorer=scorer, evaluation=True)
    corpus = load_corpus(rewards)
    judged = Judged.of(corpus, read_questions(questions))
    first = None
    typer.echo(f"{len(judged.queries)} queries, {len(corpus):,} pictures; 95 % intervals over queries")
    for spec in rewriters:
        rewrites, told = answered(load_rewriter(spec, RewriteSettings(), encoder=corpus.encoder), judged.queries)
        found = judged.figures([one.text for one in rewrites])
        line = f"{spec}\trank gain {_shown(bootstrap_mean(found['gain'], seed=seed))}"
        line += f"\tprecision@8 {found['precision@8'].mean():.3f}\tkept their words {told['fell back']:.1%}"
        if first is not None:
            line += f"\tagainst the first {_shown(paired_difference(found['gain'], first, seed=seed))}"
        first = found["gain"] if first is None else first
        typer.echo(line)


def _shown(interval: Any) -> str:
    ends = "" if interval.low is None else f" ({interval.low:+.4f} to {interval.high:+.4f})"
    return f"{interval.mean:+.4f}{ends}"


def _train(stage: str, run: Path, settings: dict[str, Any]) -> None:
    config: RewriterConfig = from_dict(stage, {name: one for name, one in settings.items() if one is not None})
    from .train import train_rewriter

    typer.echo(str(train_rewriter(config, run, say=lambda line: typer.echo(line, err=True))))


def _with_settings(function: Callable[..., None], *kinds: Any) -> Callable[..., None]:
    """The function with an option for every setting of the configurations in place of its **settings; `model` is an
    argument."""
    signature = inspect.signature(function, eval_str=True)
    only = inspect.Parameter.KEYWORD_ONLY
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    parameters = [one.replace(kind=only) for one in own]
    for kind in kinds:
        hints = get_type_hints(kind)
        for field in fields(kind):
            if field.name == "rewards" or (kind is RewardConfig and field.name not in REWARDS):
                continue
            told, hint = field.metadata.get("help", HELP.get(field.name, "")), hints[field.name]
            if isinstance(field.default, tuple):
                hint = list.__class_getitem__(hint.__args__[0])
            if field.name == "model":
                named: Any = Annotated[str, typer.Argument(help="Causal model: its folder, or name on the hub.")]
                empty = inspect.Parameter.empty
                parameters.insert(
                    0, inspect.Parameter("model", inspect.Parameter.KEYWORD_ONLY, default=empty, annotation=named)
                )
                continue
            shown = "" if field.default in (MISSING, "", (), None) else f" (default: {_default(field.default)})"
            option: Any = Annotated[hint | None, typer.Option(help=f"{told}{shown}", show_default=False)]
            parameters.append(inspect.Parameter(field.name, only, default=None, annotation=option))

    def call(**given: Any) -> None:
        function(**{name: value for name, value in given.items() if value is not None and value != []})

    call.__doc__, call.__name__ = function.__doc__, function.__name__
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {**{one.name: one.annotation for one in parameters}, "return": None}
    return call


def _default(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


HELP = {
    "pictures": "INDEX or EMBEDDINGS folder: the corpus that ranks are in.",
    "encoder": "Whose text tower will search; default: the corpus' own.",
    "table": "TSV with a row for each picture (column file): its columns may stand in relevant.",
    "split": "Of --table; '' for all rows.",
    "scorer": "Whose percentile weighs the relevant pictures.",
    "beauty": "How much it weighs, 0 to 1.",
    "words": "That an answer may add before its length costs.",
    "topic_floor": "Cosine of query and rewrite below which drift costs; default: measured.",
    "judge": "llm:MODEL[@URL] that the reward topic asks.",
}
app.command("sft")(_with_settings(sft, STAGES["sft"]))
app.command("grpo")(_with_settings(grpo, STAGES["grpo"], RewardConfig))
app.command("dpo")(_with_settings(dpo, STAGES["dpo"]))
