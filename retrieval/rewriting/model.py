"""Rewriting by a language model: `llm:` behind a server, `hf:` in this process. One arm, one prompt, checks."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from indexes.errors import FormatError
from retrieval.language.asking import Asks, open_chat
from retrieval.language.chat_exchange import Answer, Failure, Question

from .arms import Arm, load_arm
from .checks import Draft, Gate
from .rewriter import Progress, Rewrite, RewriteSettings

REWRITER, REWRITER_FORMAT, RECORD = "beholder-rewriter", 1, "rewriter.json"  # beside the weights of a trained one
BLOCK = 256  # queries between two passes of the text tower: bounds memory, and what a wrong model costs is seen soon


class ModelRewriter:
    """Asks a model for each query in the words of an arm."""

    def __init__(self, named: Mapping[str, Any], arm: Arm, model: Asks, gate: Gate, settings: RewriteSettings) -> None:
        self._named, self.arm, self._model, self._gate, self._settings = named, arm, model, gate, settings
        self.hopeless: str | None = None  # why no query can be rewritten, once that is known

    @property
    def name(self) -> str:
        return f"{self._named['rewriter']}#{self.arm.name}, {self.arm.prompt.name}"

    @property
    def provenance(self) -> dict[str, Any]:
        encoder = self._gate.encoder
        return {
            **self._named,
            "arm": self.arm.name,
            "prompt": self.arm.prompt.name,
            "prompt_sha256": self.arm.prompt.sha256,
            "temperature": 0,
            "max_answer_tokens": self._settings.max_answer_tokens,
            "text_fingerprint": encoder.record.text_fingerprint if encoder is not None else None,
            "topic_floor": self._gate.topic_floor,
        }

    def rewrite(self, texts: Sequence[str], progress: Progress | None = None) -> list[Rewrite]:
        """The same query is asked once, however often it comes."""
        unlike = list(dict.fromkeys(texts))
        found: dict[str, Rewrite] = {}
        self.hopeless = None  # a service asks again later: the server may be back
        for start in range(0, len(unlike), BLOCK):
            block = unlike[start : start + BLOCK]

            def moved(done: int, _: int, before: int = start) -> None:
                if progress is not None:
                    progress(before + done, len(unlike))

            drafts = [self._draft(text, said) for text, said in zip(block, self._ask(block, moved), strict=True)]
            found |= dict(zip(block, self._gate.passed(block, drafts, self.name), strict=True))
        return [found[text] for text in texts]

    def _ask(self, texts: Sequence[str], progress: Progress) -> list[Answer | Failure]:
        questions = [Question(*self.arm.question(text), schema=self.arm.schema) for text in texts]
        if self.hopeless is not None:
            return [Failure(self.hopeless, True)] * len(texts)
        answers = self._model.ask_many(questions, progress)
        self.hopeless = next((one.reason for one in answers if isinstance(one, Failure) and one.hopeless), None)
        return answers

    def _draft(self, text: str, said: Answer | Failure) -> Draft:
        if isinstance(said, Failure):
            return Draft("", problem=said.reason)
        draft = self.arm.compose(text, said.text if self.arm.schema is None else said.value)
        return Draft(draft.text, draft.judged, draft.problem, said.cached)


def load_model_rewriter(spec: str, settings: RewriteSettings, gate: Gate) -> ModelRewriter:
    """The rewriter of `llm:MODEL[@URL][#ARM]` or `hf:MODEL[#ARM]`. Raises BeholderError."""
    kind, _, rest = spec.partition(":")
    named, _, arm_spec = rest.partition("#")
    arm = load_arm(arm_spec or (own_arm(Path(named)) if kind == "hf" else ""))
    if kind == "hf":
        from retrieval.language.local_model import LocalModel

        local = LocalModel(named, settings.device, settings.max_answer_tokens, settings.answers)
        # A folder by its last name and its content: tables and services must not tell where things lie.
        known = {"rewriter": f"hf:{Path(named).name if Path(named).is_dir() else named}", "model": local.identity}
        return ModelRewriter(known, arm, local, gate, settings)
    client = open_chat(named, settings)
    return ModelRewriter({"rewriter": f"llm:{client.config.model}", "url": client.url}, arm, client, gate, settings)


def own_arm(folder: Path) -> str:
    """The arm that a folder was trained for (`align rewriter`); "" for any other model. Raises FormatError for a record
    of another kind, or of a newer format or prompt than this version knows."""
    if not (folder / RECORD).is_file():
        return ""
    record = read_record(folder)
    arm = load_arm(str(record.get("arm")))
    if record.get("prompt_sha256") != arm.prompt.sha256:
        found = f"{folder.name} was trained with the prompt {record.get('prompt')}, {record.get('prompt_sha256')}"
        raise FormatError(found, f"{arm.prompt.name}, {arm.prompt.sha256[:12]}", "Train it again, or give #ARM.")
    return arm.name


def read_record(folder: Path) -> dict[str, Any]:
    """What a trained rewriter's folder says of itself. Raises FormatError."""
    try:
        record: Any = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError) as error:
        raise FormatError(f"{folder / RECORD} cannot be read ({error})", f"a record of kind {REWRITER}") from error
    if not isinstance(record, dict) or record.get("kind") != REWRITER:
        raise FormatError(f"{folder / RECORD} is of another kind", REWRITER, "Give a folder of `align rewriter`.")
    if not isinstance(record.get("format"), int) or record["format"] > REWRITER_FORMAT:
        raise FormatError(f"{folder / RECORD} has format {record.get('format')}", f"at most {REWRITER_FORMAT}")
    return record
