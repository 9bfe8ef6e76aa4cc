"""Training a rewriter through TRL on a Llama of a few thousand weights: learns, resumes to the same bytes, is used."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny import WORDS

from indexes.errors import BeholderError, FormatError
from retrieval.encoding.pipeline import EmbedConfig, embed
from retrieval.rewriting.rewrite import load_rewriter
from retrieval.rewriting.rewriter import RewriteSettings
from rl.rewriting import train as rewriter_train
from rl.rewriting.config import DpoConfig, GrpoConfig, RewriterConfig, SftConfig, from_dict
from rl.rewriting.data import questions, write_questions
from rl.rewriting.measure import Judged, answered, ranked, sampled
from rl.rewriting.reward_config import RewardConfig
from rl.rewriting.small_llama import SmallLlama, write_small_llama
from rl.rewriting.train import last_checkpoint, read_log, train_rewriter

QUERIES = [f"{one} {other}" for one in ("red", "green", "blue", "dark") for other in ("thing", "square", "picture")]
SHORT: dict[str, Any] = {"batch": 8, "answer_tokens": 8, "threads": 1, "log_every": 2, "save_every": 2}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, tiny_captions: Path) -> Path:
    """start/ (the small Llama), rewrites.tsv, questions.tsv, pictures.emb and rewards.json."""
    folder = tmp_path_factory.mktemp("rewriter")
    rewrites = [f"bright {query} of something" for query in QUERIES]
    rows = "".join(f"{query}\t{rewrite}\n" for query, rewrite in zip(QUERIES, rewrites, strict=True))
    (folder / "rewrites.tsv").write_text("query\trewrite\n" + rows)
    write_questions(folder / "questions.tsv", [(query, "uri < '04.png'") for query in QUERIES])
    embed(tiny_captions.parent, folder / "pictures.emb", EmbedConfig(model=str(tiny_model)))
    config = RewardConfig(str(folder / "pictures.emb"), topic_floor=-1.0, words=4)
    (folder / "rewards.json").write_text(json.dumps(config.to_dict()))
    sizes = SmallLlama(width=16, layers=1, heads=2, context=128)
    write_small_llama(folder / "start", [*QUERIES, *rewrites], str(tiny_model), sizes)
    return folder


@pytest.fixture(scope="module")
def taught_run(place: Path) -> Path:
    config = SftConfig(str(place / "start"), steps=60, learning_rate=0.02, rewrites=(rewrites(place),), **SHORT)
    train_rewriter(config, place / "sft")
    return place / "sft"


def rewrites(place: Path) -> str:
    return str(place / "rewrites.tsv")


def grpo(place: Path, model: Path, **settings: Any) -> GrpoConfig:
    given = {"steps": 4, "learning_rate": 1e-3, "group": 4, **SHORT, **settings}
    named = {"questions": str(place / "questions.tsv"), "rewards": str(place / "rewards.json")}
    return GrpoConfig(str(model), **named, **given)


def test_the_small_llama_knows_words_marks_and_unknown_words(place: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(place / "start")
    text = "post-modern <query>, bright harbour"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.convert_tokens_to_ids("<query>") in ids
    model = AutoModelForCausalLM.from_pretrained(place / "start")
    assert model.get_input_embeddings().weight.data_ptr() == model.lm_head.weight.data_ptr()
    known = tokenizer.convert_tokens_to_ids(list(WORDS))
    assert len(set(known)) == len(WORDS)


def test_what_was_taught_is_said_and_search_can_use_the_folder(taught_run: Path) -> None:
    record = json.loads((taught_run / "model" / "rewriter.json").read_bytes())
    assert record["kind"] == "beholder-rewriter"
    assert record["arm"] == "pattern"
    one = load_rewriter(f"hf:{taught_run / 'model'}", RewriteSettings(cache=None, max_answer_tokens=8))
    assert [found.text for found in one.rewrite(["red thing", "dark picture"])] == [
        "bright red thing of something",
        "bright dark picture of something",
    ]
    assert "#pattern" in one.name
    losses = [line["loss"] for line in read_log(taught_run)]
    assert losses[-1] < 0.1 * losses[0]


def test_a_finished_run_is_returned_and_other_settings_are_refused(place: Path, taught_run: Path) -> None:
    config = SftConfig(str(place / "start"), steps=60, learning_rate=0.02, rewrites=(rewrites(place),), **SHORT)
    lines: list[str] = []
    assert train_rewriter(config, taught_run, say=lines.append) == taught_run / "model"
    assert "finished" in lines[-1]
    other = SftConfig(str(place / "start"), steps=61, learning_rate=0.02, rewrites=(rewrites(place),), **SHORT)
    with pytest.raises(FormatError, match="another steps"):
        train_rewriter(other, taught_run)


@pytest.mark.parametrize("stage", ["sft", "grpo", "dpo"])
def test_a_run_that_was_cut_off_ends_with_the_same_bytes(
    stage: str, place: Path, taught_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config: RewriterConfig
    if stage == "sft":
        config = SftConfig(str(place / "start"), steps=6, learning_rate=0.01, rewrites=(rewrites(place),), **SHORT)
    elif stage == "grpo":
        config = grpo(place, taught_run / "model", steps=6)
    else:
        table = tmp_path / "ranked.tsv"
        lines = [
            f"{query}\t{answer}\t{score}" for query in QUERIES for answer, score in (("dark <query>", 1), ("a", 0))
        ]
        table.write_text("\n".join(["query\tanswer\tscore", *lines]) + "\n")
        config = DpoConfig(str(taught_run / "model"), steps=6, learning_rate=1e-3, ranked=str(table), **SHORT)
    whole = train_rewriter(config, tmp_path / "whole")
    reward_lines = read_log(tmp_path / "whole")

    class Killed(Exception):
        pass

    def cut(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 5:  # after the checkpoint of step 4, with a step of its own that is lost
            raise Killed

    monkeypatch.setattr(rewriter_train._Log, "on_step_end", cut, raising=False)
    with pytest.raises(Killed):
        train_rewriter(config, tmp_path / "cut")
    monkeypatch.undo()
    half = tmp_path / "cut" / "checkpoint-6"
    shutil.copytree(tmp_path / "cut" / "checkpoint-4", half)
    (half / "complete").unlink()  # one that a kill cut short is not taken
    newest = last_checkpoint(tmp_path / "cut")
    assert newest is not None
    assert newest.name == "checkpoint-4"
    shutil.rmtree(half)
    resumed = train_rewriter(config, tmp_path / "cut")
    assert (resumed / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert [line["loss"] for line in read_log(tmp_path / "cut")] == [line["loss"] for line in reward_lines]


def test_grpo_logs_each_reward_apart_with_kl_entropy_spread_and_length(
    place: Path, taught_run: Path, tmp_path: Path
) -> None:
    names = ("rank_gain", "drift", "form", "length", "diversity")
    config = grpo(place, taught_run / "model", reward=names, weight=(1.0, 1.0, 1.0, 1.0, 0.1), temperature=3.0)
    train_rewriter(config, tmp_path / "run")
    line = read_log(tmp_path / "run")[-1]
    wanted = {f"rewards/{name}/{kind}" for name in names for kind in ("mean", "std")}
    wanted |= {"kl", "entropy", "reward_std", "frac_reward_zero_std", "completions/mean_length"}
    assert wanted <= set(line)
    assert any(name.endswith("/length_correlation") for one in read_log(tmp_path / "run") for name in one)


def test_the_command_line_of_trl_takes_the_rewards_and_the_rows_of_a_run(
    place: Path, taught_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """trl grpo --reward_funcs rl.rewards.rank_gain rl.rewards.drift --dataset_name RUN/rows ..."""
    import datasets
    from trl.scripts import grpo as command

    from rl import rewards

    train_rewriter(grpo(place, taught_run / "model", steps=1), tmp_path / "run")
    rewards.default.cache_clear()
    monkeypatch.setenv("BEHOLDER_REWARDS", str(place / "rewards.json"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    said: list[dict[str, float]] = []
    monkeypatch.setattr("trl.GRPOTrainer.log", lambda self, logs, *rest: said.append(logs))
    words = f"--model_name_or_path {taught_run / 'model'} --dataset_name {tmp_path / 'run' / 'rows'} "
    words += f"--output_dir {tmp_path / 'out'} --reward_funcs rl.rewards.rank_gain rl.rewards.drift --max_steps 1 "
    words += (
        "--per_device_train_batch_size 4 --num_generations 4 --max_completion_length 8 --use_cpu True --bf16 False "
    )
    words += "--gradient_checkpointing False --report_to none --logging_steps 1 --save_strategy no --dtype float32"
    command.main(*command.make_parser().parse_args_and_config(args=words.split()))
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert said
    rewards.default.cache_clear()


def test_answers_are_sampled_ranked_and_measured(place: Path, taught_run: Path, tmp_path: Path) -> None:
    from rl.rewards import Rewards

    mine = Rewards(RewardConfig.read(place / "rewards.json"))
    rows = questions(place / "questions.tsv")[:3]
    said = sampled(str(taught_run / "model"), [row["query"] for row in rows], 2, temperature=0, tokens=8, seed=0)
    assert said == ["bright <query> of something"] * 6
    assert ranked(mine, rows, said, tmp_path / "ranked.tsv") == 6
    judged = Judged.of(mine.corpus, rows)
    rewriter = load_rewriter(f"hf:{taught_run / 'model'}", RewriteSettings(cache=None, max_answer_tokens=8))
    rewritten, told = answered(rewriter, judged.queries)
    figures = judged.figures([one.text for one in rewritten])
    lines = (tmp_path / "ranked.tsv").read_text().splitlines()[1:]
    scores = [float(line.split("\t")[2]) for line in lines][::2]
    assert scores == pytest.approx(figures["gain"].tolist(), abs=1e-4)  # nothing is taken off them here
    assert told["fell back"] == 0
    assert judged.figures(judged.queries)["gain"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("stage", "settings", "found"),
    [
        ("sft", {}, "no table of rewrites"),
        ("sft", {"rewrites": ["x"], "batch": 0}, "batch 0 is below 1"),
        ("grpo", {"questions": "q", "rewards": "r", "batch": 6, "group": 4}, "no multiple of the group"),
        ("grpo", {"questions": "q", "rewards": "r", "reward": ["beauty"]}, "there is no reward beauty"),
        ("grpo", {"questions": "q", "rewards": "r", "weight": [1.0]}, "1 weights of 4 rewards"),
        ("dpo", {"ranked": "r", "beta": 0.0}, "beta 0.0"),
        ("dpo", {"ranked": "r", "colour": 1}, "no setting colour"),
        ("dpo", {"ranked": "r", "schedule": "steep"}, "none of cosine"),
    ],
)
def test_settings_that_make_no_sense_are_refused(stage: str, settings: dict[str, Any], found: str) -> None:
    with pytest.raises(BeholderError, match=found):
        from_dict(stage, {"model": "m", **settings})


def test_a_missing_table_and_a_model_that_is_none_are_one_line(place: Path, tmp_path: Path) -> None:
    with pytest.raises(BeholderError, match="there is no rewrites"):
        train_rewriter(SftConfig(str(place / "start"), rewrites=("nowhere.tsv",)), tmp_path / "a")
    with pytest.raises(BeholderError, match="no folder"):
        train_rewriter(SftConfig("/nowhere/model", rewrites=(rewrites(place),)), tmp_path / "b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BeholderError, match="cannot be loaded"):
        train_rewriter(SftConfig(str(tmp_path / "empty"), rewrites=(rewrites(place),)), tmp_path / "c")


def test_a_folder_of_another_prompt_is_refused_and_an_arm_that_is_named_wins(taught_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(taught_run / "model", folder)
    record = json.loads((folder / "rewriter.json").read_bytes())
    (folder / "rewriter.json").write_text(json.dumps({**record, "prompt_sha256": "0" * 64}))
    with pytest.raises(FormatError, match="was trained with the prompt"):
        load_rewriter(f"hf:{folder}")
    assert "#detail" in load_rewriter(f"hf:{folder}#detail").name
    for wrong in ({**record, "kind": "x"}, {**record, "format": 9}):
        (folder / "rewriter.json").write_text(json.dumps(wrong))
        with pytest.raises(FormatError):
            load_rewriter(f"hf:{folder}")
