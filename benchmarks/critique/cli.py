"""`bench critique`: what critics are worth."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.options import Device, Json, Name, Out, Seed, finish, name_of_run

app = typer.Typer(no_args_is_help=True, help="Critics: what they say, against what is so and what people say.")

CRITIC = "one in the box, FOLDER, hf:MODEL, llm:MODEL[@URL] or answers:FILE."
Critic = Annotated[str, typer.Option(help=f"The critic: {CRITIC}")]
Data = Annotated[
    Path | None, typer.Option("--data", envvar="BEHOLDER_DATA", help="Folder that pictures' paths begin at.")
]
Conversations = Annotated[Path, typer.Argument(help="File of conversations, as `align critic data` writes it.")]
Split = Annotated[str, typer.Option(help="Only conversations of this split.")]
Drawn = Annotated[int, typer.Option(help="Ask only of so many pictures, drawn at random; 0: all.")]
Concurrency = Annotated[int, typer.Option(help="Questions at once, to a server.")]
Timeout = Annotated[float, typer.Option("--timeout-s", help="Seconds for one answer.")]
Tokens = Annotated[int, typer.Option(help="Most tokens of an answer.")]
Pictures = Annotated[Path | None, typer.Option(help="Folder that names begin at; else the file's.")]


def _asking(given: Mapping[str, Any], subject: str) -> dict[str, Any]:
    """What every verb has, of its options: how the critic is asked, and the name of the run."""
    shared = "device", "concurrency", "timeout_s", "max_answer_tokens", "seed"
    name = name_of_run(given["name"], given["out"], Path(subject))
    return {**{option: given[option] for option in shared if option in given}, "name": name}


@app.command()
def claims(
    conversations: Conversations,
    critic: Critic,
    data: Data = None,
    split: Split = "val",
    blind: Annotated[str, typer.Option(help="Critic without pictures; else the same, shown a plain grey.")] = "",
    no_blind: Annotated[bool, typer.Option("--no-blind", help="Leave the blind critic out.")] = False,
    pictures: Drawn = 0,
    device: Device = "cpu",
    concurrency: Concurrency = 4,
    timeout_s: Timeout = 120.0,
    max_answer_tokens: Tokens = 64,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Truth of claims: brightness, warmth, ... as measured, styles and objects as labelled; beside a blind critic.

    Example: beholder bench critique claims val.jsonl --critic hf:work/critic --data ../data
    """
    from .claims import measure_claims
    from .files import CritiqueConfig

    config = CritiqueConfig(
        conversations=conversations,
        critic=critic,
        data=data,
        split=split,
        blind=blind,
        no_blind=no_blind,
        pictures=pictures,
        **_asking(locals(), "critique-claims"),
    )
    finish(measure_claims(config), out, as_json)


