"""A language model in this process, by transformers: the same questions and answers as `chat.ChatClient`, no server.

Greedy decoding, so the same weights give the same words; answers are kept in the same cache, keyed by the weights' own
fingerprint where they lie in a folder. Code that comes with a model is never run.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from indexes.errors import BeholderError
from indexes.records.manifest import sha256_file
from retrieval.encoding.encoders import check_device

from .chat_cache import AnswerCache
from .chat_exchange import Answer, Failure, Question, one_line
from .chat_schema import THOUGHTS, find_json

BOX = Path(__file__).parent.parent / "models"  # models that come with the package
BATCH = 8  # questions at once: a prompt is some 250 tokens


class LocalTransformer:
    """What models of transformers in this process have in common: a name, a device, a cache, and one load.

    `identity`: sha256 of a folder's files, or the name on the hub. Raises BeholderError where there is no such folder,
    and for a device that is not there.
    """

    def __init__(self, name: str, expected: str, device: str, max_answer_tokens: int, cache: str | None) -> None:
        self.identity = identity_of(name, expected)
        if device != "cpu":
            check_device(device)
        self.name, self.device, self.max_answer_tokens = name, device, max_answer_tokens
        self._cache = AnswerCache(Path(cache)) if cache else None
        self._loaded: tuple[Any, Any] | None = None
        self._lock = threading.Lock()  # threads of a service: one load, one batch at a time

    def _kept(self, key: str) -> str | None:
        return self._cache.get(key) if self._cache is not None else None

    def _keep(self, key: str, text: str) -> None:
        if self._cache is not None:
            self._cache.put(key, text)


class LocalModel(LocalTransformer):
    """A causal model of transformers and its tokenizer. Loaded with the first question that the cache cannot answer;
    raises BeholderError then for a model that cannot be loaded or has no chat template."""

    def __init__(self, name: str, device: str = "cpu", max_answer_tokens: int = 256, cache: str | None = None) -> None:
        super().__init__(name, "a model of transformers", device, max_answer_tokens, cache)

    def ask_many(
        self, questions: Sequence[Question], progress: Callable[[int, int], None] | None = None
    ) -> list[Answer | Failure]:
        """Answers in the questions' order. A question that the model's context cannot hold is a Failure."""
        results: list[Answer | Failure | None] = [self._known(question) for question in questions]
        left = [place for place, result in enumerate(results) if result is None]
        for start in range(0, len(left), BATCH):
            places = left[start : start + BATCH]
            with self._lock:
                said = self._generate([questions[place] for place in places])
            for place, text in zip(places, said, strict=True):
                results[place] = self._read(questions[place], text)
            if progress is not None:
                progress(len(questions) - len(left) + start + len(places), len(questions))
        return [result for result in results if result is not None]

    def _generate(self, questions: Sequence[Question]) -> list[str | None]:
        """What the model says to each; None where the question does not fit its context."""
        import torch

        model, tokenizer = self.load()
        prompts = [
            tokenizer.apply_chat_template(
                [{"role": "system", "content": one.system}, {"role": "user", "content": one.user}],
                tokenize=False,
                add_generation_prompt=True,
            )
            for one in questions
        ]
        context = int(getattr(model.config, "max_position_embeddings", 0) or 1 << 30)
        lengths = [len(tokenizer(prompt, add_special_tokens=False)["input_ids"]) for prompt in prompts]
        fitting = [place for place, length in enumerate(lengths) if length + self.max_answer_tokens <= context]
        said: list[str | None] = [None] * len(prompts)
        if fitting:
            batch = tokenizer(
                [prompts[place] for place in fitting], return_tensors="pt", padding=True, add_special_tokens=False
            ).to(self.device)
            with torch.inference_mode():
                tokens = model.generate(
                    input_ids=batch["input_ids"],
                    attention_mask=batch["attention_mask"],
                    max_new_tokens=self.max_answer_tokens,
                    do_sample=False,
                    pad_token_id=tokenizer.pad_token_id,
                )
            answers = tokenizer.batch_decode(tokens[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
            for place, answer in zip(fitting, answers, strict=True):
                said[place] = answer
        return said

    def load(self) -> tuple[Any, Any]:
        """The model on its device, and its tokenizer."""
        if self._loaded is None:
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils.logging import disable_progress_bar

            disable_progress_bar()  # it draws on stderr even where that is a file
            try:
                tokenizer = AutoTokenizer.from_pretrained(self.name, padding_side="left")
                model = AutoModelForCausalLM.from_pretrained(self.name, dtype="auto").to(self.device).eval()
            except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
                raise unusable(f"hf:{self.name}", error, "a causal language model of transformers") from error
            if not tokenizer.chat_template:
                raise BeholderError(
                    f"hf:{self.name} has no chat template", "a model that was tuned to follow instructions", "Use one."
                )
            if tokenizer.pad_token_id is None:
                tokenizer.pad_token = tokenizer.eos_token
            self._loaded = model, tokenizer
        return self._loaded

    def _key(self, question: Question) -> str:
        content = [
            "hf-1",
            self.identity,
            question.system,
            question.user,
            question.schema,
            self.max_answer_tokens,
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def _known(self, question: Question) -> Answer | Failure | None:
        kept = self._kept(self._key(question))
        return None if kept is None else read_answer(question, kept, cached=True)

    def _read(self, question: Question, text: str | None) -> Answer | Failure:
        if text is None:
            return Failure("over-long: the question is longer than the model's context")
        self._keep(self._key(question), text)
        return read_answer(question, text, cached=False)


def unusable(name: str, error: Exception, expected: str) -> BeholderError:
    """What is said of a model that transformers cannot load: the first line of why."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    remedy = "Check the name, the folder or the network."
    return BeholderError(f"{name} cannot be loaded ({reason[:160]})", expected, remedy)


def read_answer(question: Question, text: str, *, cached: bool) -> Answer | Failure:
    """What was said, checked against the question's schema."""
    if question.schema is None:
        return Answer(THOUGHTS.sub("", text).strip(), None, "plain", cached=cached)
    value, wrong = find_json(text, question.schema)
    if wrong is not None:
        return Failure(f"unusable answer: {wrong}: {one_line(text)}", said=text)
    return Answer(text, value, "plain", cached=cached)


def located(name: str) -> str:
    """The folder of a model in the box by its name; any other name as it is. A folder of the same name goes before."""
    boxed = not Path(name).is_dir() and (BOX / name / "config.json").is_file()
    return str(BOX / name) if boxed else name


def identity_of(name: str, expected: str) -> str:
    """sha256 of a folder's files, or the name on the hub. Raises BeholderError for a path where no folder is."""
    folder = Path(located(name))
    if folder.is_dir():
        return folder_fingerprint(folder)
    if folder.is_absolute() or name.startswith(".") or name.count("/") > 1:
        raise BeholderError(f"there is no folder {name}", expected, "Check the path.")
    return name


def folder_fingerprint(folder: Path) -> str:
    """sha256 over the names and contents of a model's files, its README aside: an exchanged model must not answer from
    the cache."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name != "README.md":
            digest.update(f"{path.name} {sha256_file(path)}\n".encode())
    return digest.hexdigest()
