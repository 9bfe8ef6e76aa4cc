"""A model that sees, in this process, by transformers: questions with pictures, as `chat.ChatClient` answers them.

One question at a time: sheets of ten pictures are thousands of tokens, and processors of different models pad pictures
in different ways. Greedy decoding; answers are kept like those of local_model.py, keyed by the pictures as well. Code
that comes with a model is never run.
"""

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

from .chat_exchange import Answer, Failure, Question
from .local_model import LocalTransformer, read_answer
from .trained import load_vision_model

SMALL = 500_000_000  # parameters that may take twice the room for speed


class LocalVisionModel(LocalTransformer):
    """An image-text-to-text model of transformers, or what `align critic train` left, and its processor. Loaded with
    the first question that the cache cannot answer; raises BeholderError then for a model that cannot be loaded, lacks
    weights or has no chat template."""

    def __init__(self, name: str, device: str = "cpu", max_answer_tokens: int = 256, cache: str | None = None) -> None:
        super().__init__(name, "a model of transformers that sees", device, max_answer_tokens, cache)

    def ask_many(
        self, questions: Sequence[Question], progress: Callable[[int, int], None] | None = None
    ) -> list[Answer | Failure]:
        """Answers in the questions' order. A question that the model's context cannot hold is a Failure."""
        results: list[Answer | Failure] = []
        for question in questions:
            results.append(self._answer(question))
            if progress is not None:
                progress(len(results), len(questions))
        return results

    def _answer(self, question: Question) -> Answer | Failure:
        key = self._key(question)
        kept = self._kept(key)
        if kept is not None:
            return read_answer(question, kept, cached=True)
        with self._lock:
            text = self._generate(question)
        if text is None:
            return Failure("over-long: the question is longer than the model's context")
        self._keep(key, text)
        return read_answer(question, text, cached=False)

    def _generate(self, question: Question) -> str | None:
        """What the model says; None where the question does not fit its context."""
        import torch

        model, processor = self.load()
        batch = self.inputs(question).to(self.device)
        length = batch["input_ids"].shape[1]
        if length + self.max_answer_tokens > self._context():
            return None
        batch = {
            name: value.to(model.dtype) if torch.is_floating_point(value) else value for name, value in batch.items()
        }
        tokenizer = processor.tokenizer
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        with torch.inference_mode():
            tokens = model.generate(
                **batch, max_new_tokens=self.max_answer_tokens, do_sample=False, pad_token_id=padding
            )
        return str(tokenizer.decode(tokens[0, length:], skip_special_tokens=True))

    def log_chances(self, question: Question, opening: str, words: Sequence[str]) -> list[float] | None:
        """How likely each of the words is as the next one of an answer that begins with `opening`: log-probabilities
        of their first tokens, however they are spelt (Good, good). None where the question does not fit the context or
        the tokenizer begins two of the words alike. Kept as answers are."""
        key = self._key(question, "chances-1", opening, list(words))
        kept = self._kept(key)
        if kept is not None:
            known: list[float] | None = json.loads(kept)
            return known
        with self._lock:
            found = self._chances(question, opening, words)
        self._keep(key, json.dumps(found))
        return found

    def _chances(self, question: Question, opening: str, words: Sequence[str]) -> list[float] | None:
        import torch

        from .chances import first_tokens, log_chances

        model, processor = self.load()
        groups = first_tokens(processor.tokenizer, self._prompt(question, opening), words)
        batch = self.inputs(question, opening).to(self.device)
        if groups is None or batch["input_ids"].shape[1] >= self._context():
            return None
        batch = {
            name: value.to(model.dtype) if torch.is_floating_point(value) else value for name, value in batch.items()
        }
        with torch.inference_mode():
            logits = model(**batch).logits[0, -1].float().cpu().numpy()
        return log_chances(logits, groups)

    def _context(self) -> int:
        config = self.load()[0].config
        return int(getattr(getattr(config, "text_config", config), "max_position_embeddings", 0) or 1 << 30)

    def _prompt(self, question: Question, opening: str = "") -> str:
        content = [*({"type": "image"} for _ in question.pictures), {"type": "text", "text": question.user}]
        told: list[dict[str, Any]] = [{"role": "system", "content": [{"type": "text", "text": question.system}]}]
        messages = [*(told if question.system else []), {"role": "user", "content": content}]
        processor = self.load()[1]
        prompt = str(processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        return prompt + (opening.lstrip() if prompt[-1:].isspace() else opening)

    def inputs(self, question: Question, opening: str = "") -> Any:
        """What the model is given of a question: tokens, with places for the pictures, and their pixels. `opening`: how
        its answer begins."""
        from PIL import Image

        _, processor = self.load()
        prompt = self._prompt(question, opening)
        pictures = [Image.open(io.BytesIO(one)).convert("RGB") for one in question.pictures]
        # The template has written the tokens that begin a text.
        return processor(
            text=[prompt], images=[pictures] if pictures else None, return_tensors="pt", add_special_tokens=False
        )

    def load(self) -> tuple[Any, Any]:
        """The model, on its device and in the type that it is asked in, and its processor."""
        if self._loaded is None:
            import torch

            model, processor = load_vision_model(self.name)
            if self.device == "cpu" and model.dtype == torch.float16 and model.num_parameters() < SMALL:
                model = model.float()  # CPUs are slower in half precision
            self._loaded = model.to(self.device), processor
        return self._loaded

    def _key(self, question: Question, *more: Any) -> str:
        content: list[Any] = [
            "hf-vision-1",
            self.identity,
            question.system,
            question.user,
            [hashlib.sha256(picture).hexdigest() for picture in question.pictures],
            question.schema,
            self.max_answer_tokens,
            *more,
        ]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