@app.command()
def pairs(
    conversations: Conversations,
    critic: Critic,
    data: Data = None,
    split: Split = "val",
    pictures: Drawn = 0,
    pairs: Annotated[int, typer.Option(help="Ask only of so many pairs, drawn at random; 0: all.")] = 0,
    device: Device = "cpu",
    concurrency: Concurrency = 4,
    timeout_s: Timeout = 120.0,
    max_answer_tokens: Tokens = 64,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Which of two pictures is darker, busier, or preferred by people: accuracy, by gap; consistency of both orders.

    Example: beholder bench critique pairs val.jsonl --critic hf:work/critic --data ../data --pairs 1000
    """
    from .files import CritiqueConfig
    from .pairs import measure_pairs

    config = CritiqueConfig(
        conversations=conversations,
        critic=critic,
        data=data,
        split=split,
        pictures=pictures,
        pairs=pairs,
        **_asking(locals(), "critique-pairs"),
    )
    finish(measure_pairs(config), out, as_json)


@app.command()
def captions(
    table: Annotated[Path, typer.Argument(help="TSV of captions, with a header row.")],
    critic: Annotated[str, typer.Option(help=f"{CRITIC} Without one, the baselines alone.")] = "",
    text_column: Annotated[str, typer.Option(help="Column of captions.")] = "caption",
    image_column: Annotated[str, typer.Option(help="Column of names.")] = "image",
    splits: Annotated[Path | None, typer.Option(help="TSV with each picture's split; else the table's column.")] = None,
    split: Annotated[str, typer.Option(help="The split that is captioned.")] = "val",
    train_split: Annotated[str, typer.Option(help="The split that retrieval takes captions from.")] = "train",
    pictures: Pictures = None,
    embeddings: Annotated[Path | None, typer.Option(help="EMBEDDINGS of both splits, for the retrieval row.")] = None,
    limit: Drawn = 0,
    device: Device = "cpu",
    concurrency: Concurrency = 4,
    timeout_s: Timeout = 120.0,
    max_answer_tokens: Tokens = 64,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Captions by BLEU-4, METEOR, ROUGE-L and CIDEr-D, beside the nearest training picture's and a person's.

    Example: beholder bench critique captions captions.tsv --splits splits.tsv --critic hf:work/critic
    """
    from .captions import CaptionsConfig, measure_captions

    config = CaptionsConfig(
        table=table,
        critic=critic,
        text_column=text_column,
        image_column=image_column,
        splits=splits,
        split=split,
        train_split=train_split,
        pictures=pictures,
        embeddings=embeddings,
        limit=limit,
        **_asking(locals(), "critique-captions"),
    )
    finish(measure_captions(config), out, as_json)


@app.command()
def texts(
    references: Annotated[Path, typer.Argument(help="Ours (.jsonl), LLaVA's JSON (PaintingForm) or ArtEmis's CSV.")],
    critic: Critic,
    pictures: Pictures = None,
    split: Annotated[str, typer.Option(help="Only this split; else all.")] = "",
    kind: Annotated[str, typer.Option(help="Only conversations of this kind; else all.")] = "",
    limit: Drawn = 0,
    device: Device = "cpu",
    concurrency: Concurrency = 4,
    timeout_s: Timeout = 120.0,
    max_answer_tokens: Tokens = 512,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Analyses and feelings by BLEU, GLEU, METEOR and ROUGE-L, with controls; emotions as people name them.

    Example: beholder bench critique texts formalanalysis_test_gpt.json --critic hf:work/critic
    """
    from .texts import TextsConfig, measure_written

    config = TextsConfig(
        references=references,
        critic=critic,
        pictures=pictures,
        split=split,
        kind=kind,
        limit=limit,
        **_asking(locals(), "critique-texts"),
    )
    finish(measure_written(config), out, as_json)


@app.command()
def aesbench(
    questions: Annotated[Path, typer.Argument(help="AesBench_evaluation.json, or a TSV of VLMEvalKit.")],
    critic: Critic,
    pictures: Pictures = None,
    judge: Annotated[str, typer.Option(help="Rates AesI: llm:MODEL[@URL]; without one it is not rated.")] = "",
    answers: Annotated[Path | None, typer.Option(help="Folder for the answers, as its makers take them.")] = None,
    limit: Annotated[int, typer.Option(help="Only so many questions, drawn at random; 0: all.")] = 0,
    device: Device = "cpu",
    concurrency: Concurrency = 4,
    timeout_s: Timeout = 120.0,
    max_answer_tokens: Tokens = 256,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """AesBench: accuracy of perception, empathy and assessment, abstentions, AesI by a judge, overall as published.

    Example: beholder bench critique aesbench AesBench_VAL.tsv --critic llm:qwen3-vl@http://localhost:8000/v1
    """
    from .choices import ChoicesConfig, measure_aesbench

    config = ChoicesConfig(
        questions=questions,
        critic=critic,
        pictures=pictures,
        judge=judge,
        answers=answers,
        limit=limit,
        **_asking(locals(), "aesbench"),
    )
    finish(measure_aesbench(config), out, as_json)


@app.command()
def art(
    questions: Annotated[Path, typer.Argument(help="AQUA (.json), ArtQuest (.csv), or ArtBench's test folder.")],
    critic: Critic,
    pictures: Pictures = None,
    limit: Annotated[int, typer.Option(help="Only so many questions, drawn at random; 0: all.")] = 0,
    device: Device = "cpu",
    concurrency: Concurrency = 4,
    timeout_s: Timeout = 120.0,
    max_answer_tokens: Tokens = 64,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """GalleryGPT's zero-shot sets: answers about art, and styles.

    Example: beholder bench critique art AQUA/test.json --pictures SemArt/Images --critic hf:work/critic
    """
    from .choices import ChoicesConfig, measure_art

    config = ChoicesConfig(
        questions=questions,
        critic=critic,
        pictures=pictures,
        limit=limit,
        **_asking(locals(), f"art-{questions.stem.lower()}"),
    )
    finish(measure_art(config), out, as_json)


@app.command()
def grades(
    answers: Annotated[Path, typer.Argument(help="Numbered answers, as ArtGPT-4's repository ships them.")],
    judge: Annotated[str, typer.Option(help="Who grades: llm:MODEL[@URL] or hf:MODEL.")],
    device: Device = "cpu",
    concurrency: Concurrency = 4,
    timeout_s: Timeout = 120.0,
    seed: Seed = 0,
    name: Name = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """ArtGPT-4's own form: a judge gives each answer 0 to 5.

    Example: beholder bench critique grades artgpt4_sample_answers.txt --judge llm:qwen3@http://localhost:8000/v1
    """
    from .grades import GradesConfig, measure_grades

    config = GradesConfig(
        answers=answers,
        judge=judge,
        **_asking(locals(), "critique-grades"),
    )
    finish(measure_grades(config), out, as_json)
