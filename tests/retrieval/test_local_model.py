"""Rewriting with transformers: a tiny model in this process, and behind `transformers serve`."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_llama import write_llama

from indexes.errors import BeholderError
from retrieval.language.chat import ChatClient, ChatConfig
from retrieval.language.chat_exchange import Answer, Failure, Question
from retrieval.language.local_model import LocalModel, folder_fingerprint
from retrieval.rewriting.rewrite import load_rewriter
from retrieval.rewriting.rewriter import RewriteSettings

ANSWER = ['{"query": ', '"the harbour in mist"', "}"]
REWRITTEN = "a harbour, the harbour in mist"


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("models") / "llama", ANSWER)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("models") / "noisy", None)


def rewrite(model: Path, texts: list[str], cache: Path | None = None, **settings: Any) -> list[Any]:
    given = RewriteSettings(cache=str(cache) if cache else None, max_answer_tokens=24, **settings)
    return load_rewriter(f"hf:{model}", given).rewrite(texts)


def test_a_local_model_rewrites_and_its_answers_are_kept(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["a harbour", "two boats in a very long line of words", "a harbour", *(f"boat {i}" for i in range(8))]
    found = rewrite(llama, texts, tmp_path / "a.sqlite")
    assert [one.text for one in found] == [f"{text}, the harbour in mist" for text in texts]
    assert not any(one.cached for one in found)
    monkeypatch.setattr(LocalModel, "load", None)  # nothing is loaded where every answer is kept
    again = rewrite(llama, texts, tmp_path / "a.sqlite")
    assert [one.text for one in again] == [one.text for one in found]
    assert all(one.cached for one in again)


def test_a_model_that_says_noise_leaves_the_query_and_is_counted(noisy: Path) -> None:
    found = rewrite(noisy, ["a harbour"])[0]
    assert found.text == "a harbour"
    assert str(found.fallback).startswith("unusable answer: no JSON object")
    assert str(found.fallback).isprintable()


def test_another_model_under_the_same_name_does_not_answer_from_the_cache(llama: Path, tmp_path: Path) -> None:
    import shutil

    folder, cache = tmp_path / "model", tmp_path / "a.sqlite"
    shutil.copytree(llama, folder)
    before = folder_fingerprint(folder)
    assert rewrite(folder, ["a harbour"], cache)[0].text == REWRITTEN
    shutil.rmtree(folder)
    write_llama(folder, ['{"query": ', '"ships"', "}"])
    assert folder_fingerprint(folder) != before
    assert rewrite(folder, ["a harbour"], cache)[0].text == "a harbour, ships"


def test_a_question_longer_than_the_context_falls_back(tmp_path: Path) -> None:
    short = write_llama(tmp_path / "short", ANSWER, context=256)
    found = rewrite(short, ["a harbour"])[0]
    assert str(found.fallback).startswith("over-long: the question")


def test_what_is_no_chat_model_is_said_in_one_line(tmp_path: Path, llama: Path) -> None:
    plain = write_llama(tmp_path / "plain", ANSWER, template=False)
    (tmp_path / "empty").mkdir()
    for folder, said in ((plain, "no chat template"), (tmp_path / "empty", "cannot be loaded")):
        with pytest.raises(BeholderError, match=said) as caught:
            rewrite(folder, ["a harbour"])
        assert "\n" not in str(caught.value)
    if not __import__("torch").cuda.is_available():
        with pytest.raises(BeholderError, match="no CUDA"):
            rewrite(llama, ["a harbour"], device="cuda")


# A real server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("openai", reason="`transformers serve` needs openai, fastapi and uvicorn")
    home = tmp_path_factory.mktemp("hf")
    (home / "hub").mkdir()  # without it /v1/models is an error 500
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", "from transformers.cli.transformers import main; main()", "serve"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            for _ in range(240):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except (urllib.error.URLError, OSError):
                    assert process.poll() is None, "transformers serve ended"
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.mark.campaign
def test_transformers_serve_rewrites(served: str, llama: Path, noisy: Path) -> None:
    settings = RewriteSettings(cache=None, max_answer_tokens=24, timeout_s=120)
    found = load_rewriter(f"llm:{llama}@{served}", settings).rewrite(["a harbour", "two boats"])
    assert [one.text for one in found] == [REWRITTEN, "two boats, the harbour in mist"]
    found = load_rewriter(f"llm:{noisy}@{served}", settings).rewrite(["a harbour"])
    assert str(found[0].fallback).startswith("unusable answer: no JSON object")


@pytest.mark.campaign
def test_transformers_serve_answers_in_words_and_refuses_a_model_that_is_not_there(served: str, llama: Path) -> None:
    answer = ChatClient(ChatConfig(str(llama), served, timeout_s=120)).ask(Question("Say it.", "x"))
    assert isinstance(answer, Answer)
    assert answer.text == "".join(ANSWER)
    assert answer.tokens > 0
    failure = ChatClient(ChatConfig("/no/such/model", served, timeout_s=20, retries=0)).ask(Question("Say it.", "x"))
    assert isinstance(failure, Failure)
    assert failure.reason.startswith("status ")
